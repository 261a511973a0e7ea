"""The rows of a frame: which bars and gaps there are, when each was known, and what came after."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from feature_bars import NEW_YORK, local_rows, stamped, table

from presage.bars import CalendarName
from presage.features.grid import Grid, target_grid
from presage.spec.base import parse_frequency

NAN = np.nan
DAY = np.timedelta64(1, "D")
MONDAY = np.datetime64("2021-03-01", "us")


def grid(
    rows: pl.DataFrame,
    *,
    horizon: int = 1,
    frequency: str = "1d",
    calendar: CalendarName = "Continuous",
    zone: str = "UTC",
    lag: timedelta = timedelta(),
    column: str = "x",
) -> Grid:
    return target_grid(
        rows,
        column,
        horizon=horizon,
        frequency=parse_frequency(frequency),
        calendar=calendar,
        zone=zone,
        lag=lag,
    )


def days(*places: int, values: list[float] | None = None, known: list[float] | None = None) -> pl.DataFrame:
    """Return bars on some days after a Monday, each known at the end of its day or so many days after the Monday."""
    time = MONDAY + np.array(places) * DAY
    known_at = (
        time + DAY if known is None else MONDAY + np.array([int(24 * day) for day in known]) * np.timedelta64(1, "h")
    )
    return stamped(time, known_at, {"x": values if values is not None else [float(place) for place in places]})


def places(times: np.ndarray) -> list[float]:
    """Return times as days after the Monday; NaN for none."""
    return [NAN if np.isnat(time) else float((time - MONDAY) / DAY) for time in times.ravel()]


def test_a_missing_day_is_a_row_without_a_level() -> None:
    found = grid(days(0, 1, 3))
    assert places(found.time) == [0, 1, 2, 3]
    assert places(found.origin) == [1, 2, 3, 4]
    np.testing.assert_equal(found.level, [0, 1, NAN, 3])
    np.testing.assert_equal(found.target_level, [[1], [NAN], [3], [NAN]])
    assert places(found.target_time) == [1, 2, 3, 4]
    np.testing.assert_equal(places(found.target_known_at), [2, NAN, 4, NAN])


def test_every_step_ahead_has_a_time_even_beyond_the_newest_bar() -> None:
    found = grid(days(0, 1, 2), horizon=3)
    assert places(found.target_time) == [1, 2, 3, 2, 3, 4, 3, 4, 5]
    np.testing.assert_equal(found.target_level, [[1, 2, NAN], [2, NAN, NAN], [NAN, NAN, NAN]])


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ((0, 1, 4, 7), [0, 1, 4, 7]),
        ((0, 7), [0, 7]),
        ((0, 8), [0, 1, 2, 3, 4, 7, 8]),
        ((4, 7), [4, 7]),
        ((4, 5, 7), [4, 5, 7]),
    ],
    ids=["holidays", "four weekdays closed", "five weekdays closed", "a weekend", "a bar on a Saturday"],
)
def test_on_weekdays_only_more_than_four_missing_days_are_a_gap(
    present: tuple[int, ...], expected: list[float]
) -> None:
    assert places(grid(days(*present), calendar="Weekdays").time) == expected


def test_on_weekdays_the_future_skips_weekends() -> None:
    found = grid(days(0, 1, 2, 3), horizon=3, calendar="Weekdays")
    assert places(found.target_time[-1]) == [4, 7, 8]


def test_an_intraday_gap_on_weekdays_does_not_count_the_weekend() -> None:
    friday = np.datetime64("2021-03-05T22:00", "us")
    hours = np.array([0, 1, 50, 51]) * np.timedelta64(1, "h")
    rows = stamped(friday + hours, friday + hours + np.timedelta64(1, "h"), {"x": [1, 2, 3, 4]})
    found = grid(rows, horizon=2, frequency="1h", calendar="Weekdays")
    assert len(found.time) == 4
    assert len(grid(rows, frequency="1h").time) == 52


@pytest.mark.parametrize(
    ("frequency", "times", "expected"),
    [
        ("1mo", ["2021-01-01", "2021-02-01", "2021-05-01"], ["2021-03-01", "2021-04-01"]),
        ("1w", ["2021-03-01", "2021-03-15"], ["2021-03-08"]),
        ("4h", ["2021-03-01T00", "2021-03-01T12"], ["2021-03-01T04", "2021-03-01T08"]),
    ],
)
def test_gaps_are_found_in_any_frequency(frequency: str, times: list[str], expected: list[str]) -> None:
    time = np.array(times, dtype="datetime64[us]")
    found = grid(stamped(time, time + 31 * DAY, {"x": [1.0] * len(time)}), frequency=frequency)
    np.testing.assert_equal(found.time[np.isnan(found.level)], np.array(expected, dtype="datetime64[us]"))


def test_days_of_a_zone_follow_its_clock() -> None:
    rows = local_rows(table("sp500", "2014-03-03", "2014-03-14")[["Close"]], zone=NEW_YORK)
    found = grid(rows, column="Close", calendar="Weekdays", zone=NEW_YORK)
    assert list(np.unique(found.time.astype("datetime64[h]").astype(int) % 24)) == [4, 5]
    assert found.target_time[-1, 0] == np.datetime64("2014-03-17T04:00")
    assert len(found.time) == 10


def test_a_made_up_bar_is_neither_an_origin_nor_an_outcome() -> None:
    rows = days(0, 1, 2).with_columns(filled=pl.Series([False, True, False]))
    found = grid(rows)
    np.testing.assert_equal(found.level, [0, NAN, 2])
    np.testing.assert_equal(found.target_level, [[NAN], [2], [NAN]])
    assert places(found.origin) == [1, 2, 3]


def test_a_bar_without_the_targets_value_is_a_gap() -> None:
    found = grid(days(0, 1, 2, values=[1, NAN, 3]))
    np.testing.assert_equal(found.level, [1, NAN, 3])
    np.testing.assert_equal(places(found.target_known_at), [NAN, 3, NAN])


def test_level_and_outcome_are_what_was_first_published() -> None:
    rows = pl.concat([days(0, 1, 2), days(1, 1, values=[7, 8], known=[2.5, 9])])
    found = grid(rows)
    np.testing.assert_equal(found.level, [0, 1, 2])
    np.testing.assert_equal(found.target_level, [[1], [2], [NAN]])
    np.testing.assert_equal(places(found.target_known_at), [2, 3, NAN])
    assert places(found.origin) == [1, 2, 3]


def test_a_bar_known_after_a_later_one_is_an_outcome_but_no_origin() -> None:
    found = grid(days(0, 1, 2, known=[1, 5, 3]))
    np.testing.assert_equal(found.level, [0, NAN, 2])
    np.testing.assert_equal(found.target_level, [[1], [2], [NAN]])
    assert places(found.target_known_at)[:2] == [5, 3]
    assert places(found.origin) == [1, 2, 3]
    assert found.late == 1


def test_of_bars_published_together_only_the_newest_is_an_origin() -> None:
    found = grid(days(0, 1, 2, 3, known=[1, 4, 4, 4]))
    np.testing.assert_equal(found.level, [0, NAN, NAN, 3])
    assert found.late == 2


def test_a_gap_comes_before_what_follows_it_is_known_whatever_the_lag() -> None:
    found = grid(days(0, 2, known=[1, 3]), lag=timedelta(days=30))
    assert found.origin[1] == MONDAY + 3 * DAY - np.timedelta64(1, "us")
    assert (np.diff(found.origin) > np.timedelta64(0)).all()


def test_on_weekdays_a_late_bar_inside_a_presumed_holiday_has_no_row() -> None:
    found = grid(days(0, 1, 2, known=[1, 5, 3]), calendar="Weekdays")
    assert places(found.time) == [0, 2]
