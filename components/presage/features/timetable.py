"""Which bars a calendar has: the periods between bars and after them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from presage.bars import CalendarName
from presage.bars.gaps import find_missing
from presage.bars.periods import Periods, as_series, periods_between, weekend
from presage.frame import IntArray, TimeArray
from presage.spec.base import Frequency
from presage.spec.periods import shift


@dataclass(frozen=True)
class Timetable:
    """The periods of a calendar, from a series' first bar to some periods beyond its last.

    Attributes:
        periods: All periods in a row, those on which the calendar is closed among them.
        open: (p,) numbers of the periods on which the calendar is open, ascending.
        frequency: Length of a bar.
        calendar: Which bars should exist.
        zone: IANA zone whose days daily and longer bars cover.
    """

    periods: Periods
    open: IntArray
    frequency: Frequency
    calendar: CalendarName
    zone: str

    @classmethod
    def covering(
        cls, times: TimeArray, *, beyond: int, frequency: Frequency, calendar: CalendarName, zone: str
    ) -> Timetable:
        """Return the timetable from the first of some bars to `beyond` open periods after the last.

        Args:
            times: (n,) datetime64[us], UTC, ascending, at least one; starts of bars.
            beyond: Periods to know of after the last bar.
            frequency: Length of a bar.
            calendar: Which bars should exist.
            zone: IANA zone whose days daily and longer bars cover.
        """
        first, last = _moments(times[[0, -1]])
        stop = shift(last, beyond + 1, frequency, zone)
        if calendar == "Weekdays":
            stop += ((stop - last) // timedelta(days=5) + 2) * timedelta(days=2)
        periods = periods_between(first, stop, frequency, zone)
        numbers = np.arange(periods.number(_times([stop]))[0] + 1)
        if calendar == "Weekdays":
            numbers = numbers[~weekend(periods.start(numbers), zone)]
        return cls(periods, numbers, frequency, calendar, zone)

    def ends(self, times: TimeArray) -> TimeArray:
        """Return the end (exclusive) of each bar; (n,) datetime64[us], UTC, as `times`."""
        return self.periods.end(self.periods.number(times))

    def following(self, times: TimeArray) -> TimeArray:
        """Return the start of the first open period after each bar; (n,) datetime64[us], UTC, as `times`."""
        place = np.searchsorted(self.open, self.periods.number(times), side="right")
        return self.periods.start(self.open[place])

    def after(self, time: np.datetime64, count: int) -> TimeArray:
        """Return the starts of the first `count` open periods after a bar; (count,) datetime64[us], UTC."""
        place = np.searchsorted(self.open, self.periods.number(np.array([time]))[0], side="right")
        return self.periods.start(self.open[place : place + count])

    def missing(self, times: TimeArray) -> TimeArray:
        """Return the open periods between bars that have none, holidays left out; (m,) datetime64[us], UTC."""
        found = find_missing(self.periods.number(times), self.periods, self.frequency, self.calendar, self.zone)
        return self.periods.start(found.number)


def period_ends(times: TimeArray, frequency: Frequency, zone: str) -> TimeArray:
    """Return the end (exclusive) of each period; (n,) datetime64[us], UTC, as `times`, which are ascending starts."""
    if not len(times):
        return times
    first, last = _moments(times[[0, -1]])
    periods = periods_between(first, last, frequency, zone)
    return periods.end(periods.number(times))


def _moments(times: TimeArray) -> list[datetime]:
    return as_series(times).to_list()


def _times(moments: list[datetime]) -> TimeArray:
    return np.array([moment.replace(tzinfo=None) for moment in moments], dtype="datetime64[us]")
