"""The period arithmetic of `presage.spec.periods` for whole columns; a zone's clock is asked once a day, not a row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import polars as pl

from presage.frame import TIMESTAMP
from presage.spec.base import Frequency
from presage.spec.periods import period_end, period_start

DAY = Frequency(1, "d")

_SECOND = 1_000_000
_DAY_LENGTH = 86_400 * _SECOND
"""Microseconds of a second, and of a day of UTC."""

_BLOCK = 1 << 16
"""Moments that are looked at at a time, few enough for the processor's cache."""


def day_starts(days: pl.Series, zone: str) -> pl.Series:
    """Return the first moments of local days (Date), UTC, microseconds; null for null."""
    return _once_a_day(days, lambda day: period_start(_noon(day, zone), DAY, zone))


def period_starts(moments: pl.Series, frequency: Frequency, zone: str) -> pl.Series:
    """Return `period_start` of each moment (Datetime, UTC, microseconds); null for null."""
    if zone == "UTC" and frequency.intraday:
        return _utc_period_starts(moments, int(frequency.approximate.total_seconds()) * _SECOND)
    days = moments.dt.convert_time_zone(zone).dt.date()
    if frequency.unit not in ("m", "h"):
        return _once_a_day(days, lambda day: period_start(_noon(day, zone), frequency, zone))
    midnights = day_starts(days, zone)
    length = int(frequency.approximate.total_seconds()) * _SECOND
    since = (moments - midnights).cast(pl.Int64) // length * length
    return midnights + since.cast(pl.Duration("us"))


def _utc_period_starts(moments: pl.Series, length: int) -> pl.Series:
    counted = moments.to_physical()
    # Where periods fill the day, the days' own starts are starts of periods.
    day = length if _DAY_LENGTH % length == 0 else _DAY_LENGTH
    blocks = (counted.slice(start, _BLOCK) for start in range(0, len(counted), _BLOCK))
    if not any((block % day % length != 0).any() for block in blocks):
        return moments
    return (counted - counted % day % length).cast(TIMESTAMP)


def period_ends(starts: pl.Series, frequency: Frequency, zone: str) -> pl.Series:
    """Return `period_end` of each start (Datetime, UTC, microseconds); null for null."""
    if frequency.unit in ("m", "h"):
        return starts + frequency.approximate
    moments = starts.unique().drop_nulls().to_list()
    ends = [period_end(moment, frequency, zone) for moment in moments]
    return starts.replace_strict(moments, ends, default=None, return_dtype=TIMESTAMP)


def one_period_later(moments: pl.Series, frequency: Frequency, zone: str) -> pl.Series:
    """Return the moments (Datetime, UTC, microseconds) one period later; null for null.

    Minutes and hours are elapsed time. A day, week or month later the clock of `zone` shows the same, on the last day
    of a month that is too short; where it shows that twice or never, the later of the possible moments holds.
    """
    if frequency.unit in ("m", "h"):
        return moments + frequency.approximate
    known = moments.unique().drop_nulls()
    clock = known.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.offset_by(str(frequency))
    later = [_latest(local, zone) for local in clock]
    return moments.replace_strict(known, later, default=None, return_dtype=TIMESTAMP)


def _latest(local: datetime, zone: str) -> datetime:
    return max(local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))


def _once_a_day(days: pl.Series, start: Callable[[date], datetime]) -> pl.Series:
    known = days.unique().drop_nulls().sort()
    if known.is_empty():
        return pl.repeat(None, days.len(), dtype=TIMESTAMP, eager=True).alias(days.name)
    starts = pl.Series([start(day) for day in known], dtype=TIMESTAMP)
    since = known.to_physical() - known.to_physical()[0]
    by_day = pl.repeat(None, since[-1] + 1, dtype=TIMESTAMP, eager=True).scatter(since, starts)
    return by_day.gather(days.to_physical() - known.to_physical()[0]).alias(days.name)


def _noon(day: date, zone: str) -> datetime:
    # Noon exists on every day, midnight does not: in some zones the clock goes forward then.
    return datetime.combine(day, time(12), tzinfo=ZoneInfo(zone))
