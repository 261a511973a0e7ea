"""Truncation invariance: no feature of any kind depends on what was not yet known, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from feature_bars import NEW_YORK, bars_of, local_rows, spec_of, stamped, table

from presage.bars import Bars, build_bars
from presage.features.build import build_frames, frames_of
from presage.features.definitions import BarFeature, Definition
from presage.features.truncation import Difference, first_difference, truncate
from presage.frame import KNOWN_AT, TIME, FloatArray, Frame
from presage.spec.base import parse_frequency
from presage.spec.features import FEATURE_KINDS
from presage.spec.job import PredictionJobSpec

DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")
TICK = np.timedelta64(1, "us")
CUTOFFS = 40

COLUMNS = ["stocks.Close", "fear.vix", "prices.CPILFESL", "weekly.Close", "coins.Close", "watch.Close"]
KINDS: Mapping[str, dict[str, object]] = {
    "lag": {"columns": COLUMNS, "steps": [1, 2, 7]},
    "difference": {"columns": COLUMNS, "periods": [1, 5]},
    "percent_change": {"columns": COLUMNS, "periods": [1, 3]},
    "log_change": {"columns": COLUMNS, "periods": [1, 5]},
    "rolling": {"columns": COLUMNS, "windows": [2, 5], "statistics": ["mean", "std", "min", "max", "zscore"]},
    "exponential_mean": {"columns": COLUMNS, "spans": [3, 6]},
    "ratio": {"numerator": "stocks.Close", "denominator": "weekly.Close"},
    "premium": {"price": "weekly.Close", "reference": "prices.CPILFESL"},
    "calendar": {"parts": ["hour", "day_of_week", "day_of_month", "week_of_year", "month", "quarter"]},
    "range_volatility": {"sources": ["stocks", "weekly"], "windows": [1, 4]},
}
PREFIXES = {"ratio": "ratio(", "premium": "premium(", "calendar": "calendar."}
AVAILABILITY = {
    "stocks": {"lag": "0s"},
    "fear": {"lag": "1h", "maxAge": "4d"},
    "prices": {"lag": "30d", "maxAge": "70d"},
    "weekly": {"lag": "2d"},
    "coins": {"lag": "0s"},
    "watch": {"lag": "0s"},
}
TARGETS = {
    "stocks": "stocks.Close",
    "coins": "coins.Close",
    "watch": "watch.Close",
    "weekly": "weekly.range_volatility",
}


def revised(rows: pl.DataFrame, generator: np.random.Generator, *, share: float, after: timedelta) -> pl.DataFrame:
    """Give a share of the rows a second vintage, some time after the first, with other values."""
    again = rows.filter(pl.Series(generator.random(rows.height) < share) & ~pl.col("filled"))
    change = pl.Series(1 + 0.01 * generator.standard_normal(again.height))
    later = again.with_columns(pl.col(KNOWN_AT) + after, pl.col(pl.Float64) * change)
    return pl.concat([rows, later])


def delayed(rows: pl.DataFrame, places: list[int], by: timedelta) -> pl.DataFrame:
    """Let the rows at some places be known only some time later."""
    late = pl.Series(np.isin(np.arange(rows.height), places))
    return rows.with_columns(pl.when(late).then(pl.col(KNOWN_AT) + by).otherwise(pl.col(KNOWN_AT)).alias(KNOWN_AT))


@cache
def sources() -> dict[str, Bars]:
    """Real series with what goes wrong in life: a closure, holes, made-up, late, bundled and revised bars."""
    generator = np.random.default_rng(7)

    stocks = local_rows(table("sp500", "2014-01", "2015-06").drop(columns=["Adj Close"]), zone=NEW_YORK)
    stocks = pl.concat([stocks[:150], stocks[159:]])
    stocks = stocks.with_columns(filled=pl.Series(np.isin(np.arange(stocks.height), [60, 61, 200])))
    stocks = delayed(delayed(stocks, [90, 170], timedelta(days=6)), [120], timedelta(days=1))
    stocks = revised(stocks, generator, share=0.05, after=timedelta(days=9))

    fear = local_rows(table("vix", "2014-01", "2015-06"), zone=NEW_YORK, lag=timedelta(hours=1))
    prices = local_rows(table("cpi", "2012-01", "2015-06"), zone="UTC", period="1mo", lag=timedelta(days=30))
    prices = revised(prices, generator, share=0.7, after=timedelta(days=40))

    days = table("sp500", "2013-06", "2015-06")
    weeks = days.resample("W-MON", closed="left", label="left").agg({"High": "max", "Low": "min", "Close": "last"})
    weekly = delayed(local_rows(weeks, zone="UTC", period="1w", lag=timedelta(days=2)), [50, 70], timedelta(days=20))

    closes = table("nasdaq", "2013-12", "2015-06")["Close"].to_numpy()
    time = np.datetime64("2014-01-01", "us") + np.arange(len(closes)) * DAY
    coins = stamped(time, time + DAY, {"Close": closes})
    holes = (generator.random(coins.height) < 0.06) | np.isin(np.arange(coins.height), np.arange(200, 212))
    coins = delayed(coins.filter(~holes), [40, 110, 111], timedelta(days=2))

    time = np.datetime64("2015-01-01", "us") + np.arange(len(closes)) * np.timedelta64(4, "h")
    watch = stamped(time, time + np.timedelta64(4, "h"), {"Close": closes})
    watch = delayed(watch.filter(pl.Series(generator.random(watch.height) < 0.95)), [99], timedelta(hours=9))

    return {
        "stocks": bars_of("stocks", stocks, calendar="Weekdays", zone=NEW_YORK),
        "fear": bars_of("fear", fear, calendar="Weekdays", zone=NEW_YORK),
        "prices": bars_of("prices", prices, frequency="1mo"),
        "weekly": bars_of("weekly", weekly, frequency="1w"),
        "coins": bars_of("coins", revised(coins, generator, share=0.1, after=timedelta(days=3))),
        "watch": bars_of("watch", watch, frequency="4h"),
    }


@cache
def spec(target: str) -> PredictionJobSpec:
    features = [{kind: settings} for kind, settings in KINDS.items()]
    return spec_of(TARGETS[target], features=features, horizon=3, sources=AVAILABILITY)


def known_first(bars: Bars) -> np.ndarray:
    """Return when the first vintage of each bar was known, by the bar's time."""
    return bars.rows.unique("time", keep="first", maintain_order=True)[KNOWN_AT].to_numpy()


def cutoffs(bars: Mapping[str, Bars], full: Frame) -> list[np.datetime64]:
    """Return moments at and just before which rows became known, from the 60th origin on; late bars' among them."""
    any_row = np.unique(np.concatenate([source.rows[KNOWN_AT].to_numpy() for source in bars.values()]))
    some = np.random.default_rng(3).choice(np.concatenate([any_row, any_row - TICK]), CUTOFFS, replace=False)
    first = [known_first(source) for source in bars.values()]
    late = np.concatenate([known[:-1][known[:-1] > known[1:]] for known in first])
    moments = np.unique(np.concatenate([some, late - TICK, any_row[-1:]]))
    return list(moments[moments >= full.origin[60]])


@cache
def rebuilt(target: str) -> list[tuple[Frame, Frame]]:
    """Return, for many moments, the full frame as it stood then and the frame made from what was known then."""
    (full,) = build_frames(spec(target), sources())
    pairs = []
    for cutoff in cutoffs(sources(), full):
        known = {name: truncate(bars, cutoff) for name, bars in sources().items()}
        (truncated,) = build_frames(spec(target), known)
        pairs.append((full.known_by(cutoff), truncated))
    return pairs


def names_of(frame: Frame, kind: str) -> tuple[str, ...]:
    """Return the features of one kind."""
    word = f".{kind}_"
    matches = {
        "rolling": lambda name: any(f".{part}_" in name for part in ("mean", "std", "min", "max", "zscore")),
        **{other: lambda name, start=prefix: name.startswith(start) for other, prefix in PREFIXES.items()},
    }
    return tuple(name for name in frame.feature_names if matches.get(kind, lambda name: word in name)(name))


def test_every_kind_of_feature_is_put_to_the_test() -> None:
    # Values of the row itself are for rows that are predicted from themselves; tests/unit/test_tabular_design.py.
    assert {*KINDS, "columns"} == set(FEATURE_KINDS)
    frame = rebuilt("stocks")[0][0]
    assert sorted(name for kind in KINDS for name in names_of(frame, kind)) == sorted(frame.feature_names)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_from_what_was_known_equals_the_full_frame_up_to_then(kind: str, target: str) -> None:
    for full, truncated in rebuilt(target):
        names = names_of(full, kind)
        assert first_difference(full.with_features(names), truncated.with_features(names)) is None
    newest = rebuilt(target)[-1][1]
    assert np.isfinite(newest.with_features(names_of(newest, kind)).features).any(axis=0).all()


@pytest.mark.parametrize("target", TARGETS)
def test_an_origin_is_always_before_its_outcomes_are_known(target: str) -> None:
    (full,) = build_frames(spec(target), sources())
    known = ~np.isnat(full.target_known_at)
    assert (np.broadcast_to(full.origin[:, None], known.shape)[known] < full.target_known_at[known]).all()
    assert (np.diff(full.origin) >= np.timedelta64(0)).all()


def test_the_sources_of_this_test_hold_every_trouble_it_speaks_of() -> None:
    for name in ("stocks", "prices", "coins"):
        rows = sources()[name].rows
        assert rows.height > rows[TIME].n_unique()
    for name in ("stocks", "weekly", "coins"):
        assert (np.diff(known_first(sources()[name])) < np.timedelta64(0)).any()
    (full,) = build_frames(spec("stocks"), sources())
    assert np.isnan(full.level).sum() >= 10


def test_it_holds_from_the_rows_on_when_days_are_made_of_revised_hours() -> None:
    generator = np.random.default_rng(0)
    spec = PredictionJobSpec.model_validate(
        {
            "frequency": "1d",
            "target": {"source": "hours", "column": "x", "horizon": 2},
            "sources": [
                {
                    "name": "hours",
                    "file": {"uri": "hours.csv"},
                    "frequency": "1h",
                    "timeZone": NEW_YORK,
                    "availability": {"lag": "0s"},
                }
            ],
            "features": [{"rolling": {"columns": ["hours.x"], "windows": [2, 3]}}],
        }
    )
    time = np.datetime64("2020-02-01T05", "us") + np.arange(24 * 60) * HOUR
    hours = stamped(time, time + HOUR, {"x": generator.standard_normal(len(time))})
    rows = revised(hours, generator, share=0.03, after=timedelta(hours=30)).drop("filled")
    rows = rows.with_columns(series=pl.lit("hours"))

    def frame_at(moment: datetime) -> Frame:
        known = rows.filter(pl.col(KNOWN_AT) <= moment)
        bars = build_bars(
            spec.source("hours"), known, frequency=parse_frequency("1d"), calendar="Continuous", now=moment
        )
        return build_frames(spec, {"hours": bars})[0]

    full = frame_at(datetime(2021, 1, 1, tzinfo=UTC))
    start = datetime(2020, 3, 7, tzinfo=UTC)
    for moment in (start + timedelta(hours=7 * place) for place in range(60)):
        cutoff = np.datetime64(moment.replace(tzinfo=None), "us")
        assert first_difference(full.known_by(cutoff), frame_at(moment)) is None


def peeking(values: FloatArray) -> FloatArray:
    """Return the next bar's value: what no feature may do."""
    return np.append(values[1:], np.nan)


def centred(values: FloatArray) -> FloatArray:
    """Return the mean of each bar, the one before and the one after."""
    return (np.append(np.nan, values[:-1]) + values + np.append(values[1:], np.nan)) / 3


def standardised(values: FloatArray) -> FloatArray:
    """Return values scaled by the mean and deviation of all of them, later ones included."""
    return (values - np.nanmean(values)) / np.nanstd(values)


def caught(definition: Definition, target: str) -> Difference | None:
    (full,) = frames_of(spec(target), sources(), [definition])
    for cutoff in cutoffs(sources(), full):
        known = {name: truncate(bars, cutoff) for name, bars in sources().items()}
        (truncated,) = frames_of(spec(target), known, [definition])
        difference = first_difference(full.known_by(cutoff), truncated)
        if difference is not None:
            return difference
    return None


@pytest.mark.parametrize("compute", [peeking, centred, standardised], ids=lambda compute: compute.__name__)
@pytest.mark.parametrize("column", ["stocks.Close", "fear.vix", "prices.CPILFESL", "weekly.Close", "coins.Close"])
def test_a_planted_leak_is_caught_and_named(compute: Callable[[FloatArray], FloatArray], column: str) -> None:
    source, _, name = column.partition(".")
    leak = BarFeature(f"{column}.leak", source, (name,), compute, lookback=None)
    difference = caught(leak, "coins")
    assert difference is not None
    assert difference.name == leak.name
    assert difference.full != difference.truncated
    assert leak.name in str(difference)
    assert f"row {difference.row}" in str(difference)


def test_a_revision_that_overwrites_its_row_is_caught() -> None:
    newest = {
        name: replace(
            bars,
            rows=bars.rows.with_columns(pl.col(KNOWN_AT).first().over("series", "time")).unique(
                ("series", "time"), keep="last", maintain_order=True
            ),
        )
        for name, bars in sources().items()
    }
    (full,) = build_frames(spec("coins"), newest)
    differences = []
    for cutoff in cutoffs(sources(), full):
        (truncated,) = build_frames(spec("coins"), {name: truncate(bars, cutoff) for name, bars in sources().items()})
        differences.append(first_difference(full.known_by(cutoff), truncated))
    assert any(differences)
