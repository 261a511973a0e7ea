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
from presage.evaluation.blocks import Blocks
from presage.evaluation.contenders import Contender, contenders, fit, seed_of
from presage.evaluation.folds import Period, make_folds
from presage.evaluation.intervals import calibrate_all, quantile_probabilities
from presage.evaluation.walk import Walk, combined, mean_shares
from presage.features.selection import keep_all, select
from presage.frame import BoolArray, FloatArray, Frame, IntArray, Panel, join, stack
from presage.models.contract import Forecaster, Task
from presage.spec.features import Selection
from presage.spec.job import PredictionJobSpec, TransformName
from presage.tasks import Engine

SERIES_A_TASK = 50
"""Series whose own fits one task makes."""


def back_test(
    panel: Panel, spec: PredictionJobSpec, *, season: int, engine: Engine, period: Period | None = None
) -> BackTest:
    """Return every contender's forecasts and quantiles at the origins of the folds.

    A contender that learns from all series is fitted once a fold, on the rows of all of them in order of origin; any
    other once a fold and series, or once a series where it learns nothing. A series that holds too few usable rows for
    a fit of its own has no forecast in that fold, and so counts for no contender there.

    Args:
        panel: All origins of the series, as `presage.features.build` makes them.
        spec: The job.
        season: Bars in a season.
        engine: What runs the selections (one a fold), then the fits (one a contender and fold, or a group of series).
        period: Origins that are scored; default: the newest.

    Raises:
        DataError: There are too few rows, a contender cannot be fitted for any series, or no origin can be scored.
        NotSupportedError: The job's task is a Classification, or a combination has nothing to combine.
    """
    task = Task(spec.target.transform, spec.target.horizon, season, spec.seed)
    entrants = contenders(spec, task, panel)
    folds = make_folds(panel, spec.evaluation, period)
    blocks = Blocks(panel, folds)
    selections = _selections(blocks, spec, engine)
    walks = _walks(blocks, task, entrants, selections=selections, engine=engine)

    probabilities = quantile_probabilities(spec.evaluation.intervals.levels)
    # All contenders side by side: what is done at each origin is done once for all of them.
    quantiles, _ = calibrate_all(
        [issued for contender in entrants for issued in blocks.issued(walks[contender.name].mean)],
        transform=task.transform,
        probabilities=probabilities,
        intervals=spec.evaluation.intervals,
        minimum=spec.target.minimum,
    )
    forecasts = {
        contender.name: Forecasts(
            name=contender.name,
            baseline=contender.baseline,
            mean=walks[contender.name].mean,
            quantiles=np.concatenate(quantiles[place * len(panel) : (place + 1) * len(panel)]),
            importance=walks[contender.name].shares,
        )
        for place, contender in enumerate(entrants)
    }
    numbers = blocks.numbers
    return BackTest(
        panel=panel,
        folds=folds,
        rows=blocks.rows,
        fold=numbers,
        scored=_scored(panel, blocks.rows, numbers, forecasts),
        probabilities=probabilities,
        forecasts=forecasts,
        selections={fold.number: config for fold, config in zip(folds, selections, strict=True)},
    )


@dataclass(frozen=True)
class _Selecting:
    """The task of selecting features in a fold."""

    frames: tuple[Frame, ...]
    cutoff: np.datetime64
    transform: TransformName
    selection: Selection
    seed: int


def _selections(blocks: Blocks, spec: PredictionJobSpec, engine: Engine) -> tuple[FeatureConfig, ...]:
    """Return what each fold keeps of the features."""
    if spec.selection.method == "None":
        return (keep_all(blocks.panel.whole.feature_names),) * len(blocks.folds)
    tasks = [
        _Selecting(
            frames=blocks.training(fold),
            cutoff=fold.cutoff,
            transform=spec.target.transform,
            selection=spec.selection,
            seed=seed_of(spec.seed, "selection", fold.number),
        )
        for fold in blocks.folds
    ]
    return engine.map(_select, tasks)


def _select(task: _Selecting) -> FeatureConfig:
    training = stack(task.frames).known_by(task.cutoff)
    return select(training, transform=task.transform, selection=task.selection, seed=task.seed)


@dataclass(frozen=True)
class _Forecasting:
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
class _Block:
    """What came of a task.

    Attributes:
        means: (b, h) forecasts of each series; NaN where it has none.
        shares: What each fit says of the features.
        fault: Why there is no forecast, where no series could be learnt from.
    """

    means: tuple[FloatArray, ...]
    shares: tuple[Mapping[str, float], ...]
    fault: DataError | None


def _forecast(task: _Forecasting) -> _Block:
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
    return _Block(tuple(means), tuple(shares), None if shares else fault)


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


def _walks(
    blocks: Blocks,
    task: Task,
    entrants: Sequence[Contender],
    *,
    selections: Sequence[FeatureConfig],
    engine: Engine,
) -> dict[str, Walk]:
    """Return each contender's walk; combinations are made of the others' and not fitted again."""
    folds = blocks.folds
    fitted = [contender for contender in entrants if not contender.combines]
    places = [
        (contender, run, group)
        for contender in fitted
        for run in ([(fold,) for fold in folds] if contender.learns else [folds])
        for group in _groups(len(blocks.panel), contender)
    ]
    found = engine.map(
        _forecast,
        [
            _forecasting(blocks, task, contender, run, group=group, kept=selections[run[0].number].kept)
            for contender, run, group in places
        ],
    )
    width = len(blocks.rows)
    means = {contender.name: np.full((width, task.horizon), np.nan) for contender in fitted}
    shares: dict[str, dict[int, list[Mapping[str, float]]]] = {
        contender.name: {fold.number: [] for fold in folds} for contender in fitted
    }
    faults: dict[tuple[str, int], DataError] = {}
    for (contender, run, group), block in zip(places, found, strict=True):
        for series, mean in zip(group, block.means, strict=True):
            means[contender.name][blocks.places(series, run)] = mean
        shares[contender.name][run[0].number] += block.shares
        if block.fault is not None:
            faults.setdefault((contender.name, run[0].number), block.fault)
    for (name, number), fault in faults.items():
        if not shares[name][number]:
            raise DataError(f"{name} in fold {number}: {fault.what}", fault.remedy) from fault
    names = blocks.panel.whole.feature_names
    walks = {
        contender.name: Walk(
            mean=means[contender.name],
            shares=mean_shares(
                [share for number in range(1, len(folds)) for share in shares[contender.name][number]], names
            ),
        )
        for contender in fitted
    }
    members = {contender.name: walks[contender.name] for contender in fitted if not contender.baseline}
    for contender in entrants:
        if contender.combines:
            walks[contender.name] = combined(blocks, contender, members)
    return walks


def _groups(series: int, contender: Contender) -> list[range]:
    size = series if contender.shared else SERIES_A_TASK
    return [range(start, min(start + size, series)) for start in range(0, series, size)]


def _forecasting(
    blocks: Blocks, task: Task, contender: Contender, run: Sequence[Fold], *, group: range, kept: tuple[str, ...]
) -> _Forecasting:
    frames, spans = [], []
    for series in group:
        start, stop = blocks.span(series, run)
        frames.append(blocks.panel.frames[series].rows(0, stop))
        spans.append((*blocks.panel.span(series, run[0].train_start, run[0].train_stop), start, stop))
    return _Forecasting(tuple(frames), tuple(spans), run[0], contender, kept, task)


def _scored(panel: Panel, rows: IntArray, numbers: IntArray, forecasts: Mapping[str, Forecasts]) -> BoolArray:
    """Return which origins count for all contenders."""
    whole = panel.whole
    fair = (numbers > 0) & np.isfinite(whole.level[rows]) & np.isfinite(whole.target_level[rows]).all(axis=1)
    complete = {
        name: np.isfinite(forecast.mean).all(axis=1) & np.isfinite(forecast.quantiles).all(axis=(1, 2))
        for name, forecast in forecasts.items()
    }
    scored: BoolArray = np.logical_and.reduce([fair, *complete.values()])
    if not scored.any():
        least = min(complete, key=lambda name: int((fair & complete[name]).sum()))
        whose = f"Series {panel.names[0]!r}" if len(panel) == 1 else f"The panel of {len(panel)} series"
        raise DataError(
            f"{whose}: no origin can be scored; of {len(rows)} that were forecast {int(fair.sum())} "
            f"have a level and known outcomes, and {least} has forecasts and quantiles at "
            f"{int((fair & complete[least]).sum())} of these.",
            "Give more data or fewer gaps, or choose another target.transform or a smaller evaluation.season.",
        )
    return scored
