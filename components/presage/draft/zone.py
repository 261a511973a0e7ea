"""The zone whose days a table's bars cover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import polars as pl

_OFFSET = r"\d[T ]\d{2}:?\d{2}.*([+-]\d{2}):?(\d{2})\s*$"
_SAMPLE = 100
_USUAL = (
    "UTC",
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Asia/Shanghai",
    "Asia/Hong_Kong",
    "Asia/Kolkata",
    "Australia/Sydney",
)


@dataclass(frozen=True)
class ZoneGuess:
    """A zone of the IANA database, and why it is taken."""

    name: str
    why: str


def guess_zone(cells: pl.Series, moments: pl.Series) -> ZoneGuess:
    """Return the zone of a column of times.

    A day that ends by another clock than the market's may seem known before it is over, so that offsets in the cells
    are used: the first zone, usual ones first, whose clock had all of them at those times.

    Args:
        cells: The column as it is.
        moments: Datetime("us", "UTC"); the same cells as moments, null where a cell tells no time.
    """
    if isinstance(cells.dtype, pl.Datetime) and cells.dtype.time_zone is not None:
        return ZoneGuess(cells.dtype.time_zone, "the column's own")
    if cells.dtype != pl.String:
        return ZoneGuess("UTC", "a guess: nothing in the column names a zone")
    parts = cells.str.extract_groups(_OFFSET).struct.unnest()
    told = parts.with_columns(moments.alias("moment")).drop_nulls()
    if told.is_empty():
        if cells.str.contains(r"(Z|UTC)\s*$").any():
            return ZoneGuess("UTC", "the cells say so")
        return ZoneGuess("UTC", "a guess: nothing in the column names a zone")
    some = told.gather_every(max(1, told.height // _SAMPLE)).rows()
    offsets = {moment: _offset(hours, minutes) for hours, minutes, moment in some}
    for name in _zones():
        zone = ZoneInfo(name)
        if all(moment.astimezone(zone).utcoffset() == offset for moment, offset in offsets.items()):
            return ZoneGuess(
                name, f"a guess: its clock had the offsets of the cells, such as {some[0][0]}:{some[0][1]}"
            )
    return ZoneGuess("UTC", "CHECK: no one zone has the offsets of the cells, so days are taken as UTC's")


def _offset(hours: str, minutes: str) -> timedelta:
    size = timedelta(hours=int(hours[1:]), minutes=int(minutes))
    return -size if hours[0] == "-" else size


@cache
def _zones() -> tuple[str, ...]:
    others = sorted(available_timezones() - {*_USUAL, "localtime", "Factory"})
    return (*_USUAL, *others)
