"""Cells that tell a time, as moments in UTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

import polars as pl

from presage.errors import DataError
from presage.frame import TIMESTAMP
from presage.sources.periods import day_starts
from presage.sources.quotes import quoted
from presage.spec.sources import Source

Where = Callable[[int], str]
"""Says where row i of a column stands in the source."""

TimeUnit = Literal["s", "ms", "us", "ns"]

_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
_LATEST = datetime(3000, 1, 1, tzinfo=UTC)
_PER_SECOND: dict[TimeUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_SMALLEST = -(2**63)
_ISO_DAYS = ("%Y-%m-%d", "%Y-%m")
_ISO_CLOCKS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
_ISO_OFFSETS = tuple(form + "%#z" for form in _ISO_CLOCKS)
_HOUR = re.compile(r"%[-_0]?[HIkl]")
_MINUTE = re.compile(r"%[-_0]?M|%[TRXrc+]")
_OFFSET = r"(Z|[+-]\d{2}(?::?\d{2})?)$"
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*$")
_UNIT_REMEDY = "Set `timeUnit` (s, ms, us or ns since 1970-01-01), or `timeFormat` such as '%Y%m%d'."


@dataclass(frozen=True)
class Moments:
    """A column of times.

    Attributes:
        moments: Datetime("us", "UTC"); the first moment of the day where the cell is a date; null where the cell holds
            no time, or none between the years 1000 and 3000.
        is_date: Boolean; whether the cell is a date without a time of day.
        offsets: The offsets from UTC that times in ISO 8601 are written with, sorted.
    """

    moments: pl.Series
    is_date: pl.Series
    offsets: tuple[str, ...] = ()


def read_moments(cells: pl.Series, source: Source, where: Where) -> Moments:
    """Return a column of times as moments.

    Text is read by the source's `time_format`, else as ISO 8601 (a month, a date, or a date and time to the minute,
    second or fraction, with or without an offset); numbers count `time_unit` since 1970-01-01 UTC. Without an offset a
    time is local in `time_zone`; one that the clock shows twice is the earlier.

    Args:
        cells: Text, Date, Datetime or numbers; the name is the source's own.
        source: Says how times are written.
        where: Says where a row stands.

    Raises:
        DataError: Some times have an offset and some have none, the zone's clock never showed one, or the source's
            `time_format` and `time_unit` do not tell how to read such a column.
    """
    dtype = cells.dtype
    if dtype in (pl.Categorical, pl.Enum, pl.Null) or (dtype.is_integer() and _only_format(source)):
        cells = cells.cast(pl.String)
    if cells.dtype == pl.String:
        return _from_text(cells, source, where)
    if dtype == pl.Date:
        return _from_days(cells, source.time_zone)
    if isinstance(dtype, pl.Datetime):
        # Other units of a time without a year overflow.
        possible = cells.to_physical().is_between(*possible_counts(dtype.time_unit))
        sound = cells if possible.all() else _only(cells, possible)
        return _from_clock(sound.cast(pl.Datetime("us", dtype.time_zone)), source, where)
    if dtype.is_numeric() and source.time_unit is not None:
        return _from_numbers(cells, source.time_unit)
    problem = "holds numbers" if dtype.is_numeric() else f"holds {dtype}, which is no time"
    raise DataError(f"source {source.name!r}, {where(0)}, column {cells.name!r}: {problem}.", _UNIT_REMEDY)


def describe_times(source: Source) -> str:
    """Return how a time of the source has to be written, in words."""
    if source.time_format is not None:
        return f"of the form {source.time_format!r} that `timeFormat` says"
    if source.time_unit is not None:
        return f"between the years 1000 and 3000 in {source.time_unit} since 1970-01-01, as `timeUnit` says"
    return "in ISO 8601, such as 2020-01-31 or 2020-01-31T14:30:00Z; another form needs `timeFormat`"


def _only_format(source: Source) -> bool:
    return source.time_format is not None and source.time_unit is None


def _from_text(text: pl.Series, source: Source, where: Where) -> Moments:
    if source.time_format is not None:
        return _from_format(text, source.time_format, source, where)
    if source.time_unit is not None:
        return _from_numbers(text.str.strip_chars(), source.time_unit)
    return _from_iso(text, source, where)


def _from_format(text: pl.Series, form: str, source: Source, where: Where) -> Moments:
    if "%Z" in form or "%s" in form:
        raise DataError(
            f"source {source.name!r}: timeFormat {form!r} uses %Z or %s, which do not name one moment.",
            "Write the zone's letters as they are and set `timeZone`; for seconds since 1970 set `timeUnit: s`.",
        )
    bare = text.str.strip_chars()
    try:
        if not _HOUR.search(form) and not _MINUTE.search(form):
            return _from_days(bare.str.to_date(form, strict=False), source.time_zone)
        if not _MINUTE.search(form):
            # polars reads no hour without its minutes.
            bare, form = bare + " 00", form + " %M"
        clock = bare.str.to_datetime(form, time_unit="us", strict=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"source {source.name!r}: timeFormat {form!r} does not tell a time of column {text.name!r}.",
            "Write it in strftime's letters, such as '%d.%m.%Y %H:%M'.",
        ) from error
    return _from_clock(clock, source, where)


def _from_iso(text: pl.Series, source: Source, where: Where) -> Moments:
    row = text.is_not_null().arg_max() or 0
    if _NUMBER.match(text[row] or ""):
        problem = f"{quoted(text[row])} is a number, not a time in ISO 8601"
        raise DataError(f"source {source.name!r}, {where(row)}, column {text.name!r}: {problem}.", _UNIT_REMEDY)
    bare = text.str.strip_chars().str.replace(" ", "T", literal=True)
    if bare.str.ends_with("UTC").any():
        bare = bare.str.replace(r"[T ]?UTC$", "Z")
    days = _first_that_reads(bare, _ISO_DAYS, lambda rest, form: rest.str.to_date(form, strict=False))
    bare = _only(bare, days.is_null())
    local = _first_that_reads(bare, _ISO_CLOCKS, _to_datetime)
    bare = _only(bare, local.is_null())
    zoned = _first_that_reads(bare, _ISO_OFFSETS, _to_datetime)
    without = days.is_not_null() | local.is_not_null()
    if without.any() and zoned.is_not_null().any():
        _refuse_mixture(text, without, zoned.is_not_null(), source, where)
    if zoned.is_not_null().any():
        offsets = bare.filter(zoned.is_not_null()).str.extract(_OFFSET).unique().drop_nulls().sort()
        return replace(_from_clock(zoned, source, where), offsets=tuple(offsets))
    dates = _from_days(days, source.time_zone)
    clocks = _from_clock(local, source, where)
    return Moments(dates.moments.zip_with(dates.is_date, clocks.moments), dates.is_date)


def _to_datetime(text: pl.Series, form: str) -> pl.Series:
    return text.str.to_datetime(form, time_unit="us", strict=False)


def _first_that_reads(text: pl.Series, forms: Sequence[str], read: Callable[[pl.Series, str], pl.Series]) -> pl.Series:
    done = read(text, forms[0])
    for form in forms[1:]:
        unread = done.is_null() & text.is_not_null()
        if not unread.any():
            break
        done = done.zip_with(~unread, read(text, form))
    return done


def _only(values: pl.Series, kept: pl.Series) -> pl.Series:
    return pl.select(pl.when(kept).then(values)).to_series().alias(values.name)


def _refuse_mixture(text: pl.Series, without: pl.Series, zoned: pl.Series, source: Source, where: Where) -> None:
    first_without, first_zoned = without.arg_true()[0], zoned.arg_true()[0]
    odd, usual = max(first_without, first_zoned), min(first_without, first_zoned)
    has, lacks = ("has an offset", "have none") if odd == first_zoned else ("has no offset", "have one")
    raise DataError(
        f"source {source.name!r}, {where(odd)}, column {text.name!r}: {quoted(text[odd])} {has}, "
        f"rows above it such as {quoted(text[usual])} {lacks}.",
        "Write all times with an offset, or all without one and set `timeZone`.",
    )


def _from_days(days: pl.Series, zone: str) -> Moments:
    possible = _within(days, date(1000, 1, 2), date(2999, 12, 30))
    moments = day_starts(possible, zone)
    return Moments(moments, moments.is_not_null())


def _from_clock(clock: pl.Series, source: Source, where: Where) -> Moments:
    zoned = clock
    if clock.dtype.time_zone is None:  # type: ignore[attr-defined]  # callers give Datetime only
        zoned = clock.dt.replace_time_zone(source.time_zone, ambiguous="earliest", non_existent="null")
        lost = zoned.is_null() & clock.is_not_null()
        if lost.any():
            row = lost.arg_true()[0]
            raise DataError(
                f"source {source.name!r}, {where(row)}, column {clock.name!r}: {clock[row]} does not exist in "
                f"{source.time_zone}, where the clock went forward over it.",
                "Correct `timeZone`, or write the times with their offset.",
            )
    return _moments(zoned.dt.convert_time_zone("UTC"))


def possible_counts(unit: TimeUnit) -> tuple[int, int]:
    """Return the least and the greatest number of a unit since 1970-01-01 that is a time."""
    per_second = _PER_SECOND[unit]
    low = max(int(_EARLIEST.timestamp()) * per_second, _SMALLEST)
    return low, min(int(_LATEST.timestamp()) * per_second, -_SMALLEST - 1)


def _from_numbers(cells: pl.Series, unit: TimeUnit) -> Moments:
    per_second = _PER_SECOND[unit]
    low, high = possible_counts(unit)
    whole = cells.cast(pl.Int64, strict=False)
    if not cells.dtype.is_float() and whole.null_count() == cells.null_count():
        whole = _within(whole, low, high)
        micro = whole * (1_000_000 // per_second) if per_second <= 1_000_000 else whole // (per_second // 1_000_000)
    else:
        real = cells.cast(pl.Float64, strict=False)
        micro = (_within(real, low, high) * (1_000_000 / per_second)).round()
    return _moments(micro.cast(pl.Int64).cast(TIMESTAMP))


def _moments(moments: pl.Series) -> Moments:
    return Moments(_within(moments, _EARLIEST, _LATEST), pl.repeat(value=False, n=moments.len(), eager=True))


def _within(values: pl.Series, low: int | date, high: int | date) -> pl.Series:
    """Return values with null in place of those that are not between two bounds."""
    inside = values.is_between(low, high)
    return values if inside.all() else _only(values, inside)
