"""The Theta method: simple exponential smoothing with half of the linear trend as its drift."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.signal import lfilter
from statsmodels.tools.sm_exceptions import ConvergenceWarning
from statsmodels.tsa.forecasting.theta import ThetaModel

from presage.errors import DataError
from presage.frame import FloatArray, Frame, IntArray
from presage.models.contract import Task
from presage.models.outcomes import LEAST_ROWS
from presage.models.statistical import StatisticalForecaster, StatisticalTrainer
from presage.spec.models import NoParameters


class Theta(StatisticalForecaster):
    """The Theta method of Assimakopoulos & Nikolopoulos, International Journal of Forecasting 16 (2000), pp. 521-530.

    It is stated as in Hyndman & Billah, International Journal of Forecasting 19 (2003), p. 288: with the smoothed level
    l(n) = alpha y(n) + (1 - alpha) l(n-1), l(1) = y(1), and the slope b of the least-squares line,

        y(n+k) = l(n) + b/2 (k - 1 + 1/alpha - (1 - alpha)^n / alpha).

    Alpha and b are estimated once, on the training window; l(n) runs on through the levels up to each origin, so that a
    forecast costs no new fit. The level is what is smoothed, whatever the task's transform. No season is taken out: its
    phase would have to be carried along with the bars' positions, which holidays shift.
    """

    name: Literal["theta"] = "theta"
    alpha: Annotated[float, Field(gt=0, le=1)]
    """Weight of the newest level."""
    slope: float
    """Slope of the least-squares line, in the target's unit a bar."""

    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; gaps are passed over as if they were no bars."""
        known = ~np.isnan(level)
        if not known.any():
            return np.full((len(rows), self.horizon), np.nan)
        smoothed = _smooth(level[known], self.alpha)
        count = np.maximum(np.cumsum(known)[rows], 1)
        weight = (1 - (1 - self.alpha) ** count) / self.alpha
        drift = self.slope / 2 * (self.steps - 1 + weight[:, np.newaxis])
        return np.asarray(smoothed[count - 1, np.newaxis] + drift)


def trainer(_settings: NoParameters) -> StatisticalTrainer:
    """Return the trainer of the Theta method."""
    return StatisticalTrainer(Theta, _learn)


def _learn(frame: Frame, task: Task) -> Theta:
    bars = np.flatnonzero(~np.isnan(frame.level))
    if len(bars) < LEAST_ROWS:
        raise DataError(
            f"series {frame.series!r}: theta needs at least {LEAST_ROWS} levels to learn from, and {len(bars)} of the "
            f"{len(frame)} rows have one.",
            "Give more history or a larger trainSize.",
        )
    levels = frame.level[bars]
    if levels.min() == levels.max():
        return Theta(horizon=task.horizon, alpha=1.0, slope=0.0)
    elapsed = bars - bars.mean()
    slope = np.sum(elapsed * (levels - levels.mean())) / np.sum(elapsed**2)
    return Theta(horizon=task.horizon, alpha=_estimate_alpha(levels), slope=float(slope))


def _estimate_alpha(levels: FloatArray) -> float:
    with warnings.catch_warnings():
        # An optimum that is flat or at the edge of the range is as good an answer as there is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        alpha = ThetaModel(levels, deseasonalize=False).fit().params["alpha"]
    return float(np.clip(alpha, 1e-4, 1.0))


def _smooth(levels: FloatArray, alpha: float) -> FloatArray:
    smoothed, _ = lfilter([alpha], [1.0, alpha - 1.0], levels, zi=[(1.0 - alpha) * levels[0]])
    return np.asarray(smoothed, dtype=np.float64)
