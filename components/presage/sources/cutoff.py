"""Rows that start later than a read asks for, such as those of a server whose clock is ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from presage.sources.columns import time_column
from presage.sources.contract import Part, Request, Table
from presage.sources.periods import period_starts
from presage.sources.timestamps import read_moments
from presage.spec.sources import Source


@dataclass(frozen=True)
class Cut:
    """A table up to the end of what is asked for.

    Attributes:
        table: Its rows whose period starts before the end, and those whose time cannot be read.
        left_out: How many rows start later.
        newest: Start of the newest period of its rows, UTC; None where no time can be read.
    """

    table: Table
    left_out: int
    newest: datetime | None


def cut_off(table: Table, source: Source, request: Request) -> Cut:
    """Leave out the rows that start at the request's end or later; a table without the time column stays as it is.

    Raises:
        DataError: The times cannot be read as declared.
    """
    time = time_column(source, table)
    if time not in table.data.columns or table.data.is_empty():
        return Cut(table, 0, None)
    times = read_moments(table.data[time], source, table.where)
    moments = times.moments
    period = request.period(source)
    if source.time_label == "PeriodEnd":
        within = moments - timedelta(microseconds=1)
        moments = within if period.intraday else moments.zip_with(times.is_date, within)
        moments = period_starts(moments, period, source.time_zone)
    kept = (moments < request.end).fill_null(value=True)
    newest = moments.filter(kept).max()
    return Cut(
        table if kept.all() else _filtered(table, kept),
        int((~kept).sum()),
        newest if isinstance(newest, datetime) else None,
    )


def _filtered(table: Table, kept: pl.Series) -> Table:
    """Return the rows that are true, in as many parts as it takes for each to still have its place."""
    parts = []
    start = 0
    for part in table.parts:
        chosen = kept[start : start + part.rows]
        lengths = chosen.rle().struct.unnest()
        row = 0
        for length, value in lengths.iter_rows():
            if value:
                parts.append(_stretch(part, table.data[start : start + row], row, length))
            row += length
        start += part.rows
    return replace(table, data=table.data.filter(kept), parts=tuple(parts))


def _stretch(part: Part, above: pl.DataFrame, row: int, length: int) -> Part:
    if part.first_line is None:
        return Part(part.name if row == 0 else f"{part.name}, behind row {row}", length)
    texts = [cells for cells in above if cells.dtype == pl.String]
    breaks = sum(int(cells.str.count_matches("\n", literal=True).sum()) for cells in texts)
    return Part(part.name, length, part.first_line + row + breaks)
