"""Which spans a source is asked for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from presage.bars import Bars, Gap
from presage.spec.base import parse_frequency
from presage.spec.sources import Source
from presage.steps.holes import Span, by_month, can_be_asked_for_spans, holes, joined

DAY = timedelta(days=1)


def day(number: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + (number - 1) * DAY


def bars(*gaps: tuple[str, int, int]) -> Bars:
    return Bars(
        source="x",
        frequency=parse_frequency("1d"),
        calendar="Continuous",
        time_zone="UTC",
        rows=pl.DataFrame(),
        gaps=tuple(Gap(series, day(first), day(last), last - first + 1, 0) for series, first, last in gaps),
        duplicates=0,
    )


def test_holes_of_all_series_are_spans_in_the_order_of_time():
    found = holes(bars(("a", 3, 4), ("a", 20, 20), ("b", 4, 6), ("b", 40, 41)))
    assert found == (Span(day(3), day(7)), Span(day(20), day(21)), Span(day(40), day(42)))


def test_spans_that_are_less_than_a_day_apart_are_one():
    near = [Span(day(1), day(3)), Span(day(2), day(2) + DAY / 2), Span(day(4), day(5)), Span(day(7), day(8))]
    assert joined(near) == (Span(day(1), day(5)), Span(day(7), day(8)))


def test_older_holes_are_left_out_even_where_recent_ones_lie_close_behind():
    found = holes(bars(("a", 1, 1), ("a", 3, 3), ("a", 5, 5), ("b", 1, 8)), since=day(5))
    assert found == (Span(day(5), day(6)),)


def test_a_span_is_cut_at_the_starts_of_months():
    span = Span(day(20), day(65))
    assert by_month([span]) == (
        Span(day(20), datetime(2024, 2, 1, tzinfo=UTC)),
        Span(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        Span(datetime(2024, 3, 1, tzinfo=UTC), day(65)),
    )
    assert by_month([]) == ()


@pytest.mark.parametrize(
    ("place", "spans"),
    [
        ({"exchange": {"name": "kraken", "symbols": ["BTC/USD"]}}, True),
        ({"http": {"url": "https://example.org/x.csv"}}, False),
        ({"http": {"url": "https://example.org/x?from={start}&to={end}"}}, True),
        ({"http": {"url": "https://example.org/x?from={start:ms}"}}, True),
        ({"file": {"uri": "x.csv"}}, False),
        ({"sql": {"uri": "sqlite:///x", "table": "t"}}, False),
        ({"sql": {"uri": "sqlite:///x", "table": "t", "incrementalColumn": "time"}}, True),
    ],
)
def test_some_sources_can_be_asked_for_spans(place, spans):
    source = Source.model_validate({"name": "x", "availability": {"lag": "0s"}, **place})
    assert can_be_asked_for_spans(source) is spans
