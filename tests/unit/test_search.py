"""Search of parameters: what it reads, what it chooses, and what a job may ask it for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from model_frames import frame_of, real_frame
from pydantic import ValidationError

from presage.errors import DataError, JobError
from presage.evaluation.contenders import Contender, fit, seed_of
from presage.evaluation.search import make_blocks, minimise, search, searched
from presage.models.contract import Task
from presage.models.registry import trainer
from presage.spec.evaluation import Evaluation
from presage.spec.load import parse_job
from presage.spec.models import Model, Search, SearchRange

TASK = Task("Level", 1, 5, 3)
PENALTIES = Search(trials=8, folds=3, parameters={"alpha": SearchRange(low=1e-3, high=1e6, log=True)})


def ridge(found=PENALTIES):
    return Model(name="ridge", search=found)


def noise_frame(rows=300):
    """Return a frame whose outcome is noise and whose features are too many for the rows."""
    random = np.random.default_rng(2)
    features = random.normal(size=(rows, 60))
    return frame_of(random.normal(size=rows), features, names=[f"x{place}" for place in range(60)], horizon=1)


def signal_frame(rows=300):
    """Return a frame whose outcome is a sum of its features."""
    random = np.random.default_rng(2)
    features = random.normal(size=(rows, 5))
    level = np.concatenate(([0.0], features[:-1].sum(axis=1)))
    return frame_of(level, features, names=list("abcde"), horizon=1)


def alpha_of(model):
    return model.settings.alpha


def test_a_model_without_a_search_stays_as_it_is():
    model = Model(name="ridge", parameters={"alpha": 3.0})
    assert search(model, real_frame("volatility", 1), TASK, Evaluation()) is model


def test_noise_is_learnt_with_a_large_penalty_and_a_signal_with_a_small_one():
    assert alpha_of(search(ridge(), noise_frame(), TASK, Evaluation())) > 1e3
    assert alpha_of(search(ridge(), signal_frame(), TASK, Evaluation())) < 1


def test_the_same_window_and_seed_choose_the_same_and_what_is_chosen_has_no_search():
    frame = real_frame("volatility", 1).rows(0, 600)
    one, two = (search(ridge(), frame, TASK, Evaluation()) for _ in range(2))
    assert one == two
    assert one.search is None
    assert one.name == "ridge"
    other = search(ridge(), frame, replace(TASK, seed=4), Evaluation())
    assert other != one


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("xgboost", {"max_depth": {"low": 1, "high": 4}, "learning_rate": {"low": 0.01, "high": 0.3, "log": True}}),
        ("hist_gradient_boosting", {"max_iter": {"choices": [5, 20]}, "loss": {"choices": ["absolute_error"]}}),
        ("prophet", {"yearly_seasonality": {"choices": [True, False]}}),
        ("random_forest", {"n_estimators": {"low": 3, "high": 9}, "max_depth": {"low": 1, "high": 3}}),
    ],
)
def test_the_chosen_parameters_are_inside_what_was_asked_for(name, parameters):
    asked = {"trials": 3, "folds": 1, "parameters": parameters}
    model = Model.model_validate({"name": name, "search": asked})
    found = search(model, real_frame("volatility", 1).rows(0, 300), TASK, Evaluation())
    for parameter, asked_for in parameters.items():
        value = found.parameters[parameter]
        if "choices" in asked_for:
            assert value in asked_for["choices"]
        else:
            assert asked_for["low"] <= value <= asked_for["high"]
            assert isinstance(value, int) == isinstance(found.settings.model_dump()[parameter], int)


def test_given_parameters_stay_beside_the_searched_ones():
    asked = Search(trials=2, folds=1, parameters={"max_depth": SearchRange(choices=(1, 2))})
    model = Model(name="xgboost", parameters={"n_estimators": 7}, search=asked)
    assert search(model, real_frame("volatility", 1).rows(0, 200), TASK, Evaluation()).parameters["n_estimators"] == 7


def test_the_best_configuration_wins_and_of_equal_ones_the_first():
    asked = Search(trials=12, folds=1, parameters={"alpha": SearchRange(choices=(1.0, 2.0, 3.0))})
    seen = []

    def loss(model):
        seen.append(alpha_of(model))
        return {1.0: math.inf, 2.0: 5.0, 3.0: 5.0}[alpha_of(model)]

    found = minimise(ridge(asked), loss, seed=1)
    assert alpha_of(found) == next(alpha for alpha in seen if alpha != 1.0)
    assert len(seen) == len(set(seen)), "a configuration that was tried is not fitted again"


def test_a_search_without_any_forecast_says_so():
    with pytest.raises(DataError, match="search of ridge") as error:
        minimise(ridge(), lambda model: math.inf, seed=1)
    assert error.value.remedy


def test_a_fit_of_a_block_knows_nothing_of_it():
    frame = real_frame("volatility", 5).rows(0, 400)
    blocks = make_blocks(frame, 2, 10)
    # Half of the 400 origins less the embargo in two blocks of 95: they start at rows 210 and 305.
    assert [block.view.origin[block.rows[0]] for block in blocks] == [frame.origin[210], frame.origin[305]]
    assert [block.training.origin[-1] for block in blocks] == [frame.origin[199], frame.origin[294]]
    for block in blocks:
        known = block.training.target_known_at[~np.isnat(block.training.target_known_at)]
        assert (known <= block.training.origin[-1]).all()
        assert np.isnan(block.training.target_level[-1]).all()
        assert block.view.origin[block.rows[-1]] == block.view.origin[-1]
        assert np.array_equal(block.outcome, frame.target_level[block.rows])


def test_series_that_share_origins_are_split_by_date():
    one = real_frame("volatility", 1).rows(0, 200)
    both = one.take(np.repeat(np.arange(200), 2))
    for block, alone in zip(make_blocks(both, 3, 0), make_blocks(one, 3, 0), strict=True):
        assert len(block.rows) == 2 * len(alone.rows)
        assert len(block.training) == 2 * len(alone.training)
        assert block.training.origin[-1] < block.view.origin[block.rows[0]]


def test_a_window_too_short_for_the_blocks_is_refused_in_numbers():
    frame = real_frame("volatility", 1).rows(100, 120)
    with pytest.raises(DataError, match=r"validates on 3 blocks needs at least 26 origins.*has 20") as error:
        search(ridge(), frame, TASK, Evaluation(embargo=10))
    assert "search.folds" in error.value.remedy


@pytest.mark.parametrize("metric", ["MAE", "RMSE", "MAPE", "sMAPE", "MASE", "CRPS"])
def test_every_metric_of_a_forecast_can_be_searched_by(metric):
    frame = real_frame("volatility", 1).rows(0, 200)
    with_zero = frame.target_level.copy()
    with_zero[150] = 0.0
    found = search(ridge(), replace(frame, target_level=with_zero), TASK, Evaluation(metric=metric))
    assert found.search is None


def test_a_fit_takes_what_the_search_chose():
    frame, rows = real_frame("volatility", 1).rows(0, 600), np.arange(500, 600)
    forecaster = fit(frame, TASK, Contender("ridge", ridge(), baseline=False), 1)
    seeded = replace(TASK, seed=seed_of(TASK.seed, "ridge", 1))
    expected = trainer(search(ridge(), frame, seeded, Evaluation())).fit(frame, seeded)
    assert np.array_equal(forecaster.predict(frame, rows), expected.predict(frame, rows))
    given = trainer(Model(name="ridge")).fit(frame, seeded)
    assert not np.array_equal(forecaster.predict(frame, rows), given.predict(frame, rows))


def test_configurations_that_were_searched_are_counted():
    models = [ridge(), Model(name="theta"), ridge(PENALTIES.model_copy(update={"trials": 5}))]
    assert searched(models) == 7 + 4
    assert searched([Model(name="ridge")]) == 0


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (
            {"name": "ridge", "search": {"parameters": {"gamma": {"low": 1, "high": 2}}}},
            "'gamma' is none.*ridge.*alpha",
        ),
        ({"name": "ridge", "search": {"parameters": {"alpha": {"low": -1, "high": 2}}}}, "alpha of ridge.*-1"),
        (
            {"name": "ridge", "parameters": {"alpha": 2.0}, "search": {"parameters": {"alpha": {"low": 1, "high": 2}}}},
            "either given or searched",
        ),
        ({"name": "xgboost", "search": {"parameters": {"max_depth": {"low": 1, "high": 3.5}}}}, "max_depth.*3.5"),
        ({"name": "xgboost", "search": {"parameters": {"max_depth": {"low": 1, "high": 99}}}}, "max_depth.*99"),
        ({"name": "catboost", "search": {"parameters": {"loss_function": {"low": 1, "high": 2}}}}, "loss_function"),
        ({"name": "catboost", "search": {"parameters": {"loss_function": {"choices": ["MSE"]}}}}, "MSE"),
        ({"name": "theta", "search": {"parameters": {"alpha": {"low": 1, "high": 2}}}}, "theta.*it has none"),
        ({"name": "window_mean", "search": {"parameters": {"window": {"low": 1, "high": 2}}}}, "it has none"),
        (
            {"name": "weighted_combination", "search": {"parameters": {"window": {"low": 10, "high": 20}}}},
            "it has none",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_fit(model, fault):
    with pytest.raises(ValidationError, match=f"(?s){fault}"):
        Model.model_validate(model)


def test_a_job_names_the_search_that_cannot_be():
    text = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: x}
spec:
  frequency: 1d
  target: {source: s, column: x}
  sources: [{name: s, dataset: {name: arch/sp500}, availability: {lag: 0s}}]
  models:
    - name: ridge
      search: {parameters: {gamma: {low: 1, high: 2}}}
"""
    with pytest.raises(JobError) as error:
        parse_job(text, "job.yaml")
    (problem,) = error.value.problems
    assert problem.path == "spec.models[0].search"
    assert "alpha" in problem.allowed
