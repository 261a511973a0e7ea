"""Bars of a source whose rows come part by part, so that memory holds a part and not all rows.

The result is that of `build_bars` on all rows. Two things reach over the seam of two parts. A bar may have rows in
both: the rows of a part's first bar are handed on to the part before it. And a bar is known when a row behind it is: of
the rows behind a part one row a series is enough, which was known when the first of them was. So the last part in time
comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import polars as pl

from presage.bars.aggregate import make_bars
from presage.bars.build import build_bars
from presage.bars.contract import Bars
from presage.bars.periods import periods_between
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME
from presage.spec.base import Frequency, parse_duration, parse_frequency
from presage.spec.periods import period_end, period_start
from presage.spec.sources import Source


def build_bars_of_parts(
    source: Source,
    parts: Iterable[pl.DataFrame],
    *,
    frequency: Frequency,
    calendar: Literal["Auto", "Continuous", "Weekdays"],
    now: datetime,
    duplicates: int = 0,
) -> Bars:
    """Return the closed bars of a source and what is missing among them.

    Args:
        source: How the rows are read.
        parts: All vintages of the source's rows, as `build_bars` takes them; all rows of a part are later than those of
            the parts behind it.
        frequency: The job's frequency.
        calendar: Which bars should exist.
        now: The moment to stand at, UTC; what is known later is left out.
        duplicates: Dropped rows to report.

    Raises:
        DataError: As `build_bars`.
    """
    row_frequency = frequency if source.frequency is None else parse_frequency(source.frequency)
    if row_frequency.approximate < frequency.approximate:
        parts = _bars(source, parts, row_frequency, frequency)
        source = source.model_copy(update={"frequency": str(frequency)})
    rows = pl.concat([part.drop(INGESTED_AT, strict=False) for part in parts], how="diagonal")
    return build_bars(source, rows, frequency=frequency, calendar=calendar, now=now, duplicates=duplicates)


def _bars(
    source: Source, parts: Iterable[pl.DataFrame], row_frequency: Frequency, frequency: Frequency
) -> Iterable[pl.DataFrame]:
    zone = source.time_zone
    lag = parse_duration(source.availability.lag)
    behind: pl.DataFrame | None = None
    handed_on: pl.DataFrame | None = None

    def made(rows: pl.DataFrame) -> pl.DataFrame:
        own = rows if behind is None else pl.concat([rows, behind], how="diagonal").sort(KEY)
        first, last = own.select(first=pl.col(TIME).min(), last=pl.col(TIME).max()).row(0)
        bars = make_bars(
            own,
            periods_between(first, last, row_frequency, zone),
            periods_between(first, last, frequency, zone),
            dict(source.aggregation),
            lag,
        )
        return bars if behind is None else bars.filter(pl.col(TIME) <= rows.get_column(TIME).max())

    for part in parts:
        rows = part.drop(INGESTED_AT, strict=False)
        if handed_on is not None:
            rows = pl.concat([rows, handed_on])
        if rows.is_empty():
            handed_on = rows
            continue
        rows = rows.sort(KEY)
        start = rows.get_column(TIME).min()
        seam = period_end(period_start(start, frequency, zone), frequency, zone)  # type: ignore[arg-type]
        handed_on, rows = rows.filter(pl.col(TIME) < seam), rows.filter(pl.col(TIME) >= seam)
        if rows.height:
            yield made(rows)
            behind = _first_known(rows, behind)
    if handed_on is not None:
        yield made(handed_on) if handed_on.height else handed_on


def _first_known(rows: pl.DataFrame, behind: pl.DataFrame | None) -> pl.DataFrame:
    """Return a row a series at its first time, known when the first of these rows and those behind them was."""
    known = rows.select(KEY).unique((SERIES, TIME), keep="first", maintain_order=True)
    if behind is not None:
        known = pl.concat([known, behind])
    return known.group_by(SERIES, maintain_order=True).agg(pl.col(TIME).min(), pl.col(KNOWN_AT).min())
