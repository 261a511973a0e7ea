"""All that a table suggests for a job, put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from presage.draft.frequency import FrequencyGuess, guess_frequency
from presage.draft.layout import Layout, first_line_is_data, guess_layout
from presage.draft.names import LONGEST_COLUMN, source_name, value_names
from presage.draft.series import require_one_series
from presage.draft.target import TargetGuess, guess_target
from presage.draft.times import TimeGuess, guess_times
from presage.draft.zone import ZoneGuess, guess_zone
from presage.errors import DataError
from presage.evaluation.intervals import MINIMUM_RESIDUALS
from presage.evaluation.season import default_season
from presage.features.definitions import high_and_low
from presage.frame import value_columns
from presage.sources import file
from presage.sources.columns import value_numbers
from presage.sources.contract import Table
from presage.sources.formats import join
from presage.sources.rows import SourceRows, to_rows
from presage.spec.base import Frequency
from presage.spec.evaluation import Evaluation
from presage.spec.sources import Availability, FileSource, Source


@dataclass(frozen=True)
class TableGuess:
    """What a table most likely is.

    Attributes:
        source: The source that reads it.
        settled: The rows that the source gives.
        layout: How its text is laid out.
        times: Its column of times.
        zone: The zone of its days.
        frequency: The length of its bars.
        target: What to predict of it.
        ranged: Whether it has high and low prices.
        columns_why: Why the source names its columns; empty where it keeps all of them.
        dropped_why: Why rows have to be dropped; empty where none has to.
    """

    source: Source
    settled: SourceRows
    layout: Layout
    times: TimeGuess
    zone: ZoneGuess
    frequency: FrequencyGuess
    target: TargetGuess
    ranged: bool
    columns_why: str
    dropped_why: str


def guess_table(path: Path, *, base: Path) -> TableGuess:
    """Return what a table most likely is.

    Args:
        path: The file, absolute.
        base: Folder that relative paths start from; a file below it is named relative to it.

    Raises:
        DataError: The file cannot be read, or is no table of one series over time that is long enough to judge on.
    """
    uri = str(path.relative_to(base) if path.is_relative_to(base) else path)
    source = Source(name=source_name(path), availability=Availability(lag="0s"), file=FileSource(uri=uri))
    layout = guess_layout(path, source)
    options = FileSource(uri=uri, delimiter=layout.delimiter, skip_rows=layout.skip_rows)
    source = source.model_copy(update={"file": options})
    fetched = _fetch(source, base, path.name)
    times = _times(fetched, source)
    require_one_series(fetched, times)
    zone = guess_zone(fetched.data[times.column], times.moments)
    frequency = guess_frequency(times.moments, zone.name, path.name)
    length = frequency.frequency
    source = source.model_copy(
        update={
            "time": times.column,
            "time_format": times.form.format,
            "time_unit": times.form.unit,
            "time_zone": zone.name,
            # Beside the job's it lets a user ask for longer bars by changing one word, and says that rows are missing.
            "frequency": str(length) if length.intraday or frequency.rare else None,
        }
    )
    names = value_names(fetched.data.columns, times.column)
    rows = _values(source, fetched, names, length)
    target = guess_target(rows, least=least_rows(length), place=path.name)
    prices = high_and_low(value_columns(rows))
    ranged = prices is not None and _are_ranges(rows, *prices)
    changed = next((old for old, new in names.items() if old != new and new in rows.columns), None)
    if changed is not None:
        used = {target.column, *(prices if prices and ranged else ())}
        source = source.model_copy(update={"columns": {new: old for old, new in names.items() if new in used}})
    source, settled, dropped_why = _settle(source, fetched, length)
    return TableGuess(
        source=source,
        settled=settled,
        layout=layout,
        times=times,
        zone=zone,
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


def _fetch(source: Source, base: Path, name: str) -> Table:
    """Return the table with its file's bare name: the path is in the job already."""
    fetched = join(list(file.tables(source, base)), source)
    return replace(fetched, parts=tuple(replace(part, name=name) for part in fetched.parts))


def _times(fetched: Table, source: Source) -> TimeGuess:
    place = fetched.parts[0].name
    if fetched.data.is_empty():
        raise DataError(f"{place}: there are no rows below the header.", "Give a table with a history of rows.")
    times = guess_times(fetched, source)
    if first_line_is_data(times, source):
        raise DataError(
            f"{place}: there is no header: the first line, with {times.column!r}, is data.",
            "Write a line with the names of the columns above it, such as Date,Close.",
        )
    return times


def _values(source: Source, fetched: Table, names: dict[str, str], frequency: Frequency) -> pl.DataFrame:
    """Return the rows that can be true, with all numeric columns, under names that a job can refer to."""
    data = fetched.data.select(source.time, *names).rename(names)
    table = Table(data, fetched.parts)
    try:
        value_numbers(source, table)
    except DataError as error:
        unnamed = fetched.data.width - 1 - len(names)
        aside = f", {unnamed} without a name or with one of over {LONGEST_COLUMN} characters aside" if unnamed else ""
        raise DataError(
            f"{fetched.parts[0].name}: no column holds numbers beside the times in {source.time!r}{aside}.",
            "Write numbers with a point, such as 1234.5, without separators of thousands and signs of currency.",
        ) from error
    return to_rows(source.model_copy(update={"invalid_rows": "Drop"}), table, frequency=frequency).rows


def _are_ranges(rows: pl.DataFrame, high: str, low: str) -> bool:
    """Return whether most rows of two columns called high and low can be prices."""
    possible = rows.select((pl.col(low) > 0) & (pl.col(high) >= pl.col(low))).to_series()
    return int(possible.sum()) > rows.height / 2


def _settle(source: Source, fetched: Table, frequency: Frequency) -> tuple[Source, SourceRows, str]:
    """Return the source that reads a table, its rows, and why rows have to be dropped where they do."""
    try:
        return source, to_rows(source, fetched, frequency=frequency), ""
    except DataError as error:
        dropping = source.model_copy(update={"invalid_rows": "Drop"})
        settled = to_rows(dropping, fetched, frequency=frequency)
        count = "1 row" if settled.dropped == 1 else f"{settled.dropped:,} rows"
        first, _, _ = error.what.removeprefix(f"source {source.name!r}, ").partition(". ")
        return dropping, settled, f"{count} cannot be true, such as {first.removesuffix('.')}"
