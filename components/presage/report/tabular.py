"""The report on predicted rows as one HTML page."""

from __future__ import annotations

import json

from presage.evaluation.scorecard import Scorecard
from presage.report import chart, grids, score_charts, skill_charts, tabular_charts, tabular_grids
from presage.report.facts import headline, outcome, reason
from presage.report.html import colours, pair, policy, resource, section
from presage.report.markup import Markup, element, joined, json_script, script
from presage.report.numbers import count, moment
from presage.report.parts import card, figure, typeset
from presage.report.tabular_data import TableReport
from presage.report.tabular_facts import LOSS_NOTE, evidence_sentence, key_numbers, open_sentence


def render_table(report: TableReport) -> str:
    """Return the report as one HTML document that needs nothing else, as `presage.report.html.render` does."""
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
    body = element(
        "body",
        element(
            "main",
            _verdict(report),
            _open_rows(report),
            _back_test(report),
            _features(report),
            section(
                "Contenders",
                element("p", LOSS_NOTE, class_="note"),
                card(tabular_grids.contenders(report.scorecard)),
            ),
            section("Source", card(tabular_grids.sources(report.scorecard))),
            _caveats(report.scorecard),
            _reproduction(report),
        ),
        json_script(json.dumps(chart.DARK), id="dark-colours"),
        *(script(content) for content in scripts),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _verdict(report: TableReport) -> Markup:
    scorecard = report.scorecard
    promoted = scorecard.verdict.promoted
    mark = ("✓ " if promoted else "✕ ") + outcome(scorecard)
    about = f"{scorecard.target}, a {scorecard.task} judged by {scorecard.frequency}"
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


def _open_rows(report: TableReport) -> Markup:
    return section("Newest rows", element("p", open_sentence(report.scorecard, report.open_rows), class_="note"))


def _back_test(report: TableReport) -> Markup:
    scorecard, walked = report.scorecard, report.back_test
    if scorecard.task == "Classification":
        first = figure(tabular_charts.reliability(scorecard), tabular_grids.reliability(scorecard))
        second = figure(tabular_charts.ranking(scorecard, walked), tabular_grids.lift(scorecard, walked))
    else:
        first = figure(tabular_charts.residuals(scorecard, walked), tabular_grids.residuals(scorecard, walked))
        second = figure(score_charts.coverage(scorecard), grids.coverage(scorecard))
    return section(
        "Back-test",
        pair(first, second),
        figure(skill_charts.skill_by_fold(scorecard), tabular_grids.folds(scorecard)),
    )


def _features(report: TableReport) -> Markup:
    scorecard = report.scorecard
    kept = (element("li", element("code", name)) for name in scorecard.features)
    dropped = grids.dropped(scorecard)
    return section(
        "Features",
        figure(score_charts.importance(scorecard, report.config)),
        element(
            "div",
            element("h3", f"{count(len(scorecard.features), 'feature')} kept"),
            element("ul", *kept, class_="names") if scorecard.features else None,
            class_="card",
        ),
        card(dropped) if dropped.rows else element("p", "No feature was dropped.", class_="note"),
    )


def _caveats(scorecard: Scorecard) -> Markup:
    if not scorecard.caveats:
        return section("Caveats", element("p", "None was found.", class_="note"), identifier="caveats")
    listed = element("ul", *(element("li", caveat) for caveat in scorecard.caveats), class_="caveats")
    return section("Caveats", listed, identifier="caveats")


def _reproduction(report: TableReport) -> Markup:
    scorecard = report.scorecard
    facts = [
        ("Run", report.run),
        ("Made at", f"{moment(report.created_at)} UTC"),
        ("Job", report.digest),
        ("Scorecard", scorecard.digest()),
        *((f"Data of {source.name}", source.digest) for source in scorecard.sources),
    ]
    parts = [part for name, value in facts for part in (element("dt", name), element("dd", element("code", value)))]
    return section(
        "How to reproduce it",
        element("p", "The same job, data, seed and lock give the same scorecard digest.", class_="note"),
        element("div", element("dl", *parts, class_="facts"), class_="card"),
        card(grids.conditions(report.conditions)),
    )
