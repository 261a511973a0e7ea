"""The report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from presage.evaluation.scorecard import Scorecard
from presage.report import back_test_charts, chart, forecast_charts, grids, score_charts, skill_charts
from presage.report.data import Report
from presage.report.facts import (
    evidence_sentence,
    forecast_sentence,
    headline,
    key_numbers,
    outcome,
    reason,
    shown_interval,
    watched,
)
from presage.report.markup import Markup, element, joined, json_script, script
from presage.report.numbers import count, moment
from presage.report.parts import card, figure, typeset

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


def render(report: Report) -> str:
    """Return the report as one HTML document.

    Plotly's script is part of the page, which asks for nothing from the network, and its content security policy
    forbids it to. What comes from data is escaped. At most `chart.DRAWN_AT_MOST` points a line are drawn, and a
    chart that leaves some out says so.
    """
    scripts = (resource("plotly", "package_data/plotly.min.js"), resource("presage.report", "page.js"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(scripts)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{outcome(report.scorecard)}: {report.namespace}/{report.job}"),
        element("style", Markup(colours() + resource("presage.report", "page.css"))),
    )
    sections = (
        _verdict(report),
        _live(report),
        _back_test(report),
        _intervals_and_features(report),
        _contenders(report),
        _series(report),
        _sources(report),
        _caveats(report),
        _reproduction(report),
    )
    body = element(
        "body",
        element("main", *sections),
        json_script(json.dumps(chart.DARK), id="dark-colours"),
        *(script(content) for content in scripts),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _verdict(report: Report) -> Markup:
    scorecard = report.scorecard
    promoted = scorecard.verdict.promoted
    mark = ("✓ " if promoted else "✕ ") + outcome(scorecard)
    about = f"{scorecard.target}, {count(scorecard.horizon, 'bar')} of {scorecard.frequency} ahead"
    numbers = (
        element(
            "div",
            element("dt", typeset(one.name)),
            element("dd", typeset(one.value)),
            element("dd", typeset(one.note)),
        )
        for one in key_numbers(scorecard)
    )
    caveats = len(scorecard.caveats)
    more = element("a", f"Read {count(caveats, 'caveat')} first.", href="#caveats") if caveats else None
    return joined(
        element(
            "header",
            element("p", f"{report.namespace}/{report.job} · {about}", class_="job"),
            element("p", mark, class_="outcome promoted" if promoted else "outcome refused"),
            element("h1", f"{headline(scorecard)}."),
            element("p", typeset(reason(scorecard)), class_="lead"),
            element("p", typeset(f"{evidence_sentence(scorecard)} "), more, class_="note"),
        ),
        element("dl", *numbers, class_="key-numbers"),
        element("noscript", element("p", "The charts need JavaScript; the tables hold their numbers.", class_="card")),
    )


def _live(report: Report) -> Markup:
    forecast, scorecard = report.forecast, report.scorecard
    if forecast is None:
        return section("Live forecast", element("p", "None was issued in this run.", class_="note"))
    if len(report.forecasts) > 1:
        return section(
            "Live forecast",
            element("p", f"{len(report.forecasts):,} series are forecast; {forecast.series} is drawn.", class_="note"),
            figure(forecast_charts.fan(scorecard, report.shown, report.bars, forecast)),
            card(grids.forecasts(report.forecasts, scorecard.unit, _watched_level(scorecard)), search=True),
        )
    return section(
        "Live forecast",
        element("p", typeset(forecast_sentence(scorecard, forecast)), class_="note"),
        figure(forecast_charts.fan(scorecard, report.shown, report.bars, forecast)),
        figure(forecast_charts.market(scorecard, report.bars, forecast)),
        card(grids.forecast_steps(forecast, scorecard.unit, shown_interval(scorecard, forecast.probabilities))),
    )


def _watched_level(scorecard: Scorecard) -> float:
    watch = watched(scorecard.contender(scorecard.verdict.champion))
    return 0.9 if watch is None else watch.level


def _back_test(report: Report) -> Markup:
    scorecard, back_test = report.scorecard, report.back_test
    horizon = figure(score_charts.error_by_horizon(scorecard), grids.steps(scorecard))
    if horizon is None:
        horizon = element(
            "p",
            "The horizon is one bar, so there is no error by horizon beyond the table of contenders.",
            class_="note",
        )
    return section(
        "Back-test",
        _drawn(report),
        figure(back_test_charts.actual_against_forecast(scorecard, report.shown)),
        figure(back_test_charts.newest_forecasts(scorecard, report.shown)),
        pair(
            figure(skill_charts.skill_by_fold(scorecard), grids.folds(scorecard)),
            figure(skill_charts.advantage_over_time(scorecard, back_test)),
        ),
        horizon,
    )


def _drawn(report: Report) -> Markup | None:
    many = len(report.back_test.panel)
    if many == 1:
        return None
    drawn = report.shown.panel.names[0]
    words = f"Of the {many:,} series {drawn} is drawn against its forecasts; all other numbers are of all series."
    return element("p", words, class_="note")


def _series(report: Report) -> Markup | None:
    if not report.scorecard.series:
        return None
    note = (
        "Each series by itself: no test is made of it, and among many some look good or bad by chance. Losses are "
        "averaged over the series of each date before anything is tested."
    )
    return section("Series", element("p", note, class_="note"), card(grids.series(report.scorecard), search=True))


def _intervals_and_features(report: Report) -> Markup:
    scorecard = report.scorecard
    kept = (element("li", element("code", name)) for name in scorecard.features)
    dropped = grids.dropped(scorecard)
    return section(
        "Intervals and features",
        pair(
            figure(score_charts.coverage(scorecard), grids.coverage(scorecard)),
            figure(score_charts.importance(scorecard, report.config)),
        ),
        element(
            "div",
            element("h3", f"{count(len(scorecard.features), 'feature')} kept"),
            element("ul", *kept, class_="names") if scorecard.features else None,
            class_="card",
        ),
        card(dropped) if dropped.rows else element("p", "No feature was dropped.", class_="note"),
    )


def _contenders(report: Report) -> Markup:
    note = (
        "Errors are means over all scored origins and steps. Skill is 1 minus the loss over that of the best baseline; "
        "superior says whether StepM tells the candidate from that baseline; direction is the share of moves foreseen."
    )
    if report.scorecard.series:
        note += " The loss that is judged is averaged over the series of each date first."
    return section("Contenders", element("p", note, class_="note"), card(grids.contenders(report.scorecard)))


def _sources(report: Report) -> Markup:
    return section(
        "Sources",
        card(grids.sources(report.scorecard)),
        card(grids.gaps(report.bars)) if report.bars is not None and report.bars.gaps else None,
    )


def _caveats(report: Report) -> Markup:
    caveats = report.scorecard.caveats
    if not caveats:
        return section("Caveats", element("p", "None was found.", class_="note"), identifier="caveats")
    listed = element("ul", *(element("li", caveat) for caveat in caveats), class_="caveats")
    return section("Caveats", listed, identifier="caveats")


def _reproduction(report: Report) -> Markup:
    scorecard = report.scorecard
    facts = [
        ("Run", report.run),
        ("Made at", f"{moment(report.created_at)} UTC"),
        ("Job", report.digest),
        ("Scorecard", scorecard.digest()),
        *((f"Data of {source.name}", source.digest) for source in scorecard.sources),
    ]
    parts = [part for name, value in facts for part in (element("dt", name), element("dd", element("code", value)))]
    files_note = joined(
        "The same job, data, seed and lock give the same scorecard digest. Beside this page: ",
        element("a", "scorecard.json", href="scorecard.json"),
        " and ",
        element("a", "predictions.csv", href="predictions.csv"),
        ".",
    )
    return section(
        "How to reproduce it",
        element("p", files_note, class_="note"),
        element("div", element("dl", *parts, class_="facts"), class_="card"),
        card(grids.conditions(report.conditions)) if report.conditions else None,
    )


def section(title: str, *parts: Markup | None, identifier: str = "") -> Markup:
    """Return a section of the page under a heading."""
    name = identifier or title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=name), *parts, aria_labelledby=name)


def pair(*parts: Markup | None) -> Markup | None:
    """Return two figures side by side."""
    return element("div", *parts, class_="pair") if any(parts) else None


def resource(package: str, name: str) -> str:
    """Return the text of a file inside a package."""
    # Browsers read CR LF as LF, and the policy's hashes are of what they read.
    return files(package).joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def policy(scripts: Sequence[str]) -> str:
    """Return the Content-Security-Policy that lets these scripts run and nothing else."""
    hashes = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    # Plotly sets styles from its script, and hands out a picture of a chart as data.
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def colours() -> str:
    """Return the colours of the charts as variables of the style sheet."""
    light = "".join(f"--{name}:{colour};" for name, colour in _NAMES.items())
    dark = "".join(f"--{name}:{chart.DARK[colour]};" for name, colour in _NAMES.items())
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
