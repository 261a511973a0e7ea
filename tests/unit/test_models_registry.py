"""Which forecasters there are, which baselines always run, and how forecasters are combined."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from model_frames import frame_of, real_frame

from presage.errors import LakeError, MissingExtraError, NotSupportedError
from presage.models import registry
from presage.models.combination import combine
from presage.models.contract import Task
from presage.models.libraries import library
from presage.models.registry import baselines, estimator, load, trainer
from presage.models.state import STATE, read_name
from presage.spec.models import COMBINATION_NAMES, FORECASTER_NAMES, Model

POSITIVE = np.linspace(1, 2, 100)
SIGNED = np.linspace(-1, 1, 100)


@pytest.mark.parametrize(
    ("transform", "season", "levels", "kind", "expected"),
    [
        ("Level", 1, POSITIVE, "Forecast", ["naive", "drift", "window_mean"]),
        ("Level", 5, POSITIVE, "Forecast", ["naive", "seasonal_naive", "drift", "window_mean"]),
        ("Level", 100, POSITIVE, "Forecast", ["naive", "drift", "window_mean"]),
        ("Level", 1, SIGNED, "Forecast", ["naive", "drift", "window_mean", "zero"]),
        ("Level", 1, -POSITIVE, "Forecast", ["naive", "drift", "window_mean"]),
        ("LogChange", 1, POSITIVE, "Forecast", ["naive", "drift", "window_mean", "zero"]),
        ("Level", 1, POSITIVE, "Regression", ["naive", "drift", "window_mean", "median"]),
        ("Level", 5, np.r_[POSITIVE[:4], np.full(99, np.nan)], "Forecast", ["naive", "drift", "window_mean"]),
    ],
)
def test_baselines_fit_the_target(transform, season, levels, kind, expected):
    models = baselines(Task(transform, 1, season, 0), levels, kind)
    assert [model.name for model in models] == expected


def test_a_classification_is_not_supported_yet():
    with pytest.raises(NotSupportedError, match="Classification"):
        baselines(Task("Level", 1, 1, 0), POSITIVE, "Classification")


def test_a_combination_is_made_of_fitted_forecasters_and_not_fitted():
    with pytest.raises(NotSupportedError, match="is not fitted"):
        trainer(Model(name="mean_combination"))
    with pytest.raises(NotSupportedError, match="is not fitted"):
        trainer(Model(name="weighted_combination"))
    with pytest.raises(NotSupportedError, match="nothing to combine"):
        combine({})


def test_every_forecaster_has_a_trainer_or_is_a_combination():
    for name in FORECASTER_NAMES:
        if name not in COMBINATION_NAMES:
            assert callable(trainer(Model(name=name)).fit)


@pytest.mark.parametrize("name", ["prevalence", "logistic_regression"])
def test_what_does_not_forecast_has_no_trainer(name):
    with pytest.raises(NotSupportedError, match=f"{name} does not forecast") as error:
        trainer(Model(name=name))
    assert "ridge" in error.value.remedy


def test_a_model_of_the_history_is_no_function_of_features():
    with pytest.raises(NotSupportedError, match="theta does not learn from features"):
        estimator(Model(name="theta"), "Regression")


def test_a_combination_is_the_mean_of_its_members_and_nests_their_files():
    frame = real_frame("volatility", 2)
    task = Task("Level", 2, 5, 0)
    rows = np.arange(1400, 1500)
    names = {"ridge": "ridge", "ridge_2": "ridge", "naive": "naive"}
    members = {
        "ridge": trainer(Model(name="ridge")).fit(frame, task),
        "ridge_2": trainer(Model(name="ridge", parameters={"alpha": 500.0})).fit(frame, task),
        "naive": trainer(Model(name="naive")).fit(frame, task),
    }
    combination = combine(members)
    expected = np.mean([member.predict(frame, rows) for member in members.values()], axis=0)
    assert combination.predict(frame, rows) == pytest.approx(expected, rel=1e-14)
    files = combination.dump()
    for member, name in names.items():
        part = {file.removeprefix(f"member/{member}/"): files[file] for file in files if f"member/{member}/" in file}
        assert part == members[member].dump()
        assert read_name(part) == name
    shares = combination.importance()
    one, two = members["ridge"].importance(), members["ridge_2"].importance()
    assert shares["volatility.mean_5"] == pytest.approx((one["volatility.mean_5"] + two["volatility.mean_5"]) / 2)


def test_a_combination_has_no_forecast_where_a_member_has_none():
    frame = frame_of([1.0, 2.0, 3.0], horizon=1)
    task = Task("Level", 1, 1, 0)
    members = {name: trainer(Model(name=name)).fit(frame, task) for name in ("naive", "drift")}
    assert np.isnan(combine(members).predict(frame, np.array([0, 1]))[:, 0]).tolist() == [True, False]


def test_a_member_outside_the_combination_is_refused():
    frame = frame_of([1.0, 2.0, 3.0], horizon=1)
    naive = trainer(Model(name="naive")).fit(frame, Task("Level", 1, 1, 0))
    files = combine({"naive": naive}).dump()
    for stray in ("member/other/forecaster.json", "elsewhere/naive/forecaster.json"):
        with pytest.raises(LakeError, match="none of its files"):
            load("mean_combination", {**files, stray: files[STATE]})


def test_a_missing_library_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(registry._MODULES, "ridge", "no_such_package.ridge")
    with pytest.raises(MissingExtraError, match=r"ridge needs .*no_such_package.*presage\[train\]"):
        trainer(Model(name="ridge"))


def test_what_a_statistical_forecaster_needs_is_in_an_extra_of_its_own():
    with pytest.raises(MissingExtraError, match=r"prophet needs .*no_such_package.*presage\[statistics\]"):
        library("no_such_package", needed_by="prophet", extra="statistics")


def test_a_baseline_needs_no_heavy_library():
    code = (
        "import sys; from presage.models.registry import trainer; from presage.spec.models import Model; "
        "trainer(Model(name='drift')); "
        "print([name for name in ('xgboost', 'catboost', 'lightgbm', 'sklearn', 'onnxruntime', 'statsforecast', "
        "'prophet', 'optuna', 'statsmodels', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
