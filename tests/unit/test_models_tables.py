"""Learners of tables: Regression and Classification, without time."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from presage.errors import DataError, LakeError, NotSupportedError
from presage.models.learners import learner, load
from presage.models.state import STATE
from presage.spec.models import CLASSIFIER_NAMES, REGRESSOR_NAMES, Model

KINDS = [
    *((name, "Regression") for name in REGRESSOR_NAMES if name != "median"),
    *((name, "Classification") for name in CLASSIFIER_NAMES if name != "prevalence"),
]
BASELINES = [("median", "Regression"), ("prevalence", "Classification")]

every_learner = pytest.mark.parametrize(("name", "task"), KINDS)
every_kind = pytest.mark.parametrize(("name", "task"), [*KINDS, *BASELINES])


def table(task, rows=400):
    """Return features of which the first decides, the third is constant and the fourth never known; and outcomes."""
    random = np.random.default_rng(3)
    features = random.normal(size=(rows, 5))
    features[random.random(features.shape) < 0.1] = np.nan
    features[:, 2], features[:, 3] = 7.0, np.nan
    signal = 2 * np.nan_to_num(features[:, 0]) + 0.3 * random.normal(size=rows)
    return features, signal if task == "Regression" else (signal > 0.5).astype(float)


def fitted_on(name, task, rows=400):
    features, outcome = table(task, rows)
    return learner(Model(name=name), task).fit(features[:300], outcome[:300], 5)


@every_learner
def test_a_planted_signal_is_found(name, task):
    features, outcome = table(task)
    fitted = fitted_on(name, task)
    predicted = fitted.predict(features[300:])
    if task == "Regression":
        assert np.abs(predicted - outcome[300:]).mean() < 0.5 * np.abs(np.median(outcome) - outcome[300:]).mean()
    else:
        assert (predicted >= 0).all()
        assert (predicted <= 1).all()
        prevalence = np.full(100, outcome[:300].mean())
        assert log_loss(outcome[300:], predicted) < 0.6 * log_loss(outcome[300:], prevalence)
    importance = fitted.importance()
    assert importance.shape == (5,)
    assert importance[0] > 0.5
    assert importance[2] == importance[3] == 0
    assert importance.sum() == pytest.approx(1)


@every_kind
def test_what_is_loaded_predicts_as_what_was_dumped(name, task):
    features, _ = table(task)
    fitted = fitted_on(name, task)
    files = fitted.dump()
    loaded = load(name, files)
    assert loaded.predict(features).tobytes() == fitted.predict(features).tobytes()
    assert np.array_equal(loaded.importance(), fitted.importance())
    assert loaded.dump() == files
    assert fitted_on(name, task).dump() == files


@every_kind
def test_a_row_is_predicted_alike_alone_and_among_others(name, task):
    features, _ = table(task)
    fitted = fitted_on(name, task)
    alone = np.concatenate([fitted.predict(features[row : row + 1]) for row in range(40)])
    assert np.array_equal(alone, fitted.predict(features)[:40])
    assert fitted.predict(features[:0]).shape == (0,)
    assert np.isfinite(fitted.predict(np.full((3, 5), np.nan))).all()


@every_kind
def test_what_never_varies_teaches_the_middle(name, task):
    features, outcome = table(task)
    fitted = learner(Model(name=name), task).fit(features[:, 2:4], outcome, 5)
    middle = np.median(outcome) if name == "median" else outcome.mean()
    assert fitted.predict(np.random.default_rng(1).normal(size=(4, 2))) == pytest.approx(middle)
    assert fitted.importance().tolist() == [0, 0]
    assert load(name, fitted.dump()).predict(features[:3, 2:4]) == pytest.approx(middle)


@pytest.mark.parametrize("name", CLASSIFIER_NAMES)
@pytest.mark.parametrize("only", [0.0, 1.0])
def test_outcomes_of_one_class_are_predicted_as_certain(name, only):
    features, _ = table("Classification")
    fitted = learner(Model(name=name), "Classification").fit(features, np.full(len(features), only), 5)
    assert (fitted.predict(features) == only).all()


@every_kind
def test_too_few_rows_are_refused_in_numbers(name, task):
    features, outcome = table(task, rows=9)
    with pytest.raises(DataError, match=f"{name} has 9 rows.*at least 10") as error:
        learner(Model(name=name), task).fit(features, outcome, 5)
    assert error.value.remedy


@every_kind
def test_damaged_files_are_refused_with_a_remedy(name, task):
    files = dict(fitted_on(name, task).dump())
    (model,) = files.keys() - {STATE}
    other = "Classification" if task == "Regression" else "Regression"
    state = files[STATE]
    broken = {
        "no state": {model: files[model]},
        "no model": {STATE: state},
        "a damaged model": files | {model: files[model][:-1] + b"?"},
        "a file too many": files | {"more.bin": b"more"},
        "another width": files | {STATE: state.replace(b'"width":5', b'"width":-1')},
        "another task": files | {STATE: state.replace(task.encode(), b"Clustering")},
        "a newer version": files | {STATE: state.replace(b'"v1"', b'"v2"')},
        "a forecaster": {STATE: b'{"version":"v1","name":"naive","horizon":1}'},
    }
    if other not in dict(KINDS).get(name, ""):
        broken["another model's"] = files | {STATE: state.replace(name.encode(), b"theta")}
    for fault, content in broken.items():
        with pytest.raises(LakeError) as error:
            load(name, content)
        assert error.value.remedy, fault


@every_learner
def test_a_model_of_another_width_is_refused(name, task):
    files = dict(fitted_on(name, task).dump())
    state = json.loads(files[STATE])
    changed = json.dumps(state | {"width": 3}).encode()
    with pytest.raises(LakeError):
        load(name, files | {STATE: changed})


@pytest.mark.parametrize(
    ("name", "task"), [("ridge", "Classification"), ("logistic_regression", "Regression"), ("theta", "Regression")]
)
def test_a_model_that_is_none_for_the_task_is_refused(name, task):
    with pytest.raises(NotSupportedError, match=f"{name} is no model for task {task}") as error:
        learner(Model(name=name), task)
    assert "catboost" in error.value.remedy


def test_logistic_regression_is_that_of_scikit_learn_on_standardised_features():
    random = np.random.default_rng(1)
    features = random.normal(2, 3, size=(300, 3))
    outcome = (random.random(300) < expit(features @ [0.5, -0.2, 0.0])).astype(float)
    fitted = learner(Model(name="logistic_regression", parameters={"C": 0.5}), "Classification").fit(
        features, outcome, 0
    )
    standardised = StandardScaler().fit_transform(features)
    expected = LogisticRegression(C=0.5).fit(standardised, outcome).predict_proba(standardised)[:, 1]
    assert fitted.predict(features) == pytest.approx(expected, rel=1e-6)
