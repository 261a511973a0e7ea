"""Search of a model's parameters inside a training window, by time-ordered validation.

The last blocks of the window are forecast in turn by fits on what was known before each. The configurations come from
the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio & Kégl, Advances in NeurIPS 24, 2011, pp. 2546-2554).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from presage.errors import DataError
from presage.evaluation.metrics import origin_losses
from presage.frame import FloatArray, Frame, IntArray
from presage.models.contract import Task
from presage.models.libraries import library
from presage.models.registry import trainer
from presage.spec.evaluation import Evaluation, Metric
from presage.spec.models import Model, ParameterValue, SearchRange

_STARTUP_TRIALS = 5


class Suggestions(Protocol):
    """What Optuna's trial is asked for."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return a number of a range."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return a whole number of a range."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[ParameterValue]) -> ParameterValue:
        """Return one of a list."""
        ...


@dataclass(frozen=True)
class Block:
    """A block of validation.

    Attributes:
        training: What was known at the cut-off before it.
        view: What was known at its last origin.
        rows: (r,) the block's rows of the view.
        outcome: (r, h) levels that came; NaN where the whole window does not know them.
    """

    training: Frame
    view: Frame
    rows: IntArray
    outcome: FloatArray


def search(model: Model, training: Frame, task: Task, evaluation: Evaluation) -> Model:
    """Return the model with the parameters that forecast the end of a training window best, and no search.

    Args:
        model: The model; one without a search is returned as it is.
        training: The training window as it stood at the cut-off; rows in order of origin.
        task: What is learnt; its seed is that of the search and of every fit.
        evaluation: The metric, whose point loss is minimised (the absolute error under CRPS and MASE), and the embargo.

    Raises:
        DataError: The window is too short for the blocks, or no configuration forecasts them.
        MissingExtraError: Optuna, or the library behind the model, is not installed.
    """
    if model.search is None:
        return model
    blocks = make_blocks(training, model.search.folds, evaluation.embargo)
    return minimise(model, lambda tried: _loss(tried, blocks, task, evaluation.metric), seed=task.seed)


def minimise(model: Model, loss: Callable[[Model], float], *, seed: int) -> Model:
    """Return the configuration of a model with the smallest loss, without its search; of equal ones the first tried.

    Args:
        model: The model with its search.
        loss: Loss of a configuration; infinite where it has none.
        seed: Seed of the search.

    Raises:
        DataError: No configuration has a finite loss.
        MissingExtraError: Optuna is not installed.
    """
    if model.search is None:
        return model
    optuna = library("optuna", needed_by="a search of parameters")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS))
    losses: dict[tuple[ParameterValue, ...], float] = {}
    best, least = model, math.inf
    for _ in range(model.search.trials):
        trial = study.ask()
        parameters = {
            name: _suggest(trial, name, values, whole=name in model.whole_parameters)
            for name, values in model.search.parameters.items()
        }
        tried = Model(name=model.name, parameters={**model.parameters, **parameters}, scope=model.scope)
        key = tuple(parameters.values())
        if key not in losses:
            losses[key] = loss(tried)
        study.tell(trial, losses[key])
        if losses[key] < least:
            best, least = tried, losses[key]
    if math.isinf(least):
        raise DataError(
            f"the search of {model.name}'s parameters found none whose forecasts can be scored in the training window.",
            "Search other values, or give more history.",
        )
    return best


def searched(models: Sequence[Model]) -> int:
    """Return how many configurations the searches of some models try beyond the one that each ends with."""
    return sum(model.search.trials - 1 for model in models if model.search is not None)


def make_blocks(training: Frame, folds: int, embargo: int) -> tuple[Block, ...]:
    """Return the blocks of validation: the newer half of a window's origins in equal parts, the oldest first.

    Several series may share an origin; it is then all in training or all in a block.

    Args:
        training: The window as it stood at the cut-off; rows in order of origin.
        folds: Blocks.
        embargo: Origins left out between the training and the block.

    Raises:
        DataError: The window holds too few origins.
    """
    origins = np.unique(training.origin)
    size = (len(origins) // 2 - embargo) // folds
    if size < 1:
        raise DataError(
            f"series {training.series!r}: a search that validates on {folds} blocks needs at least "
            f"{2 * (folds + embargo)} origins in the training window, and it has {len(origins)}.",
            "Give more history or a larger trainSize, or set fewer search.folds.",
        )
    blocks = []
    for start in range(len(origins) - folds * size, len(origins), size):
        cutoff, last = origins[start - embargo - 1], origins[start + size - 1]
        view = training.known_by(last)
        rows = np.flatnonzero(view.origin >= origins[start])
        # What the window's end knows of the outcomes is what the losses may use; the fit knows less.
        outcome = training.target_level[: len(view)][rows]
        blocks.append(Block(training.known_by(cutoff), view, rows, outcome))
    return tuple(blocks)


def _loss(model: Model, blocks: Sequence[Block], task: Task, metric: Metric) -> float:
    """Return the mean point loss over the blocks; infinite where an origin with a level has no forecast."""
    scored = []
    for block in blocks:
        try:
            forecaster = trainer(model).fit(block.training, task)
        except DataError:
            return math.inf
        mean = forecaster.predict(block.view, block.rows)
        there = np.isfinite(block.view.level[block.rows]) & np.isfinite(block.outcome).all(axis=1)
        if metric == "MAPE":
            there &= (block.outcome != 0).all(axis=1)
        scored.append(_point_losses(metric, block.outcome[there], mean[there]))
    losses = np.concatenate(scored)
    return float(losses.mean()) if len(losses) and np.isfinite(losses).all() else math.inf


def _point_losses(metric: Metric, outcome: FloatArray, mean: FloatArray) -> FloatArray:
    # A search fits no intervals, and the scale of MASE is the same for all configurations.
    point = "MAE" if metric in ("CRPS", "MASE") else metric
    nothing = np.empty(0)
    return origin_losses(point, outcome, mean, quantiles=nothing, probabilities=nothing, scale=nothing)


def _suggest(trial: Suggestions, name: str, values: SearchRange, *, whole: bool) -> ParameterValue:
    if values.low is None or values.high is None:
        return trial.suggest_categorical(name, values.choices)
    if whole:
        return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)
