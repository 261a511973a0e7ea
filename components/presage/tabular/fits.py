"""The tasks of a walk: what is fitted inside one fold, on the rows of its training window alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from presage.errors import DataError
from presage.evaluation.contenders import Contender, seed_of
from presage.features.config import FeatureConfig
from presage.features.selection import select
from presage.frame import FloatArray, Frame
from presage.models.learners import Fitted, TableTask, learner, load
from presage.spec.evaluation import Evaluation
from presage.spec.features import Selection
from presage.spec.models import Model
from presage.tabular.design import Design, Inputs, fit_design
from presage.tabular.observations import Observations
from presage.tabular.search import Window, search_rows


@dataclass(frozen=True)
class Selecting:
    """The task of selecting features in a training window."""

    training: Observations
    inputs: Inputs
    task: TableTask
    selection: Selection
    seed: int
    label: int | str


@dataclass(frozen=True)
class Prepared:
    """A fold's features.

    Attributes:
        design: What makes them, learnt in the training window.
        training: (m, p) features of the training rows, those that were kept.
        block: (r, p) features of the block.
    """

    design: Design
    training: FloatArray
    block: FloatArray


def select_features(task: Selecting) -> FeatureConfig:
    """Learn categories in a training window, and return what selection keeps of its features."""
    design = fit_design(task.inputs, task.training.table, task.task)
    return _select(design.matrix(task.training.table), task.training, design.names, task)


def prepare(
    inputs: Inputs, task: TableTask, config: FeatureConfig, *, training: Observations, block: Observations
) -> Prepared:
    """Learn categories in a training window, and make the selected features of it and of the block."""
    design = fit_design(inputs, training.table, task)
    kept = np.array([design.names.index(name) for name in config.kept], dtype=np.intp)
    return Prepared(design, design.matrix(training.table)[:, kept], design.matrix(block.table)[:, kept])


def _select(features: FloatArray, training: Observations, names: tuple[str, ...], task: Selecting) -> FeatureConfig:
    """Select as for bars: each row is an origin whose one step ahead is its own outcome."""
    moments = training.time[:, None]
    frame = Frame(
        series=task.inputs.source,
        time=training.time,
        origin=training.time,
        level=np.zeros(len(training)),
        features=features,
        feature_names=names,
        target_time=moments,
        target_level=training.outcome[:, None],
        target_known_at=training.known_at[:, None],
    )
    return select(frame, transform="Level", selection=task.selection, seed=seed_of(task.seed, "selection", task.label))


@dataclass(frozen=True)
class Fitting:
    """Whom to fit, and how."""

    contender: Contender
    task: TableTask
    evaluation: Evaluation
    seed: int


@dataclass(frozen=True)
class Predicting:
    """The task of fitting a contender in a fold and predicting its block."""

    window: Window
    block: FloatArray
    names: tuple[str, ...]
    fitting: Fitting
    fold: int


@dataclass(frozen=True)
class Block:
    """What a contender predicted of a block.

    Attributes:
        mean: (r,) float64.
        importance: By feature, its share of what was learnt; empty where there is none.
    """

    mean: FloatArray
    importance: Mapping[str, float]


def predict_block(task: Predicting) -> Block:
    """Fit a contender and predict its block; raises DataError, which names both, where it cannot be fitted."""
    try:
        _, fitted = fit(task.window, task.fitting)
    except DataError as error:
        raise DataError(f"{task.fitting.contender.name} in fold {task.fold}: {error.what}", error.remedy) from error
    shares = fitted.importance()
    importance = dict(zip(task.names, shares.tolist(), strict=True)) if shares.any() else {}
    return Block(predict(fitted, task.block, task.fitting.task), importance)


def predict(fitted: Fitted, features: FloatArray, task: TableTask) -> FloatArray:
    """Return (r,) predictions of (r, p) features; a probability is from 0 to 1."""
    mean = fitted.predict(features)
    return np.clip(mean, 0.0, 1.0) if task == "Classification" else mean


def fit(window: Window, fitting: Fitting) -> tuple[Model, Fitted]:
    """Return a model and its fit, dumped and loaded again: what is judged is what is exported."""
    task, seed = fitting.task, fitting.seed
    model = search_rows(fitting.contender.model, window, task, fitting.evaluation, seed=seed)
    fitted = learner(model, task).fit(np.ascontiguousarray(window.features), window.outcome, seed)
    return model, load(model.name, fitted.dump())


def window_of(prepared: Prepared, training: Observations) -> Window:
    """Return a training window with the features that were made of it."""
    return Window(prepared.training, training.outcome, training.time, training.known_at)
