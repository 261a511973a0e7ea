"""Whether intervals hold what they promise."""

from __future__ import annotations

import math

from scipy import stats

from presage.evaluation.dependence import degrees_of_freedom, long_run_variance
from presage.evaluation.metrics import hits, interval
from presage.evaluation.scorecard import Coverage
from presage.frame import FloatArray


def cover(
    level: float,
    outcome: FloatArray,
    quantiles: FloatArray,
    probabilities: FloatArray,
    *,
    horizon: int,
    confidence: float,
) -> Coverage:
    """Return what a central interval promised and held, with a band that allows for dependence.

    The band is the nominal coverage plus and minus t standard errors of the mean of the origins' hits, each the mean
    over its steps: their long-run variance over n. It is never narrower than for origins that are independent of each
    other, where it is that of Kupiec's test (Journal of Derivatives 3, 1995): hits that repel one another, or never
    miss, do not make it vanish.

    Args:
        level: Nominal coverage.
        outcome: (n, h), the level that came, in time order.
        quantiles: (n, h, q), the level at each probability.
        probabilities: (q,), ascending.
        horizon: Steps ahead of the forecasts behind the hits.
        confidence: Confidence of the band, two-sided.

    Returns:
        Coverage and band as shares from 0 to 1, mean width in the target's unit.

    Raises:
        KeyError: No two probabilities make this interval.
    """
    lower, upper = interval(level, probabilities)
    inside = hits(level, outcome, quantiles, probabilities).mean(axis=1)
    count, steps = outcome.shape
    independent = max(level * (1 - level) / steps, float(inside.var()))
    tail = (1 - confidence) / 2
    reach = max(
        float(stats.norm.isf(tail)) * math.sqrt(independent / count),
        float(stats.t.isf(tail, degrees_of_freedom(count, horizon)))
        * math.sqrt(long_run_variance(inside, horizon) / count),
    )
    return Coverage(
        level=level,
        coverage=float(inside.mean()),
        lower=max(0.0, level - reach),
        upper=min(1.0, level + reach),
        width=float((quantiles[..., upper] - quantiles[..., lower]).mean()),
    )
