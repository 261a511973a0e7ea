"""Exponential smoothing, its form chosen by the corrected Akaike criterion."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from presage.errors import DataError
from presage.frame import FloatArray, Frame, IntArray
from presage.models.contract import Task
from presage.models.levels import AnchoredForecaster, first_bar, history, is_logarithmic, learnt, usable
from presage.models.libraries import library
from presage.models.statistical import StatisticalTrainer
from presage.spec.models import AutoETSParameters

Component = Literal["N", "A", "M"]


class AutoETS(AnchoredForecaster):
    """Exponential smoothing of a level or its logarithm, in the forms of Hyndman, Koehler, Snyder & Grose.

    International Journal of Forecasting 18 (2002), pp. 439-454, table 1 gives the recursions and the forecasts. Whether
    errors are additive or multiplicative decides the parameters' estimates alone, not the recursions.

    Form and parameters are estimated once, on the training window. The smoothed values run on through the levels up to
    each origin, so that a forecast costs no new fit.
    """

    name: Literal["auto_ets"] = "auto_ets"
    error: Literal["A", "M"]
    """Errors: additive or multiplicative."""
    trend: Component
    """Trend: none, additive or multiplicative."""
    season: Component
    """Seasons: none, additive or multiplicative."""
    alpha: Annotated[float, Field(gt=0)]
    """Weight of the newest level."""
    beta: float
    """Weight of the newest slope, times alpha as in the recursions' error correction form."""
    gamma: float
    """Weight of the newest season."""
    phi: float
    """What is left of the trend after each bar; 1 for one that is not damped."""
    level: float
    """Smoothed level before the first bar."""
    slope: float
    """Slope, or growth factor, before the first bar."""
    seasons: Annotated[tuple[float, ...], Field(min_length=1)]
    """Seasons before the first bar, the newest first; one that does nothing where there are none."""

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels."""
        known = usable(level, logarithm=self.logarithm)
        if not known.any():
            return np.full((len(rows), self.horizon), np.nan)
        smoothed, slopes, seasons = self._run(learnt(level, logarithm=self.logarithm))
        newest = np.maximum(np.cumsum(known)[rows], 1) - 1
        start, slope = smoothed[newest, np.newaxis], slopes[newest, np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            damping = np.cumsum(self.phi**self.steps)
            ahead = start * slope**damping if self.trend == "M" else start + slope * damping
            ahead = _with_season(ahead, self._seasons_ahead(seasons, newest), self.season)
            return np.asarray(np.exp(ahead) if self.logarithm else ahead)

    def _seasons_ahead(self, seasons: FloatArray, newest: IntArray) -> FloatArray:
        """Return (r, h) the season of each step ahead: that of the bar whole seasons before it."""
        length = len(self.seasons)
        behind = (self.steps - 1) % length + 1 - length
        # The seasons before the first bar stand before those that were smoothed.
        return np.asarray(seasons[newest[:, np.newaxis] + length + behind])

    def _run(self, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (n,) the smoothed levels and slopes, and (m + n,) the seasons, m of them before the first bar."""
        length = len(self.seasons)
        level, slope = self.level, self.slope
        levels, slopes = np.empty(len(values)), np.empty(len(values))
        seasons = list(reversed(self.seasons))
        for bar, value in enumerate(values.tolist()):
            season = seasons[bar]
            expected_slope = self._damped(slope)
            expected = level * expected_slope if self.trend == "M" else level + expected_slope
            before, level = level, expected + self.alpha * (_without_season(value, season, self.season) - expected)
            if self.trend != "N":
                newest = _ratio(level, before) if self.trend == "M" else level - before
                slope = expected_slope + self.beta / self.alpha * (newest - expected_slope)
            if self.season != "N":
                season += self.gamma * (_without_season(value, expected, self.season) - season)
            levels[bar], slopes[bar] = level, slope
            seasons.append(season)
        if self.season == "N":
            return levels, slopes, np.zeros(len(values) + length)
        return levels, slopes, np.array(seasons)

    def _damped(self, slope: float) -> float:
        if self.trend == "M":
            return slope**self.phi if slope >= 0 else math.nan
        return self.phi * slope


def trainer(settings: AutoETSParameters) -> StatisticalTrainer:
    """Return the trainer of exponential smoothing."""
    return StatisticalTrainer(AutoETS, partial(_learn, settings=settings))


def _learn(frame: Frame, task: Task, *, settings: AutoETSParameters) -> AutoETS:
    values = history(frame, task, "auto_ets")
    constant = AutoETS(
        horizon=task.horizon,
        first=first_bar(frame, task),
        logarithm=is_logarithmic(task),
        error="A",
        trend="N",
        season="N",
        alpha=1.0,
        beta=0.0,
        gamma=0.0,
        phi=1.0,
        level=float(values[0]),
        slope=0.0,
        seasons=(0.0,),
    )
    if values.min() == values.max():
        return constant
    module = library("statsforecast.ets", needed_by="auto_ets", extra="statistics")
    with warnings.catch_warnings(action="ignore"):
        # A form whose optimum is at the edge of its range is compared with the others all the same.
        try:
            found = module.ets_f(values, m=task.season, model=settings.model, damped=settings.damped)
        except Exception as error:  # statsforecast raises it as it is
            raise DataError(
                f"series {frame.series!r}: auto_ets finds no form of {settings.model!r} that fits its {len(values)} "
                f"levels: {error}.",
                "Set another model in its parameters, such as ZZN, or give more history; multiplicative forms need "
                "levels above 0.",
            ) from error
    error_type, trend, season, damped = found["components"]
    alpha, beta, gamma, phi, level, *states = (float(number) for number in found["par"])
    return constant.model_copy(
        update={
            "error": error_type,
            "trend": trend,
            "season": season,
            "alpha": alpha,
            "beta": 0.0 if trend == "N" else beta,
            "gamma": 0.0 if season == "N" else gamma,
            "phi": phi if damped == "D" else 1.0,
            "level": level,
            "slope": states[0] if trend != "N" else 0.0,
            "seasons": (0.0,) if season == "N" else tuple(states[trend != "N" :]),
        }
    )


def _with_season(values: FloatArray, season: FloatArray, kind: Component) -> FloatArray:
    return values * season if kind == "M" else values + season


def _without_season(value: float, season: float, kind: Component) -> float:
    if kind == "M":
        return _ratio(value, season)
    return value - season if kind == "A" else value


def _ratio(number: float, divisor: float) -> float:
    return number / divisor if divisor else math.nan
