"""The band around a nominal coverage: as wide as dependence asks for, never narrower than for independent origins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from presage.evaluation.coverage import cover
from presage.evaluation.scorecard import Coverage
from presage.frame import FloatArray

PROBABILITIES = np.array([0.05, 0.5, 0.95])


def judged(outcome: FloatArray, horizon: int = 1) -> Coverage:
    """Return the coverage of the true 90 % interval of a standard normal."""
    quantiles = np.broadcast_to(stats.norm.ppf(PROBABILITIES), (*outcome.shape, 3))
    return cover(0.9, outcome, quantiles, PROBABILITIES, horizon=horizon, confidence=0.99)


def test_coverage_and_width_are_counted() -> None:
    outcome = np.array([[0.0], [3.0], [0.5], [-3.0]] * 10)
    found = judged(outcome)
    assert found.coverage == 0.5
    assert found.width == pytest.approx(2 * 1.6449, abs=1e-3)
    assert not found.inside


def test_the_band_of_independent_hits_is_the_binomial_one() -> None:
    outcome = np.random.default_rng(0).standard_normal((5000, 1))
    found = judged(outcome)
    lower, upper = stats.binom.interval(0.99, 5000, 0.9)
    assert (found.lower, found.upper) == (
        pytest.approx(lower / 5000, abs=0.003),
        pytest.approx(upper / 5000, abs=0.003),
    )
    assert found.inside


@pytest.mark.parametrize(("slope", "outside"), [(0.0, 9), (0.5, 9), (0.8, 15)])
def test_a_right_interval_is_inside_its_band_in_98_to_99_of_100_cases(slope: float, outside: int) -> None:
    inside = []
    for seed in range(300):
        shocks = np.random.default_rng(seed).standard_normal(1700)
        series = lfilter([np.sqrt(1 - slope**2)], [1, -slope], shocks)[200:]
        inside.append(judged(series[:, None]).inside)
    # Of 300, 1 % is 3, and more than 9 have a chance of 1 in 1,000. Of a dependence as long as 0.8 leaves, where 2 %
    # are outside, more than 15 do.
    assert 300 - sum(inside) <= outside


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_an_interval_that_is_wrong_by_a_quarter_is_outside(scale: float) -> None:
    outcome = scale * np.random.default_rng(1).standard_normal((1500, 1))
    assert not judged(outcome).inside


def test_hits_that_never_miss_do_not_make_the_band_vanish() -> None:
    found = judged(np.zeros((200, 1)))
    assert found.coverage == 1
    assert found.upper - found.lower == pytest.approx(2 * 2.5758 * np.sqrt(0.09 / 200), rel=1e-3)


def test_hits_that_repel_one_another_leave_the_band_of_independent_ones() -> None:
    alternating = np.where(np.arange(400) % 10 == 0, 9.0, 0.0)[:, None]
    found = judged(alternating)
    assert found.coverage == 0.9
    assert found.upper - 0.9 >= 2.57 * np.sqrt(0.09 / 400)


def test_steps_that_miss_together_count_as_one() -> None:
    together = np.repeat(np.random.default_rng(2).standard_normal((800, 1)), 6, axis=1)
    apart = np.random.default_rng(3).standard_normal((800, 6))
    assert judged(together, 6).upper - 0.9 > 2 * (judged(apart, 6).upper - 0.9)


def test_the_band_stays_between_0_and_1() -> None:
    found = judged(np.random.default_rng(4).standard_normal((20, 1)))
    assert 0 <= found.lower < found.upper == 1


def test_an_interval_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        cover(0.8, np.zeros((30, 1)), np.zeros((30, 1, 3)), PROBABILITIES, horizon=1, confidence=0.99)
