"""The tests of significance against other formulas, simulations with a known answer, and every degenerate case."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter
from statsmodels.stats.power import normal_sample_size_one_tail

from presage.evaluation.dependence import long_run_variance, truncation_lag
from presage.evaluation.significance import (
    Superiority,
    diebold_mariano,
    effective_origins,
    excess_loss,
    required_origins,
    superiority,
)
from presage.frame import FloatArray


def autoregression(count: int, slope: float, seed: int) -> FloatArray:
    """Return a first-order autoregression with unit shocks."""
    shocks = np.random.default_rng(seed).standard_normal(count + 200)
    return np.asarray(lfilter([1], [1, -slope], shocks)[200:], dtype=np.float64)


def run(benchmark: FloatArray, candidates: dict[str, FloatArray], **changes: float) -> Superiority:
    settings = {"significance": 0.05, "replications": 500, "horizon": 1, "seed": 0, "untested": 0} | changes
    found = superiority(
        benchmark,
        candidates,
        significance=settings["significance"],
        replications=int(settings["replications"]),
        horizon=int(settings["horizon"]),
        seed=int(settings["seed"]),
        untested=int(settings["untested"]),
    )
    assert found is not None
    return found


# Superior predictive ability


def test_a_better_candidate_is_found_and_a_worse_one_is_not() -> None:
    noise = np.random.default_rng(0).normal(1, 0.3, (3, 400))
    found = run(noise[0], {"better": noise[1] - 0.2, "worse": noise[2] + 0.2})
    assert found.superior == ("better",)
    assert found.p_value < 0.01


def test_step_down_finds_a_second_candidate_that_the_first_step_misses() -> None:
    # With every candidate found the steps must end, too.
    noise = np.random.default_rng(4).normal(0, 1, (12, 300))
    names = {f"better_{place}": 1 - 0.4 + noise[place] for place in range(12)}
    assert run(np.ones(300), names).superior == tuple(names)


def test_a_small_steady_advantage_is_not_hidden_by_a_noisy_candidate() -> None:
    generator = np.random.default_rng(1)
    benchmark = np.ones(300)
    found = run(
        benchmark,
        {"steady": benchmark - 0.01 + generator.normal(0, 0.02, 300), "noisy": benchmark + generator.normal(0, 5, 300)},
    )
    assert found.superior == ("steady",)


def test_the_unit_of_one_candidate_does_not_matter() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (2, 250)) - 0.1
    plain = run(np.zeros(250), {"a": noise[0], "b": noise[1]})
    scaled = run(np.zeros(250), {"a": noise[0], "b": 1000 * noise[1]})
    assert plain == scaled


def test_some_candidate_is_superior_exactly_where_the_p_value_is_at_most_the_significance() -> None:
    verdicts = set()
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(-0.12, 1, (3, 200))
        found = run(np.zeros(200), {"a": noise[0], "b": noise[1], "c": noise[2]}, replications=199, seed=seed)
        assert bool(found.superior) == (found.p_value <= 0.05)
        verdicts.add(bool(found.superior))
    assert verdicts == {True, False}


def test_the_p_value_of_one_candidate_is_that_of_a_one_sided_test_of_its_mean() -> None:
    noise = np.random.default_rng(5).normal(-0.05, 1, 1000)
    found = run(np.zeros(1000), {"only": noise}, replications=5000)
    assert found.p_value == pytest.approx(stats.ttest_1samp(noise, 0, alternative="less").pvalue, abs=0.02)


def test_the_same_seed_gives_the_same_answer_and_another_seed_hardly_another() -> None:
    noise = np.random.default_rng(6).normal(-0.05, 1, 500)
    first, again, other = (run(np.zeros(500), {"a": noise}, seed=seed, replications=2000) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first.p_value == pytest.approx(other.p_value, abs=0.04)


@pytest.mark.parametrize("horizon", [1, 40])
def test_a_block_spans_the_dependence_and_the_horizon(horizon: int) -> None:
    independent = run(np.zeros(400), {"a": autoregression(400, 0.0, 3)}, horizon=horizon)
    dependent = run(np.zeros(400), {"a": autoregression(400, 0.7, 3)}, horizon=horizon)
    assert horizon <= independent.block_length <= dependent.block_length
    assert dependent.block_length > 5


def test_a_block_is_a_third_of_the_origins_at_most() -> None:
    assert run(np.zeros(30), {"a": autoregression(30, 0.5, 1)}, horizon=25).block_length == 10


@pytest.mark.parametrize(
    ("differences", "p_value", "superior"),
    [
        pytest.param({"same": 0.0}, 1.0, (), id="equal losses are no advantage"),
        pytest.param({"less": 0.1}, 1 / 501, ("less",), id="always better by the same amount"),
        pytest.param({"more": -0.1}, 1.0, (), id="always worse by the same amount"),
        pytest.param({"same": 0.0, "less": 0.1}, 1 / 501, ("less",), id="a better one beside an equal one"),
    ],
)
def test_differences_that_never_vary(differences: dict[str, float], p_value: float, superior: tuple[str, ...]) -> None:
    benchmark = np.random.default_rng(7).uniform(1, 2, 100)
    found = run(benchmark, {name: benchmark - difference for name, difference in differences.items()})
    assert (found.p_value, found.superior) == (pytest.approx(p_value), superior)


def test_a_constant_candidate_stands_beside_one_that_varies() -> None:
    benchmark = np.random.default_rng(8).uniform(1, 2, 200)
    noisy = benchmark + np.random.default_rng(9).normal(0, 1, 200)
    found = run(benchmark, {"noisy": noisy, "less": benchmark - 0.1, "same": benchmark})
    assert found.superior == ("less",)


def test_a_difference_at_one_origin_only_is_no_evidence() -> None:
    benchmark, candidate = np.ones(100), np.ones(100)
    candidate[50] = 0.0
    assert run(benchmark, {"once": candidate}).superior == ()


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_origins_give_no_test(count: int) -> None:
    losses = np.arange(count, dtype=np.float64)
    assert superiority(losses, {"a": losses - 1}, significance=0.05, replications=100, horizon=1, seed=0) is None
    assert diebold_mariano(losses, 1) is None


def test_no_candidate_gives_no_test() -> None:
    assert superiority(np.ones(50), {}, significance=0.05, replications=100, horizon=1, seed=0) is None


def test_earlier_trials_that_cannot_be_tested_raise_the_p_value_and_the_replications() -> None:
    noise = np.random.default_rng(10).normal(0, 1, 400)
    noise += -0.11 - noise.mean()  # 2.2 standard errors: p is about 0.014
    alone = run(np.zeros(400), {"a": noise}, replications=1000)
    among = run(np.zeros(400), {"a": noise}, replications=1000, untested=9)
    assert alone.superior == ("a",)
    assert among.superior == ()
    assert (alone.replications, among.replications) == (1000, 10_000)
    assert among.p_value == pytest.approx(10 * alone.p_value, rel=0.5)


def test_overwhelming_evidence_stands_among_a_hundred_earlier_trials() -> None:
    noise = np.random.default_rng(11).normal(-0.5, 1, 400)
    found = run(np.zeros(400), {"a": noise}, replications=1000, untested=99)
    assert found.superior == ("a",)
    assert found.replications == 20_000


# Diebold-Mariano


def test_diebold_mariano_is_a_t_test_where_losses_are_independent() -> None:
    difference = np.random.default_rng(12).normal(0.05, 1, 2000)
    found = diebold_mariano(difference, 1)
    expected = stats.ttest_1samp(difference, 0, alternative="greater")
    assert found is not None
    assert found.statistic == pytest.approx(expected.statistic, rel=0.1)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_diebold_mariano_carries_the_correction_of_harvey_leybourne_and_newbold() -> None:
    difference = autoregression(120, 0.4, 2) + 0.2
    found = diebold_mariano(difference, 4)
    plain = difference.mean() / math.sqrt(long_run_variance(difference, 4) / 120)
    assert found is not None
    assert found.statistic == pytest.approx(plain * math.sqrt((120 + 1 - 8 + 4 * 3 / 120) / 120))
    assert found.p_value == pytest.approx(1 - stats.t.cdf(found.statistic, 119))
    assert found.lag == 6


def test_the_sign_of_diebold_mariano_says_who_is_better() -> None:
    difference = np.random.default_rng(13).normal(0.3, 1, 200)
    better, worse = diebold_mariano(difference, 1), diebold_mariano(-difference, 1)
    assert better is not None
    assert worse is not None
    assert better.statistic == pytest.approx(-worse.statistic)
    assert better.p_value < 0.05
    assert worse.p_value > 0.95


def test_diebold_mariano_says_nothing_of_a_constant_difference_or_a_horizon_beyond_the_half() -> None:
    assert diebold_mariano(np.full(100, 0.1), 1) is None
    assert diebold_mariano(autoregression(100, 0.2, 1), 51) is None


# Dependence


@pytest.mark.parametrize(
    ("count", "horizon", "lag"), [(100, 1, 4), (2304, 1, 8), (1000, 11, 20), (30, 20, 10), (20, 1, 2), (2, 5, 0)]
)
def test_the_lag_covers_twice_the_overlap_and_the_rule_of_newey_and_west(count: int, horizon: int, lag: int) -> None:
    assert truncation_lag(count, horizon) == lag
    assert lag >= min(horizon - 1, count // 3)


def test_the_long_run_variance_is_that_of_a_sum_by_hand() -> None:
    series = autoregression(300, 0.5, 4)
    deviation = series - series.mean()
    slope = sum(deviation[2:] * deviation[:-2]) / sum(deviation**2)
    slope += 2 * (1 + 3 * slope) / 300
    rest = [deviation[place] - slope * deviation[place - 2] for place in range(2, 300)]
    centred = [value - sum(rest) / 298 for value in rest]
    sums = []
    for weights in ([1, 1, 1, 4 / 6, 2 / 6], [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]):
        total = sum(value * value for value in centred) / 298
        for lag, weight in enumerate(weights, start=1):
            total += 2 * weight * sum(centred[place] * centred[place - lag] for place in range(lag, 298)) / 298
        sums.append(total / (1 - slope) ** 2)
    assert long_run_variance(series, 2) == pytest.approx(max(sums))


def test_the_long_run_variance_of_a_series_that_repels_itself_is_above_zero() -> None:
    shocks = np.random.default_rng(15).standard_normal(501)
    assert 0 < long_run_variance(np.diff(shocks), 1) < 0.5


def test_a_series_too_short_for_its_horizon_counts_once_a_horizon() -> None:
    assert effective_origins(autoregression(60, 0.0, 1), 40) == pytest.approx(60 / 40)


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.4, 0.7])
def test_the_long_run_variance_of_an_autoregression_is_found(slope: float) -> None:
    found = np.mean([long_run_variance(autoregression(1000, slope, seed), 1) for seed in range(40)])
    assert found == pytest.approx(1 / (1 - slope) ** 2, rel=0.15)


def test_the_long_run_variance_of_overlapping_forecasts_is_found() -> None:
    found = []
    for seed in range(40):
        shocks = np.random.default_rng(seed).standard_normal(1005)
        found.append(long_run_variance(np.convolve(shocks, np.ones(6), "valid"), 6))
    assert np.mean(found) == pytest.approx(36, rel=0.2)


@pytest.mark.parametrize("slope", [0.0, 0.3, 0.6])
def test_effective_origins_are_those_that_carry_the_same_evidence(slope: float) -> None:
    found = np.mean([effective_origins(autoregression(1000, slope, seed), 1) for seed in range(30)])
    assert found == pytest.approx(1000 * (1 - slope) / (1 + slope), rel=0.1)


def test_effective_origins_are_never_more_than_there_are_nor_fewer_than_one() -> None:
    assert effective_origins(autoregression(200, -0.6, 1), 1) == 200
    assert effective_origins(np.linspace(0, 1, 50) ** 3, 10) >= 1
    assert effective_origins(np.ones(50), 1) == 50


@pytest.mark.parametrize("effect", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_required_origins_are_those_of_another_library(power: float, effect: float) -> None:
    expected = normal_sample_size_one_tail(effect, power, 0.05)
    assert required_origins(0.05, power, effect) == max(20, math.ceil(expected))


def test_the_default_policy_needs_155_independent_origins() -> None:
    assert required_origins(0.05, 0.8, 0.2) == 155
    assert required_origins(0.5, 0.5, 2.0) == 20


# Non-inferiority


def test_the_excess_loss_is_the_upper_end_of_a_confidence_interval() -> None:
    generator = np.random.default_rng(14)
    incumbent = generator.uniform(1, 3, 400)
    worse = generator.normal(0.04, 0.2, 400)
    found = excess_loss(incumbent + worse, incumbent, significance=0.05, horizon=1)
    interval = stats.ttest_1samp(worse, 0).confidence_interval(0.9)
    assert found == pytest.approx(interval.high / incumbent.mean(), rel=0.1)


@pytest.mark.parametrize(
    ("candidate", "incumbent", "excess"),
    [
        pytest.param([1.0] * 30, [1.0] * 30, 0.0, id="equal losses"),
        pytest.param([1.1] * 30, [1.0] * 30, 0.1, id="always a tenth worse"),
        pytest.param([0.0] * 30, [0.0] * 30, 0.0, id="nothing lost by either"),
        pytest.param([0.1] * 30, [0.0] * 30, math.inf, id="nothing lost by the incumbent"),
        pytest.param([1.0] * 19, [1.0] * 19, math.inf, id="too few origins to tell"),
    ],
)
def test_excess_loss_where_losses_do_not_vary(candidate: list[float], incumbent: list[float], excess: float) -> None:
    found = excess_loss(np.array(candidate), np.array(incumbent), significance=0.05, horizon=1)
    assert found == pytest.approx(excess)
