"""The walk-forward back-test: fit each contender on what was known, forecast the next block, move on.

Everything is fitted inside a fold: the selection of features, the models, and later the intervals at each origin. What
forecasts is what would be exported: a forecaster that was dumped and loaded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import BackTest, FeatureConfig, Fold, Forecasts
from presage.evaluation.contenders import Contender, contenders, fit, seed_of
from presage.evaluation.folds import make_folds
from presage.evaluation.intervals import calibrate, quantile_probabilities
from presage.features.selection import select
from presage.frame import BoolArray, FloatArray, Frame, IntArray
from presage.models.combination import combine
from presage.models.contract import Task
from presage.spec.features import Selection
from presage.spec.job import PredictionJobSpec, TransformName
from presage.tasks import Engine


def back_test(frame: Frame, spec: PredictionJobSpec, *, season: int, engine: Engine) -> BackTest:
    """Return every contender's forecasts and quantiles at the origins of the folds.

    Args:
        frame: All origins of the series, as `presage.features.build` makes them.
        spec: The job.
        season: Bars in a season.
        engine: What runs the selections (one a fold), then the fits (one a contender and fold).

    Raises:
        DataError: There are too few rows, a contender cannot be fitted, or no origin can be scored.
        NotSupportedError: The job's task is a Classification, or `mean_combination` has nothing to combine.
    """
    task = Task(spec.target.transform, spec.target.horizon, season, spec.seed)
    entrants = contenders(spec, task, frame.level)
    folds = make_folds(frame, spec.evaluation)
    selections = engine.map(
        _select,
        [
            _Selecting(
                training=_training(frame, fold),
                transform=task.transform,
                selection=spec.selection,
                seed=seed_of(spec.seed, "selection", fold.number),
            )
            for fold in folds
        ],
    )
    walks = _walks(frame, task, entrants, folds=folds, selections=selections, engine=engine)

    rows = np.arange(folds[0].test_start, folds[-1].test_stop)
    numbers = np.repeat([fold.number for fold in folds], [fold.test_stop - fold.test_start for fold in folds])
    probabilities = quantile_probabilities(spec.evaluation.intervals.levels)
    forecasts = {}
    for contender in entrants:
        walk = walks[contender.name]
        quantiles, _ = calibrate(
            frame,
            rows,
            walk.mean,
            transform=task.transform,
            probabilities=probabilities,
            intervals=spec.evaluation.intervals,
            minimum=spec.target.minimum,
        )
        forecasts[contender.name] = Forecasts(
            name=contender.name,
            baseline=contender.baseline,
            mean=walk.mean,
            quantiles=quantiles,
            importance=walk.shares,
        )
    return BackTest(
        frame=frame,
        folds=folds,
        rows=rows,
        fold=numbers,
        scored=_scored(frame, rows, numbers, forecasts),
        probabilities=probabilities,
        forecasts=forecasts,
        selections={fold.number: config for fold, config in zip(folds, selections, strict=True)},
    )


def _training(frame: Frame, fold: Fold) -> Frame:
    return frame.rows(fold.train_start, fold.train_stop).known_by(fold.cutoff)


@dataclass(frozen=True)
class _Selecting:
    """The task of selecting features in a fold."""

    training: Frame
    transform: TransformName
    selection: Selection
    seed: int


def _select(task: _Selecting) -> FeatureConfig:
    return select(task.training, transform=task.transform, selection=task.selection, seed=task.seed)


@dataclass(frozen=True)
class _Forecasting:
    """The task of forecasting a fold's block; the frame ends with the block and with what was known there."""

    frame: Frame
    fold: Fold
    contender: Contender
    task: Task


@dataclass(frozen=True)
class _Block:
    mean: FloatArray
    shares: Mapping[str, float]


def _forecast(task: _Forecasting) -> _Block:
    fold = task.fold
    try:
        forecaster = fit(_training(task.frame, fold), task.task, task.contender, fold.number)
    except DataError as error:
        raise DataError(f"{task.contender.name} in fold {fold.number}: {error.what}", error.remedy) from error
    mean = forecaster.predict(task.frame, np.arange(fold.test_start, fold.test_stop))
    return _Block(mean, forecaster.importance())


@dataclass(frozen=True)
class _Walk:
    """A contender's forecasts over all blocks, as a forecaster that has already said all it will."""

    mean: FloatArray
    shares: Mapping[str, float]

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:  # noqa: ARG002  # the contract's arguments
        return self.mean

    def importance(self) -> Mapping[str, float]:
        return self.shares

    def dump(self) -> Mapping[str, bytes]:
        return {}


def _walks(
    frame: Frame,
    task: Task,
    entrants: Sequence[Contender],
    *,
    folds: Sequence[Fold],
    selections: Sequence[FeatureConfig],
    engine: Engine,
) -> dict[str, _Walk]:
    """Return each contender's walk; combinations are made of the others' and not fitted again."""
    views = [
        frame.rows(0, fold.test_stop).known_by(frame.origin[fold.test_stop - 1]).with_features(config.kept)
        for fold, config in zip(folds, selections, strict=True)
    ]
    fitted = [contender for contender in entrants if not contender.combines]
    blocks = engine.map(
        _forecast,
        [
            _Forecasting(view, fold, contender, task)
            for contender in fitted
            for view, fold in zip(views, folds, strict=True)
        ],
    )
    walks = {}
    for place, contender in enumerate(fitted):
        own = blocks[place * len(folds) : (place + 1) * len(folds)]
        walks[contender.name] = _Walk(
            mean=np.concatenate([block.mean for block in own]),
            shares=_mean_shares([block.shares for block in own[1:]], frame.feature_names),
        )
    members = {contender.name: walks[contender.name] for contender in fitted if not contender.baseline}
    for contender in entrants:
        if contender.combines:
            combined = combine(members)
            mean = combined.predict(frame, np.arange(folds[0].test_start, folds[-1].test_stop))
            walks[contender.name] = _Walk(mean, combined.importance())
    return walks


def _mean_shares(shares: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Return the mean share of each feature over the folds that have shares, in frame order."""
    held = [share for share in shares if share]
    means = {name: sum(share.get(name, 0.0) for share in held) / len(held) for name in names} if held else {}
    return {name: mean for name, mean in means.items() if any(name in share for share in held)}


def _scored(frame: Frame, rows: IntArray, numbers: IntArray, forecasts: Mapping[str, Forecasts]) -> BoolArray:
    """Return which origins count for all contenders."""
    fair = (numbers > 0) & np.isfinite(frame.level[rows]) & np.isfinite(frame.target_level[rows]).all(axis=1)
    complete = {
        name: np.isfinite(forecast.mean).all(axis=1) & np.isfinite(forecast.quantiles).all(axis=(1, 2))
        for name, forecast in forecasts.items()
    }
    scored: BoolArray = np.logical_and.reduce([fair, *complete.values()])
    if not scored.any():
        least = min(complete, key=lambda name: int((fair & complete[name]).sum()))
        raise DataError(
            f"Series {frame.series!r}: no origin can be scored; of {len(rows)} that were forecast {int(fair.sum())} "
            f"have a level and known outcomes, and {least} has forecasts and quantiles at "
            f"{int((fair & complete[least]).sum())} of these.",
            "Give more data or fewer gaps, or choose another target.transform or a smaller evaluation.season.",
        )
    return scored
