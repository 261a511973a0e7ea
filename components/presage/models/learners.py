"""Learners: what is fitted on a table of features and one outcome a row, without time.

A Regression's learner gives the expected outcome, a Classification's the probability of class 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field

from presage.errors import DataError, NotSupportedError
from presage.frame import FloatArray
from presage.models.direct import Estimator, MeanRegressor, Regressor, digest, load_regressor, varying
from presage.models.outcomes import LEAST_ROWS
from presage.models.registry import estimator
from presage.models.state import STATE, State, expect_files, read_state, unreadable
from presage.spec.models import TASK_MODELS, Model, ModelName

TableTask = Literal["Regression", "Classification"]

_BASELINES: tuple[ModelName, ...] = ("median", "prevalence")


class Fitted(Protocol):
    """A fitted learner: immutable, and its files hold all of it."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) float64: the expected outcome, or the probability of class 1, of (r, p) features, NaN allowed."""
        ...

    def importance(self) -> FloatArray:
        """Return (p,) each feature's share of what was learnt, adding up to 1; zeros where no feature is used."""
        ...

    def dump(self) -> Mapping[str, bytes]:
        """Return the learner as files by name: data only, never code."""
        ...


class Learner(Protocol):
    """Fits one kind of model to a table."""

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> Fitted:
        """Fit on (m, p) float64 features, NaN where missing, and (m,) finite outcomes, 0 or 1 for a Classification.

        Raises:
            DataError: There are fewer than 10 rows.
        """
        ...


class LearnerState(State):
    """What a learner knows besides its model."""

    task: TableTask
    """What it predicts."""
    width: Annotated[int, Field(ge=0)]
    """Features that it reads."""
    file: str
    """File of the model."""
    sha256: str
    """Digest of that file."""


@dataclass(frozen=True)
class FittedTable:
    """A fitted model of a table.

    Attributes:
        name: Name of the model.
        task: What it predicts.
        width: Features that it reads, p.
        regressor: The function of the features.
    """

    name: ModelName
    task: TableTask
    width: int
    regressor: Regressor

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values; see `Fitted`."""
        if len(features) == 0:
            return np.empty(0)
        return self.regressor.predict(np.ascontiguousarray(features))

    def importance(self) -> FloatArray:
        """Return (p,) shares; see `Fitted`."""
        weights = self.regressor.importance()
        total = weights.sum()
        return weights / total if total > 0 else weights

    def dump(self) -> Mapping[str, bytes]:
        """Return the state and the model's file."""
        content = self.regressor.dump()
        file = f"model.{self.regressor.suffix}"
        state = LearnerState(name=self.name, task=self.task, width=self.width, file=file, sha256=digest(content))
        return {STATE: state.to_bytes(), file: content}


@dataclass(frozen=True)
class TableLearner:
    """Fits an estimator to a table.

    Attributes:
        task: What is predicted.
        estimator: What is fitted.
    """

    task: TableTask
    estimator: Estimator

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> FittedTable:
        """Fit on a table; see `Learner`.

        Where no feature varies, or a Classification's outcomes are all of one class, the mean is predicted.
        """
        _check_rows(self.estimator.name, outcome)
        constant = self.task == "Classification" and outcome.min() == outcome.max()
        if constant or not varying(features).any():
            fitted: Regressor = MeanRegressor(mean=float(outcome.mean()), width=features.shape[1])
        else:
            fitted = self.estimator.fit(np.ascontiguousarray(features), outcome, seed)
        return FittedTable(self.estimator.name, self.task, features.shape[1], fitted)


@dataclass(frozen=True)
class BaselineLearner:
    """Predicts the same for all rows: the outcomes' median for a Regression, their mean for a Classification.

    Attributes:
        name: Name of the baseline.
        task: What is predicted.
    """

    name: ModelName
    task: TableTask

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> FittedTable:  # noqa: ARG002  # no chance in it
        """Fit on a table; see `Learner`."""
        _check_rows(self.name, outcome)
        middle = np.median(outcome) if self.name == "median" else np.mean(outcome)
        width = features.shape[1]
        return FittedTable(self.name, self.task, width, MeanRegressor(mean=float(middle), width=width))


def learner(model: Model, task: TableTask) -> Learner:
    """Return what fits a model to a table.

    Raises:
        MissingExtraError: The library behind it is not installed.
        NotSupportedError: The model is none for the task.
    """
    if model.name not in TASK_MODELS[task]:
        raise NotSupportedError(
            f"{model.name} is no model for task {task}.", f"Use one of {', '.join(TASK_MODELS[task])}."
        )
    if model.name in _BASELINES:
        return BaselineLearner(model.name, task)
    return TableLearner(task, estimator(model, task))


def load(name: ModelName, files: Mapping[str, bytes]) -> Fitted:
    """Return the learner that was dumped.

    Args:
        name: Name of the model.
        files: What its `dump` gave.

    Raises:
        LakeError: The files are none of this model's.
        MissingExtraError: The library behind it is not installed.
    """
    state = read_state(files, LearnerState)
    if state.name != name or name not in TASK_MODELS[state.task]:
        raise unreadable(f"they are those of {state.name} for task {state.task}, not of {name}")
    expect_files(files, (STATE, state.file))
    read = None if name in _BASELINES else estimator(Model(name=name), state.task)
    return FittedTable(name, state.task, state.width, load_regressor(files, state, read, state.width))


def _check_rows(name: ModelName, outcome: FloatArray) -> None:
    if len(outcome) < LEAST_ROWS:
        raise DataError(
            f"{name} has {len(outcome)} rows to learn from; at least {LEAST_ROWS} are needed.",
            "Give more history or a larger trainSize.",
        )
