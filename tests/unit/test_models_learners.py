"""What the learners from features learn, on outcomes that are known by construction."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_frames import frame_of, real_frame
from sklearn.linear_model import ElasticNet, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from presage.models.contract import Task
from presage.models.direct import MeanRegressor, varying
from presage.models.linear import LinearRegressor
from presage.models.registry import estimator, load, trainer
from presage.models.ridge import RidgeEstimator
from presage.models.state import STATE
from presage.spec.models import Model

LEARNERS = ("ridge", "elastic_net", "random_forest", "hist_gradient_boosting", "xgboost", "lightgbm", "catboost")
STATISTICAL = ("theta", "auto_arima", "auto_ets", "prophet")


def planted_frame(rows=600):
    """Return a frame whose next change is twice the feature `signal`, beside one of noise."""
    features = np.random.default_rng(5).normal(size=(rows, 2))
    level = 100 + np.concatenate(([0.0], np.cumsum(2 * features[:-1, 0])))
    return frame_of(level, features, names=("signal", "noise"), horizon=1)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_planted_signal_is_found_and_forecast(name):
    frame = planted_frame()
    forecaster = trainer(Model(name=name)).fit(frame.rows(0, 500), Task("Difference", 1, 5, 0))
    rows = np.arange(500, 599)
    error = np.abs(forecaster.predict(frame, rows) - frame.target_level[rows]).mean()
    naive = np.abs(frame.level[rows, None] - frame.target_level[rows]).mean()
    assert error < naive / 5
    assert forecaster.importance()["signal"] > 0.9


def test_ridge_is_that_of_scikit_learn_on_standardised_features():
    frame = real_frame("volatility", 1).with_features(("volatility.mean_22", "volume.lag_1"))
    rows = np.flatnonzero(np.isfinite(frame.features).all(axis=1) & np.isfinite(frame.target_level[:, 0]))
    features, outcome = frame.features[rows], frame.target_level[rows, 0]
    fitted = RidgeEstimator(alpha=3.0).fit(features, outcome, seed=0)
    standardised = StandardScaler().fit_transform(features)
    expected = Ridge(alpha=3.0).fit(standardised, outcome)
    assert fitted.predict(features) == pytest.approx(expected.predict(standardised), rel=1e-9)


def test_a_missing_feature_counts_as_its_training_mean_under_ridge():
    random = np.random.default_rng(1)
    features = random.normal(3, 2, size=(50, 2))
    fitted = RidgeEstimator(alpha=1.0).fit(features, features @ [1.0, -2.0], seed=0)
    mean = features[:, 1].mean()
    assert fitted.predict(np.array([[1.5, np.nan]])) == pytest.approx(fitted.predict(np.array([[1.5, mean]])))


def test_ridge_without_a_penalty_stands_repeated_columns():
    random = np.random.default_rng(1)
    signal = random.normal(size=100)
    fitted = RidgeEstimator(alpha=0.0).fit(np.column_stack((signal, signal)), 3 * signal + 1, seed=0)
    assert fitted.predict(np.array([[2.0, 2.0]])) == pytest.approx([7.0])


def test_an_elastic_net_is_that_of_scikit_learn_on_standardised_columns():
    random = np.random.default_rng(1)
    features = random.normal(2, 3, size=(200, 4))
    outcome = 5 + features @ [2.0, 0.0, -1.0, 0.0] + random.normal(size=200)
    model = Model(name="elastic_net", parameters={"alpha": 0.1, "l1_ratio": 0.7})
    fitted = estimator(model, "Regression").fit(features, outcome, seed=0)
    standardised = StandardScaler().fit_transform(features)
    scale = outcome.std()
    expected = ElasticNet(alpha=0.1, l1_ratio=0.7).fit(standardised, (outcome - outcome.mean()) / scale)
    predicted = outcome.mean() + scale * expected.predict(standardised)
    assert fitted.predict(features) == pytest.approx(predicted, rel=1e-9)
    assert (fitted.importance() == 0).tolist() == [False, True, False, True]


def test_ridge_has_the_same_bytes_whatever_number_of_threads_is_allowed():
    frame = real_frame("volatility", 1)
    dumps = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            dumps.append(trainer(Model(name="ridge")).fit(frame, Task("Level", 1, 5, 0)).dump())
    assert dumps[0] == dumps[1]


def digests():
    """Return the SHA-256 of every file of every learner that is fitted on the real frame."""
    task = Task("LogChange", 1, 5, 7)
    return {
        f"{name}/{file}": hashlib.sha256(content).hexdigest()
        for name in (*LEARNERS, *STATISTICAL)
        for file, content in trainer(Model(name=name)).fit(real_frame("close", 1).rows(0, 400), task).dump().items()
    }


def test_another_process_with_more_threads_writes_the_same_bytes():
    code = "import json; from unit.test_models_learners import digests; print(json.dumps(digests()))"
    environment = os.environ | {
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == digests()


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=5), finite)
def test_a_linear_function_keeps_every_bit_in_its_file(columns, intercept):
    mean, scale, coefficient = (np.array(part) for part in zip(*columns, strict=True))
    places = np.arange(len(columns))
    linear = LinearRegressor(len(columns), intercept, places, mean, scale, coefficient)
    loaded = RidgeEstimator(alpha=1.0).load(linear.dump(), len(columns))
    assert loaded.intercept == intercept
    for one, two in ((loaded.mean, mean), (loaded.scale, scale), (loaded.coefficient, coefficient)):
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_dump_is_data_and_says_what_it_is(name):
    frame = real_frame("volatility", 1)
    files = trainer(Model(name=name)).fit(frame, Task("Level", 1, 5, 0)).dump()
    state = json.loads(files[STATE])
    assert (state["version"], state["name"], state["transform"]) == ("v1", name, "Level")
    assert tuple(state["features"]) == frame.feature_names
    assert [step["file"] for step in state["steps"]] == sorted(files.keys() - {STATE})


@pytest.mark.parametrize(
    ("name", "key", "loss"),
    [
        ("xgboost", "objective", "reg:absoluteerror"),
        ("catboost", "loss_function", "MAE"),
        ("lightgbm", "objective", "regression_l1"),
        ("hist_gradient_boosting", "loss", "absolute_error"),
    ],
)
def test_the_absolute_error_can_be_the_loss(name, key, loss):
    frame = real_frame("volatility", 1)
    model = Model(name=name, parameters={key: loss})
    training = frame.rows(0, 1000)
    squared, absolute = (trainer(one).fit(training, Task("Level", 1, 5, 0)) for one in (Model(name=name), model))
    rows = np.arange(1000, 1499)
    outcome = frame.target_level[rows]
    # The median of a skewed outcome is below its mean.
    assert absolute.predict(frame, rows).mean() < squared.predict(frame, rows).mean()
    assert np.abs(absolute.predict(frame, rows) - outcome).mean() < np.abs(frame.level[rows, None] - outcome).mean()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_constant_outcome_is_learnt(name):
    features = np.random.default_rng(2).normal(size=(60, 3))
    frame = frame_of(np.full(60, 7.5), features, names=("a", "b", "c"), horizon=1)
    forecaster = trainer(Model(name=name)).fit(frame, Task("Level", 1, 5, 0))
    assert load(name, forecaster.dump()).predict(frame, np.arange(60)) == pytest.approx(7.5, rel=1e-6)
    assert forecaster.importance() == {}


def test_a_mean_says_the_same_for_all_rows():
    assert MeanRegressor(mean=2.5, width=3).predict(np.zeros((4, 3))).tolist() == [2.5] * 4


def test_a_column_varies_where_trees_can_tell_two_of_its_values():
    table = np.array(
        [[1.0, 1.0, np.nan, np.nan, 1e9], [1.0, 2.0, np.nan, 3.0, 1e9 + 1e-3], [1.0, 1.0, np.nan, 4.0, 1e9]]
    )
    assert varying(table).tolist() == [False, True, False, True, False]
