"""Arithmetic on the periods that bars cover: zone-aware, so that a day in New York has 23, 24 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from presage.spec.base import Frequency

_FIRST_DAY = date(1970, 1, 1).toordinal()
_FIRST_MONDAY = date(1969, 12, 29).toordinal()


def period_start(moment: datetime, frequency: Frequency, zone: str) -> datetime:
    """Return the start of the period that contains a moment.

    Minutes and hours count from local midnight, days from 1970-01-01, weeks from Monday 1969-12-29, months from January
    of year 1, all in `zone`; the answer is in UTC.
    """
    local = moment.astimezone(ZoneInfo(zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if frequency.unit in ("m", "h"):
        length = frequency.approximate
        # Elapsed time, not wall-clock time: on the day that the clock goes back an hour comes twice.
        since = moment.astimezone(UTC) - midnight.astimezone(UTC)
        return midnight.astimezone(UTC) + (since // length) * length
    return _shift_back(midnight, frequency).astimezone(UTC)


def shift(start: datetime, periods: int, frequency: Frequency, zone: str) -> datetime:
    """Return the start of the period `periods` after (or, below 0, before) the one that starts at `start`, in UTC."""
    if frequency.unit in ("m", "h"):
        return start.astimezone(UTC) + periods * frequency.approximate
    # A day whose midnight the clock skips starts later; what follows it starts at midnight all the same.
    local = start.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if frequency.unit == "mo":
        months = local.year * 12 + local.month - 1 + periods * frequency.count
        moved = local.replace(year=months // 12, month=months % 12 + 1)
    else:
        moved = local + periods * frequency.approximate
    return moved.astimezone(UTC)


def period_end(start: datetime, frequency: Frequency, zone: str) -> datetime:
    """Return the end (exclusive) of the period that starts at `start`, in UTC."""
    return shift(start, 1, frequency, zone)


def is_weekday(start: datetime, zone: str) -> bool:
    """Return whether a period starts on Monday to Friday in `zone`."""
    return start.astimezone(ZoneInfo(zone)).weekday() < 5


def next_weekday(start: datetime, zone: str) -> datetime:
    """Return the start of the next day that is Monday to Friday in `zone`, in UTC."""
    day = Frequency(1, "d")
    following = shift(start, 1, day, zone)
    while not is_weekday(following, zone):
        following = shift(following, 1, day, zone)
    return following


def _shift_back(midnight: datetime, frequency: Frequency) -> datetime:
    day = midnight.date().toordinal()
    if frequency.unit == "mo":
        months = midnight.year * 12 + midnight.month - 1
        months -= months % frequency.count
        return midnight.replace(year=months // 12, month=months % 12 + 1, day=1)
    if frequency.unit == "w":
        elapsed = (day - _FIRST_MONDAY) % (7 * frequency.count)
        return midnight - timedelta(days=elapsed)
    elapsed = (day - _FIRST_DAY) % frequency.count
    return midnight - timedelta(days=elapsed)
