"""The forecast origins: the target's bars on its calendar, each with what was known of it and when.

A bar is an origin when it was the newest one at the moment it became known. A bar that became known only with or after
a later one never was the newest: no forecast was ever issued from it, and its level is missing like that of a gap. So
is that of a bar that forward fill made up. On Weekdays such a late bar inside what passed for a holiday has no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from presage.bars import FILLED, CalendarName
from presage.features.timetable import Timetable
from presage.frame import KNOWN_AT, TIME, FloatArray, TimeArray
from presage.spec.base import Frequency

_NEVER = np.datetime64("9999-12-31", "us")


@dataclass(frozen=True)
class Grid:
    """The rows of a frame before it has features.

    Attributes:
        time: (n,) datetime64[us], UTC; start of each bar or gap.
        following: (n,) datetime64[us], UTC; start of the first period after it on which the calendar is open.
        origin: (n,) datetime64[us], UTC, ascending; when the bar was known; for a row that is no origin, the end of
            its period plus the source's lag, but before any later bar was known.
        level: (n,) float64; the bar's value at its origin; NaN for a row that is no origin.
        target_time: (n, h) datetime64[us], UTC; start of the bar of each step ahead.
        target_level: (n, h) float64; its value as first published; NaN for a gap and where not known yet.
        target_known_at: (n, h) datetime64[us], UTC; when that became known, always after the origin; NaT where NaN.
        late: Bars that are no origins because a later bar was known no later than they were.
    """

    time: TimeArray
    following: TimeArray
    origin: TimeArray
    level: FloatArray
    target_time: TimeArray
    target_level: FloatArray
    target_known_at: TimeArray
    late: int


def target_grid(
    rows: pl.DataFrame,
    column: str,
    *,
    horizon: int,
    frequency: Frequency,
    calendar: CalendarName,
    zone: str,
    lag: timedelta,
) -> Grid:
    """Return the origins of one series.

    Args:
        rows: Vintages of the target's bars: the row contract of `presage.frame` plus `filled`.
        column: The target's column, with some value. A bar whose value is null in every vintage is missing.
        horizon: Steps ahead.
        frequency: Length of a bar.
        calendar: Which bars should exist.
        zone: IANA zone whose days daily and longer bars cover.
        lag: Time from a period's end until its bar is published.
    """
    published = rows.filter(pl.col(column).is_not_null() & ~pl.col(FILLED)).sort(TIME, KNOWN_AT)
    first = published.unique(TIME, keep="first", maintain_order=True)
    bar_time, bar_known_at, bar_value = (first[name].to_numpy() for name in (TIME, KNOWN_AT, column))
    # When the first of the bars from each one on became known, and when the first of those after it did.
    earliest = np.minimum.accumulate(bar_known_at[::-1])[::-1]
    superseded_at = np.append(earliest[1:], _NEVER)

    timetable = Timetable.covering(bar_time, beyond=horizon, frequency=frequency, calendar=calendar, zone=zone)
    in_order = bar_time[bar_known_at <= superseded_at]
    history = np.sort(np.concatenate([in_order, timetable.missing(in_order)]))
    time = np.concatenate([history, timetable.after(history[-1], horizon)])
    place = np.minimum(np.searchsorted(bar_time, time), len(bar_time) - 1)
    present = bar_time[place] == time
    value = np.where(present, bar_value[place], np.nan)
    known_at = np.where(present, bar_known_at[place], np.datetime64("NaT", "us"))

    rows_of_history = slice(len(history))
    later = np.append(earliest, _NEVER)[np.searchsorted(bar_time, history, side="right")]
    leads = known_at[rows_of_history] < later  # NaT compares as False
    presumed = np.minimum(timetable.ends(history) + np.timedelta64(lag), later - np.timedelta64(1, "us"))
    steps = np.arange(len(history))[:, None] + np.arange(1, horizon + 1)
    return Grid(
        time=history,
        following=timetable.following(history),
        origin=np.maximum.accumulate(np.where(leads, known_at[rows_of_history], presumed)),
        level=np.where(leads, value[rows_of_history], np.nan),
        target_time=time[steps],
        target_level=value[steps],
        target_known_at=known_at[steps],
        late=int((bar_known_at >= superseded_at).sum()),
    )
