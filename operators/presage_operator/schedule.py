"""When a cadence is due, as CronJob has it: pure, from a cron expression, a time zone and the moments around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from presage.spec.cron import Cron, parse_cron
from presage.spec.operations import Cadence

MOST_COUNTED = 100
"""Missed starts are counted up to here; more are a wrong clock, or a long time down."""
_YEARS = 5
_MINUTE = timedelta(minutes=1)

_parsed = lru_cache(maxsize=4096)(parse_cron)


@dataclass(frozen=True, slots=True)
class Due:
    """What a cadence has missed.

    Attributes:
        time: The newest due time for which no run was started, UTC; None where there is none.
        missed: Due times for which no run was started, that one included, at most `MOST_COUNTED`.
        more: Whether there are more than that.
    """

    time: datetime | None = None
    missed: int = 0
    more: bool = False


def next_time(cadence: Cadence, after: datetime) -> datetime | None:
    """Return the first due time later than a moment, UTC; None where none is due until the fifth year after.

    Every minute whose wall clock the expression names is due. So what the clock skips when it is set forward is not
    due that day, and what it shows twice when it is set back is due twice.
    """
    cron = _parsed(cadence.schedule)
    zone = ZoneInfo(cadence.time_zone)
    moment = after.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
    wall = moment.astimezone(zone)
    last_year = wall.year + _YEARS
    while not _named(cron, wall):
        moment = _leap(cron, moment, wall)
        wall = moment.astimezone(zone)
        if wall.year > last_year:
            return None
    return moment


def due(cadence: Cadence, *, last: datetime | None, created: datetime, now: datetime) -> Due:
    """Return what was missed since the last start, however long ago that is.

    Args:
        cadence: The cadence; whether it is suspended is the caller's business.
        last: Due time of its newest start; None where it never started.
        created: Since when it is due at all, where it never started.
        now: The present; what is older than the starting deadline before it is passed over.
    """
    since = created if last is None else last
    if cadence.starting_deadline_seconds is not None:
        since = max(since, now - timedelta(seconds=cadence.starting_deadline_seconds))
    first = next_time(cadence, since)
    if first is None or first > now:
        return Due()
    missed = 0
    time: datetime | None = first
    while time is not None and time <= now and missed <= MOST_COUNTED:
        missed += 1
        time = next_time(cadence, time)
    return Due(_newest(cadence, first, now), min(missed, MOST_COUNTED), more=missed > MOST_COUNTED)


def _newest(cadence: Cadence, first: datetime, now: datetime) -> datetime:
    """Return the last due time up to now, from one such: the interval after which none is due is halved each time."""
    low, high = first, now
    while high - low >= _MINUTE:
        middle = low + (high - low) / 2
        found = next_time(cadence, middle)
        if found is not None and found <= now:
            low = found
        else:
            high = middle
    return low


def _named(cron: Cron, wall: datetime) -> bool:
    return wall.minute in cron.minutes and wall.hour in cron.hours and _day_named(cron, wall)


def _day_named(cron: Cron, wall: datetime) -> bool:
    day, weekday = wall.day in cron.days, wall.isoweekday() % 7 in cron.weekdays
    either = not (cron.any_day or cron.any_weekday)
    return wall.month in cron.months and ((day or weekday) if either else (day and weekday))


def _leap(cron: Cron, moment: datetime, wall: datetime) -> datetime:
    """Return a later moment; nothing is due between.

    A leap over a change of the clock may come down too early or too late, so it is made in shorter steps.
    """
    for leap in _leaps(cron, wall):
        later = moment + leap
        if later.astimezone(wall.tzinfo).utcoffset() == wall.utcoffset():
            return later
    return moment + _MINUTE


def _leaps(cron: Cron, wall: datetime) -> Iterator[timedelta]:
    """Yield how long nothing is due on a clock that is not set meanwhile, the longest first."""
    midnight = timedelta(hours=wall.hour, minutes=wall.minute)
    if wall.month not in cron.months:
        year, month = divmod(wall.year * 12 + wall.month, 12)
        yield (
            datetime(year, month + 1, 1, tzinfo=UTC) - datetime(wall.year, wall.month, wall.day, tzinfo=UTC) - midnight
        )
    if not _day_named(cron, wall):
        yield timedelta(days=1) - midnight
    if wall.hour not in cron.hours or not _day_named(cron, wall):
        yield timedelta(minutes=60 - wall.minute)
    else:
        yield timedelta(
            minutes=min((minute for minute in cron.minutes if minute > wall.minute), default=60) - wall.minute
        )
