"""Bars made from finer rows, each with the vintages that its rows' vintages make.

A bar's first vintage is known when all of its rows have been published and a row that reaches the bar's end is known,
because until then the data may go on, and not before the end of the bar and the source's lag. It says what was known of
the rows then. Each later revision of a row makes a further vintage of its bar.

The work is done on plain arrays in the order of time: a library that splits a group between threads would give sums
whose last digits depend on the number of processors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from presage.bars.periods import Periods, as_series, ranks
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, BoolArray, FloatArray, IntArray, TimeArray, value_columns
from presage.spec.sources import Aggregation

NEVER = np.datetime64("9999-12-31", "us")
_BY_NAME: dict[str, Aggregation] = {"open": "first", "high": "max", "low": "min", "volume": "sum"}


@dataclass(frozen=True)
class _Revisions:
    """Vintages of rows after their first ones, by row and then by known_at.

    Attributes:
        place: (v,) which row each one revises.
        bar: (v,) the bar of that row.
        known_at: (v,) datetime64[us], UTC.
        values: Each column's (v,) values.
    """

    place: IntArray
    bar: IntArray
    known_at: TimeArray
    values: Mapping[str, FloatArray]


def make_bars(
    rows: pl.DataFrame,
    row_periods: Periods,
    periods: Periods,
    aggregation: Mapping[str, Aggregation],
    lag: timedelta,
) -> pl.DataFrame:
    """Return the bars that rows make, all vintages.

    Args:
        rows: All vintages, sorted by series, time and known_at, without `ingested_at`; at least one.
        row_periods: The periods that rows cover, from the first row's to the last row's.
        periods: The periods that bars cover, from the first row's to the last row's.
        aggregation: How a column's values make one; by default open is the first, high the maximum, low the minimum,
            volume the sum, in any case, and others are the last.
        lag: Time from a bar's end until it is published.

    Returns:
        The row contract of `presage.frame`, sorted, `time` being the start of the bar. Null values are skipped; a bar
        of nulls alone is null. A bar that no row closes yet is known at `NEVER`.
    """
    how = {name: aggregation.get(name, _BY_NAME.get(name.lower(), "last")) for name in value_columns(rows)}
    is_first = _changes(rows.get_column(SERIES)) | _changes(rows.get_column(TIME))
    first, later = rows.filter(is_first), rows.filter(~is_first)
    number = periods.number(first.get_column(TIME).to_numpy())
    is_start = _changes(first.get_column(SERIES)) | _changes(pl.Series(number))
    starts = np.flatnonzero(is_start)
    sizes = np.diff(np.append(starts, first.height))
    published = np.maximum.reduceat(first.get_column(KNOWN_AT).to_numpy(), starts)
    ends = periods.end(number[starts])
    closed = np.maximum(np.maximum(published, ends + np.timedelta64(lag)), _reached(first, row_periods, starts, ends))
    place = (np.cumsum(is_first) - 1)[~is_first]
    bar_of_row = np.cumsum(is_start) - 1
    revisions = _Revisions(place, bar_of_row[place], later.get_column(KNOWN_AT).to_numpy(), _values(later))
    made = [
        pl.DataFrame(
            {
                SERIES: first.get_column(SERIES).gather(starts[bars]),
                TIME: as_series(periods.start(number[starts[bars]])),
                KNOWN_AT: as_series(known_at),
                **{name: pl.Series(combine(values[name], edges, how[name])).fill_nan(None) for name in how},
            }
        )
        for bars, known_at, values, edges in _vintages(_values(first), starts, sizes, closed, revisions)
    ]
    return pl.concat(made).sort(KEY)


def _reached(first: pl.DataFrame, row_periods: Periods, starts: IntArray, ends: TimeArray) -> TimeArray:
    """Return when a row that reaches each bar's end was first known, `NEVER` where there is none.

    Args:
        first: First vintages of the rows, sorted.
        row_periods: The periods that rows cover.
        starts: (g,) place of each bar's first row.
        ends: (g,) ends of the bars.
    """
    row_ends = row_periods.end(row_periods.number(first.get_column(TIME).to_numpy()))
    known_at = first.get_column(KNOWN_AT).to_numpy()
    edges = np.append(np.flatnonzero(_changes(first.get_column(SERIES))), first.height)
    reached = np.full(len(starts), NEVER)
    for start, stop in pairwise(edges.tolist()):
        bars = slice(*np.searchsorted(starts, (start, stop)))
        earliest = np.append(np.minimum.accumulate(known_at[start:stop][::-1])[::-1], NEVER)
        reached[bars] = earliest[np.searchsorted(row_ends[start:stop], ends[bars])]
    return reached


def _vintages(
    values: dict[str, FloatArray], starts: IntArray, sizes: IntArray, closed: TimeArray, revisions: _Revisions
) -> Iterator[tuple[IntArray, TimeArray, dict[str, FloatArray], IntArray]]:
    """Give the first vintages of all bars, then the second ones of those that have two, and so on.

    Each time: which bars, when their vintages are known, the values of all their rows then, and where each bar starts
    among them. `values` is used up.
    """
    revisions, step = _steps(revisions, closed)
    for count in range(int(step.max(initial=0)) + 1):
        now = np.flatnonzero(step == count)
        for name, column in values.items():
            column[revisions.place[now]] = revisions.values[name][now]
        if count == 0:
            yield np.arange(len(starts)), closed, values, starts
            continue
        bars, which = np.unique(revisions.bar[now], return_index=True)
        some = sizes[bars]
        rows = np.repeat(starts[bars], some) + ranks(some)
        known_at = revisions.known_at[now][which]
        yield bars, known_at, {name: column[rows] for name, column in values.items()}, np.cumsum(some) - some


def _steps(revisions: _Revisions, closed: TimeArray) -> tuple[_Revisions, IntArray]:
    """Return the revisions that matter, and which vintage of its bar each one makes: 0 for those before it is closed.

    Of several revisions of a row before its bar is closed only the last matters.
    """
    if len(revisions.place) == 0:
        return revisions, revisions.place
    early = revisions.known_at <= closed[revisions.bar]
    followed = np.append((revisions.place[1:] == revisions.place[:-1]) & early[1:], False)
    order = np.flatnonzero(~followed)
    order = order[np.lexsort((revisions.known_at[order], revisions.bar[order]))]
    kept = _Revisions(
        revisions.place[order],
        revisions.bar[order],
        revisions.known_at[order],
        {name: column[order] for name, column in revisions.values.items()},
    )
    new_bar = _changes(pl.Series(kept.bar))
    events = np.cumsum((new_bar | _changes(as_series(kept.known_at))) & ~early[order])
    before = np.append(0, events[:-1])
    return kept, events - before[new_bar][np.cumsum(new_bar) - 1]


def combine(values: FloatArray, starts: IntArray, how: Aggregation) -> FloatArray:
    """Return one value a group.

    Args:
        values: (n,) float64; NaN means "no value" and is skipped.
        starts: (g,) places where the groups start, ascending, 0 first.
        how: What the value is.

    Returns:
        (g,) float64; NaN for a group without a value.
    """
    if how == "max":
        return np.fmax.reduceat(values, starts)
    if how == "min":
        return np.fmin.reduceat(values, starts)
    valid = ~np.isnan(values)
    count = np.add.reduceat(valid, starts, dtype=np.intp)
    if how in {"sum", "mean"}:
        total = np.add.reduceat(np.where(valid, values, 0.0), starts)
        return np.where(count > 0, total / np.maximum(count, 1) if how == "mean" else total, np.nan)
    places = np.arange(len(values))
    if how == "first":
        chosen = np.minimum.reduceat(np.where(valid, places, len(values)), starts)
    else:
        chosen = np.maximum.reduceat(np.where(valid, places, -1), starts)
    return np.where(count > 0, values[np.where(count > 0, chosen, 0)], np.nan)


def _values(rows: pl.DataFrame) -> dict[str, FloatArray]:
    return {name: rows.get_column(name).fill_null(np.nan).to_numpy(writable=True) for name in value_columns(rows)}


def _changes(values: pl.Series) -> BoolArray:
    return values.ne_missing(values.shift()).to_numpy()
