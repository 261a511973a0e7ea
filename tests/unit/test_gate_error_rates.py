"""The benchmark of the gate's error rates, on small numbers: it measures, it can fail, and the gate keeps within."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gate_error_rates.py"


@pytest.fixture(scope="module")
def rates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_error_rates", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_equal_losses_are_seldom_called_superior(rates: ModuleType) -> None:
    dependence = rates.Dependence("autoregression", origins=250, candidates=3, slope=0.3, horizon=1)
    # 20 or more of 150 at 5 % have a chance of 1 in 10,000.
    assert rates.rejections(dependence, 150, seed=1) < 20


def test_an_advantage_that_is_planted_in_the_losses_is_found(rates: ModuleType) -> None:
    dependence = rates.Dependence("better", origins=250, candidates=3, slope=0.0, horizon=1, advantage=1.0)
    assert rates.rejections(dependence, 20, seed=1) == 20


@pytest.mark.parametrize("horizon", [1, 5])
def test_simulated_losses_have_the_dependence_that_they_state(rates: ModuleType, horizon: int) -> None:
    dependence = rates.Dependence("long", origins=50_000, candidates=2, slope=0.0, horizon=horizon)
    losses = rates.simulated_losses(dependence, np.random.default_rng(0))
    assert losses.shape == (50_000, 2)
    correlations = [np.corrcoef(losses[lag:, 0], losses[:-lag, 0])[0, 1] for lag in range(1, horizon + 1)]
    assert all(correlation > 0.05 for correlation in correlations[:-1])
    assert correlations[-1] == pytest.approx(0, abs=0.03)


def test_random_walks_are_seldom_promoted(rates: ModuleType) -> None:
    outcome = rates.measure_walks(10, seed=500)
    assert outcome.kept
    assert outcome.trials == 10


def test_a_planted_r_squared_is_promoted_and_none_is_not(rates: ModuleType) -> None:
    spec = rates.planted_job()
    planted = [rates.verdict_of(rates.planted_walk(seed, 0.1), spec) for seed in range(4)]
    empty = [rates.verdict_of(rates.planted_walk(seed, 0.0), spec) for seed in range(4)]
    assert [verdict.reason for verdict in planted] == ["BetterThanBaseline"] * 4
    assert [verdict.reason for verdict in empty] == ["NotBetterThanBaseline"] * 4


def test_the_mean_change_beats_the_newest_change_on_every_random_walk(rates: ModuleType) -> None:
    newest, zero = rates.trap(100, seed=1)
    assert newest == 100
    assert zero < 60


def test_a_broken_bound_is_an_exit_code_of_1(
    rates: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rates, "SIZES", (replace(rates.SIZES[0], origins=60, candidates=1),))
    arguments = ["--simulations", "100", "--walks", "2", "--planted", "2"]
    assert rates.main([*arguments, "--r-squared", "0.5"]) == 0
    assert "BROKEN" not in capsys.readouterr().out
    assert rates.main([*arguments, "--r-squared", "0.0"]) == 1
    assert "BROKEN" in capsys.readouterr().out
