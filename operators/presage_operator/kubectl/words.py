"""Numbers and times as the plug-in's tables show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

UNDEFINED = "\N{EN DASH}"


def percent(share: float | None) -> str:
    """Return a share as percent, such as 6.9 %; an en dash for None."""
    return UNDEFINED if share is None else f"{100 * share:.1f} %".replace("-0.0 ", "0.0 ")


def moment(time: datetime | None) -> str:
    """Return a time as UTC date, hours and minutes; an en dash for None."""
    return UNDEFINED if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def took(start: datetime | None, end: datetime | None) -> str:
    """Return a length of time in its two largest units, such as 2m 5s; an en dash where it has not ended."""
    if start is None or end is None:
        return UNDEFINED
    seconds = max(int((end - start) / timedelta(seconds=1)), 0)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"
