"""Real bundles of every kind of model, small ones, for tests that spoil and read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from model_frames import real_frame

from presage.frame import Frame
from presage.models.bundle import Bundle, FrameFeature, FrameSchema, write_bundle
from presage.models.combination import combine
from presage.models.contract import Forecaster, Task
from presage.models.learners import learner
from presage.models.registry import trainer
from presage.spec.models import CLASSIFIER_NAMES, COMBINATION_NAMES, FORECASTER_NAMES, REGRESSOR_NAMES, Model, ModelName

HORIZON = 2
TASK = Task(transform="Level", horizon=HORIZON, season=5, seed=3)
START = datetime(2026, 1, 5, tzinfo=UTC)
PARAMETERS: dict[ModelName, dict[str, int]] = {
    "random_forest": {"n_estimators": 4},
    "hist_gradient_boosting": {"max_iter": 8},
    "xgboost": {"n_estimators": 8},
    "lightgbm": {"n_estimators": 8},
    "catboost": {"iterations": 8},
    "auto_arima": {"max_p": 1, "max_q": 1},
}

TaskName = Literal["Forecast", "Regression", "Classification"]
KINDS: tuple[tuple[TaskName, ModelName], ...] = (
    *(("Forecast", name) for name in FORECASTER_NAMES),
    *(("Regression", name) for name in REGRESSOR_NAMES),
    *(("Classification", name) for name in CLASSIFIER_NAMES),
)
"""Every model under every task that takes it."""
assert {name for _, name in KINDS} == set(get_args(ModelName))


def small_frame() -> Frame:
    """Return a real frame that everything learns from quickly."""
    frame = real_frame("volatility", HORIZON)
    return frame.rows(len(frame) - 400, len(frame))


@cache
def dumped(task: TaskName, name: ModelName) -> Mapping[str, bytes]:
    """Return the files of a fitted model."""
    model = Model(name=name, parameters=PARAMETERS.get(name, {}))
    frame = small_frame()
    if task == "Forecast":
        return _forecaster(model, frame).dump()
    rows = np.isfinite(frame.target_level[:, 0])
    outcome = frame.target_level[rows, 0]
    if task == "Classification":
        outcome = (outcome > np.median(outcome)).astype(np.float64)
    return learner(model, task).fit(frame.features[rows], outcome, 3).dump()


def _forecaster(model: Model, frame: Frame) -> Forecaster:
    if model.name not in COMBINATION_NAMES:
        return trainer(model).fit(frame, TASK)
    members = {name: _forecaster(Model(name=name), frame) for name in ("naive", "ridge")}
    weights = {"naive": np.array([0.25, 0.5]), "ridge": np.array([0.75, 0.5])}
    return combine(members, model.name, weights if model.name == "weighted_combination" else None)


def write(directory: Path, task: TaskName, name: ModelName, job: str = "house") -> Bundle:
    """Write a fitted model as a bundle and return its manifest."""
    features = small_frame().feature_names
    manifest = Bundle(
        job=job,
        namespace="default",
        spec_digest="sha256:0",
        lock_digest="sha256:1",
        seed=3,
        model=name,
        features=features,
        frame=FrameSchema(
            target="sp500.volatility",
            series=("sp500",),
            features=tuple(FrameFeature(name=feature, definition="{}") for feature in features),
        ),
        transform="Level",
        horizon=HORIZON if task == "Forecast" else 1,
        season=5,
        frequency="1d",
        train_start=START,
        train_end=START,
        created_at=START,
    )
    return write_bundle(directory, manifest, dumped(task, name))
