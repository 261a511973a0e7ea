"""The sections that every report has, of bars or of rows."""

from __future__ import annotations

from collections.abc import Sequence

from presage.evaluation.scorecard import Scorecard
from presage.report import grids
from presage.report.data import JudgedRun
from presage.report.facts import KeyNumber, headline, outcome, reason
from presage.report.grid import Grid
from presage.report.markup import Markup, element, joined
from presage.report.numbers import count, moment
from presage.report.parts import card, note, section, typeset


def verdict(run: JudgedRun, *, about: str, evidence: str, numbers: Sequence[KeyNumber]) -> Markup:
    """Return the page's header: the verdict, what it stands on, and its numbers.

    Args:
        run: The run.
        about: What is predicted, and how.
        evidence: The sentence that says what the verdict stands on.
        numbers: The numbers that a reader asks for first.
    """
    scorecard = run.scorecard
    promoted = scorecard.verdict.promoted
    mark = ("✓ " if promoted else "✕ ") + outcome(scorecard)
    caveats = len(scorecard.caveats)
    more = element("a", f"Read {count(caveats, 'caveat')} first.", href="#caveats") if caveats else None
    shown = (
        element(
            "div",
            element("dt", typeset(one.name)),
            element("dd", typeset(one.value)),
            element("dd", typeset(one.note)),
        )
        for one in numbers
    )
    return joined(
        element(
            "header",
            element("p", f"{run.qualified_job} · {about}", class_="job"),
            element("p", mark, class_="outcome promoted" if promoted else "outcome refused"),
            element("h1", f"{headline(scorecard)}."),
            element("p", typeset(reason(scorecard)), class_="lead"),
            note(typeset(f"{evidence} "), more),
        ),
        element("dl", *shown, class_="key-numbers"),
        element("noscript", element("p", "The charts need JavaScript; the tables hold their numbers.", class_="card")),
    )


def features(scorecard: Scorecard) -> Markup:
    """Return the features that selection kept, and those that it dropped with the reasons, without a heading."""
    kept = (element("li", element("code", name)) for name in scorecard.features)
    dropped = grids.dropped(scorecard)
    return joined(
        element(
            "div",
            element("h3", f"{count(len(scorecard.features), 'feature')} kept"),
            element("ul", *kept, class_="names") if scorecard.features else None,
            class_="card",
        ),
        card(dropped) if dropped.rows else note("No feature was dropped."),
    )


def contenders(grid: Grid, words: str) -> Markup:
    """Return the section of all contenders under the words that explain its numbers."""
    return section("Contenders", note(words), card(grid))


def caveats(scorecard: Scorecard) -> Markup:
    """Return what a reader has to bear in mind."""
    if not scorecard.caveats:
        return section("Caveats", note("None was found."))
    return section("Caveats", element("ul", *(element("li", caveat) for caveat in scorecard.caveats), class_="caveats"))


def reproduction(run: JudgedRun) -> Markup:
    """Return what pins the run, the files beside the page, and the job's conditions."""
    facts = [
        ("Run", run.run),
        ("Made at", f"{moment(run.created_at)} UTC"),
        ("Job", run.digest),
        ("Scorecard", run.scorecard.digest()),
        *((f"Data of {source.name}", source.digest) for source in run.scorecard.sources),
    ]
    parts = [part for name, value in facts for part in (element("dt", name), element("dd", element("code", value)))]
    return section(
        "How to reproduce it",
        note(
            "The same job, data, seed and lock give the same scorecard digest. Beside this page: ",
            element("a", "scorecard.json", href="scorecard.json"),
            " and ",
            element("a", "predictions.csv", href="predictions.csv"),
            ".",
        ),
        element("div", element("dl", *parts, class_="facts"), class_="card"),
        card(grids.conditions(run.conditions)) if run.conditions else None,
    )
