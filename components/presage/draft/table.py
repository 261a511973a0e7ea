"""All that a table of one series or several suggests for a job, put together."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from presage.draft.frequency import FrequencyGuess, guess_frequency
from presage.draft.names import LONGEST_COLUMN, value_names
from presage.draft.opened import Opened
from presage.draft.series import SeriesGuess
from presage.draft.settle import dropping, settle
from presage.draft.target import TargetGuess, guess_target
from presage.errors import DataError
from presage.evaluation.intervals import MINIMUM_RESIDUALS
from presage.evaluation.season import default_season
from presage.features.definitions import high_and_low
from presage.frame import value_columns
from presage.sources.columns import value_numbers
from presage.sources.contract import Table
from presage.sources.rows import SourceRows, to_rows
from presage.spec.base import Frequency
from presage.spec.evaluation import Evaluation
from presage.spec.sources import Source


@dataclass(frozen=True)
class TableGuess:
    """What a table over time most likely is.

    Attributes:
        source: The source that reads it.
        settled: The rows that the source gives.
        series: The column that tells its series apart; None where it has one.
        frequency: The length of its bars.
        target: What to predict of it.
        ranged: Whether it has high and low prices.
        columns_why: Why the source names its columns; empty where it keeps all of them.
        dropped_why: Why rows have to be dropped; empty where none has to.
    """

    source: Source
    settled: SourceRows
    series: SeriesGuess | None
    frequency: FrequencyGuess
    target: TargetGuess
    ranged: bool
    columns_why: str
    dropped_why: str


def guess_table(opened: Opened, series: SeriesGuess | None) -> TableGuess:
    """Return what a table over time most likely is.

    Args:
        opened: The table.
        series: The column that tells its series apart; None where it has one.

    Raises:
        DataError: It is no table over time that is long enough to judge on.
    """
    fetched, times = opened.table, opened.times
    frequency = guess_frequency(times.moments, opened.zone.name, opened.place)
    length = frequency.frequency
    told = {
        "series": series.column if series else None,
        # Beside the job's it lets a user ask for longer bars by changing one word, and says that rows are missing.
        "frequency": str(length) if length.intraday or frequency.rare else None,
    }
    source = opened.source.model_copy(update=told)
    keys = {times.column, series.column} if series else {times.column}
    names = value_names(fetched.data.columns, keys)
    rows = _values(source, fetched, names, length)
    target = guess_target(rows, least=least_rows(length), place=opened.place)
    prices = high_and_low(value_columns(rows))
    ranged = prices is not None and _are_ranges(rows, *prices)
    changed = next((old for old, new in names.items() if old != new and new in rows.columns), None)
    if changed is not None:
        used = {target.column, *(prices if prices and ranged else ())}
        source = source.model_copy(update={"columns": {new: old for old, new in names.items() if new in used}})
    source, settled, dropped_why = settle(source, lambda read: to_rows(read, fetched, frequency=length))
    return TableGuess(
        source=source,
        settled=settled,
        series=series,
        frequency=frequency,
        target=target,
        ranged=ranged,
        columns_why=f"only what is used: the lake cannot hold {changed!r} under its own name" if changed else "",
        dropped_why=dropped_why,
    )


def least_rows(frequency: Frequency) -> int:
    """Return the fewest bars that a job of defaults can be judged on.

    Half of them train; the rest calibrate the intervals and leave one bar a fold. The seasonal naive baseline has to
    see a season first.
    """
    behind = MINIMUM_RESIDUALS + Evaluation().folds
    return max(2 * behind, default_season(frequency, weekdays=False) + behind + 1)


def _values(source: Source, fetched: Table, names: dict[str, str], frequency: Frequency) -> pl.DataFrame:
    """Return the rows that can be true, with all numeric columns, under names that a job can refer to."""
    keys = [source.time] if source.series is None else [source.time, source.series]
    data = fetched.data.select(*keys, *names).rename(names)
    table = Table(data, fetched.parts)
    try:
        value_numbers(source, table)
    except DataError as error:
        unnamed = fetched.data.width - len(keys) - len(names)
        aside = f", {unnamed} without a name or with one of over {LONGEST_COLUMN} characters aside" if unnamed else ""
        raise DataError(
            f"{fetched.parts[0].name}: no column holds numbers beside the times in {source.time!r}{aside}.",
            "Write numbers with a point, such as 1234.5, without separators of thousands and signs of currency.",
        ) from error
    return to_rows(dropping(source), table, frequency=frequency).rows


def _are_ranges(rows: pl.DataFrame, high: str, low: str) -> bool:
    """Return whether most rows of two columns called high and low can be prices."""
    possible = rows.select((pl.col(low) > 0) & (pl.col(high) >= pl.col(low))).to_series()
    return int(possible.sum()) > rows.height / 2
