"""The periods of a span of time, numbered, so that whole columns of bars can be placed by plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from presage.frame import BoolArray, IntArray, TimeArray
from presage.spec.base import Frequency
from presage.spec.periods import period_start, shift

_DAY = Frequency(1, "d")


@dataclass(frozen=True)
class Periods:
    """Periods in a row, numbered from 0, as `presage.spec.periods` counts them.

    The last period of minutes or hours in a day ends with the day, where the length does not divide the day.

    Attributes:
        edges: (k + 1,) datetime64[us], UTC, ascending; starts of the periods and the end of the last one. For periods
            of minutes and hours: the midnights.
        first: (k,) number of the first period that starts at or after each edge but the last.
        length: Length of a period of minutes or hours; None for the others, which lie between two edges each.
    """

    edges: TimeArray
    first: IntArray
    length: np.timedelta64 | None

    def number(self, times: TimeArray) -> IntArray:
        """Return the number of the period that contains each time; (n,), as `times`."""
        place = np.searchsorted(self.edges, times, side="right") - 1
        if self.length is None:
            return self.first[place]
        return self.first[place] + ((times - self.edges[place]) // self.length).astype(np.intp)

    def starts(self, times: TimeArray) -> tuple[IntArray, IntArray]:
        """Return where each period's times start among ascending times, and the numbers of these periods; (g,) both."""
        if self.length is None:
            places = np.append(np.searchsorted(times, self.edges[:-1]), len(times))
            full = np.flatnonzero(np.diff(places))
            return places[full], self.first[full]
        numbers = self.number(times)
        places = np.flatnonzero(np.diff(numbers, prepend=-1))
        return places, numbers[places]

    def start(self, numbers: IntArray) -> TimeArray:
        """Return the start of each numbered period; (n,) datetime64[us], UTC."""
        place = self._place(numbers)
        if self.length is None:
            return self.edges[place]
        return self.edges[place] + (numbers - self.first[place]) * self.length

    def end(self, numbers: IntArray) -> TimeArray:
        """Return the end (exclusive) of each numbered period; (n,) datetime64[us], UTC."""
        stop = self.edges[self._place(numbers) + 1]
        return stop if self.length is None else np.minimum(self.start(numbers) + self.length, stop)

    def _place(self, numbers: IntArray) -> IntArray:
        return np.searchsorted(self.first, numbers, side="right") - 1


def periods_between(first: datetime, last: datetime, frequency: Frequency, zone: str) -> Periods:
    """Return the periods from the one that contains `first` to the one that contains `last`."""
    clock = frequency.unit in {"m", "h"}
    unit = _DAY if clock else frequency
    edges = _edges(first, last, unit, zone)
    if not clock:
        return Periods(edges, np.arange(len(edges) - 1), None)
    length = np.timedelta64(frequency.approximate).astype("timedelta64[us]")
    slots = -(-np.diff(edges) // length)
    return Periods(edges, np.concatenate([[0], np.cumsum(slots)[:-1]]).astype(np.intp), length)


def _edges(first: datetime, last: datetime, frequency: Frequency, zone: str) -> TimeArray:
    start = period_start(first, frequency, zone)
    if zone == "UTC" and frequency.unit != "mo":
        count = (last - start) // frequency.approximate + 2
        step = np.timedelta64(frequency.approximate).astype("timedelta64[us]")
        edges: TimeArray = np.datetime64(start.replace(tzinfo=None), "us") + np.arange(count) * step
        return edges
    moments = [start]
    while moments[-1] <= last:
        # Where the clock leaps over midnight, a day starts late, and a shift of it leads to the same late hour.
        moments.append(period_start(shift(moments[-1], 1, frequency, zone), frequency, zone))
    return pl.Series(moments, dtype=pl.Datetime("us", "UTC")).to_numpy()


def weekend(starts: TimeArray, zone: str) -> BoolArray:
    """Return whether each period starts on a Saturday or Sunday in a zone; (n,) bool."""
    return (as_series(starts).dt.convert_time_zone(zone).dt.weekday() > 5).to_numpy()


def as_series(times: TimeArray) -> pl.Series:
    """Return times as a polars series; datetime64[us] becomes Datetime("us", "UTC")."""
    return pl.Series(times, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")


def ranks(sizes: IntArray) -> IntArray:
    """Return the place of each element in its group, from 0, for groups of some sizes that stand one after another."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
