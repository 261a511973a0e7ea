"""Whether a difference in loss is more than chance, and how many forecasts such a verdict needs.

A loss difference is the benchmark's loss minus the candidate's, one value an origin in time order: above 0 where the
candidate is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from presage.evaluation.dependence import (
    autocovariances,
    degrees_of_freedom,
    is_constant,
    long_run_variance,
    truncation_lag,
)
from presage.evaluation.scorecard import DieboldMariano
from presage.frame import FloatArray

MINIMUM_ORIGINS = 20
MAXIMUM_REPLICATIONS = 20_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Superiority:
    """What the test of superior predictive ability found.

    Attributes:
        p_value: Chance of an advantage as large as the best candidate's, were none better than the benchmark.
        superior: Candidates that StepM finds better than the benchmark, in their order.
        block_length: Mean block of the stationary bootstrap, in origins.
        replications: Bootstrap replications.
    """

    p_value: float
    superior: tuple[str, ...]
    block_length: float
    replications: int


def loss_difference(benchmark: FloatArray, candidate: FloatArray) -> FloatArray:
    """Return the benchmark's losses minus the candidate's, 0 where they differ by rounding only."""
    difference = benchmark - candidate
    return np.where(np.abs(difference) <= _ROUNDING * (np.abs(benchmark) + np.abs(candidate)), 0.0, difference)


def superiority(
    benchmark: FloatArray,
    candidates: Mapping[str, FloatArray],
    *,
    significance: float,
    replications: int,
    horizon: int,
    seed: int,
    untested: int = 0,
) -> Superiority | None:
    """Test which candidates have a smaller expected loss than the benchmark, all of them counted.

    The p-value is the consistent one of Hansen's test for superior predictive ability (Journal of Business & Economic
    Statistics 23, 2005, p. 365), with 1 added to both counts so that it is never 0 (Phipson & Smyth, Statistical
    Applications in Genetics and Molecular Biology 9, 2010). The superior candidates are those of the StepM procedure
    (Romano & Wolf, Econometrica 73, 2005) at the same level, so that there are some only where the p-value is at most
    `significance`. Both use the stationary bootstrap (Politis & Romano, Journal of the American Statistical
    Association 89, 1994); its mean block is the longest that Politis & White's rule (Econometric Reviews 23, 2004,
    corrected by Patton and others, 28, 2009) gives for a candidate's loss difference, at least `horizon` and at most
    n / 3.

    The statistics are studentised here and not by the library, which uses variances to recentre alone. Means are
    divided by the larger of two standard errors, the bootstrap's own and a prewhitened one (`long_run_variance`):
    blocks cut the dependence at their ends, so that the bootstrap's own is too small, and a test at 5 % would reject
    7 to 14 % under autocorrelations of 0.3 to 0.6.

    Args:
        benchmark: (n,) losses of the benchmark, in time order.
        candidates: (n,) losses at the same origins, by name.
        significance: Level of the test.
        replications: Bootstrap replications.
        horizon: Steps ahead of the forecasts.
        seed: Seed of the bootstrap.
        untested: Configurations that were tried and cannot be in the test. The p-value is multiplied by the number
            tried over the number tested (Bonferroni's correction, weighted by the number of configurations), and the
            replications too, up to 20,000, so that a small p-value can still be told.

    Returns:
        The test; None where there is no candidate or fewer than 20 origins.
    """
    count = len(benchmark)
    if not candidates or count < MINIMUM_ORIGINS:
        return None
    correction = (len(candidates) + untested) / len(candidates)
    replications = min(math.ceil(replications * correction), max(MAXIMUM_REPLICATIONS, replications))
    differences = {name: loss_difference(benchmark, losses) for name, losses in candidates.items()}
    # A difference that never varies needs no bootstrap: its sign is its verdict. Equal losses are no advantage.
    certain = {name for name, values in differences.items() if is_constant(values) and values[0] > 0}
    tested = {name: values for name, values in differences.items() if not is_constant(values)}
    p_value, better, block = 1.0, set[str](), float(horizon)
    if tested:
        matrix = np.column_stack(list(tested.values()))
        block = _block_length(matrix, horizon)
        level = significance / correction
        studentised = _studentise(matrix, block=block, horizon=horizon, significance=level)
        p_value, places = _step_down(studentised, block, level, replications, seed)
        better = {list(tested)[place] for place in places}
    if certain:
        p_value = 1 / (replications + 1)
    p_value = min(1.0, correction * p_value)
    found = better | certain if p_value <= significance else better
    return Superiority(
        p_value=p_value,
        superior=tuple(name for name in candidates if name in found),
        block_length=block,
        replications=replications,
    )


def diebold_mariano(difference: FloatArray, horizon: int) -> DieboldMariano | None:
    """Test whether the candidate's expected loss is smaller than the benchmark's.

    Diebold & Mariano (Journal of Business & Economic Statistics 13, 1995) with the correction and the t distribution of
    Harvey, Leybourne & Newbold (International Journal of Forecasting 13, 1997, p. 281).

    Args:
        difference: (n,) loss differences.
        horizon: Steps ahead of the forecasts.

    Returns:
        The statistic, above 0 where the candidate is better, and its one-sided p-value; None where the difference does
        not vary, or there are fewer than 20 origins or than 2 horizons.
    """
    from scipy import stats  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

    count = len(difference)
    variance = long_run_variance(difference, horizon)
    if count < max(MINIMUM_ORIGINS, 2 * horizon) or variance <= 0:
        return None
    correction = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count
    statistic = math.sqrt(correction) * float(difference.mean()) / math.sqrt(variance / count)
    return DieboldMariano(
        statistic=statistic,
        p_value=float(stats.t.sf(statistic, count - 1)),
        lag=truncation_lag(count, horizon),
    )


def excess_loss(candidate: FloatArray, incumbent: FloatArray, *, significance: float, horizon: int) -> float:
    """Return how much worse a candidate may be than an incumbent, as a share of the incumbent's mean loss.

    The upper end of the one-sided confidence interval of the mean loss difference, by the long-run variance and the t
    distribution: a test of non-inferiority compares it with a margin.

    Args:
        candidate: (n,) losses.
        incumbent: (n,) losses at the same origins, not below 0.
        significance: 1 minus the confidence.
        horizon: Steps ahead of the forecasts.

    Returns:
        The share, below 0 where the candidate is better for certain; infinite for fewer than 20 origins, or where the
        incumbent's mean loss is 0 and the candidate's is not.
    """
    from scipy import stats  # noqa: PLC0415  # as above

    count = len(candidate)
    if count < MINIMUM_ORIGINS:
        return math.inf
    worse = candidate - incumbent
    error = math.sqrt(long_run_variance(worse, horizon) / count)
    bound = float(worse.mean()) + float(stats.t.isf(significance, degrees_of_freedom(count, horizon))) * error
    loss = float(incumbent.mean())
    if loss > 0:
        return bound / loss
    return math.inf if bound > 0 else 0.0


def effective_origins(difference: FloatArray, horizon: int) -> float:
    """Return how many independent origins carry as much evidence on the mean as these n: from 1 to n.

    n times the variance over the long-run variance (Bayley & Hammersley, Supplement to the Journal of the Royal
    Statistical Society 8, 1946).
    """
    count = len(difference)
    variance = long_run_variance(difference, horizon)
    if variance <= 0:
        return float(count)
    return float(np.clip(count * difference.var() / variance, 1, count))


def required_origins(significance: float, power: float, effect_size: float) -> int:
    """Return how many independent origins show an advantage of `effect_size` with this power, at least 20.

    ((z(1 - significance) + z(power)) / effect size)^2, one-sided (Cohen, Statistical Power Analysis for the Behavioral
    Sciences, 2nd edition, 1988, chapter 12). The bootstrap needs 20 in any case.
    """
    from scipy import stats  # noqa: PLC0415  # as above

    quantiles = float(stats.norm.isf(significance) + stats.norm.ppf(power))
    return max(MINIMUM_ORIGINS, math.ceil((quantiles / effect_size) ** 2))


def _block_length(differences: FloatArray, horizon: int) -> float:
    from arch.bootstrap import optimal_block_length  # noqa: PLC0415  # as above

    with np.errstate(divide="ignore", invalid="ignore"):
        optimal = optimal_block_length(differences)["stationary"].to_numpy(dtype=np.float64)
    longest = float(np.nan_to_num(optimal, nan=0.0).max())
    return min(max(1.0, horizon, longest), len(differences) / 3)


def _studentise(differences: FloatArray, *, block: float, horizon: int, significance: float) -> FloatArray:
    """Return differences whose mean is in standard errors and whose bootstrap variance is 1.

    The bootstrap varies the deviations, the statistic is the mean; scaling each by its own standard error makes the two
    comparable, although the bootstrap's is too small. The larger one is an estimate too, which no draw repeats: it is
    widened by the quantile of the t distribution over that of the normal, at the level of one candidate among k.
    """
    from scipy import stats  # noqa: PLC0415  # as above

    count, width = differences.shape
    mean = differences.mean(axis=0)
    deviations = differences - mean
    own = _bootstrap_variance(deviations, block)
    honest = np.array([long_run_variance(column, horizon) for column in differences.T])
    tail = min(significance / width, 0.25)
    wider = stats.t.isf(tail, degrees_of_freedom(count, horizon)) / stats.norm.isf(tail)
    studentised: FloatArray = mean / (wider * np.sqrt(np.maximum(own, honest))) + deviations / np.sqrt(own)
    return studentised


def _bootstrap_variance(deviations: FloatArray, block: float) -> FloatArray:
    """Return n times the variance of a mean under the stationary bootstrap (Politis & Romano 1994, lemma 1)."""
    count = len(deviations)
    covariances = autocovariances(deviations, count - 1)
    lag = np.arange(1, count)
    stay = 1 - 1 / block
    weights = (1 - lag / count) * stay**lag + lag / count * stay ** (count - lag)
    variance: FloatArray = np.maximum(covariances[0] + 2 * weights @ covariances[1:], covariances[0] / count)
    return variance


def _step_down(
    studentised: FloatArray, block: float, significance: float, replications: int, seed: int
) -> tuple[float, list[int]]:
    """Return the p-value of all columns together and the places of those that are superior."""
    from arch.bootstrap import SPA  # noqa: PLC0415  # as above

    count, width = studentised.shape
    test = SPA(np.zeros(count), -studentised, block_size=block, reps=replications, bootstrap="stationary", seed=seed)
    test.compute()
    exceeding = round(float(test.pvalues["consistent"]) * replications)
    p_value = (exceeding + 1) / (replications + 1)
    # The critical value that as many replications exceed as the p-value may count: the two then agree.
    allowed = math.floor(significance * (replications + 1)) - 1
    better: list[int] = []
    # The library's own StepM fails where a later step finds all that are left.
    while allowed >= 0 and len(better) < width:
        found = test.better_models(max(allowed, 1e-9) / (replications - 1), "consistent")
        if not len(found):
            break
        better.extend(int(place) for place in found)
        remaining = np.ones(width, dtype=np.bool_)
        remaining[better] = False
        if remaining.any():
            test.subset(remaining)
            test.compute()
    return p_value, better
