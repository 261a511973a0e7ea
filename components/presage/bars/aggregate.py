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

_MOMENT = np.timedelta64(1, "us")
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
    edges = series_edges(rows)
    is_first = _is_first(rows, edges)
    first, later = rows, rows.clear()
    if not is_first.all():
        first, later = rows.filter(is_first), rows.filter(~is_first)
        edges = series_edges(first)
    times = first.get_column(TIME).to_numpy()
    starts, number = _starts(times, edges, periods)
    sizes = np.diff(np.append(starts, first.height))
    known_at = first.get_column(KNOWN_AT).to_numpy()
    published = np.maximum.reduceat(known_at.view(np.int64), starts).view(known_at.dtype)
    ends = periods.end(number)
    reached = _reached(times, known_at, edges, row_periods, starts=starts, ends=ends)
    closed = np.maximum(np.maximum(published, ends + np.timedelta64(lag)), reached)
    place = (np.cumsum(is_first) - 1)[~is_first] if later.height else np.empty(0, dtype=np.intp)
    bar = np.searchsorted(starts, place, side="right") - 1
    revisions = _Revisions(place, bar, later.get_column(KNOWN_AT).to_numpy(), _values(later))
    names = first.get_column(SERIES).gather(starts)
    made = [
        pl.DataFrame(
            {
                SERIES: names.gather(bars),
                TIME: as_series(periods.start(number[bars])),
                KNOWN_AT: as_series(known),
                **{name: pl.Series(combine(values[name], begins, how[name])).fill_nan(None) for name in how},
            }
        )
        for bars, known, values, begins in _vintages(
            _values(first, writable=later.height > 0), starts, sizes, closed, revisions
        )
    ]
    return pl.concat(made).sort(KEY)


def series_edges(rows: pl.DataFrame) -> IntArray:
    """Return where each run of rows of one series starts, and the number of rows."""
    runs = rows.get_column(SERIES).rle().struct.field("len").to_numpy()
    return np.append(0, np.cumsum(runs, dtype=np.intp))


def _is_first(rows: pl.DataFrame, edges: IntArray) -> BoolArray:
    """Return which rows are the first vintage of theirs."""
    times = rows.get_column(TIME).to_numpy()
    is_first = np.empty(len(times), dtype=np.bool_)
    np.not_equal(times[1:], times[:-1], out=is_first[1:])
    is_first[edges[:-1]] = True
    return is_first


def _starts(times: TimeArray, edges: IntArray, periods: Periods) -> tuple[IntArray, IntArray]:
    """Return where the rows of each bar start, and the number of its period."""
    found = [periods.starts(times[start:stop]) for start, stop in pairwise(edges.tolist())]
    starts = np.concatenate([edges[run] + places for run, (places, _) in enumerate(found)])
    return starts, np.concatenate([numbers for _, numbers in found])


def _reached(
    times: TimeArray, known_at: TimeArray, edges: IntArray, row_periods: Periods, *, starts: IntArray, ends: TimeArray
) -> TimeArray:
    """Return when a row that reaches each bar's end was first known, `NEVER` where there is none.

    Args:
        times: (n,) times of the first vintages of the rows, sorted by series and time.
        known_at: (n,) when they were known.
        edges: Where each series starts, and n.
        row_periods: The periods that rows cover.
        starts: (g,) place of each bar's first row.
        ends: (g,) ends of the bars.
    """
    reached = np.full(len(starts), NEVER)
    possible = ends <= row_periods.edges[-1]
    # A row reaches the end if it is of the period that contains the last moment before it, or of a later one.
    within: TimeArray = np.where(possible, ends, row_periods.edges[-1])
    last = row_periods.start(row_periods.number(within - _MOMENT))
    for start, stop in pairwise(edges.tolist()):
        bars = slice(*np.searchsorted(starts, (start, stop)))
        place = start + np.searchsorted(times[start:stop], last[bars])
        some = possible[bars] & (place < stop)
        # The earliest of all rows from that one on: what lies between two places, and then what lies behind.
        between = np.minimum.reduceat(known_at[:stop].view(np.int64), place[some]) if some.any() else place[:0]
        earliest = np.minimum.accumulate(between[::-1])[::-1]
        reached[bars][some] = earliest.view(known_at.dtype)
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
        if len(now):
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
    if valid.all():
        return _combine_whole(values, starts, how)
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


def _combine_whole(values: FloatArray, starts: IntArray, how: Aggregation) -> FloatArray:
    """Return what `combine` does where every row has a value."""
    if how == "first":
        return values[starts]
    stops: IntArray = np.append(starts[1:], len(values))
    if how == "last":
        return values[stops - 1]
    total = np.add.reduceat(values, starts, dtype=np.float64)
    return total / (stops - starts) if how == "mean" else total


def _values(rows: pl.DataFrame, *, writable: bool = False) -> dict[str, FloatArray]:
    return {name: rows.get_column(name).fill_null(np.nan).to_numpy(writable=writable) for name in value_columns(rows)}


def _changes(values: pl.Series) -> BoolArray:
    return values.ne_missing(values.shift()).to_numpy()
