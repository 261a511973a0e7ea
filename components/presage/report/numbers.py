"""Numbers, times and names as people read them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

UNDEFINED = "\N{EN DASH}"
DIGITS = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(value: float | None, digits: int = DIGITS) -> str:
    """Return a number with that many significant digits and thousands separators; an en dash for None and NaN."""
    return aligned((value,), digits)[0]


def aligned(values: Iterable[float | None], digits: int = DIGITS) -> list[str]:
    """Return numbers with equal decimals, so that they line up in a column.

    The number of typical size (the median) shows `digits` significant digits. A column of numbers too small or too
    large to read that way is written with powers of ten.
    """
    column = list(values)
    sizes = [abs(value) for value in column if value is not None and math.isfinite(value) and value]
    typical = statistics.median_high(sizes) if sizes else 1.0
    if not 1e-5 <= typical < 1e12:
        return [UNDEFINED if _missing(value) else f"{value:.{digits - 1}e}" for value in column]
    decimals = max(0, digits - 1 - math.floor(math.log10(typical)))
    return [UNDEFINED if _missing(value) else unsigned_zero(f"{value:,.{decimals}f}") for value in column]


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share as percent, such as 6.9 %; an en dash for None and NaN."""
    return UNDEFINED if share is None or math.isnan(share) else unsigned_zero(f"{100 * share:.{decimals}f}") + " %"


def level_name(level: float) -> str:
    """Return the nominal coverage of an interval as percent, with the digits it needs: 90 %, 99.5 %."""
    return f"{100 * level:.6g} %"


def p_value(value: float) -> str:
    """Return a p-value to three decimals, and `< 0.001` where they would all be 0."""
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def moment(time: datetime | np.datetime64) -> str:
    """Return a UTC time as ISO date, with hours and minutes (and seconds) where it is not midnight."""
    at = from_numpy(time) if isinstance(time, np.datetime64) else time.astimezone(UTC)
    if at.hour == at.minute == at.second == 0:
        return f"{at:%Y-%m-%d}"
    return f"{at:%Y-%m-%d %H:%M:%S}" if at.second else f"{at:%Y-%m-%d %H:%M}"


def from_numpy(time: np.datetime64) -> datetime:
    """Return a datetime64, which is in UTC, as an aware datetime; a part below a microsecond is cut off."""
    return _EPOCH + timedelta(microseconds=int(time.astype("datetime64[us]").astype(np.int64)))


def count(how_many: int, noun: str) -> str:
    """Return a count with its noun, such as `1 fold` or `2,304 origins`."""
    return f"{how_many:,} {noun}" if how_many == 1 else f"{how_many:,} {noun}s"


def listing(words: Sequence[str]) -> str:
    """Return words as a listing: a; a and b; a, b and c."""
    return words[0] if len(words) == 1 else " and ".join((", ".join(words[:-1]), words[-1])) if words else "none"


def unsigned_zero(text: str) -> str:
    """Return the text of a number without the sign that rounding leaves before a zero."""
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
