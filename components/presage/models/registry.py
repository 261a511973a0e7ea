"""The forecasters by name. A library is imported only when a forecaster needs it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Literal

import numpy as np

from presage.errors import MissingExtraError, NotSupportedError
from presage.frame import FloatArray
from presage.models import baselines as baseline_forecasters
from presage.models.contract import Forecaster, Task, Trainer
from presage.spec.models import BASELINE_NAMES, Model, ModelName

TaskKind = Literal["Forecast", "Regression", "Classification"]

_COMBINATION: ModelName = "mean_combination"
_MODULES: dict[ModelName, str] = {
    "ridge": "presage.models.ridge",
    "xgboost": "presage.models.xgboost_trees",
    "catboost": "presage.models.catboost_trees",
    "theta": "presage.models.theta",
    "mean_combination": "presage.models.combination",
}


def trainer(model: Model) -> Trainer:
    """Return what fits a model.

    Raises:
        MissingExtraError: The library behind it is not installed.
        NotSupportedError: It is `mean_combination`, which is made of fitted forecasters and not fitted itself.
    """
    if model.name in BASELINE_NAMES:
        return baseline_forecasters.trainer(model)
    if model.name == _COMBINATION:
        raise NotSupportedError(
            f"{_COMBINATION} is not fitted: it is the mean of forecasters that are.",
            "Fit its members and combine them.",
        )
    module = _import(model.name)
    made: Trainer = module.trainer(model.settings)
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
    if name == _COMBINATION:
        module = _import(name)
        loaded: Forecaster = module.load(files)
        return loaded
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
    return tuple(Model(name=name) for name in BASELINE_NAMES if runs[name])


def _import(name: ModelName) -> ModuleType:
    try:
        return import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name} needs the Python package {error.name}, which is not installed.",
            "Install what training needs: pip install 'presage[train]'.",
        ) from error
