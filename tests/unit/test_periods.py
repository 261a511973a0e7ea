"""Periods in zones whose days are not 24 hours long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presage.spec.base import parse_frequency
from presage.spec.periods import is_weekday, next_weekday, period_end, period_start, shift

ZONES = ("UTC", "America/New_York", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kolkata")
FREQUENCIES = ("1m", "15m", "1h", "4h", "1d", "2d", "1w", "2w", "1mo", "3mo", "12mo")
MOMENTS = st.integers(170_000_000, 2_050_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(MOMENTS, st.sampled_from(FREQUENCIES), st.sampled_from(ZONES))
def test_every_moment_is_inside_its_own_period(moment: datetime, frequency: str, zone: str) -> None:
    unit = parse_frequency(frequency)
    start = period_start(moment, unit, zone)
    assert start <= moment < period_end(start, unit, zone)
    assert period_start(start, unit, zone) == start


@given(MOMENTS, st.sampled_from([one for one in FREQUENCIES if one != "4h"]), st.sampled_from(ZONES))
def test_periods_follow_each_other_without_hole_or_overlap(moment: datetime, frequency: str, zone: str) -> None:
    unit = parse_frequency(frequency)
    start = period_start(moment, unit, zone)
    end = period_end(start, unit, zone)
    if unit.unit not in ("m", "h"):
        assert period_start(end, unit, zone) == end
    assert shift(shift(start, 3, unit, zone), -3, unit, zone) == start


@pytest.mark.parametrize(
    ("day", "hours"), [("2018-03-11", 23), ("2018-03-12", 24), ("2018-11-04", 25)], ids=["spring", "plain", "autumn"]
)
def test_a_day_in_new_york_has_as_many_hours_as_its_clock_shows(day: str, hours: int) -> None:
    unit = parse_frequency("1d")
    start = period_start(datetime.fromisoformat(f"{day}T17:00:00+00:00"), unit, "America/New_York")
    assert period_end(start, unit, "America/New_York") - start == timedelta(hours=hours)


def test_a_day_whose_midnight_the_clock_skips_ends_where_the_next_begins() -> None:
    unit = parse_frequency("1d")
    start = period_start(datetime(2020, 3, 29, 10, tzinfo=UTC), unit, "Asia/Beirut")
    following = period_start(datetime(2020, 3, 30, 10, tzinfo=UTC), unit, "Asia/Beirut")
    assert period_end(start, unit, "Asia/Beirut") == following


def test_weeks_begin_on_monday_and_quarters_in_january() -> None:
    moment = datetime(2019, 8, 15, 12, tzinfo=UTC)
    assert period_start(moment, parse_frequency("1w"), "UTC") == datetime(2019, 8, 12, tzinfo=UTC)
    assert period_start(moment, parse_frequency("3mo"), "UTC") == datetime(2019, 7, 1, tzinfo=UTC)


def test_the_weekday_after_friday_is_monday() -> None:
    friday = datetime(2019, 8, 16, tzinfo=UTC)
    assert next_weekday(friday, "UTC") == datetime(2019, 8, 19, tzinfo=UTC)
    assert not is_weekday(datetime(2019, 8, 17, tzinfo=UTC), "UTC")
