"""The baselines: what anybody can say without a model, and what every model must beat.

At an origin whose bar is a gap none of them has a forecast; gaps inside the history are skipped.
Naive, seasonal naive and drift are those of Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition
(2021), section 5.2.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from presage.errors import NotSupportedError
from presage.frame import FloatArray, Frame, IntArray, to_change, to_level
from presage.models.contract import Task
from presage.models.outcomes import known_outcomes
from presage.models.statistical import StatisticalForecaster, StatisticalTrainer
from presage.spec.job import TransformName
from presage.spec.models import Model, WindowMeanParameters


class Naive(StatisticalForecaster):
    """The origin's level, for every step."""

    name: Literal["naive"] = "naive"

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels: y(t+k) = y(t)."""
        return np.repeat(level[rows, np.newaxis], self.horizon, axis=1)


class SeasonalNaive(StatisticalForecaster):
    """The level of the same bar of the newest season, for every step."""

    name: Literal["seasonal_naive"] = "seasonal_naive"
    season: Annotated[int, Field(ge=1)]
    """Bars in a season."""

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels: y(t+k) = y(t + k - m ceil(k/m)) for a season of m bars.

        Where that bar is a gap, it is the newest known one a whole number of seasons before it; NaN where there is
        none.
        """
        newest = _newest_a_season(level, self.season)
        behind = self.steps - self.season * -(-self.steps // self.season)
        places = rows[:, np.newaxis] + behind
        return np.where(places < 0, np.nan, newest[np.maximum(places, 0)])


class Drift(StatisticalForecaster):
    """The straight line through the first known level and the origin's."""

    name: Literal["drift"] = "drift"

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels: y(t+k) = y(t) + k (y(t) - y(s)) / (t - s), s the first known bar; NaN where t = s."""
        known = np.flatnonzero(~np.isnan(level))
        first = known[0] if len(known) else 0
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (level[rows] - level[first]) / (rows - first)
        return np.asarray(level[rows, np.newaxis] + slope[:, np.newaxis] * self.steps)


class WindowMean(StatisticalForecaster):
    """The mean of the newest levels, or a walk on by the mean of the newest one-bar changes."""

    name: Literal["window_mean"] = "window_mean"
    transform: TransformName
    """What is averaged."""
    window: Annotated[int, Field(ge=1)]
    """Values in the mean; where fewer are known, those."""

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; NaN where no value is known yet.

        With mean m of the newest values: y(t+k) = m under Level, y(t) + k m under Difference, y(t) exp(k m) under
        LogChange and y(t) (1 + m)^k under PercentChange. A change beside a gap counts as no value.
        """
        if self.transform == "Level":
            return np.repeat(_newest_mean(level, self.window)[rows, np.newaxis], self.horizon, axis=1)
        changes = np.full_like(level, np.nan)
        changes[1:] = to_change(self.transform, level[:-1], level[1:])
        mean = _newest_mean(changes, self.window)[rows, np.newaxis]
        change = (1 + mean) ** self.steps - 1 if self.transform == "PercentChange" else mean * self.steps
        return to_level(self.transform, level[rows, np.newaxis], change)


class Zero(StatisticalForecaster):
    """A level of zero where the level is learnt, else no change."""

    name: Literal["zero"] = "zero"
    transform: TransformName
    """What is zero."""

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels: 0 under Level, else y(t+k) = y(t)."""
        return to_level(self.transform, level[rows, np.newaxis], np.zeros((len(rows), self.horizon)))


class Median(StatisticalForecaster):
    """The median of what was learnt from at each step: a level, or a change from the origin's."""

    name: Literal["median"] = "median"
    transform: TransformName
    """What the medians are of."""
    medians: Annotated[tuple[float, ...], Field(min_length=1)]
    """One for each step."""

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels."""
        medians = np.broadcast_to(self.medians, (len(rows), self.horizon))
        return to_level(self.transform, level[rows, np.newaxis], medians)


def trainer(model: Model) -> StatisticalTrainer:
    """Return the trainer of a baseline; raises NotSupportedError for a model that is none."""
    settings = model.settings
    if isinstance(settings, WindowMeanParameters):
        return StatisticalTrainer(WindowMean, partial(_learn_window_mean, window=settings.window))
    trainers = {
        "naive": StatisticalTrainer(Naive, _learn_naive),
        "seasonal_naive": StatisticalTrainer(SeasonalNaive, _learn_seasonal_naive),
        "drift": StatisticalTrainer(Drift, _learn_drift),
        "zero": StatisticalTrainer(Zero, _learn_zero),
        "median": StatisticalTrainer(Median, _learn_median),
    }
    if model.name not in trainers:
        raise NotSupportedError(
            f"{model.name} is no baseline.", f"Baselines are {', '.join(trainers)} and window_mean."
        )
    return trainers[model.name]


def _learn_naive(_frame: Frame, task: Task) -> Naive:
    return Naive(horizon=task.horizon)


def _learn_seasonal_naive(_frame: Frame, task: Task) -> SeasonalNaive:
    return SeasonalNaive(horizon=task.horizon, season=task.season)


def _learn_drift(_frame: Frame, task: Task) -> Drift:
    return Drift(horizon=task.horizon)


def _learn_window_mean(_frame: Frame, task: Task, *, window: int) -> WindowMean:
    return WindowMean(horizon=task.horizon, transform=task.transform, window=window)


def _learn_zero(_frame: Frame, task: Task) -> Zero:
    return Zero(horizon=task.horizon, transform=task.transform)


def _learn_median(frame: Frame, task: Task) -> Median:
    steps = range(1, task.horizon + 1)
    medians = tuple(float(np.median(known_outcomes(frame, task, step)[1])) for step in steps)
    return Median(horizon=task.horizon, transform=task.transform, medians=medians)


def _newest_a_season(level: FloatArray, season: int) -> FloatArray:
    """Return (n,) the newest known value a whole number of seasons, or none, before each bar."""
    seasons = -(-len(level) // season)
    padded = np.full(seasons * season, np.nan)
    padded[: len(level)] = level
    table = padded.reshape(seasons, season)
    places = np.where(np.isnan(table), 0, np.arange(seasons)[:, np.newaxis])
    newest = np.take_along_axis(table, np.maximum.accumulate(places, axis=0), axis=0)
    return newest.reshape(-1)[: len(level)]


def _newest_mean(values: FloatArray, window: int) -> FloatArray:
    """Return (n,) the mean of the newest `window` known values up to each bar; NaN before the first."""
    known = ~np.isnan(values)
    if not known.any():
        return np.full_like(values, np.nan)
    compact = values[known]
    # Sums of differences from the first value: those of large values far from zero would lose their last digits.
    sums = np.concatenate(([0.0], np.cumsum(compact - compact[0])))
    stop = np.cumsum(known)
    start = np.maximum(stop - window, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(compact[0] + (sums[stop] - sums[start]) / (stop - start))
