"""What is shown on a terminal, of bars or of rows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from presage.evaluation.scorecard import Scorecard
from presage.report import grids, tabular_grids
from presage.report.data import IssuedForecast, Report
from presage.report.facts import headline, outcome, reason
from presage.report.numbers import count, listing, moment
from presage.report.tabular_data import TableReport
from presage.report.tabular_facts import LOSS_NOTE, evidence_sentence, key_numbers, open_sentence
from presage.report.terminal import (
    heading,
    paragraph,
    print_forecasts,
    print_report,
    print_scorecard,
    printable,
    table,
)
from presage.tabular.predictions import RowForecast


def show_report(report: Report | TableReport, console: Console) -> None:
    """Print a run, of bars or of rows: the verdict, its numbers, and what they stand on."""
    if isinstance(report, Report):
        print_report(report, console)
        return
    _print_verdict(report.scorecard, console, f"{report.namespace}/{report.job}")
    heading("Newest rows", console)
    paragraph(open_sentence(report.scorecard, report.open_rows), console)
    _print_details(report.scorecard, console)
    if report.scorecard.task == "Classification":
        table(tabular_grids.lift(report.scorecard, report.back_test), console)
    else:
        table(tabular_grids.residuals(report.scorecard, report.back_test), console, report.scorecard.unit)
    heading("How to reproduce it", console)
    for key, value in (("run", report.run), ("job", report.digest), ("scorecard", report.scorecard.digest())):
        paragraph(key, console, style="dim")
        paragraph(value, console, indent=4)


def show_scorecard(scorecard: Scorecard, console: Console, *, name: str = "") -> None:
    """Print a scorecard alone, of bars or of rows; `name` says whose it is."""
    if scorecard.task == "Forecast":
        print_scorecard(scorecard, console, name=name)
        return
    _print_verdict(scorecard, console, name)
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


def _print_verdict(scorecard: Scorecard, console: Console, name: str) -> None:
    style = "bold green" if scorecard.verdict.promoted else "bold yellow"
    console.print(Text.assemble((outcome(scorecard).upper(), style), "  ", (printable(name), "dim")))
    paragraph(f"{headline(scorecard)}.", console, style="bold")
    paragraph(reason(scorecard), console)
    console.print()
    numbers = Table.grid(padding=(0, 2))
    for one in key_numbers(scorecard):
        parts = ((one.name, ""), (one.value, "bold"), (one.note, "dim"))
        numbers.add_row(*(Text(printable(part), style) for part, style in parts))
    console.print(Padding(numbers, (0, 0, 0, 2), expand=False))


def _print_details(scorecard: Scorecard, console: Console) -> None:
    heading("Evidence", console)
    paragraph(f"{evidence_sentence(scorecard)} {LOSS_NOTE}", console)
    table(tabular_grids.contenders(scorecard), console, scorecard.unit)
    table(tabular_grids.folds(scorecard), console, scorecard.unit)
    if scorecard.task == "Classification":
        table(tabular_grids.reliability(scorecard), console)
    else:
        table(grids.coverage(scorecard), console, scorecard.unit)
    heading("Features kept", console)
    paragraph(listing(scorecard.features), console)
    table(grids.dropped(scorecard), console)
    table(tabular_grids.sources(scorecard), console)
    if scorecard.caveats:
        heading("Caveats", console)
    for caveat in scorecard.caveats:
        paragraph(caveat, console)
