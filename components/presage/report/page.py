"""The page around a report's sections: it needs nothing else, no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from presage.report import chart
from presage.report.data import JudgedRun
from presage.report.facts import outcome
from presage.report.markup import Markup, element, json_script, script

_NAMES: Final = {
    "ink": chart.INK,
    "muted": chart.MUTED,
    "grid": chart.GRID,
    "paper": chart.PAPER,
    "shade": chart.SHADE,
    "accent": chart.ACCENT,
    "band": chart.BAND,
    "opposite": chart.OPPOSITE,
    "neutral": chart.NEUTRAL,
}


def page(run: JudgedRun, *sections: Markup | None) -> str:
    """Return sections as one HTML document.

    Plotly's script is part of the page, which asks for nothing from the network, and its content security policy
    forbids it to.

    Args:
        run: The run that the page is titled after.
        sections: The page's content in order; None is left out.
    """
    scripts = (_resource("plotly", "package_data/plotly.min.js"), _resource("presage.report", "page.js"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{outcome(run.scorecard)}: {run.qualified_job}"),
        element("style", Markup(_colours() + _resource("presage.report", "page.css"))),
    )
    body = element(
        "body",
        element("main", *sections),
        json_script(json.dumps(chart.DARK), id="dark-colours"),
        *(script(content) for content in scripts),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _resource(package: str, name: str) -> str:
    # Browsers read CR LF as LF, and the policy's hashes are of what they read.
    return files(package).joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _policy(scripts: Sequence[str]) -> str:
    """Return the Content-Security-Policy that lets these scripts run and nothing else."""
    hashes = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    # Plotly sets styles from its script, and hands out a picture of a chart as data.
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def _colours() -> str:
    """Return the colours of the charts as variables of the style sheet."""
    light = "".join(f"--{name}:{colour};" for name, colour in _NAMES.items())
    dark = "".join(f"--{name}:{chart.DARK[colour]};" for name, colour in _NAMES.items())
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
