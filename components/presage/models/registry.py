"""The forecasters by name. A library is imported only when a forecaster needs it."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Literal, get_args

import numpy as np

from presage.errors import NotSupportedError
from presage.frame import FloatArray
from presage.models import baselines as baseline_forecasters
from presage.models.combination import load as load_combination
from presage.models.contract import Forecaster, Task, Trainer
from presage.models.direct import DirectTrainer, Estimator
from presage.models.libraries import library
from presage.spec.models import (
    BASELINE_NAMES,
    CLASSIFIER_NAMES,
    COMBINATION_NAMES,
    FORECASTER_NAMES,
    REGRESSOR_NAMES,
    Model,
    ModelName,
)

TaskKind = Literal["Forecast", "Regression", "Classification"]

FEATURE_LEARNERS: tuple[ModelName, ...] = tuple(
    name for name in get_args(ModelName) if name in (*REGRESSOR_NAMES, *CLASSIFIER_NAMES) and name not in BASELINE_NAMES
)
"""Those that fit a function of the features."""

_MODULES: dict[ModelName, str] = {
    "ridge": "presage.models.ridge",
    "elastic_net": "presage.models.elastic_net",
    "logistic_regression": "presage.models.logistic_regression",
    "random_forest": "presage.models.forest",
    "hist_gradient_boosting": "presage.models.hist_gradient_boosting",
    "xgboost": "presage.models.xgboost_trees",
    "lightgbm": "presage.models.lightgbm_trees",
    "catboost": "presage.models.catboost_trees",
    "theta": "presage.models.theta",
    "auto_arima": "presage.models.auto_arima",
    "auto_ets": "presage.models.auto_ets",
    "prophet": "presage.models.prophet_curve",
}


def trainer(model: Model) -> Trainer:
    """Return what fits a model.

    Raises:
        MissingExtraError: The library behind it is not installed.
        NotSupportedError: It is a combination, which is made of fitted forecasters and not fitted itself, or it does
            not forecast.
    """
    if model.name in BASELINE_NAMES and model.name in FORECASTER_NAMES:
        return baseline_forecasters.trainer(model)
    if model.name in COMBINATION_NAMES:
        raise NotSupportedError(
            f"{model.name} is not fitted: it is a mean of forecasters that are.", "Fit its members and combine them."
        )
    if model.name not in FORECASTER_NAMES:
        raise NotSupportedError(f"{model.name} does not forecast.", f"Those that do are {', '.join(FORECASTER_NAMES)}.")
    if model.name in FEATURE_LEARNERS:
        return DirectTrainer(estimator(model, "Regression"))
    made: Trainer = _import(model.name).trainer(model.settings)
    return made


def estimator(model: Model, task: Literal["Regression", "Classification"]) -> Estimator:
    """Return what fits a function of the features: of the outcome, or of the probability of class 1.

    Raises:
        MissingExtraError: The library behind it is not installed.
        NotSupportedError: The model does not learn from features alone.
    """
    if model.name not in FEATURE_LEARNERS:
        raise NotSupportedError(
            f"{model.name} does not learn from features alone.", f"Those that do are {', '.join(FEATURE_LEARNERS)}."
        )
    made: Estimator = _import(model.name).estimator(model.settings, task)
    return made


def load(name: ModelName, files: Mapping[str, bytes]) -> Forecaster:
    """Return the forecaster that was dumped.

    Args:
        name: Name of the forecaster.
        files: What its `dump` gave.

    Raises:
        LakeError: The files are none of this forecaster's.
        MissingExtraError: The library behind it is not installed.
    """
    if name in COMBINATION_NAMES:
        return load_combination(name, files, load)
    return trainer(Model(name=name)).load(files)


def baselines(task: Task, levels: FloatArray, task_kind: TaskKind) -> tuple[Model, ...]:
    """Return the baselines that always run.

    Args:
        task: What is learnt.
        levels: (n,) levels of the target, NaN at gaps.
        task_kind: The job's task.

    Returns:
        `naive`, `seasonal_naive` where there is a season and more levels than one season holds, `drift`, `window_mean`,
        `zero` where a change is learnt or the target takes both signs, and `median` for a Regression.

    Raises:
        NotSupportedError: The task is a Classification.
    """
    if task_kind == "Classification":
        raise NotSupportedError(
            "task Classification has no forecasters in this version.", "Use task Forecast or Regression."
        )
    both_signs = bool(np.any(levels > 0) and np.any(levels < 0))
    runs: dict[ModelName, bool] = {
        "naive": True,
        "seasonal_naive": 1 < task.season < int(np.count_nonzero(~np.isnan(levels))),
        "drift": True,
        "window_mean": True,
        "zero": task.transform != "Level" or both_signs,
        "median": task_kind == "Regression",
    }
    return tuple(Model(name=name) for name, is_run in runs.items() if is_run)


def _import(name: ModelName) -> ModuleType:
    return library(_MODULES[name], needed_by=name)
