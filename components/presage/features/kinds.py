"""The feature kinds: each takes columns of a source's bars, in time order, and gives one value a bar.

All functions take float64 arrays of one length n, with NaN for a missing value, and return (n,) float64. The value at
bar i uses bars up to i and no later one. It is NaN where a bar of its window is missing or would lie before the first
one, and where the arithmetic has no finite answer. It depends on the bars of its window alone, to the last bit: a
window is added up bar by bar in a fixed order, never as the difference of two running sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec

import numpy as np
import polars as pl

from presage.frame import FloatArray
from presage.spec.features import Statistic

Arguments = ParamSpec("Arguments")


def _finite(kind: Callable[Arguments, FloatArray]) -> Callable[Arguments, FloatArray]:
    """Put NaN, always of the same bits, wherever the arithmetic has no finite answer."""

    @wraps(kind)
    def finite(*args: Arguments.args, **kwargs: Arguments.kwargs) -> FloatArray:
        with np.errstate(all="ignore"):
            values = kind(*args, **kwargs)
        return np.where(np.isfinite(values), values, np.nan)

    return finite


@_finite
def lag(values: FloatArray, *, step: int) -> FloatArray:
    """Return the value `step` - 1 bars before each bar: step 1 is the bar itself."""
    return _earlier(values, step - 1)


@_finite
def difference(values: FloatArray, *, periods: int) -> FloatArray:
    """Return each value minus the one `periods` bars before."""
    return values - _earlier(values, periods)


@_finite
def percent_change(values: FloatArray, *, periods: int) -> FloatArray:
    """Return each value over the one `periods` bars before, minus 1, as a fraction."""
    return values / _earlier(values, periods) - 1


@_finite
def log_change(values: FloatArray, *, periods: int) -> FloatArray:
    """Return the natural logarithm of each value over the one `periods` bars before; both must be positive."""
    older = _earlier(values, periods)
    return np.log(np.where((values > 0) & (older > 0), values / older, np.nan))


@_finite
def rolling(values: FloatArray, *, window: int, statistic: Statistic) -> FloatArray:
    """Return a statistic over the `window` bars that end with each bar.

    Args:
        values: (n,) float64.
        window: Bars, at least 1; at least 2 for std and zscore.
        statistic: mean, min or max; std, with `window` - 1 degrees of freedom; or zscore, which is
            (newest - mean) / std and is missing where the window is constant.
    """
    newest = values[window - 1 :]
    if statistic in {"min", "max"}:
        extreme = np.minimum if statistic == "min" else np.maximum
        found = newest.copy()
        for bar in _bars(values, window):
            extreme(found, bar, out=found)
        return _at_end(values, found)
    # Taken around the newest value, a constant window has exactly its value as mean and exactly 0 as deviation.
    mean = newest + sum((bar - newest for bar in _bars(values, window)), np.zeros_like(newest)) / window
    if statistic == "mean":
        return _at_end(values, mean)
    squares = sum(((bar - mean) ** 2 for bar in _bars(values, window)), np.zeros_like(newest))
    deviation = np.sqrt(squares / (window - 1))
    return _at_end(values, deviation if statistic == "std" else (newest - mean) / deviation)


@_finite
def exponential_mean(values: FloatArray, *, span: int) -> FloatArray:
    """Return the exponentially weighted mean a x + (1 - a) (mean before), with a = 2 / (span + 1).

    It starts with the first value and is missing until `span` values went in, so that the first one weighs little by
    then. Missing values are passed over; at such a bar the mean is missing.
    """
    series = pl.Series(values).fill_nan(None)
    mean = series.ewm_mean(span=span, adjust=False, min_samples=span, ignore_nulls=True).to_numpy()
    return np.where(np.isnan(values), np.nan, mean)


@_finite
def range_volatility(high: FloatArray, low: FloatArray, *, window: int) -> FloatArray:
    """Return the range volatility in percent a bar over the `window` bars that end with each bar.

    100 sqrt(mean(ln(high / low)^2) / (4 ln 2)): Parkinson, "The Extreme Value Method for Estimating the Variance of the
    Rate of Return", Journal of Business 53 (1980), pp. 61-65. Missing where a low is not positive or above its high.
    """
    log_range = np.log(np.where((low > 0) & (high >= low), high / low, np.nan))
    return 100 * np.sqrt(rolling(log_range**2, window=window, statistic="mean") / (4 * math.log(2)))


@_finite
def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return one feature over another, element by element; missing where the denominator is 0."""
    return numerator / denominator


@_finite
def premium(price: FloatArray, reference: FloatArray) -> FloatArray:
    """Return how far a price stands above a reference price, element by element: price / reference - 1."""
    return price / reference - 1


def _earlier(values: FloatArray, bars: int) -> FloatArray:
    moved = np.full_like(values, np.nan)
    moved[bars:] = values[: max(len(values) - bars, 0)]
    return moved


def _bars(values: FloatArray, window: int) -> Iterator[FloatArray]:
    """Give, for all full windows at once, their first bars, then their second, up to their newest."""
    windows = max(len(values) - window + 1, 0)
    return (values[place : place + windows] for place in range(window))


def _at_end(values: FloatArray, statistics: FloatArray) -> FloatArray:
    result = np.full_like(values, np.nan)
    result[len(values) - len(statistics) :] = statistics
    return result
