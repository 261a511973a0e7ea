"""Each kind of feature against tables made by hand and against pandas on real series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from feature_bars import table

from presage.features import kinds
from presage.features.dates import calendar_part
from presage.frame import FloatArray
from presage.spec.features import CalendarPart, Statistic

NAN = np.nan


def numbers(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float64)


BY_HAND: dict[str, tuple[FloatArray, FloatArray]] = {
    "lag 1 is the bar itself": (kinds.lag(numbers(1, 2, 3), step=1), numbers(1, 2, 3)),
    "lag 3 is two bars before": (kinds.lag(numbers(1, 2, 3, 4), step=3), numbers(NAN, NAN, 1, 2)),
    "a lag beyond the first bar is missing": (kinds.lag(numbers(1, 2), step=9), numbers(NAN, NAN)),
    "difference": (kinds.difference(numbers(1, 4, 9, 16), periods=2), numbers(NAN, NAN, 8, 12)),
    "a difference from a missing value is missing": (
        kinds.difference(numbers(1, NAN, 9), periods=1),
        numbers(NAN, NAN, NAN),
    ),
    "percent change is a fraction": (kinds.percent_change(numbers(4, 5, 4), periods=1), numbers(NAN, 0.25, -0.2)),
    "percent change from 0 is missing": (kinds.percent_change(numbers(0, 5, 0), periods=1), numbers(NAN, NAN, -1)),
    "log change": (kinds.log_change(numbers(1, np.e, 1), periods=1), numbers(NAN, 1, -1)),
    "a log change needs two positive values": (
        kinds.log_change(numbers(-2, -1, 0, 3, 3), periods=1),
        numbers(NAN, NAN, NAN, NAN, 0),
    ),
    "mean": (kinds.rolling(numbers(1, 2, 6, 4), window=3, statistic="mean"), numbers(NAN, NAN, 3, 4)),
    "std has one degree of freedom less": (
        kinds.rolling(numbers(1, 3, 5), window=2, statistic="std"),
        numbers(NAN, np.sqrt(2), np.sqrt(2)),
    ),
    "min": (kinds.rolling(numbers(3, 1, 2, 5), window=2, statistic="min"), numbers(NAN, 1, 1, 2)),
    "max": (kinds.rolling(numbers(3, 1, 2, 5), window=2, statistic="max"), numbers(NAN, 3, 2, 5)),
    "zscore": (kinds.rolling(numbers(1, 2, 3), window=3, statistic="zscore"), numbers(NAN, NAN, 1)),
    "a constant window has no zscore": (
        kinds.rolling(numbers(0.1, 0.1, 0.1, 0.1), window=3, statistic="zscore"),
        numbers(NAN, NAN, NAN, NAN),
    ),
    "a constant window has exactly its value as mean": (
        kinds.rolling(numbers(0.1, 0.1, 0.1), window=3, statistic="mean"),
        numbers(NAN, NAN, 0.1),
    ),
    "a window with a missing value is missing": (
        kinds.rolling(numbers(1, NAN, 3, 4, 5), window=2, statistic="mean"),
        numbers(NAN, NAN, NAN, 3.5, 4.5),
    ),
    "exponential mean": (kinds.exponential_mean(numbers(4, 8, 12), span=3), numbers(NAN, NAN, 9)),
    "an exponential mean passes over a missing value": (
        kinds.exponential_mean(numbers(4, 8, NAN, 12), span=3),
        numbers(NAN, NAN, NAN, 9),
    ),
    "range volatility of one bar": (
        kinds.range_volatility(numbers(np.e, 1), numbers(1, 1), window=1),
        numbers(100 / np.sqrt(4 * np.log(2)), 0),
    ),
    "range volatility averages squares": (
        kinds.range_volatility(numbers(np.e, np.e**2), numbers(1, 1), window=2),
        numbers(NAN, 100 * np.sqrt(2.5 / (4 * np.log(2)))),
    ),
    "no range volatility without a positive low below the high": (
        kinds.range_volatility(numbers(1, 1, 1, NAN), numbers(0, -1, 2, 1), window=1),
        numbers(NAN, NAN, NAN, NAN),
    ),
    "ratio": (kinds.ratio(numbers(6, 1, -1), numbers(3, 0, NAN)), numbers(2, NAN, NAN)),
    "premium": (kinds.premium(numbers(6, 0), numbers(4, 0)), numbers(0.5, NAN)),
    "an overflow is missing": (kinds.difference(numbers(-1.5e308, 1.5e308), periods=1), numbers(NAN, NAN)),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_kind_gives_what_the_table_says(case: str) -> None:
    found, expected = BY_HAND[case]
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=0)


def close() -> pd.Series:
    """Return real closes with holes."""
    closes = table("nasdaq")["Close"].iloc[:2500].copy()
    closes.iloc[[0, 100, 101, 1500]] = NAN
    return closes


PANDAS: dict[str, tuple[Callable[[FloatArray], FloatArray], Callable[[pd.Series], pd.Series]]] = {
    "lag": (lambda x: kinds.lag(x, step=4), lambda x: x.shift(3)),
    "difference": (lambda x: kinds.difference(x, periods=5), lambda x: x.diff(5)),
    "percent change": (lambda x: kinds.percent_change(x, periods=5), lambda x: x.pct_change(5, fill_method=None)),
    "log change": (lambda x: kinds.log_change(x, periods=22), lambda x: np.log(x).diff(22)),
    "mean": (lambda x: kinds.rolling(x, window=22, statistic="mean"), lambda x: x.rolling(22).mean()),
    "std": (lambda x: kinds.rolling(x, window=22, statistic="std"), lambda x: x.rolling(22).std()),
    "min": (lambda x: kinds.rolling(x, window=5, statistic="min"), lambda x: x.rolling(5).min()),
    "max": (lambda x: kinds.rolling(x, window=5, statistic="max"), lambda x: x.rolling(5).max()),
    "zscore": (
        lambda x: kinds.rolling(x, window=60, statistic="zscore"),
        lambda x: (x - x.rolling(60).mean()) / x.rolling(60).std(),
    ),
    "exponential mean": (
        lambda x: kinds.exponential_mean(x, span=10),
        lambda x: x.ewm(span=10, adjust=False, ignore_na=True, min_periods=10).mean().where(x.notna()),
    ),
}


@pytest.mark.parametrize("case", PANDAS)
def test_a_kind_agrees_with_pandas_on_real_closes(case: str) -> None:
    ours, theirs = PANDAS[case]
    expected = theirs(close()).to_numpy()
    assert np.isfinite(expected).sum() > 2000
    np.testing.assert_allclose(ours(close().to_numpy()), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("statistic", ["mean", "std", "min", "max", "zscore"])
def test_a_window_has_the_same_bits_whatever_stands_before_and_after_it(statistic: Statistic) -> None:
    values = close().to_numpy()[200:1400]
    whole = kinds.rolling(values, window=22, statistic=statistic)
    for end in range(22, 1200, 97):
        alone = kinds.rolling(values[end - 22 : end], window=22, statistic=statistic)
        assert alone[-1:].tobytes() == whole[end - 1 : end].tobytes()


DATES: list[tuple[CalendarPart, str, str, float]] = [
    ("hour", "2021-03-01T06:00", "UTC", 6 / 24),
    ("hour", "2021-03-01T06:00", "America/New_York", 1 / 24),
    ("day_of_week", "2021-03-01T06:00", "UTC", 0),
    ("day_of_week", "2021-03-01T02:00", "America/New_York", 6 / 7),
    ("day_of_month", "2021-02-28T12:00", "UTC", 27 / 28),
    ("day_of_month", "2021-03-28T12:00", "UTC", 27 / 31),
    ("week_of_year", "2020-12-31T12:00", "UTC", 52 / 53),
    ("week_of_year", "2021-01-02T12:00", "UTC", 52 / 53),
    ("week_of_year", "2021-01-05T12:00", "UTC", 0),
    ("month", "2021-12-05T12:00", "UTC", 11 / 12),
    ("quarter", "2021-12-05T12:00", "UTC", 3 / 4),
]


@pytest.mark.parametrize(("part", "moment", "zone", "turn"), DATES)
def test_a_part_of_a_date_is_a_point_on_a_circle(part: CalendarPart, moment: str, zone: str, turn: float) -> None:
    moments = np.array([moment], dtype="datetime64[us]")
    assert calendar_part(moments, zone=zone, part=part, wave="sin") == pytest.approx(np.sin(2 * np.pi * turn))
    assert calendar_part(moments, zone=zone, part=part, wave="cos") == pytest.approx(np.cos(2 * np.pi * turn))
