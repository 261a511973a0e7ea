"""Autoregressive integrated moving averages, their order chosen by the corrected Akaike criterion."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits

from presage.errors import DataError
from presage.frame import FloatArray, Frame, IntArray
from presage.models.contract import Task
from presage.models.levels import AnchoredForecaster, first_bar, history, is_logarithmic, learnt, usable
from presage.models.libraries import library
from presage.models.statistical import StatisticalTrainer
from presage.spec.models import AutoARIMAParameters


class AutoARIMA(AnchoredForecaster):
    """An ARIMA model (Box & Jenkins, Time Series Analysis, 1970) of a level y or its logarithm.

    With n(t) = y(t) - intercept - drift t, the polynomials phi and theta, those of the seasons multiplied in, and the
    innovations e:

        (1 - phi_1 B - ...) (1 - B)^d (1 - B^m)^D n(t) = (1 + theta_1 B + ...) e(t).

    The order is chosen as Hyndman & Khandakar do (Journal of Statistical Software 27, 3, 2008). Order and coefficients
    are estimated once, on the training window, and then the values before its first level, by least squares of the
    innovations (unconditional least squares, chapter 7 of the book). Innovations run on through the levels up to each
    origin, so that a forecast costs no new fit.
    """

    name: Literal["auto_arima"] = "auto_arima"
    phi: tuple[float, ...]
    """Autoregressive coefficients by lag, seasonal ones multiplied in."""
    theta: tuple[float, ...]
    """Moving-average coefficients by lag, seasonal ones multiplied in."""
    differences: Annotated[int, Field(ge=0)]
    """d."""
    seasonal_differences: Annotated[int, Field(ge=0)]
    """D."""
    season: Annotated[int, Field(ge=1)]
    """m, in bars."""
    intercept: float
    """Mean of y, in its unit; 0 for one that is differenced."""
    drift: float
    """Slope of y, in its unit a bar."""
    before: tuple[float, ...]
    """n before the first level, the oldest first: one value for each lag left of the equals sign."""

    @model_validator(mode="after")
    def _every_lag_has_its_value(self) -> AutoARIMA:
        if len(self.before) != len(self.phi) + self.differences + self.season * self.seasonal_differences:
            raise ValueError("every lag needs a value before the first level")
        return self

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels."""
        known = usable(level, logarithm=self.logarithm)
        if not known.any():
            return np.full((len(rows), self.horizon), np.nan)
        values = learnt(level, logarithm=self.logarithm)
        bars = np.arange(1, len(values) + 1)
        apart = values - self.intercept - self.drift * bars
        count = np.cumsum(known)[rows]
        steps = self._run(apart)[np.maximum(count, 1) - 1]
        ahead = self.intercept + self.drift * (count[:, np.newaxis] + self.steps) + steps
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(ahead) if self.logarithm else ahead)

    def _run(self, apart: FloatArray) -> FloatArray:
        """Return (n, h) forecasts of n(t), from each of its (n,) values."""
        past = -left_polynomial(self.phi, self.differences, self.seasonal_differences, self.season)[1:]
        series = np.r_[np.array(self.before), apart]
        shocks = np.r_[np.zeros(len(self.theta)), innovations(series, past, self.theta)]
        ahead: list[FloatArray] = []
        for step in range(1, self.horizon + 1):
            total = np.zeros(len(apart))
            for lag, weight in enumerate(past, start=1):
                total += weight * (_lagged(series, lag - step, len(apart)) if lag >= step else ahead[step - lag - 1])
            for lag, weight in enumerate(self.theta, start=1):
                if lag >= step:
                    total += weight * _lagged(shocks, lag - step, len(apart))
            ahead.append(total)
        return np.column_stack(ahead)


def trainer(settings: AutoARIMAParameters) -> StatisticalTrainer:
    """Return the trainer of ARIMA models."""
    return StatisticalTrainer(AutoARIMA, partial(_learn, settings=settings))


def _learn(frame: Frame, task: Task, *, settings: AutoARIMAParameters) -> AutoARIMA:
    values = history(frame, task, "auto_arima")
    blank = AutoARIMA(
        horizon=task.horizon,
        first=first_bar(frame, task),
        logarithm=is_logarithmic(task),
        phi=(),
        theta=(),
        differences=0,
        seasonal_differences=0,
        season=1,
        intercept=float(values[0]),
        drift=0.0,
        before=(),
    )
    if values.min() == values.max():
        return blank
    library_module = library("statsforecast.arima", needed_by="auto_arima", extra="statistics")
    seasonal = settings.seasonal and 1 < task.season < len(values)
    with warnings.catch_warnings(action="ignore"):
        # An order that cannot be fitted is passed over; the best of the others is as good an answer as there is.
        try:
            found = library_module.auto_arima_f(
                values,
                max_p=settings.max_p,
                max_q=settings.max_q,
                seasonal=seasonal,
                period=task.season if seasonal else 1,
            )
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise DataError(
                f"series {frame.series!r}: auto_arima finds no order that fits its {len(values)} levels: {error}.",
                "Give more history, or leave the model out.",
            ) from error
    _, _, _, _, period, differences, seasonal_differences = (int(part) for part in found["arma"])
    phi, theta = _numbers(found["model"]["phi"]), _numbers(found["model"]["theta"])
    intercept, drift = (float(found["coef"].get(name, 0.0)) for name in ("intercept", "drift"))
    past = -left_polynomial(phi, differences, seasonal_differences, period)[1:]
    apart = values - intercept - drift * np.arange(1, len(values) + 1)
    return blank.model_copy(
        update={
            "phi": phi,
            "theta": theta,
            "differences": differences,
            "seasonal_differences": seasonal_differences,
            "season": period,
            "intercept": intercept,
            "drift": drift,
            "before": tuple(_values_before(apart, past, theta).tolist()) if len(past) else (),
        }
    )


def left_polynomial(phi: Sequence[float], differences: int, seasonal_differences: int, season: int) -> FloatArray:
    """Return the coefficients of everything left of the equals sign, that of lag 0 first."""
    seasonal = np.r_[1.0, np.zeros(season - 1), -1.0]
    product = np.r_[1.0, -np.array(phi)]
    for factor in [np.array([1.0, -1.0])] * differences + [seasonal] * seasonal_differences:
        product = np.convolve(product, factor)
    return np.asarray(product)


def innovations(series: FloatArray, past: FloatArray, theta: Sequence[float]) -> FloatArray:
    """Return (n,) innovations of (p + n,) values whose first p, one for each weight of the past, are given."""
    length = len(series) - len(past)
    left = _lagged(series, 0, length).copy()
    for lag, weight in enumerate(past, start=1):
        left -= weight * _lagged(series, lag, length)
    return np.asarray(lfilter([1.0], np.r_[1.0, np.array(theta)], left))


def _values_before(apart: FloatArray, past: FloatArray, theta: Sequence[float]) -> FloatArray:
    """Return (p,) the values before the first level for which the squares of the innovations add up to the least."""
    count = len(past)
    # The differences annihilate a constant; large levels would lose their last digits.
    start = apart[0] if abs(past.sum() - 1) < 1e-9 else 0.0
    given = innovations(np.r_[np.zeros(count), apart - start], past, theta)
    responses = [innovations(np.r_[unit, np.zeros(len(apart))], past, theta) for unit in np.eye(count)]
    with threadpool_limits(1):
        solution, *_ = np.linalg.lstsq(np.column_stack(responses), -given, rcond=None)
    return np.asarray(start + solution)


def _lagged(values: FloatArray, lag: int, length: int) -> FloatArray:
    """Return the `length` values that end `lag` places before the last."""
    stop = len(values) - lag
    return values[stop - length : stop]


def _numbers(values: FloatArray) -> tuple[float, ...]:
    """Return coefficients up to the last that is not 0."""
    used = np.flatnonzero(values)
    return tuple(np.asarray(values, dtype=np.float64)[: used[-1] + 1].tolist()) if len(used) else ()
