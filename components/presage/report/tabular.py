"""The report on predicted rows as one HTML page."""

from __future__ import annotations

from presage.report import grids, score_charts, sections, skill_charts, tabular_charts, tabular_grids
from presage.report.markup import Markup
from presage.report.page import page
from presage.report.parts import card, figure, note, pair, section
from presage.report.tabular_data import TableReport
from presage.report.tabular_facts import LOSS_NOTE, evidence_sentence, key_numbers, open_sentence


def render_table(report: TableReport) -> str:
    """Return the report as one HTML document that needs nothing else, as `presage.report.html.render` does."""
    scorecard = report.scorecard
    return page(
        report,
        sections.verdict(
            report,
            about=f"{scorecard.target}, a {scorecard.task} judged by {scorecard.frequency}",
            evidence=evidence_sentence(scorecard),
            numbers=key_numbers(scorecard),
        ),
        section("Newest rows", note(open_sentence(scorecard, report.open_rows))),
        _back_test(report),
        section("Features", figure(score_charts.importance(scorecard, report.config)), sections.features(scorecard)),
        sections.contenders(tabular_grids.contenders(scorecard), LOSS_NOTE),
        section("Source", card(tabular_grids.sources(scorecard))),
        sections.caveats(scorecard),
        sections.reproduction(report),
    )


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
