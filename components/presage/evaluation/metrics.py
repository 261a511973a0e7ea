"""Errors of forecasts, on the level of the target.

Shapes: n origins, h steps ahead, q probabilities. Every argument is finite unless its description says otherwise.
"""

from __future__ import annotations

import math

import numpy as np

from presage.errors import DataError
from presage.evaluation.scorecard import Metrics
from presage.frame import BoolArray, FloatArray, IntArray
from presage.spec.evaluation import Metric


def origin_losses(
    metric: Metric,
    outcome: FloatArray,
    mean: FloatArray,
    *,
    quantiles: FloatArray,
    probabilities: FloatArray,
    scale: FloatArray,
) -> FloatArray:
    """Return one loss for each origin: the mean over its steps ahead.

    Args:
        metric: What the loss is; that of RMSE is the squared error, whose mean `displayed` turns into a root.
        outcome: (n, h), the level that came.
        mean: (n, h), the level that was expected.
        quantiles: (n, h, q), the level at each probability; read for CRPS only.
        probabilities: (q,), ascending.
        scale: (n,), the seasonal naive error of each origin's training window; read for MASE only; NaN where unknown.

    Returns:
        (n,) float64; infinite where a forecast is too large for its error to be computed.

    Raises:
        DataError: The metric is not defined: an outcome of 0 under MAPE, or no scale under MASE.
    """
    error = np.abs(outcome - mean)
    if metric == "MAPE" and (zeros := int(np.count_nonzero(outcome == 0))):
        raise DataError(
            f"MAPE divides by the outcome, and {zeros} of {outcome.size} scored outcomes are 0.",
            "Set evaluation.metric to MAE, RMSE, sMAPE, MASE or CRPS.",
        )
    if metric == "MASE" and (lacking := int(np.count_nonzero(~(scale > 0)))):
        raise DataError(
            f"MASE divides by the seasonal naive error of the training window, which is 0 or unknown for {lacking} of "
            f"{len(scale)} scored origins.",
            "Set evaluation.metric to MAE, or evaluation.season to a season shorter than the training window.",
        )
    with np.errstate(over="ignore"):
        if metric == "RMSE":
            losses = np.square(error)
        elif metric == "MAPE":
            losses = 100 * error / np.abs(outcome)
        elif metric == "sMAPE":
            losses = _symmetric_percentage(outcome, mean)
        elif metric == "MASE":
            losses = error / scale[:, None]
        elif metric == "CRPS":
            losses = _crps(outcome, quantiles, probabilities)
        else:
            losses = error
        return np.asarray(losses.mean(axis=1), dtype=np.float64)


def by_date(values: FloatArray, date: IntArray) -> FloatArray:
    """Return (d,) the mean over the series at each date.

    Args:
        values: (n,) float64, one a series and date.
        date: (n,) place of each among the d dates, every one of which occurs.
    """
    totals = np.bincount(date, weights=values)
    return np.asarray(totals / np.bincount(date))


def displayed(metric: Metric, losses: FloatArray) -> float:
    """Return the mean of origins' losses as it is shown: the root of it under RMSE."""
    mean = float(losses.mean())
    return math.sqrt(mean) if metric == "RMSE" else mean


def measure(
    outcome: FloatArray,
    mean: FloatArray,
    *,
    quantiles: FloatArray,
    probabilities: FloatArray,
    level: FloatArray,
    scale: FloatArray,
    coverage_level: float,
) -> Metrics:
    """Return all metrics over n origins and h steps.

    - MAE, RMSE: mean absolute error, root of the mean squared error.
    - MAPE: 100 |y - f| / |y|; sMAPE: 200 |y - f| / (|y| + |f|) and 0 where both are 0 (Makridakis & Hibon,
      International Journal of Forecasting 16, 2000, p. 461).
    - MASE: mean of |y - f| over the mean absolute seasonal change inside the training window (Hyndman & Koehler,
      International Journal of Forecasting 22, 2006, p. 685).
    - Theil's U2: root of the mean of ((f - y) / x)^2 over that of ((x - y) / x)^2, where x is the level at the origin,
      which is also the naive forecast (Theil, Applied Economic Forecasting, 1966, chapter 2).
    - Directional accuracy: share of outcomes on the forecast's side of x, among those that differ from x. A forecast
      of x itself counts one half, as ties do in the area under the ROC curve (Hanley & McNeil, Radiology 143, 1982),
      so that the naive forecast scores 0.5.
    - Pinball loss: mean of max(p (y - q), (p - 1) (y - q)) over origins, steps and probabilities (Koenker & Bassett,
      Econometrica 46, 1978, p. 38).
    - CRPS: twice the integral of the pinball loss over p (Laio & Tamea, Hydrology and Earth System Sciences 11, 2007;
      Gneiting & Ranjan, Journal of Business & Economic Statistics 29, 2011), by the trapezoid rule between the
      probabilities there are and with the outermost loss beyond them. For a point forecast it is the absolute error.
      The grid makes it about 3 % smaller than the exact score for 9 probabilities from 0.025 to 0.975.
    - Coverage: share of outcomes inside the central interval, its ends included.

    Args:
        outcome: (n, h), the level that came.
        mean: (n, h), the level that was expected.
        quantiles: (n, h, q), the level at each probability.
        probabilities: (q,), ascending.
        level: (n,), the level at each origin.
        scale: (n,), the seasonal naive error of each origin's training window; NaN where unknown.
        coverage_level: Nominal coverage of the interval to measure.

    Returns:
        The metrics; None where one is not defined.

    Raises:
        KeyError: No two probabilities make an interval of `coverage_level`.
    """
    origin = level[:, None]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        error = np.abs(outcome - mean)
        naive_error = np.square((origin - outcome) / origin).mean()
        moved = outcome != origin
        agreement = np.where(mean == origin, 0.5, np.sign(mean - origin) == np.sign(outcome - origin))
        return Metrics(
            mae=_defined(error.mean()),
            rmse=_defined(np.sqrt(np.square(error).mean())),
            mape=_defined(100 * (error / np.abs(outcome)).mean()),
            smape=_defined(_symmetric_percentage(outcome, mean).mean()),
            mase=_defined((error / scale[:, None]).mean()),
            theil_u=_defined(np.sqrt(np.square((mean - outcome) / origin).mean() / naive_error)),
            directional_accuracy=_defined(agreement[moved].mean()) if moved.any() else None,
            pinball=_defined(_pinball(outcome, quantiles, probabilities).mean()),
            crps=_defined(_crps(outcome, quantiles, probabilities).mean()),
            coverage=_defined(hits(coverage_level, outcome, quantiles, probabilities).mean()),
        )


def seasonal_scale(level: FloatArray, season: int) -> float:
    """Return the mean absolute change over one season inside a training window: the denominator of MASE.

    Args:
        level: (m,), the window's levels in time order; NaN where the bar is a gap.
        season: Bars in a season.

    Returns:
        The scale in the target's unit; NaN where no two levels are a season apart.
    """
    change = np.abs(level[season:] - level[:-season])
    known = change[np.isfinite(change)]
    return float(known.mean()) if len(known) else math.nan


def hits(level: float, outcome: FloatArray, quantiles: FloatArray, probabilities: FloatArray) -> BoolArray:
    """Return (n, h) bool: whether each outcome is inside the central interval of this nominal coverage.

    Raises:
        KeyError: No two probabilities make this interval.
    """
    lower, upper = interval(level, probabilities)
    return (quantiles[..., lower] <= outcome) & (outcome <= quantiles[..., upper])


def interval(level: float, probabilities: FloatArray) -> tuple[int, int]:
    """Return the places of the probabilities (1 - level) / 2 and (1 + level) / 2; raises KeyError for none there."""
    places = [np.flatnonzero(np.isclose(probabilities, end)) for end in ((1 - level) / 2, (1 + level) / 2)]
    if not all(len(place) for place in places):
        raise KeyError(level)
    return int(places[0][0]), int(places[1][0])


def _symmetric_percentage(outcome: FloatArray, mean: FloatArray) -> FloatArray:
    size = np.abs(outcome) + np.abs(mean)
    return 200 * np.abs(outcome - mean) / np.where(size > 0, size, 1)


def _pinball(outcome: FloatArray, quantiles: FloatArray, probabilities: FloatArray) -> FloatArray:
    error = outcome[..., None] - quantiles
    return np.maximum(probabilities * error, (probabilities - 1) * error)


def _crps(outcome: FloatArray, quantiles: FloatArray, probabilities: FloatArray) -> FloatArray:
    edges = np.concatenate(([0.0], (probabilities[1:] + probabilities[:-1]) / 2, [1.0]))
    weighted: FloatArray = 2 * _pinball(outcome, quantiles, probabilities) @ np.diff(edges)
    return weighted


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
