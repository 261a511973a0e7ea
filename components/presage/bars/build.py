"""Bars of a source, from the vintages that the lake holds of its rows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl

from presage.bars.aggregate import make_bars, series_edges
from presage.bars.contract import FILLED, Bars, CalendarName, Gap
from presage.bars.gaps import choose_calendar, fill_forward, find_missing, list_gaps
from presage.bars.periods import Periods, as_series, periods_between, weekend
from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME, value_columns
from presage.spec.base import Frequency, parse_duration, parse_frequency
from presage.spec.sources import Source


def build_bars(
    source: Source,
    rows: pl.DataFrame,
    *,
    frequency: Frequency,
    calendar: Literal["Auto", "Continuous", "Weekdays"],
    now: datetime,
    duplicates: int = 0,
) -> Bars:
    """Return the closed bars of a source and what is missing among them.

    Rows that are finer than the job's frequency are made into bars of that frequency; others are bars as they are, of
    their own frequency. A bar is closed when its period is over and it is known; one that is made of finer rows also
    needs a row at or behind its end, or the data may stop in its middle.

    Args:
        source: How the rows are read: row frequency, time zone, lag, aggregation, fill.
        rows: All vintages of the source's rows: the row contract of `presage.frame`, in any order; `ingested_at` may be
            there and does not matter.
        frequency: The job's frequency.
        calendar: Which bars should exist; under Weekdays, bars of a day or less that start on a Saturday or Sunday in
            the source's zone are left out.
        now: The moment to stand at, UTC; what is known later is left out.
        duplicates: Dropped rows to report.

    Returns:
        The bars. Nothing is filled unless the source says so, and what is filled is marked.

    Raises:
        DataError: No bar is closed yet, or the source's aggregation names a column that it does not have.
    """
    _check_aggregation(source, rows)
    row_frequency = parse_frequency(source.frequency) if source.frequency else frequency
    lag = parse_duration(source.availability.lag)
    zone = source.time_zone
    rows = _sorted(rows.drop(INGESTED_AT, strict=False))
    made = row_frequency.approximate < frequency.approximate
    length = frequency if made else row_frequency
    if rows.height:
        periods = periods_between(*_span(rows), length, zone)
        bars = rows
        if made:
            row_periods = periods_between(*_span(rows), row_frequency, zone)
            bars = make_bars(rows, row_periods, periods, dict(source.aggregation), lag)
        bars = bars.filter((_end(bars, periods) <= now) & (pl.col(KNOWN_AT) <= now))
        chosen = choose_calendar(bars, length, calendar, zone)
        if chosen == "Weekdays":
            bars = bars.filter(~weekend(bars.get_column(TIME).to_numpy(), zone))
    if rows.is_empty() or bars.is_empty():
        raise DataError(
            f"Source {source.name}: of {rows.height} rows none makes a closed bar of {length} by {now.isoformat()}.",
            "Give it rows of earlier periods or a later --as-of, or check its time, frequency and availability.",
        )
    bars = bars.with_columns(pl.lit(value=False).alias(FILLED))
    filled, gaps = _close_gaps(source, bars, periods, length=length, calendar=chosen, now=now)
    return Bars(
        source=source.name,
        frequency=length,
        calendar=chosen,
        time_zone=zone,
        rows=pl.concat([bars, *filled]).sort(KEY),
        gaps=tuple(gaps),
        duplicates=duplicates,
    )


def _close_gaps(
    source: Source, bars: pl.DataFrame, periods: Periods, *, length: Frequency, calendar: CalendarName, now: datetime
) -> tuple[list[pl.DataFrame], list[Gap]]:
    """Return the bars to add and all gaps, series by series."""
    limit = source.fill.limit if source.fill.method == "Forward" else 0
    lag = parse_duration(source.availability.lag)
    filled = []
    gaps = []
    for (name,), series in bars.group_by(SERIES, maintain_order=True):
        times = series.get_column(TIME).unique(maintain_order=True).to_numpy()
        missing = find_missing(np.unique(periods.number(times)), periods, length, calendar, source.time_zone)
        copies = series.clear()
        if limit and len(missing.number):
            made_up = fill_forward(series, str(name), missing, limit=limit, periods=periods, lag=lag)
            copies = made_up.filter(pl.col(KNOWN_AT) <= now)
        filled.append(copies.with_columns(pl.lit(value=True).alias(FILLED)))
        made = as_series(periods.start(missing.number)).is_in(copies.get_column(TIME).implode()).to_numpy()
        gaps += list_gaps(str(name), missing, made, periods)
    return filled, gaps


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows sorted by `KEY`; whether they are is soon seen, and a sort of millions is not."""
    if rows.is_empty():
        return rows
    edges = series_edges(rows)
    names = rows.get_column(SERIES).gather(edges[:-1])
    times, known_at = rows.get_column(TIME).to_numpy(), rows.get_column(KNOWN_AT).to_numpy()
    odd = np.setdiff1d(np.flatnonzero(times[1:] <= times[:-1]) + 1, edges)
    ascending = (times[odd] == times[odd - 1]) & (known_at[odd] >= known_at[odd - 1])
    return rows if (names[1:] > names[:-1]).all() and ascending.all() else rows.sort(KEY)


def _end(bars: pl.DataFrame, periods: Periods) -> pl.Series:
    return as_series(periods.end(periods.number(bars.get_column(TIME).to_numpy())))


def _span(rows: pl.DataFrame) -> tuple[datetime, datetime]:
    first, last = rows.select(first=pl.col(TIME).min(), last=pl.col(TIME).max()).row(0)
    return first, last


def _check_aggregation(source: Source, rows: pl.DataFrame) -> None:
    columns = value_columns(rows)
    for name in source.aggregation:
        if name not in columns:
            raise DataError(
                f"Source {source.name}: aggregation names the column {name!r}, which it does not have.",
                f"Name one of {', '.join(columns)}.",
            )
