"""Weights by past errors."""

from __future__ import annotations

import numpy as np
import pytest
from model_frames import real_frame

from presage.engine import LocalEngine
from presage.errors import LakeError
from presage.evaluation.walk_forward import back_test
from presage.frame import Panel
from presage.models.combination import combine, weigh
from presage.models.contract import Task
from presage.models.registry import load, trainer
from presage.models.state import STATE
from presage.spec.job import PredictionJobSpec
from presage.spec.models import Model

DAYS = np.datetime64("2001-01-01", "us") + np.arange(40) * np.timedelta64(1, "D")


def errors(*sizes, steps=1):
    """Return forecasts of zero by members whose errors have these sizes."""
    return {f"m{place}": np.full((40, steps), size) for place, size in enumerate(sizes)}


def test_weights_are_in_proportion_to_inverse_mean_squares():
    weights = weigh(errors(1.0, 2.0, -4.0), np.zeros((40, 1)), DAYS, 100)
    expected = np.array([1, 1 / 4, 1 / 16])
    assert [float(weights[name][0]) for name in ("m0", "m1", "m2")] == pytest.approx(expected / expected.sum())


def test_each_step_has_its_own_weights():
    forecasts = {"a": np.tile([1.0, 2.0], (40, 1)), "b": np.tile([2.0, 1.0], (40, 1))}
    weights = weigh(forecasts, np.zeros((40, 2)), DAYS, 100)
    assert weights["a"] == pytest.approx([0.8, 0.2])
    assert weights["b"] == pytest.approx([0.2, 0.8])


def test_only_the_newest_known_outcomes_count():
    forecasts = {"a": np.ones((40, 1)), "b": np.ones((40, 1))}
    forecasts["b"][:20] = 1e6
    outcome = np.zeros((40, 1))
    outcome[35:] = np.nan
    forecasts["a"][35:] = np.inf
    assert weigh(forecasts, outcome, DAYS, 15)["a"] == pytest.approx([0.5])
    assert weigh(forecasts, outcome, DAYS, 16)["a"] > 0.99


def test_origins_without_a_forecast_of_every_member_count_for_none():
    forecasts = {"a": np.ones((40, 1)), "b": np.ones((40, 1))}
    forecasts["a"][:20], forecasts["b"][0:20] = 1e6, np.nan
    assert weigh(forecasts, np.zeros((40, 1)), DAYS, 100)["a"] == pytest.approx([0.5])


def test_the_window_counts_origins_and_not_series():
    forecasts = {"a": np.ones((40, 1)), "b": np.where(np.arange(40) < 20, 1e6, 1.0)[:, None]}
    origin = np.repeat(DAYS[:20], 2)
    assert weigh(forecasts, np.zeros((40, 1)), origin, 10)["a"] == pytest.approx([0.5])
    assert weigh(forecasts, np.zeros((40, 1)), origin, 11)["a"] > 0.99


def test_too_few_known_outcomes_give_no_weights():
    outcome = np.full((40, 2), np.nan)
    outcome[:30, 0] = outcome[:9, 1] = 0.0
    assert weigh(errors(1.0, 2.0, steps=2), outcome, DAYS, 100) is None


def test_a_member_without_an_error_takes_all():
    weights = weigh(errors(0.0, 1.0, 0.0), np.zeros((40, 1)), DAYS, 100)
    assert {name: float(weight[0]) for name, weight in weights.items()} == {"m0": 0.5, "m1": 0.0, "m2": 0.5}


def fitted():
    frame, task = real_frame("volatility", 2), Task("Level", 2, 5, 0)
    members = {name: trainer(Model(name=name)).fit(frame, task) for name in ("naive", "ridge")}
    weights = {"naive": np.array([0.25, 0.5]), "ridge": np.array([0.75, 0.5])}
    return frame, members, combine(members, "weighted_combination", weights)


def test_forecasts_are_weighted_step_by_step_and_come_back_from_their_files():
    frame, members, combination = fitted()
    rows = np.arange(1400, 1450)
    naive, ridge = (members[name].predict(frame, rows) for name in ("naive", "ridge"))
    assert combination.predict(frame, rows) == pytest.approx(naive * [0.25, 0.5] + ridge * [0.75, 0.5])
    loaded = load("weighted_combination", combination.dump())
    assert loaded.predict(frame, rows).tobytes() == combination.predict(frame, rows).tobytes()
    assert combination.importance() == members["ridge"].importance()


def test_without_weights_it_is_the_mean():
    frame, members, _ = fitted()
    rows = np.arange(1400, 1450)
    one, two = combine(members, "weighted_combination"), combine(members)
    assert np.array_equal(one.predict(frame, rows), two.predict(frame, rows))


def test_files_of_the_other_combination_or_with_a_weight_too_few_are_refused():
    _, _, combination = fitted()
    files = combination.dump()
    with pytest.raises(LakeError, match="those of weighted_combination, not of mean_combination"):
        load("mean_combination", files)
    for broken in (b"[0.25,0.5]", b"[0.25]"):
        changed = files[STATE].replace(b"[[0.25,0.5],", b"[" if broken == b"[0.25,0.5]" else b"[[0.25],")
        with pytest.raises(LakeError):
            load("weighted_combination", {**files, STATE: changed})


def test_a_walk_weighs_by_outcomes_that_the_cut_off_knew_and_by_none_later():
    frame = real_frame("volatility", 2)
    spec = PredictionJobSpec.model_validate(
        {
            "frequency": "1d",
            "target": {"source": "sp500", "column": "x", "horizon": 2},
            "sources": [{"name": "sp500", "dataset": {"name": "arch/sp500"}, "availability": {"lag": "0s"}}],
            "models": [
                {"name": "ridge"},
                {"name": "theta"},
                {"name": "weighted_combination", "parameters": {"window": 60}},
            ],
            "evaluation": {"folds": 3},
        }
    )
    found = back_test(Panel.of([frame]), spec, season=5, engine=LocalEngine(1))
    members = {name: found.forecasts[name].mean for name in ("ridge", "theta")}
    combined = found.forecasts["weighted_combination"].mean
    for fold in found.folds:
        rows = np.arange(fold.test_start, fold.test_stop)
        own, past = np.isin(found.rows, rows), found.rows[found.rows < fold.test_start]
        says = {"ridge": np.array([0.5, 0.5]), "theta": np.array([0.5, 0.5])}
        if fold.number:
            inverse = {}
            for name, mean in members.items():
                squares = np.square(mean[: len(past)] - frame.target_level[past])
                known = frame.target_known_at[past] <= fold.cutoff
                newest = [squares[known[:, step], step][-60:].mean() for step in (0, 1)]
                inverse[name] = 1 / np.array(newest)
            says = {name: weight / sum(inverse.values()) for name, weight in inverse.items()}
        expected = sum(says[name] * mean[own] for name, mean in members.items())
        assert combined[own] == pytest.approx(expected, rel=1e-12)
