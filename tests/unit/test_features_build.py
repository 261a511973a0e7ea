"""Frames from bars: values against independent computations in pandas, sources joined as known, bad input refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from feature_bars import NEW_YORK, Json, bars_of, listed, local_rows, real_bars, spec_of, stamped, table

from presage.bars import Bars
from presage.errors import DataError, JobError, PresageError
from presage.features.build import build_frames
from presage.frame import KNOWN_AT, TIME, Frame

NAN = np.nan
DAY = np.timedelta64(1, "D")
OFFLINE = {"sp500": {"lag": "0s"}, "vix": {"lag": "0s"}, "cpi": {"lag": "30d"}}


def column(frame: Frame, name: str) -> np.ndarray:
    return frame.features[:, frame.feature_names.index(name)]


def index(times: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times.astype("datetime64[us]"))


@pytest.fixture(scope="module")
def real() -> Frame:
    """The S&P 500 with its own history, the VIX and core consumer prices published 30 days late."""
    spec = spec_of(
        "sp500.range_volatility",
        sources=OFFLINE,
        horizon=2,
        features=[
            {"lag": {"columns": ["sp500.range_volatility", "vix.vix", "cpi.CPILFESL"], "steps": [1, 3]}},
            {"rolling": {"columns": ["sp500.range_volatility"], "windows": [5, 22], "statistics": ["mean", "std"]}},
            {"logChange": {"columns": ["vix.vix", "sp500.Close"], "periods": [5]}},
            {"percentChange": {"columns": ["cpi.CPILFESL"], "periods": [12]}},
            {"exponentialMean": {"columns": ["vix.vix"], "spans": [10]}},
            {"ratio": {"numerator": "vix.vix", "denominator": "sp500.range_volatility"}},
            {"premium": {"price": "sp500.Close", "reference": "cpi.CPILFESL"}},
            {"rangeVolatility": {"sources": ["sp500"], "windows": [5]}},
            {"calendar": {"parts": ["day_of_week"]}},
        ],
    )
    rows = local_rows(table("cpi", "2000"), zone="UTC", period="1mo", lag=timedelta(days=30))
    bars = {
        "sp500": real_bars("sp500", "2012"),
        "vix": real_bars("vix"),
        "cpi": bars_of("cpi", rows, frequency="1mo"),
    }
    (frame,) = build_frames(spec, bars)
    return frame


def parkinson(prices: pd.DataFrame) -> pd.Series:
    return 100 * np.sqrt(np.log(prices["High"] / prices["Low"]) ** 2 / (4 * np.log(2)))


def known_vix() -> pd.Series:
    """Return the VIX; its days without a value count as bars, as they do in the source."""
    return table("vix")["vix"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sp500.range_volatility.lag_1", parkinson),
        ("sp500.range_volatility.lag_3", lambda prices: parkinson(prices).shift(2)),
        ("sp500.range_volatility.mean_5", lambda prices: parkinson(prices).rolling(5).mean()),
        ("sp500.range_volatility.mean_22", lambda prices: parkinson(prices).rolling(22).mean()),
        ("sp500.range_volatility.std_22", lambda prices: parkinson(prices).rolling(22).std()),
        ("sp500.Close.log_change_5", lambda prices: np.log(prices["Close"]).diff(5)),
        ("sp500.range_volatility_5", lambda prices: np.sqrt((parkinson(prices) ** 2).rolling(5).mean())),
    ],
)
def test_features_of_the_target_agree_with_pandas(real: Frame, name: str, expected: object) -> None:
    prices = table("sp500", "2012")
    assert len(real) == len(prices)
    np.testing.assert_allclose(column(real, name), expected(prices), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vix.vix.lag_1", lambda vix: vix),
        ("vix.vix.lag_3", lambda vix: vix.shift(2)),
        ("vix.vix.log_change_5", lambda vix: np.log(vix).diff(5)),
        (
            "vix.vix.exponential_mean_10",
            lambda vix: vix.ewm(span=10, adjust=False, ignore_na=True, min_periods=10).mean().where(vix.notna()),
        ),
    ],
)
def test_features_of_another_source_are_its_newest_known_ones(real: Frame, name: str, expected: object) -> None:
    vix = expected(known_vix()).rename("value")
    # Both close at the end of the same day of New York, so that the newest known bar is that day's.
    joined = pd.merge_asof(pd.DataFrame(index=table("sp500", "2012").index), vix, left_index=True, right_index=True)
    assert np.isfinite(joined["value"]).sum() > 1000
    np.testing.assert_allclose(column(real, name), joined["value"], rtol=1e-10)


def test_a_monthly_statistic_is_known_30_days_after_its_month(real: Frame) -> None:
    prices = table("cpi", "2000")["CPILFESL"]
    published = prices.index + pd.offsets.MonthBegin(1) + pd.Timedelta(days=30)
    for name, values in (
        ("cpi.CPILFESL.lag_1", prices),
        ("cpi.CPILFESL.lag_3", prices.shift(2)),
        ("cpi.CPILFESL.percent_change_12", prices.pct_change(12)),
    ):
        known = pd.Series(values.to_numpy(), index=published.as_unit("us"), name="value")
        joined = pd.merge_asof(pd.DataFrame(index=index(real.origin)), known, left_index=True, right_index=True)
        np.testing.assert_allclose(column(real, name), joined["value"], rtol=1e-12)


def test_ratio_and_premium_are_of_the_newest_known_values(real: Frame) -> None:
    ratio = column(real, "vix.vix.lag_1") / column(real, "sp500.range_volatility.lag_1")
    np.testing.assert_array_equal(column(real, "ratio(vix.vix,sp500.range_volatility)"), ratio)
    premium = table("sp500", "2012")["Close"].to_numpy() / column(real, "cpi.CPILFESL.lag_1") - 1
    np.testing.assert_allclose(column(real, "premium(sp500.Close,cpi.CPILFESL)"), premium, rtol=1e-12)


def test_a_calendar_feature_is_of_the_next_weekday_even_before_a_holiday(real: Frame) -> None:
    local = pd.DatetimeIndex(table("sp500", "2012").index)
    following = (local + pd.offsets.BDay(1)).dayofweek
    np.testing.assert_allclose(column(real, "calendar.day_of_week_sin"), np.sin(2 * np.pi * following / 7), atol=1e-12)


def test_outcomes_are_the_next_bars_and_the_newest_bar_is_the_live_origin(real: Frame) -> None:
    volatility = parkinson(table("sp500", "2012")).to_numpy()
    np.testing.assert_allclose(real.level, volatility, rtol=1e-12)
    np.testing.assert_array_equal(real.target_level[:-1, 0], real.level[1:])
    np.testing.assert_array_equal(real.target_level[:-2, 1], real.level[2:])
    np.testing.assert_array_equal(real.target_known_at[:-1, 0], real.origin[1:])
    assert np.isnan(real.target_level[-1]).all()
    assert np.isnat(real.target_known_at[-1]).all()
    assert real.time[-1] == np.datetime64("2018-12-31T05:00")
    np.testing.assert_array_equal(real.target_time[-1], np.array(["2019-01-01T05:00", "2019-01-02T05:00"], "M8[us]"))


def test_arrays_keep_the_frames_contract(real: Frame) -> None:
    assert {real.time.dtype, real.origin.dtype, real.target_time.dtype, real.target_known_at.dtype} == {
        np.dtype("datetime64[us]")
    }
    assert {real.level.dtype, real.features.dtype, real.target_level.dtype} == {np.dtype(np.float64)}
    assert real.features.shape == (len(real), len(real.feature_names))
    assert real.horizon == 2
    assert not np.isinf(real.features).any()


def test_without_features_a_job_sees_the_newest_value_and_its_weekly_and_monthly_means() -> None:
    (frame,) = build_frames(spec_of("sp500.Close", sources=OFFLINE), {"sp500": real_bars("sp500", "2016")})
    assert frame.feature_names == ("sp500.Close.lag_1", "sp500.Close.mean_5", "sp500.Close.mean_22")


def test_a_feature_that_is_named_twice_is_one_feature() -> None:
    lag: Json = {"lag": {"columns": ["sp500.Close", "sp500.Close"], "steps": [1, 1]}}
    spec = spec_of("sp500.Close", sources=OFFLINE, features=[lag, lag])
    (frame,) = build_frames(spec, {"sp500": real_bars("sp500", "2016")})
    assert frame.feature_names == ("sp500.Close.lag_1",)


def test_range_volatility_is_derived_in_any_case_but_never_replaces_a_column() -> None:
    rows = local_rows(table("sp500", "2016"), zone=NEW_YORK)
    renamed = rows.rename({"High": "HIGH", "Low": "low"})
    own = rows.with_columns(range_volatility=pl.col("Close"))
    spec = spec_of("sp500.range_volatility", sources=OFFLINE)
    levels = [
        build_frames(spec, {"sp500": bars_of("sp500", table, calendar="Weekdays", zone=NEW_YORK)})[0].level
        for table in (rows, renamed, own)
    ]
    np.testing.assert_array_equal(levels[0], levels[1])
    np.testing.assert_array_equal(levels[2], rows["Close"].to_numpy())


def revised_bars() -> Bars:
    """Return real closes of which two in ten are revised, some twice, and some known late."""
    generator = np.random.default_rng(11)
    closes = table("nasdaq", "2016", "2017")["Close"].to_numpy()[:300]
    rows = listed(list(closes))
    again = rows.filter(pl.Series(generator.random(300) < 0.2)).with_columns(
        pl.col(KNOWN_AT) + timedelta(days=5), pl.col("x") * 1.01
    )
    twice = again.filter(pl.Series(generator.random(again.height) < 0.3)).with_columns(
        pl.col(KNOWN_AT) + timedelta(days=3), pl.col("x") * 0.98
    )
    late = pl.Series(generator.random(300) < 0.05)
    rows = rows.with_columns(
        pl.when(late).then(pl.col(KNOWN_AT) + timedelta(days=4)).otherwise(KNOWN_AT).alias(KNOWN_AT)
    )
    return bars_of("nasdaq", pl.concat([rows, again, twice]))


def test_at_an_origin_every_bar_has_its_newest_vintage_known_by_then() -> None:
    spec = spec_of(
        "nasdaq.x",
        sources={"nasdaq": {"lag": "0s"}},
        features=[
            {"lag": {"columns": ["nasdaq.x"], "steps": [1, 4]}},
            {"rolling": {"columns": ["nasdaq.x"], "windows": [7], "statistics": ["mean", "max"]}},
            {"exponentialMean": {"columns": ["nasdaq.x"], "spans": [5]}},
            {"difference": {"columns": ["nasdaq.x"], "periods": [3]}},
        ],
    )
    bars = revised_bars()
    (frame,) = build_frames(spec, {"nasdaq": bars})
    vintages = bars.rows.select(pl.col(TIME, KNOWN_AT).dt.replace_time_zone(None), "x").to_pandas()
    expected = []
    for origin in index(frame.origin):
        known = vintages[vintages["known_at"] <= origin].sort_values(["time", "known_at"]).groupby("time")["x"].last()
        mean = known.ewm(span=5, adjust=False, min_periods=5).mean()
        expected.append(
            [
                known.iloc[-1],
                known.iloc[-4] if len(known) > 3 else NAN,
                known.iloc[-7:].mean() if len(known) > 6 else NAN,
                known.iloc[-7:].max() if len(known) > 6 else NAN,
                mean.iloc[-1],
                known.iloc[-1] - known.iloc[-4] if len(known) > 3 else NAN,
            ]
        )
    np.testing.assert_allclose(frame.features, expected, rtol=1e-12)


def test_a_value_older_than_its_greatest_age_is_missing() -> None:
    weekly = np.datetime64("2020-01-06", "us") + np.arange(10) * 7 * DAY
    bars = {
        "a": bars_of("a", listed(list(np.arange(60.0) % 7))),
        "b": bars_of("b", stamped(weekly, weekly + 9 * DAY, {"y": np.arange(10.0)}), frequency="1w"),
    }
    sources = {"a": {"lag": "0s"}, "b": {"lag": "2d", "maxAge": "5d"}}
    features: list[dict[str, Json]] = [{"lag": {"columns": ["b.y"], "steps": [1, 2]}}]
    (frame,) = build_frames(spec_of("a.x", sources=sources, features=features), bars)
    # The week from 6 January ends on the 13th, is known on the 15th and five days old on the 18th.
    origins = [np.datetime64(f"2020-01-{day}", "us") for day in (14, 15, 18, 19, 21, 22)]
    rows = np.searchsorted(frame.origin, origins)
    np.testing.assert_array_equal(frame.features[rows, 0], [NAN, 0, 0, NAN, NAN, 1])
    np.testing.assert_array_equal(frame.features[rows, 1], [NAN, NAN, NAN, NAN, NAN, 0])


def panel(source: str, names: list[str], scale: float = 1.0) -> Bars:
    rows = [
        listed(list(scale * (place + 1) * (np.arange(50.0) % 11))).with_columns(series=pl.lit(name))
        for place, name in enumerate(names)
    ]
    return bars_of(source, pl.concat(rows))


def test_a_panel_gives_a_frame_a_series_joined_by_name_or_with_what_all_share() -> None:
    sources = {"a": {"lag": "0s"}, "b": {"lag": "0s"}, "c": {"lag": "0s"}}
    features: list[dict[str, Json]] = [{"lag": {"columns": ["a.x", "b.x", "c.x"], "steps": [1]}}]
    bars = {"a": panel("a", ["p", "q"]), "b": panel("b", ["q", "p"], scale=100), "c": panel("c", ["only"], scale=7)}
    frames = build_frames(spec_of("a.x", sources=sources, features=features), bars)
    assert [frame.series for frame in frames] == ["p", "q"]
    np.testing.assert_array_equal(frames[0].features[3], [3, 600, 21])
    np.testing.assert_array_equal(frames[1].features[3], [6, 300, 21])


def saw(count: int = 60) -> Bars:
    return bars_of("a", listed(list(np.arange(float(count)) % 7)))


Case = tuple[list[dict[str, Json]], dict[str, Bars], dict[str, Json], list[str]]


def refusal(features: list[dict[str, Json]], bars: dict[str, Bars], options: dict[str, Json]) -> PresageError:
    """Return the error that a job of these features and options meets on these bars."""
    settings = {"target": "a.x", "sources": {"a": {"lag": "0s"}, "b": {"lag": "0s"}}} | options
    with pytest.raises((DataError, JobError)) as caught:
        build_frames(spec_of(features=features, **settings), bars)
    return caught.value


REFUSED: dict[str, Case] = {
    "the target's column": ([], {"a": saw()}, {"target": "a.X"}, ["source 'a'", "'X'", "nearest is 'x'", "it has: x"]),
    "a feature's column": (
        [{"lag": {"columns": ["a.close"], "steps": [1]}}],
        {"a": saw()},
        {},
        ["source 'a'", "'close'", "it has: x"],
    ),
    "a source": (
        [{"ratio": {"numerator": "a.x", "denominator": "c.x"}}],
        {"a": saw()},
        {},
        ["c.x", "'c'", "does not list", "Sources of the job: a"],
    ),
    "high and low": (
        [{"rangeVolatility": {"sources": ["a"]}}],
        {"a": saw()},
        {},
        ["source 'a'", "high and low", "it has: x"],
    ),
    "the source of a range volatility": (
        [{"rangeVolatility": {"sources": ["c"]}}],
        {"a": saw()},
        {},
        ["c.range_volatility", "does not list"],
    ),
    "the target's series": (
        [{"lag": {"columns": ["b.x"], "steps": [1]}}],
        {"a": saw(), "b": panel("b", ["p", "q"])},
        {},
        ["source 'b'", "p, q", "'a'"],
    ),
    "a target that varies": (
        [],
        {"a": bars_of("a", listed([3.5] * 60))},
        {},
        ["a.x", "Level", "3.5 at all 59 origins", "constant"],
    ),
    "a change that varies": (
        [],
        {"a": bars_of("a", listed(list(1.05 ** np.arange(60.0))))},
        {"transform": "LogChange"},
        ["a.x", "LogChange", "0.0487902 at all 59 origins"],
    ),
    "positive levels under a relative change": (
        [],
        {"a": bars_of("a", listed(list(-1 - np.arange(60.0) % 7)))},
        {"transform": "PercentChange"},
        ["a.x", "PercentChange", "not defined", "needs positive levels"],
    ),
    "a horizon within the history": (
        [],
        {"a": saw(40)},
        {"horizon": 40},
        ["a.x", "horizon of 40", "history of 40", "shorter"],
    ),
    "enough origins for the horizon": (
        [],
        {"a": saw(40)},
        {"horizon": 12},
        ["28 origins", "all 12 steps", "40 rows", "at least 30"],
    ),
    "enough origins": ([], {"a": saw(20)}, {}, ["19 origins", "20 rows", "at least 30", "more history"]),
    "a value": ([], {"a": bars_of("a", listed([None] * 60))}, {}, ["a.x", "no value in 60 rows"]),
    "bars": ([], {"a": bars_of("a", listed([]))}, {}, ["'a' has no bars"]),
}


@pytest.mark.parametrize("lacking", REFUSED)
def test_a_job_that_lacks_something_is_refused_in_words_that_help(lacking: str) -> None:
    features, bars, options, words = REFUSED[lacking]
    error = refusal(features, bars, options)
    for word in words:
        assert word in str(error)
    assert error.remedy


def test_bars_that_became_known_all_at_once_are_no_history_to_learn_from() -> None:
    bars = saw()
    newest = bars.rows[KNOWN_AT].max()
    together = replace(bars, rows=bars.rows.with_columns(pl.lit(newest).alias(KNOWN_AT)))
    assert "59 bars that became known only with or after a later one" in str(refusal([], {"a": together}, {}))
