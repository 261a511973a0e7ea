"""The report as terminal tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from presage.evaluation.scorecard import Scorecard
from presage.report import grids
from presage.report.console import INDENT, heading, paragraph, printable
from presage.report.data import IssuedForecast, JudgedRun, Report
from presage.report.facts import (
    KeyNumber,
    evidence_sentence,
    forecast_sentence,
    headline,
    key_numbers,
    outcome,
    reason,
    shown_interval,
)
from presage.report.grid import Column, Grid
from presage.report.numbers import count, listing, moment

ROWS_SHOWN: Final = 24
_GAP: Final = 2
_FOLDED: Final = 20
_ENDS: Final = 8


def print_report(report: Report, console: Console, *, held_back: str | None = None) -> None:
    """Print a run: the verdict, its numbers, the newest forecast, and what they stand on.

    `held_back` is as of `print_verdict`. Plain where the console is no terminal. What comes from data can neither style
    the text nor steer the terminal.
    """
    print_verdict(
        report.scorecard, key_numbers(report.scorecard), console, name=report.qualified_job, held_back=held_back
    )
    if len(report.forecasts) > 1:
        table(grids.forecasts(report.forecasts, report.scorecard.unit), console, report.scorecard.unit)
    elif report.forecast is not None:
        _forecast(report.scorecard, report.forecast, console)
    _details(report.scorecard, console)
    print_reproduction(report, console)


def print_scorecard(scorecard: Scorecard, console: Console, *, name: str = "", held_back: str | None = None) -> None:
    """Print a scorecard alone: the verdict first, then its numbers and tables; the names are as of `print_verdict`."""
    print_verdict(scorecard, key_numbers(scorecard), console, name=name, held_back=held_back)
    _details(scorecard, console)


def print_forecasts(forecasts: Sequence[IssuedForecast], console: Console) -> None:
    """Print forecasts alone: one as its bars, many as a row a series."""
    if len(forecasts) == 1:
        print_forecast(forecasts[0], console)
        return
    newest = max(forecast.issued_at for forecast in forecasts)
    console.print(Text(f"{len(forecasts):,} series, issued at {moment(newest)} UTC", "bold"))
    table(grids.forecasts(forecasts), console, shown_rows=len(forecasts))


def print_forecast(forecast: IssuedForecast, console: Console) -> None:
    """Print a forecast alone, a row a bar."""
    console.print(Text(printable(f"{forecast.series}, issued at {moment(forecast.issued_at)} UTC"), "bold"))
    table(grids.forecast_steps(forecast), console)


def print_verdict(
    scorecard: Scorecard, numbers: Sequence[KeyNumber], console: Console, *, name: str, held_back: str | None = None
) -> None:
    """Print the verdict and its numbers.

    Args:
        scorecard: What the run found.
        numbers: Its numbers.
        console: Where to print.
        name: Whose it is.
        held_back: Why the run does not serve whatever its verdict, as a sentence; None where it is not held back.
    """
    said, sentence = outcome(scorecard), f"{headline(scorecard)}."
    style = "bold green" if scorecard.verdict.promoted else "bold yellow"
    if held_back is not None:
        said, sentence, style = "Held back", held_back[:1].upper() + held_back[1:], "bold yellow"
    console.print(Text.assemble((said.upper(), style), "  ", (printable(name), "dim")))
    paragraph(sentence, console, style="bold")
    paragraph(reason(scorecard), console)
    console.print()
    shown = Table.grid(padding=(0, 2))
    for one in numbers:
        parts = ((one.name, ""), (one.value, "bold"), (one.note, "dim"))
        shown.add_row(*(Text(printable(part), style) for part, style in parts))
    console.print(Padding(shown, (0, 0, 0, INDENT), expand=False))


def print_details(
    scorecard: Scorecard, console: Console, *, evidence: str, scores: Sequence[Grid], sources: Grid
) -> None:
    """Print what a verdict stands on.

    Args:
        scorecard: What the run found.
        console: Where to print.
        evidence: What was scored and what it is worth, in words.
        scores: The tables of scores, in order; those without rows are left out.
        sources: What each source gave.
    """
    heading("Evidence", console)
    paragraph(evidence, console)
    for grid in scores:
        table(grid, console, scorecard.unit)
    heading("Features kept", console)
    paragraph(listing(scorecard.features), console)
    table(grids.dropped(scorecard), console)
    table(sources, console)
    if scorecard.caveats:
        heading("Caveats", console)
    for caveat in scorecard.caveats:
        paragraph(caveat, console)


def print_reproduction(run: JudgedRun, console: Console) -> None:
    """Print what pins a run."""
    heading("How to reproduce it", console)
    for key, value in (("run", run.run), ("job", run.digest), ("scorecard", run.scorecard.digest())):
        paragraph(key, console, style="dim")
        paragraph(value, console, indent=2 * INDENT)


def _forecast(scorecard: Scorecard, forecast: IssuedForecast, console: Console) -> None:
    heading("Live forecast", console)
    paragraph(forecast_sentence(scorecard, forecast), console)
    if len(forecast.mean) > 1:
        watched = shown_interval(scorecard, forecast.probabilities)
        table(grids.forecast_steps(forecast, scorecard.unit, watched), console, scorecard.unit)


def _details(scorecard: Scorecard, console: Console) -> None:
    scores = (
        grids.contenders(scorecard),
        grids.folds(scorecard),
        *([grids.steps(scorecard)] if scorecard.horizon > 1 else []),
        grids.coverage(scorecard),
        *([_best_and_worst(grids.series(scorecard))] if scorecard.series else []),
    )
    evidence = evidence_sentence(scorecard)
    print_details(scorecard, console, evidence=evidence, scores=scores, sources=grids.sources(scorecard))


def _best_and_worst(grid: Grid) -> Grid:
    if len(grid.rows) <= 2 * _ENDS:
        return grid
    return replace(
        grid, title=f"{grid.title}: the first and the last {_ENDS}", rows=grid.rows[:_ENDS] + grid.rows[-_ENDS:]
    )


def table(grid: Grid, console: Console, unit: str = "", shown_rows: int = ROWS_SHOWN) -> None:
    """Print the narrow columns of a grid; the unit that many columns share is said once, in the heading.

    No number or time is ever broken: where there is too little room, the last columns are left to the report.
    """
    if not grid.rows:
        return
    shared = unit and any(column.unit == unit for column in grid.columns)
    heading(f"{grid.title} (values in {unit})" if shared and unit != "%" else grid.title, console)
    rows = grid.rows[:shown_rows]
    shown = [place for place, column in enumerate(grid.columns) if column.narrow]
    headings = {place: _heading_lines(grid.columns[place], unit) for place in shown}
    folded = {place for place in shown if _may_fold(grid.columns[place], first=place == shown[0])}
    widths = {place: max(map(cell_len, (*headings[place], *(row[place] for row in rows)))) for place in shown}
    widths |= {place: min(widths[place], _FOLDED) for place in folded}
    while len(shown) > 2 and sum(widths[place] + _GAP for place in shown) - _GAP > console.width - INDENT:
        shown.pop()
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for place in shown:
        table.add_column(
            Text("\n".join(headings[place])),
            justify="right" if grid.columns[place].kind == "number" else "left",
            no_wrap=place not in folded,
            overflow="fold",
        )
    for place, row in enumerate(rows):
        table.add_row(*(Text(printable(row[cell])) for cell in shown), style="bold" if place == grid.marked else "")
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))
    if len(grid.rows) > shown_rows:
        paragraph(f"and {count(len(grid.rows) - shown_rows, 'row')} more, in the report", console, style="dim")


def _heading_lines(column: Column, unit: str) -> list[str]:
    parts = (column.name, "" if column.unit == unit and unit != "%" else column.unit)
    return [printable(part) for part in parts if part]


def _may_fold(column: Column, *, first: bool) -> bool:
    """Whether a column may be broken into lines: sentences, and the names that head the rows, but no times."""
    return column.kind == "sentence" or (first and column.kind == "name" and column.unit != "UTC")
