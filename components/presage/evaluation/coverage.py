"""Whether intervals hold what they promise."""

from __future__ import annotations

import math

from presage.evaluation.dependence import degrees_of_freedom, long_run_variance
from presage.evaluation.metrics import by_date, hits, interval
from presage.evaluation.scorecard import Coverage
from presage.frame import FloatArray, IntArray


def cover(
    level: float,
    outcome: FloatArray,
    quantiles: FloatArray,
    probabilities: FloatArray,
    *,
    horizon: int,
    confidence: float,
    date: IntArray | None = None,
) -> Coverage:
    """Return what a central interval promised and held, with a band that allows for dependence.

    The band is the nominal coverage plus and minus t standard errors of the mean of the dates' hits, each the mean
    over its series and steps: their long-run variance over n. It is never narrower than for origins that are
    independent of each other, where it is that of Kupiec's test (Journal of Derivatives 3, 1995): hits that repel one
    another, or never miss, do not make it vanish. That least width is the one of a single series, whatever the number
    of series: how far they move together is not known beforehand.

    Args:
        level: Nominal coverage.
        outcome: (n, h), the level that came, in time order where there is no `date`.
        quantiles: (n, h, q), the level at each probability.
        probabilities: (q,), ascending.
        horizon: Steps ahead of the forecasts behind the hits.
        confidence: Confidence of the band, two-sided.
        date: (n,) place of each origin's date among d dates in time order; default: each origin is a date of its own.

    Returns:
        Coverage and band as shares from 0 to 1, mean width in the target's unit.

    Raises:
        KeyError: No two probabilities make this interval.
    """
    from scipy import stats  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

    lower, upper = interval(level, probabilities)
    inside = hits(level, outcome, quantiles, probabilities).mean(axis=1)
    if date is not None:
        inside = by_date(inside, date)
    count, steps = len(inside), outcome.shape[1]
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
