"""Holes among a source's bars, and the spans of time to ask its source for again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from presage.bars import Bars
from presage.spec.base import Frequency
from presage.spec.periods import period_end, period_start, shift
from presage.spec.sources import Source

RECENT = timedelta(days=30)
"""How far back a regular run asks again for what is missing."""

_NEAR = timedelta(days=1)
"""Holes that are no further apart are asked for at once: a request costs more than a few rows that are held already."""

_MONTH = Frequency(1, "mo")


@dataclass(frozen=True)
class Span:
    """A span of time, UTC; the end does not belong to it."""

    start: datetime
    end: datetime


def can_be_asked_for_spans(source: Source) -> bool:
    """Return whether a source can give the rows of a span of time alone."""
    database = source.sql or source.clickhouse
    if database is not None:
        return database.incremental_column is not None
    return source.exchange is not None or (source.http is not None and "{start" in source.http.url)


def holes(bars: Bars, since: datetime | None = None) -> tuple[Span, ...]:
    """Return the spans that lack bars, of all series together, in the order of time; neighbours are one span.

    Args:
        bars: Bars of a source.
        since: Gaps that start earlier are left out before neighbours are joined; None for all gaps.
    """
    gaps = sorted(
        (gap.start, period_end(gap.end, bars.frequency, bars.time_zone))
        for gap in bars.gaps
        if since is None or gap.start >= since
    )
    return joined(Span(start, end) for start, end in gaps)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans, given in the order of their starts, of which those less than a day apart are one."""
    done: list[Span] = []
    for span in spans:
        if done and span.start - done[-1].end <= _NEAR:
            done[-1] = Span(done[-1].start, max(done[-1].end, span.end))
        else:
            done.append(span)
    return tuple(done)


def by_month(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans cut at the starts of months, UTC."""
    cut = []
    for span in spans:
        start = span.start
        while start < span.end:
            end = min(shift(period_start(start, _MONTH, "UTC"), 1, _MONTH, "UTC"), span.end)
            cut.append(Span(start, end))
            start = end
    return tuple(cut)
