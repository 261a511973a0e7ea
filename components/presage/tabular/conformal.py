"""Prediction intervals of rows by split conformal prediction: residuals of earlier blocks, none of the own one.

Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, Journal of the American Statistical Association 113, 2018, section 2.2,
with signed residuals, so that an interval may reach further up than down. At probability p of n residuals the offset is
order statistic ceil((n + 1) p) above one half, floor((n + 1) p) below, and the mean of both at one half; never beyond
the outermost residual.
"""

from __future__ import annotations

import numpy as np

from presage.frame import FloatArray


def offsets_of(residual: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Return (q,) what to add to a prediction at each probability, non-decreasing; NaN where there is no residual.

    Args:
        residual: (n,) outcome minus prediction, in any order.
        probabilities: (q,) ascending.
    """
    count = len(residual)
    if not count:
        return np.full(len(probabilities), np.nan)
    ordered = np.sort(residual)
    # The tolerance keeps 0.95 * 20, which is not exactly 19 in binary, from rounding to the next rank.
    rank = (count + 1) * probabilities
    below, above = np.floor(rank + 1e-9), np.ceil(rank - 1e-9)
    lower = np.clip(np.where(probabilities > 0.5, above, below), 1, count).astype(np.intp) - 1
    upper = np.clip(np.where(probabilities < 0.5, below, above), 1, count).astype(np.intp) - 1
    return np.asarray((ordered[lower] + ordered[upper]) / 2)


def with_offsets(mean: FloatArray, offsets: FloatArray, minimum: float | None) -> FloatArray:
    """Return (r, q) quantiles of (r,) predictions, not below `minimum`."""
    quantiles = mean[:, None] + offsets
    return quantiles if minimum is None else np.maximum(quantiles, minimum)
