"""Trees as ONNX models: they say what scikit-learn's own say, and onnx finds no fault in them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from threadpoolctl import threadpool_limits

from presage.errors import LakeError
from presage.models.onnx_trees import load_trees, single
from presage.models.registry import estimator
from presage.spec.models import Model

ROWS = 600


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def table(*, missing):
    """Return features, many of them equal to others and one of them large, and outcomes."""
    random = np.random.default_rng(8)
    features = random.normal(size=(ROWS, 4)).round(1)
    features[:, 3] = 1e9 + 1e3 * random.integers(0, 500, size=ROWS)
    if missing:
        features[random.random(features.shape) < 0.15] = np.nan
    outcome = np.nan_to_num(features[:, 0]) - 2 * (np.nan_to_num(features[:, 3]) > 1e9 + 2e5) + random.normal(size=ROWS)
    return features, outcome


def own(name, task, features, outcome):
    return estimator(Model(name=name), task).fit(features, outcome, 5)


@pytest.mark.parametrize("missing", [False, True])
def test_histogram_boosting_says_what_scikit_learn_says(missing):
    features, outcome = table(missing=missing)
    settings = {
        **Model(name="hist_gradient_boosting").settings.model_dump(),
        "early_stopping": False,
        "random_state": 5,
    }
    expected = HistGradientBoostingRegressor(**settings).fit(single(features), outcome).predict(single(features))
    found = own("hist_gradient_boosting", "Regression", features, outcome).predict(features)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("missing", [False, True])
def test_histogram_boosting_gives_the_probabilities_of_scikit_learn(missing):
    features, outcome = table(missing=missing)
    settings = Model(name="hist_gradient_boosting").settings.model_dump(exclude={"loss"})
    boosting = HistGradientBoostingClassifier(**settings, early_stopping=False, random_state=5)
    expected = boosting.fit(single(features), outcome > 0).predict_proba(single(features))[:, 1]
    found = own("hist_gradient_boosting", "Classification", features, (outcome > 0).astype(float)).predict(features)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_a_forest_says_what_scikit_learn_says_of_medians_for_what_is_missing(task, missing):
    features, outcome = table(missing=missing)
    settings = {**Model(name="random_forest").settings.model_dump(), "random_state": 5}
    filled = np.where(np.isnan(features), np.nanmedian(single(features), axis=0), features)
    if task == "Regression":
        expected = RandomForestRegressor(**settings).fit(filled, outcome).predict(filled)
    else:
        outcome = (outcome > 0).astype(float)
        expected = RandomForestClassifier(**settings).fit(filled, outcome).predict_proba(filled)[:, 1]
    assert own("random_forest", task, features, outcome).predict(features) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("task", ["Regression", "Classification"])
@pytest.mark.parametrize("name", ["random_forest", "hist_gradient_boosting"])
def test_onnx_finds_no_fault_and_the_model_says_nothing_of_who_made_it_when(name, task):
    features, outcome = table(missing=True)
    model = onnx.load_model_from_string(own(name, task, features, (outcome > 0).astype(float)).dump())
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= {"TreeEnsembleRegressor", "Sigmoid"}
    assert model.producer_name == "presage"
    assert [entry.key for entry in model.metadata_props] == ["importance"]


@pytest.mark.parametrize("name", ["random_forest", "hist_gradient_boosting"])
def test_features_too_large_for_single_precision_count_as_the_largest(name):
    features, outcome = table(missing=False)
    features[::7, 1] = 1e300
    features[::11, 1] = -1e300
    fitted = own(name, "Regression", features, outcome)
    assert np.isfinite(fitted.predict(features)).all()


def test_another_onnx_model_is_refused():
    value = onnx.helper.make_tensor_value_info
    number = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("Identity", ["features"], ["value"])
    graph = onnx.helper.make_graph([node], "x", [value("features", number, [None, 2])], [value("value", number, None)])
    opset = [onnx.helper.make_opsetid("", 15)]
    content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    for broken in (content, b"", b"no model"):
        with pytest.raises(LakeError, match="random_forest holds no trees"):
            load_trees(broken, 2, "random_forest")
