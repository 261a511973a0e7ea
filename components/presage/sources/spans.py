"""Bounds of a database's time column for the span that is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from presage.sources.contract import NOTHING_BEFORE, Request
from presage.spec.sources import Source

Bound: TypeAlias = int | datetime | date | str

_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# Zones are up to 14 hours from UTC, and a label may be a period away from the row's start.
_MARGIN = timedelta(days=2)


@dataclass(frozen=True)
class Span:
    """Bounds of a column.

    Attributes:
        column: Its name.
        low: Lowest value that is asked for.
        high: First value that is not.
    """

    column: str
    low: Bound
    high: Bound


def span_of(source: Source, request: Request, value: object, *, loose_types: bool) -> Span | None:
    """Return the bounds of the time column that a request's span needs, None where they cannot be told safely.

    They are wider than the span by two days and a period: what a row's time means is judged later, for all adapters
    alike.

    Args:
        source: The source.
        request: Its span, with a start.
        value: One value of the column.
        loose_types: Whether the database keeps dates and times as text.
    """
    if request.start is None:
        return None
    margin = _MARGIN + request.period(source).approximate
    low = (max(request.start, NOTHING_BEFORE) - margin).astimezone(UTC)
    high = (request.end + margin).astimezone(UTC)
    if isinstance(value, datetime):
        zone = UTC if value.tzinfo is not None else None
        return Span(source.time, low.replace(tzinfo=zone), high.replace(tzinfo=zone))
    if isinstance(value, date):
        return Span(source.time, low.date(), high.date())
    if isinstance(value, int | float | Decimal) and source.time_unit is not None:
        unit = _PER_SECOND[source.time_unit]
        return Span(source.time, int(low.timestamp()) * unit, int(high.timestamp()) * unit)
    if isinstance(value, str) and loose_types and source.time_format is None and _ISO_DAY.match(value):
        return Span(source.time, f"{low:%Y-%m-%d}", f"{high:%Y-%m-%d}")
    return None
