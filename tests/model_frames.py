"""Frames for the tests of forecasters: real ones from the S&P 500, and small ones from a list of levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
from arch.data import sp500

from presage.frame import FloatArray, Frame

TargetName = Literal["volatility", "close"]
NEWEST = 1500
DAY = np.timedelta64(1, "D")


def frame_of(
    level: Sequence[float] | FloatArray, features: FloatArray | None = None, *, names: Sequence[str] = (), horizon: int
) -> Frame:
    """Return a frame of daily bars, each known when it ends, whose outcomes are its own later levels."""
    values = np.asarray(level, dtype=np.float64)
    time = np.datetime64("2001-01-01", "us") + np.arange(len(values)) * DAY
    steps = np.arange(1, horizon + 1)
    places = np.arange(len(values))[:, np.newaxis] + steps
    there = places < len(values)
    outcome = np.where(there, values[np.minimum(places, len(values) - 1)], np.nan)
    target_time = time[:, np.newaxis] + steps * DAY
    return Frame(
        series="sp500",
        time=time,
        origin=time + DAY,
        level=values,
        features=np.empty((len(values), 0)) if features is None else features,
        feature_names=tuple(names),
        target_time=target_time,
        target_level=outcome,
        target_known_at=np.where(np.isnan(outcome), np.datetime64("NaT", "us"), target_time + DAY),
    )


@cache
def real_frame(target: TargetName, horizon: int) -> Frame:
    """Return the newest bars of the S&P 500 with heterogeneous autoregressive features, a few of them missing.

    `volatility` is the range volatility in percent (Parkinson 1980), `close` the closing price.
    """
    bars = sp500.load()
    close = bars["Close"].to_numpy()
    high, low = bars["High"].to_numpy(), bars["Low"].to_numpy()
    volatility = 100 * np.sqrt(np.log(high / low) ** 2 / (4 * np.log(2)))
    log_change = np.concatenate(([np.nan], np.diff(np.log(close))))
    features = {
        "volatility.lag_1": volatility,
        "volatility.mean_5": _mean(volatility, 5),
        "volatility.mean_22": _mean(volatility, 22),
        "close.log_change_1": log_change,
        "close.log_change_5": close / np.roll(close, 5) - 1,
        "volume.lag_1": bars["Volume"].to_numpy(dtype=np.float64),
        "constant": np.full(len(close), 3.0),
        "never": np.full(len(close), np.nan),
    }
    table = np.column_stack(list(features.values()))[-NEWEST:].copy()
    holes = np.random.default_rng(7).random(table.shape) < 0.05
    table[holes] = np.nan
    level = {"volatility": volatility, "close": close}[target][-NEWEST:]
    return frame_of(level, table, names=tuple(features), horizon=horizon)


def with_gaps(frame: Frame) -> Frame:
    """Return a frame in which some bars, single ones and a whole month, are gaps."""
    gap = np.zeros(len(frame), dtype=bool)
    gap[300:322] = True
    gap[np.random.default_rng(11).integers(1, len(frame), size=60)] = True
    outcome = frame.target_level.copy()
    for step in range(1, frame.horizon + 1):
        outcome[:-step, step - 1][gap[step:]] = np.nan
    return replace(
        frame,
        level=np.where(gap, np.nan, frame.level),
        target_level=outcome,
        target_known_at=np.where(np.isnan(outcome), np.datetime64("NaT", "us"), frame.target_known_at),
    )


def _mean(values: FloatArray, window: int) -> FloatArray:
    sums = np.cumsum(np.insert(values, 0, 0.0))
    return np.concatenate((np.full(window - 1, np.nan), (sums[window:] - sums[:-window]) / window))
