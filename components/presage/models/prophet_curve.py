"""Prophet: a trend that bends, and seasons of the calendar.

The model is that of Taylor & Letham, The American Statistician 72 (2018), pp. 37-45.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Annotated, Literal, Protocol

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from presage.errors import DataError
from presage.frame import FloatArray, Frame, IntArray, TimeArray
from presage.models.contract import Task
from presage.models.levels import history, is_logarithmic, usable
from presage.models.libraries import library
from presage.models.statistical import StateForecaster, StatisticalTrainer
from presage.spec.models import ProphetParameters

_DAY = np.timedelta64(1, "D")
_LOGGERS = ("prophet", "prophet.models", "cmdstanpy")


class Season(BaseModel):
    """A season as a Fourier series."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    period: Annotated[float, Field(gt=0)]
    """Days."""
    multiplies: bool
    """Whether it is a share of the trend instead of being added to it."""
    coefficients: tuple[float, ...]
    """Of the sine and the cosine of each order."""


class ProphetCurve(StateForecaster):
    """The maximum a posteriori curve over time: y = trend (1 + multiplicative seasons) + additive seasons.

    It extrapolates from its training window: levels after that do not change a forecast. The bar of each step ahead is
    taken to follow at the bars' usual distance, on weekdays on which there were bars: no holiday is known beforehand.
    """

    name: Literal["prophet"] = "prophet"
    logarithm: bool
    """Whether the curve is that of the level's logarithm."""
    start: int
    """Where time is 0, in microseconds since 1970, UTC."""
    duration: Annotated[int, Field(gt=0)]
    """Where time is 1, in microseconds after the start."""
    spacing: Annotated[int, Field(gt=0)]
    """Usual distance of bars, in microseconds."""
    weekdays: tuple[bool, bool, bool, bool, bool, bool, bool]
    """Whether a bar may start on each weekday, UTC, from Monday."""
    scale: float
    """What the trend and the additive seasons are multiplied by."""
    rate: float
    """Slope of the trend at its start."""
    offset: float
    """Trend at its start."""
    bends: tuple[float, ...]
    """Times at which the slope may change."""
    changes: tuple[float, ...]
    """Change of the slope at each of them."""
    seasons: tuple[Season, ...]
    """The seasons."""

    @model_validator(mode="after")
    def _every_bend_has_its_change(self) -> ProphetCurve:
        if len(self.bends) != len(self.changes):
            raise ValueError("every bend needs a change")
        return self

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; see `presage.models.contract.Forecaster`."""
        known = usable(frame.level[rows], logarithm=self.logarithm)[:, np.newaxis]
        time = frame.time[rows].astype("datetime64[us]")
        steps = []
        for _ in range(self.horizon):
            time = self._following(time)
            steps.append(self.curve(time))
        ahead = np.column_stack(steps) if len(rows) else np.empty((0, self.horizon))
        with np.errstate(over="ignore"):
            return np.where(known, np.exp(ahead) if self.logarithm else ahead, np.nan)

    def curve(self, time: TimeArray) -> FloatArray:
        """Return (r,) values of the curve, a level or its logarithm, at some times in datetime64[us], UTC."""
        since = time.astype(np.int64)
        elapsed = (since - self.start) / self.duration
        trend = self.offset + self.rate * elapsed
        for bend, change in zip(self.bends, self.changes, strict=True):
            trend += change * np.maximum(elapsed - bend, 0.0)
        trend *= self.scale
        days = since / 86_400e6
        added, multiplied = np.zeros(len(time)), np.zeros(len(time))
        for season in self.seasons:
            total = multiplied if season.multiplies else added
            for place, coefficient in enumerate(season.coefficients):
                angle = 2 * np.pi * days * (place // 2 + 1) / season.period
                total += coefficient * (np.cos(angle) if place % 2 else np.sin(angle))
        return np.asarray(trend * (1 + multiplied) + self.scale * added)

    def _following(self, time: TimeArray) -> TimeArray:
        following = time + np.timedelta64(self.spacing, "us")
        may_start = np.array(self.weekdays)
        for _ in self.weekdays:
            following = following + np.where(may_start[_weekday(following)], 0, 1) * _DAY
        return following


class _Prophet(Protocol):
    """What the library keeps of a fit."""

    params: dict[str, FloatArray]
    seasonalities: dict[str, dict[str, float | str]]
    changepoints_t: FloatArray
    y_scale: float


def trainer(settings: ProphetParameters) -> StatisticalTrainer:
    """Return the trainer of Prophet."""
    return StatisticalTrainer(ProphetCurve, partial(_learn, settings=settings))


def _learn(frame: Frame, task: Task, *, settings: ProphetParameters) -> ProphetCurve:
    values = history(frame, task, "prophet")
    logarithm = is_logarithmic(task)
    time = frame.time[usable(frame.level, logarithm=logarithm)].astype("datetime64[us]")
    module = library("prophet", needed_by="prophet", extra="statistics")
    try:
        fitted = _fit(module, time, values, settings, task.seed)
    except (RuntimeError, ValueError) as error:
        raise DataError(
            f"series {frame.series!r}: prophet finds no curve for its {len(values)} levels: {error}.",
            "Give more history, or leave the model out.",
        ) from error
    rate, offset = (float(fitted.params[name].item()) for name in ("k", "m"))
    bends = settings.growth == "linear"
    moments = time.astype(np.int64)
    spacing = int(np.median(np.diff(frame.time.astype("datetime64[us]").astype(np.int64))))
    return ProphetCurve(
        horizon=task.horizon,
        logarithm=logarithm,
        start=int(moments[0]),
        duration=int(moments[-1] - moments[0]),
        spacing=spacing,
        weekdays=_weekdays(frame.time, spacing),
        scale=float(fitted.y_scale),
        rate=rate if bends else 0.0,
        offset=offset,
        bends=tuple(np.ravel(fitted.changepoints_t).astype(float).tolist()) if bends else (),
        changes=tuple(np.ravel(fitted.params["delta"]).tolist()) if bends else (),
        seasons=_seasons(fitted),
    )


def _fit(module: ModuleType, time: TimeArray, values: FloatArray, settings: ProphetParameters, seed: int) -> _Prophet:
    with _quiet():
        fitted = module.Prophet(**settings.model_dump(), uncertainty_samples=0)
        try:
            fitted.fit(pl.DataFrame({"ds": time, "y": values}).to_pandas(), seed=seed)
        finally:
            fitted.stan_backend.cleanup()
    found: _Prophet = fitted
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries from telling each fit, and pandas from warning of what they call."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        # Not their level, which the libraries set when they are imported, some of them only now.
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _seasons(fitted: _Prophet) -> tuple[Season, ...]:
    coefficients = np.ravel(fitted.params["beta"]).tolist()
    seasons, start = [], 0
    for about in fitted.seasonalities.values():
        stop = start + 2 * int(about["fourier_order"])
        seasons.append(
            Season(
                period=float(about["period"]),
                multiplies=about["mode"] == "multiplicative",
                coefficients=tuple(coefficients[start:stop]),
            )
        )
        start = stop
    return tuple(seasons)


def _weekdays(time: TimeArray, spacing: int) -> tuple[bool, bool, bool, bool, bool, bool, bool]:
    """Return on which weekdays bars start; all where bars are longer than a day."""
    seen = np.ones(7, dtype=bool)
    if spacing <= _DAY / np.timedelta64(1, "us"):
        seen = np.isin(np.arange(7), _weekday(time))
    monday, tuesday, wednesday, thursday, friday, saturday, sunday = seen.tolist()
    return monday, tuesday, wednesday, thursday, friday, saturday, sunday


def _weekday(time: TimeArray) -> IntArray:
    # 1970-01-01 was a Thursday.
    return np.asarray((time.astype("datetime64[D]").astype(np.int64) + 3) % 7, dtype=np.intp)
