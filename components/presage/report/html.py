"""The report on bars as one HTML page."""

from __future__ import annotations

from presage.evaluation.scorecard import Scorecard
from presage.report import back_test_charts, forecast_charts, grids, score_charts, sections, skill_charts
from presage.report.data import Report
from presage.report.facts import evidence_sentence, forecast_sentence, key_numbers, shown_interval, watched
from presage.report.markup import Markup
from presage.report.numbers import count
from presage.report.page import page
from presage.report.parts import card, figure, note, pair, section, typeset


def render(report: Report) -> str:
    """Return the report as one HTML document that needs nothing else.

    What comes from data is escaped. At most `chart.DRAWN_AT_MOST` points a line are drawn, and a chart that leaves
    some out says so.
    """
    scorecard = report.scorecard
    return page(
        report,
        sections.verdict(
            report,
            about=f"{scorecard.target}, {count(scorecard.horizon, 'bar')} of {scorecard.frequency} ahead",
            evidence=evidence_sentence(scorecard),
            numbers=key_numbers(scorecard),
        ),
        _live(report),
        _back_test(report),
        _intervals_and_features(report),
        sections.contenders(grids.contenders(scorecard), _error_note(scorecard)),
        _series(scorecard),
        _sources(report),
        sections.caveats(scorecard),
        sections.reproduction(report),
    )


def _live(report: Report) -> Markup:
    forecast, scorecard = report.forecast, report.scorecard
    if forecast is None:
        return section("Live forecast", note("None was issued in this run."))
    fan = figure(forecast_charts.fan(scorecard, report.shown, report.bars, forecast))
    if len(report.forecasts) > 1:
        return section(
            "Live forecast",
            note(f"{len(report.forecasts):,} series are forecast; {forecast.series} is drawn."),
            fan,
            card(grids.forecasts(report.forecasts, scorecard.unit, _watched_level(scorecard)), search=True),
        )
    return section(
        "Live forecast",
        note(typeset(forecast_sentence(scorecard, forecast))),
        fan,
        figure(forecast_charts.market(scorecard, report.bars, forecast)),
        card(grids.forecast_steps(forecast, scorecard.unit, shown_interval(scorecard, forecast.probabilities))),
    )


def _watched_level(scorecard: Scorecard) -> float:
    watch = watched(scorecard.contender(scorecard.verdict.champion))
    return 0.9 if watch is None else watch.level


def _back_test(report: Report) -> Markup:
    scorecard, back_test = report.scorecard, report.back_test
    horizon = figure(score_charts.error_by_horizon(scorecard), grids.steps(scorecard))
    return section(
        "Back-test",
        _drawn(report),
        figure(back_test_charts.actual_against_forecast(scorecard, report.shown)),
        figure(back_test_charts.newest_forecasts(scorecard, report.shown)),
        pair(
            figure(skill_charts.skill_by_fold(scorecard), grids.folds(scorecard)),
            figure(skill_charts.advantage_over_time(scorecard, back_test)),
        ),
        horizon or note("The horizon is one bar, so there is no error by horizon beyond the table of contenders."),
    )


def _drawn(report: Report) -> Markup | None:
    many = len(report.back_test.panel)
    if many == 1:
        return None
    drawn = report.shown.panel.names[0]
    return note(f"Of the {many:,} series {drawn} is drawn against its forecasts; all other numbers are of all series.")


def _intervals_and_features(report: Report) -> Markup:
    scorecard = report.scorecard
    return section(
        "Intervals and features",
        pair(
            figure(score_charts.coverage(scorecard), grids.coverage(scorecard)),
            figure(score_charts.importance(scorecard, report.config)),
        ),
        sections.features(scorecard),
    )


def _error_note(scorecard: Scorecard) -> str:
    words = (
        "Errors are means over all scored origins and steps. Skill is 1 minus the loss over that of the best baseline; "
        "superior says whether StepM tells the candidate from that baseline; direction is the share of moves foreseen."
    )
    by_date = " The loss that is judged is averaged over the series of each date first."
    return words + by_date if scorecard.series else words


def _series(scorecard: Scorecard) -> Markup | None:
    if not scorecard.series:
        return None
    words = (
        "Each series by itself: no test is made of it, and among many some look good or bad by chance. Losses are "
        "averaged over the series of each date before anything is tested."
    )
    return section("Series", note(words), card(grids.series(scorecard), search=True))


def _sources(report: Report) -> Markup:
    return section(
        "Sources",
        card(grids.sources(report.scorecard)),
        card(grids.gaps(report.bars)) if report.bars is not None and report.bars.gaps else None,
    )
