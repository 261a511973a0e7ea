"""Until when the newest bar or row of a source may be the newest one."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from presage.bars.gaps import choose_calendar
from presage.spec.base import Frequency, parse_duration, parse_frequency
from presage.spec.job import PredictionJob
from presage.spec.periods import is_weekday, next_weekday, period_end, period_start, shift
from presage.spec.sources import Source


def newest_bar(job: PredictionJob, source: Source, newest: datetime) -> datetime:
    """Return the start of the newest bar that rows up to one at `newest` can have closed, UTC."""
    row, length = _lengths(job, source)
    bar = period_start(newest, length, source.time_zone)
    ends = period_end(bar, length, source.time_zone)
    return bar if period_end(newest, row, source.time_zone) >= ends else shift(bar, -1, length, source.time_zone)


def bar_due(job: PredictionJob, source: Source, bar: datetime, bars: pl.DataFrame | None) -> datetime:
    """Return until when a bar may be the newest one, UTC.

    That is `monitoring.maxStaleness` after it was known. By default it is the end of two bars behind it, which are no
    weekend's where bars have none, and the source's lag.
    """
    _, length = _lengths(job, source)
    lag = parse_duration(source.availability.lag)
    longest = job.spec.monitoring.max_staleness
    if longest is not None:
        return period_end(bar, length, source.time_zone) + lag + parse_duration(longest)
    calendar = job.spec.calendar if source.name == job.spec.target.source else "Auto"
    weekdays = bars is not None and bars.height and choose_calendar(bars, length, calendar, source.time_zone)
    return _two_behind(bar, length, source.time_zone, weekdays=weekdays == "Weekdays") + lag


def row_due(job: PredictionJob, time: datetime, periods: pl.DataFrame) -> datetime:
    """Return until when a row of the target's source may be the newest one, UTC.

    That is `monitoring.maxStaleness` after it was known. By default it is the end of two periods of the job's frequency
    behind its own, which are no weekend's where no row is, and the source's lag.

    Args:
        job: A job over rows.
        time: Time of the row, UTC.
        periods: Column `time`: the starts of the periods that have rows.
    """
    source, length = job.spec.source(job.spec.target.source), parse_frequency(job.spec.frequency)
    lag = parse_duration(source.availability.lag)
    longest = job.spec.monitoring.max_staleness
    if longest is not None:
        return time + lag + parse_duration(longest)
    weekdays = choose_calendar(periods, length, job.spec.calendar, source.time_zone) == "Weekdays"
    period = period_start(time, length, source.time_zone)
    return _two_behind(period, length, source.time_zone, weekdays=weekdays) + lag


def _two_behind(period: datetime, length: Frequency, zone: str, *, weekdays: bool) -> datetime:
    """Return the end of the second period behind one, UTC; with `weekdays` those of a weekend are not counted."""
    behind = period
    for _ in range(2):
        behind = shift(behind, 1, length, zone)
        if weekdays and not is_weekday(behind, zone):
            behind = next_weekday(behind, zone)
    return period_end(behind, length, zone)


def _lengths(job: PredictionJob, source: Source) -> tuple[Frequency, Frequency]:
    """Return the lengths of a row and of a bar of a source."""
    frequency = parse_frequency(job.spec.frequency)
    row = frequency if source.frequency is None else parse_frequency(source.frequency)
    return row, frequency if row.approximate < frequency.approximate else row
