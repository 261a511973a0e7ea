"""Direct forecasting: one regressor for each step ahead, all on the features of the origin.

The strategy is the "direct" one of Ben Taieb, Bontempi, Atiya & Sorjamaa, Expert Systems with Applications 39 (2012),
pp. 7067-7083.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from presage.errors import DataError
from presage.frame import BoolArray, FloatArray, Frame, IntArray, to_level
from presage.models.contract import Task
from presage.models.outcomes import known_outcomes
from presage.models.state import STATE, State, expect_files, read_state, unreadable
from presage.spec.job import TransformName
from presage.spec.models import ModelName

MEAN_SUFFIX = "mean"

_GLANCE = 1000
"""Rows that mostly tell whether a column varies."""


class Regressor(Protocol):
    """A fitted function of the features."""

    @property
    def suffix(self) -> str:
        """What its file's name ends with, without the dot."""
        ...

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) float64, one value for each row of (r, p) contiguous features; NaN features are allowed."""
        ...

    def importance(self) -> FloatArray:
        """Return (p,) non-negative weights of the features, in any unit."""
        ...

    def dump(self) -> bytes:
        """Return the regressor as data."""
        ...


class Estimator(Protocol):
    """Fits one kind of regressor."""

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        ...

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> Regressor:
        """Fit on (m, p) features, NaN where missing and one column at least not constant, and (m,) outcomes."""
        ...

    def load(self, content: bytes, width: int) -> Regressor:
        """Return the regressor of p = width features that `dump` wrote; raises LakeError for anything else."""
        ...


class RegressorFile(Protocol):
    """Where a regressor is among a forecaster's files."""

    @property
    def file(self) -> str:
        """Name of its file."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of that file."""
        ...


class _StepFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str
    sha256: str


class DirectState(State):
    """What a direct forecaster knows besides its regressors."""

    transform: TransformName
    """What was learnt."""
    features: tuple[str, ...]
    """Names of the features, in the order that the regressors read them."""
    steps: Annotated[tuple[_StepFile, ...], Field(min_length=1)]
    """The regressor of each step."""


@dataclass(frozen=True)
class DirectForecaster:
    """A fitted regressor for each step ahead.

    Attributes:
        name: The forecaster's name.
        transform: What was learnt.
        features: Names of the features, in the order that the regressors read them.
        regressors: One for each step.
    """

    name: ModelName
    transform: TransformName
    features: tuple[str, ...]
    regressors: tuple[Regressor, ...]

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; see `presage.models.contract.Forecaster`.

        The frame may hold more features than those that were learnt from, in any order.

        Raises:
            DataError: The frame lacks a feature.
        """
        if len(rows) == 0:
            return np.empty((0, len(self.regressors)))
        features = np.ascontiguousarray(self._select(frame).features[rows])
        level = frame.level[rows, np.newaxis]
        change = np.column_stack([regressor.predict(features) for regressor in self.regressors])
        return np.where(np.isnan(level), np.nan, to_level(self.transform, level, change))

    def importance(self) -> Mapping[str, float]:
        """Return each feature's share, averaged over the steps that use any; empty where none does."""
        weights = [regressor.importance() for regressor in self.regressors]
        shares = [weight / weight.sum() for weight in weights if weight.sum() > 0]
        if not shares:
            return {}
        return dict(zip(self.features, np.mean(shares, axis=0).tolist(), strict=True))

    def dump(self) -> Mapping[str, bytes]:
        """Return the state and one file a step."""
        contents = {
            f"step_{step}.{regressor.suffix}": regressor.dump() for step, regressor in enumerate(self.regressors, 1)
        }
        steps = tuple(_StepFile(file=file, sha256=digest(content)) for file, content in contents.items())
        state = DirectState(name=self.name, transform=self.transform, features=self.features, steps=steps)
        return {STATE: state.to_bytes(), **contents}

    def _select(self, frame: Frame) -> Frame:
        if frame.feature_names == self.features:
            return frame
        try:
            return frame.with_features(self.features)
        except KeyError as error:
            missing = [name for name in self.features if name not in frame.feature_names]
            raise DataError(
                f"series {frame.series!r}: {self.name} learnt from feature {missing[0]!r}, which the frame lacks.",
                "Build the frame with the features of the run that fitted it, or fit the model again.",
            ) from error


@dataclass(frozen=True)
class DirectTrainer:
    """Fits one regressor a step.

    Attributes:
        estimator: Fits a regressor.
    """

    estimator: Estimator

    def fit(self, frame: Frame, task: Task) -> DirectForecaster:
        """Fit on a frame as it stood at the cut-off; see `presage.models.contract.Trainer`.

        A step for which no feature varies is forecast by the mean of what was to be learnt.
        """
        return DirectForecaster(
            name=self.estimator.name,
            transform=task.transform,
            features=frame.feature_names,
            regressors=tuple(self._fit_step(frame, task, step) for step in range(1, task.horizon + 1)),
        )

    def load(self, files: Mapping[str, bytes]) -> DirectForecaster:
        """Return the forecaster that `dump` wrote; raises LakeError for files that are none of its own."""
        state = read_state(files, DirectState)
        if state.name != self.estimator.name:
            raise unreadable(f"they are those of {state.name}, not of {self.estimator.name}")
        expect_files(files, (STATE, *(step.file for step in state.steps)))
        return DirectForecaster(
            name=state.name,
            transform=state.transform,
            features=state.features,
            regressors=tuple(load_regressor(files, step, self.estimator, len(state.features)) for step in state.steps),
        )

    def _fit_step(self, frame: Frame, task: Task, step: int) -> Regressor:
        rows, outcome = known_outcomes(frame, task, step)
        features = np.ascontiguousarray(frame.features[rows])
        if not varying(features).any():
            return MeanRegressor(mean=float(outcome.mean()), width=features.shape[1])
        return self.estimator.fit(features, outcome, task.seed)


@dataclass(frozen=True)
class MeanRegressor:
    """Says the same for all rows."""

    mean: float
    width: int

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return MEAN_SUFFIX

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) the mean."""
        return np.full(len(features), self.mean)

    def importance(self) -> FloatArray:
        """Return (p,) zeros."""
        return np.zeros(self.width)

    def dump(self) -> bytes:
        """Return the mean as JSON."""
        return _MeanFile(mean=self.mean).model_dump_json().encode()


class _MeanFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mean: float


def varying(features: FloatArray) -> BoolArray:
    """Return (p,) whether a column of (m, p) features holds two values that single precision, as trees read, tells."""
    varies = _varying(features[:_GLANCE])
    if not varies.all():
        varies[~varies] = _varying(features[:, ~varies])
    return varies


def _varying(features: FloatArray) -> BoolArray:
    with np.errstate(over="ignore"):
        single = features.astype(np.float32)
    return np.asarray(np.fmin.reduce(single, axis=0) < np.fmax.reduce(single, axis=0))


def load_regressor(
    files: Mapping[str, bytes], place: RegressorFile, estimator: Estimator | None, width: int
) -> Regressor:
    """Return a regressor of p = width features that was dumped; without an estimator it can only be a mean.

    Raises:
        LakeError: The file is not what the state says, or holds no such regressor.
    """
    content = files[place.file]
    # The libraries end the whole process on some damaged files, so that none may reach them.
    if digest(content) != place.sha256:
        raise unreadable(f"the content of {place.file} is not what {STATE} says")
    if place.file.endswith(f".{MEAN_SUFFIX}"):
        return _load_mean(content, width)
    if estimator is None:
        raise unreadable(f"{place.file} holds no mean")
    return estimator.load(content, width)


def _load_mean(content: bytes, width: int) -> MeanRegressor:
    try:
        return MeanRegressor(mean=_MeanFile.model_validate_json(content).mean, width=width)
    except ValidationError as error:
        raise unreadable("a step's mean is no number") from error


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()
