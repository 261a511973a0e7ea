"""Which bars should exist, which are missing, and those that forward fill makes up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from presage.bars.contract import CalendarName, Gap
from presage.bars.periods import Periods, as_series, ranks, weekend
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, BoolArray, IntArray
from presage.spec.base import Frequency

LONGEST_HOLIDAY = timedelta(days=4)
"""The longest closure of US exchanges since 1950: four weekdays, 11 to 14 September 2001."""

_BASE = "bar before the gap"
_VINTAGE = "when a vintage of it was known"
_FIRST = "when its first vintage was known"


@dataclass(frozen=True)
class Missing:
    """Missing periods of one series, ascending.

    Attributes:
        number: (m,) number of each period.
        before: (m,) number of the last bar before the gap that the period is in.
        rank: (m,) place of the period in its gap, from 0.
    """

    number: IntArray
    before: IntArray
    rank: IntArray


def choose_calendar(
    bars: pl.DataFrame, frequency: Frequency, calendar: Literal["Auto", "Continuous", "Weekdays"], zone: str
) -> CalendarName:
    """Return the calendar of some bars.

    Auto is Weekdays where bars are days and none falls on a Saturday or Sunday in `zone`, else Continuous. Bars of
    weeks and months are Continuous under every name: each has weekdays in it.
    """
    if frequency.unit in {"w", "mo"}:
        return "Continuous"
    if calendar != "Auto":
        return calendar
    daily = frequency == Frequency(1, "d")
    return "Weekdays" if daily and not weekend(bars.get_column(TIME).to_numpy(), zone).any() else "Continuous"


def find_missing(
    numbers: IntArray, periods: Periods, frequency: Frequency, calendar: CalendarName, zone: str
) -> Missing:
    """Return the periods between a series' first and last bar that have none.

    On Weekdays, Saturdays and Sundays are not missing, nor are weekdays in a row that together are no longer than the
    longest holiday.

    Args:
        numbers: (n,) numbers of the bars' periods, ascending, each once.
        periods: The numbered periods.
        frequency: Length of a bar.
        calendar: Which bars should exist.
        zone: IANA zone whose days bars cover.
    """
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    lengths = np.diff(numbers)[breaks] - 1
    run = np.repeat(np.arange(len(breaks)), lengths)
    before = numbers[breaks][run]
    number = before + 1 + ranks(lengths)
    if calendar == "Weekdays":
        expected = ~weekend(periods.start(number), zone)
        days = np.bincount(run[expected], minlength=len(breaks))
        expected &= (days > LONGEST_HOLIDAY / frequency.approximate)[run]
        run, before, number = run[expected], before[expected], number[expected]
    return Missing(number, before, ranks(np.bincount(run)))


def list_gaps(series: str, missing: Missing, filled: BoolArray, periods: Periods) -> list[Gap]:
    """Return the gaps that missing periods make; `filled` (m,) tells which of them forward fill made up."""
    first = np.flatnonzero(missing.rank == 0)
    if len(first) == 0:
        return []
    last = np.append(first[1:], len(missing.rank)) - 1
    starts = _moments(periods, missing.number[first])
    ends = _moments(periods, missing.number[last])
    sizes = (missing.rank[last] + 1).tolist()
    made = np.add.reduceat(filled, first, dtype=np.intp).tolist()
    return [Gap(series, *parts) for parts in zip(starts, ends, sizes, made, strict=True)]


def fill_forward(
    bars: pl.DataFrame, series: str, missing: Missing, *, limit: int, periods: Periods, lag: timedelta
) -> pl.DataFrame:
    """Return the bars that repeat the last one before a gap, at most `limit` a gap.

    Each is known a lag after its own end, like a bar, but not before the bar behind the gap is: only then is the gap
    known to be one. It repeats the vintage of the bar before the gap which was the newest then.

    Args:
        bars: All vintages of the series' bars.
        series: Name of the series.
        missing: Its missing periods.
        limit: Most bars to make up from a gap's start.
        periods: The numbered periods.
        lag: Time from a bar's end until it is published.

    Returns:
        Columns as `bars`, sorted.
    """
    chosen = missing.rank < limit
    made = pl.DataFrame(
        {
            SERIES: pl.repeat(series, int(chosen.sum()), eager=True, dtype=pl.String()),
            TIME: as_series(periods.start(missing.number[chosen])),
            _BASE: as_series(periods.start(missing.before[chosen])),
            KNOWN_AT: as_series(periods.end(missing.number[chosen])) + lag,
        }
    )
    vintages = bars.rename({TIME: _BASE, KNOWN_AT: _VINTAGE}).drop(SERIES)
    first = vintages.group_by(_BASE).agg(pl.col(_VINTAGE).min().alias(_FIRST)).sort(_BASE)
    behind = made.sort(TIME).join_asof(first, left_on=TIME, right_on=_BASE, strategy="forward", suffix="_behind")
    made = behind.with_columns(pl.max_horizontal(KNOWN_AT, _FIRST).alias(KNOWN_AT)).drop(
        f"{_BASE}_behind", strict=False
    )
    known = made.join(vintages, on=_BASE).filter(pl.col(_VINTAGE) <= pl.col(KNOWN_AT)).sort(TIME, _VINTAGE)
    return known.unique(TIME, keep="last", maintain_order=True).select(bars.columns).sort(KEY)


def _moments(periods: Periods, numbers: IntArray) -> list[datetime]:
    return as_series(periods.start(numbers)).to_list()
