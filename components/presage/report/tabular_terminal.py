"""What is shown on a terminal, of bars or of rows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from presage.evaluation.scorecard import Scorecard
from presage.report import grids, tabular_grids
from presage.report.console import heading, paragraph, printable
from presage.report.data import IssuedForecast, Report
from presage.report.numbers import count, moment
from presage.report.tabular_data import TableReport
from presage.report.tabular_facts import LOSS_NOTE, evidence_sentence, key_numbers, open_sentence
from presage.report.terminal import (
    print_details,
    print_forecasts,
    print_report,
    print_reproduction,
    print_scorecard,
    print_verdict,
    table,
)
from presage.tabular.predictions import RowForecast


def show_report(report: Report | TableReport, console: Console, *, held_back: str | None = None) -> None:
    """Print a run, of bars or of rows: the verdict, its numbers, and what they stand on.

    `held_back` says why it does not serve whatever its verdict.
    """
    if isinstance(report, Report):
        print_report(report, console, held_back=held_back)
        return
    scorecard = report.scorecard
    print_verdict(scorecard, key_numbers(scorecard), console, name=report.qualified_job, held_back=held_back)
    heading("Newest rows", console)
    paragraph(open_sentence(scorecard, report.open_rows), console)
    _print_details(scorecard, console)
    if scorecard.task == "Classification":
        table(tabular_grids.lift(scorecard, report.back_test), console)
    else:
        table(tabular_grids.residuals(scorecard, report.back_test), console, scorecard.unit)
    print_reproduction(report, console)


def show_scorecard(scorecard: Scorecard, console: Console, *, name: str = "", held_back: str | None = None) -> None:
    """Print a scorecard alone, of bars or of rows; `name` says whose it is, `held_back` why its run does not serve."""
    if scorecard.task == "Forecast":
        print_scorecard(scorecard, console, name=name, held_back=held_back)
        return
    print_verdict(scorecard, key_numbers(scorecard), console, name=name, held_back=held_back)
    _print_details(scorecard, console)


def show_forecasts(forecast: Sequence[IssuedForecast] | RowForecast, console: Console) -> None:
    """Print what was issued, of bars or of rows; of rows the newest first."""
    if not isinstance(forecast, RowForecast):
        print_forecasts(forecast, console)
        return
    title = f"{count(len(forecast), 'row')} of {forecast.source}, issued at {moment(forecast.issued_at)} UTC"
    console.print(Text(printable(title), "bold"))
    table(tabular_grids.predictions(forecast), console)
    if len(forecast) > tabular_grids.PREDICTIONS_SHOWN:
        paragraph(
            f"and {count(len(forecast) - tabular_grids.PREDICTIONS_SHOWN, 'row')} more: --out FILE.parquet has all",
            console,
        )


def _print_details(scorecard: Scorecard, console: Console) -> None:
    classifies = scorecard.task == "Classification"
    scores = (
        tabular_grids.contenders(scorecard),
        tabular_grids.folds(scorecard),
        tabular_grids.reliability(scorecard) if classifies else grids.coverage(scorecard),
    )
    evidence = f"{evidence_sentence(scorecard)} {LOSS_NOTE}"
    print_details(scorecard, console, evidence=evidence, scores=scores, sources=tabular_grids.sources(scorecard))
