"""The tasks of a walk-forward: what is selected and fitted inside one fold, on what was known at its cut-off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import FeatureConfig, Fold
from presage.evaluation.contenders import Contender, fit
from presage.features.selection import select
from presage.frame import FloatArray, Frame, join, stack
from presage.models.contract import Forecaster, Task
from presage.spec.features import Selection
from presage.spec.job import TransformName


@dataclass(frozen=True)
class Selecting:
    """The task of selecting features in a fold."""

    frames: tuple[Frame, ...]
    cutoff: np.datetime64
    transform: TransformName
    selection: Selection
    seed: int


def select_features(task: Selecting) -> FeatureConfig:
    """Return what a fold keeps of the features."""
    training = stack(task.frames).known_by(task.cutoff)
    return select(training, transform=task.transform, selection=task.selection, seed=task.seed)


@dataclass(frozen=True)
class Forecasting:
    """The task of forecasting a fold's block of some series, or the blocks of all folds by what learns nothing.

    Attributes:
        frames: The series, each up to the end of its last block.
        spans: For each series the first row of its training window and the row behind its last, and those that are
            forecast.
        fold: The fold that is learnt in.
        contender: Who forecasts.
        kept: The features that selection kept.
        task: What is learnt.
    """

    frames: tuple[Frame, ...]
    spans: tuple[tuple[int, int, int, int], ...]
    fold: Fold
    contender: Contender
    kept: tuple[str, ...]
    task: Task


@dataclass(frozen=True)
class Block:
    """What came of a task.

    Attributes:
        means: (b, h) forecasts of each series; NaN where it has none.
        shares: What each fit says of the features.
        fault: Why there is no forecast, where no series could be learnt from.
    """

    means: tuple[FloatArray, ...]
    shares: tuple[Mapping[str, float], ...]
    fault: DataError | None


def forecast_block(task: Forecasting) -> Block:
    """Fit a contender in a fold and forecast its block of each series."""
    given = list(zip(task.frames, task.spans, strict=True))
    means: list[FloatArray] = []
    shares: list[Mapping[str, float]] = []
    fault = None
    for unit in [given] if task.contender.shared else [[one] for one in given]:
        training = stack([frame.rows(start, stop) for frame, (start, stop, _, _) in unit])
        try:
            known = training.known_by(task.fold.cutoff).with_features(task.kept)
            forecaster = fit(known, task.task, task.contender, task.fold.number)
        except DataError as error:
            fault = fault or error
            means += [np.full((span[3] - span[2], task.task.horizon), np.nan) for _, span in unit]
        else:
            means += _predict(forecaster, unit, task.kept)
            shares.append(forecaster.importance())
    return Block(tuple(means), tuple(shares), None if shares else fault)


def _predict(
    forecaster: Forecaster, unit: Sequence[tuple[Frame, tuple[int, int, int, int]]], kept: tuple[str, ...]
) -> list[FloatArray]:
    """Return the forecasts of each series' block, from a frame that ends with it and with what was known there."""
    if len(unit) == 1:
        ((frame, (_, _, start, stop)),) = unit
        if start == stop:
            return [np.empty((0, frame.horizon))]
        known = frame.rows(0, stop).known_by(frame.origin[stop - 1])
        return [forecaster.predict(known.with_features(kept), np.arange(start, stop))]
    # What learns from many series reads one row at a time.
    blocks = [frame.rows(start, stop) for frame, (_, _, start, stop) in unit]
    cutoffs = np.concatenate([np.full(len(block), block.origin[-1]) for block in blocks if len(block)])
    known = join(blocks).known_by(cutoffs).with_features(kept)
    mean = forecaster.predict(known, np.arange(len(known)))
    return np.split(mean, np.cumsum([len(block) for block in blocks])[:-1])
