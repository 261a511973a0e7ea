"""The walk-forward back-test of rows: categories, features and models are fitted inside each fold, then predict it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import Forecasts
from presage.evaluation.contenders import Contender, seed_of
from presage.evaluation.folds import Period
from presage.evaluation.intervals import quantile_probabilities
from presage.evaluation.walk import Walk as ContenderWalk
from presage.evaluation.walk import mean_shares
from presage.features.config import FeatureConfig
from presage.frame import FloatArray, IntArray, TimeArray
from presage.models.learners import Fitted, TableTask
from presage.spec.job import PredictionJobSpec
from presage.spec.models import BASELINE_NAMES, Model
from presage.tabular.conformal import offsets_of, with_offsets
from presage.tabular.design import Design, Inputs
from presage.tabular.fits import (
    Fitting,
    Predicting,
    Selecting,
    fit,
    predict_block,
    prepare,
    select_features,
    window_of,
)
from presage.tabular.folds import LEAST_CALIBRATION, RowFold, make_row_folds, periods_of
from presage.tabular.observations import Observations
from presage.tasks import Engine, single_threaded


@dataclass(frozen=True)
class Walk:
    """Predictions of all contenders for the same rows.

    Attributes:
        settled: Rows whose outcome is known now, in the order of time.
        folds: The walk, the calibration fold first.
        rows: (r,) places that were predicted, ascending; those of the calibration fold first.
        fold: (r,) number of the fold of each.
        period: (r,) datetime64[us], UTC; start of the period of the job's frequency.
        probabilities: (q,) of the quantiles, ascending; none for a Classification.
        predictions: By contender: baselines first, then candidates in the job's order.
        config: What selection kept and dropped in the last fold.
    """

    settled: Observations
    folds: tuple[RowFold, ...]
    rows: IntArray
    fold: IntArray
    period: TimeArray
    probabilities: FloatArray
    predictions: Mapping[str, Forecasts]
    config: FeatureConfig

    @property
    def outcome(self) -> FloatArray:
        """(r,) what came."""
        return self.settled.outcome[self.rows]


@dataclass(frozen=True)
class Final:
    """A contender fitted on all that is known now.

    Attributes:
        design: What makes its features.
        config: Which of them it reads.
        model: What was fitted, with the parameters that a search found.
        fitted: The learner, dumped and loaded again.
        offsets: (q,) what its quantiles add to a prediction; none for a Classification.
        start: Time of the first training row.
        end: Time of the last.
    """

    design: Design
    config: FeatureConfig
    model: Model
    fitted: Fitted
    offsets: FloatArray
    start: np.datetime64
    end: np.datetime64


def table_task(spec: PredictionJobSpec) -> TableTask:
    """Return the task of a job that predicts rows."""
    if spec.task == "Forecast":
        raise ValueError("a Forecast predicts bars")
    return spec.task


def entrants(spec: PredictionJobSpec) -> tuple[Contender, ...]:
    """Return who predicts: the task's baseline, then the job's candidates in their order."""
    always = Model(name="median" if spec.task == "Regression" else "prevalence")
    candidates = [model for model in spec.models if model.name not in BASELINE_NAMES]
    named = [Contender(always.name, always, baseline=True)]
    for model in candidates:
        before = sum(one.model.name == model.name for one in named)
        named.append(Contender(f"{model.name}_{before + 1}" if before else model.name, model, baseline=False))
    return tuple(named)


class RowWalkForward:
    """A job's walk over the rows of its source.

    Args:
        observations: All rows.
        inputs: What features are made of.
        spec: The job.
        period: The span whose rows are scored; default: the newest rows.

    Raises:
        DataError: There are too few rows.
    """

    def __init__(
        self, observations: Observations, inputs: Inputs, spec: PredictionJobSpec, *, period: Period | None = None
    ) -> None:
        self._spec = spec
        self._inputs = inputs
        self._settled = observations.settled
        self._folds = make_row_folds(self._settled, spec, period)
        self._blocks = [np.arange(fold.test_start, fold.test_stop) for fold in self._folds]
        self.entrants = entrants(spec)

    def select(self, engine: Engine) -> tuple[FeatureConfig, ...]:
        """Return what each fold keeps of the features; the engine runs one task a fold."""
        spec, task = self._spec, table_task(self._spec)
        return engine.map(
            select_features,
            [
                Selecting(self._settled.take(fold.training), self._inputs, task, spec.selection, spec.seed, fold.number)
                for fold in self._folds
            ],
        )

    def walk(
        self, selections: Sequence[FeatureConfig], engine: Engine, only: Collection[str] | None = None
    ) -> dict[str, ContenderWalk]:
        """Return the walks of entrants by name.

        Args:
            selections: What each fold keeps of the features.
            engine: What runs the fits: one task an entrant and fold.
            only: Names of the entrants to walk; default: all.

        Raises:
            DataError: An entrant cannot be fitted.
        """
        spec, settled, folds = self._spec, self._settled, self._folds
        task = table_task(spec)
        chosen = [one for one in self.entrants if only is None or one.name in only]
        training = [settled.take(fold.training) for fold in folds]
        with single_threaded():
            prepared = [
                prepare(self._inputs, task, config, training=rows, block=settled.take(block))
                for config, rows, block in zip(selections, training, self._blocks, strict=True)
            ]
        fits = engine.map(
            predict_block,
            [
                Predicting(
                    window_of(one, rows),
                    one.block,
                    config.kept,
                    Fitting(contender, task, spec.evaluation, seed_of(spec.seed, contender.name, fold.number)),
                    fold.number,
                )
                for contender in chosen
                for one, rows, config, fold in zip(prepared, training, selections, folds, strict=True)
            ],
        )
        found = {}
        for place, contender in enumerate(chosen):
            own = fits[place * len(folds) : (place + 1) * len(folds)]
            shares = [block.importance for block in own[1:]]
            found[contender.name] = ContenderWalk(
                mean=np.concatenate([block.mean for block in own]),
                shares=mean_shares(shares, dict.fromkeys(chain.from_iterable(shares))),
            )
        return found

    def gather(self, selections: Sequence[FeatureConfig], walks: Mapping[str, ContenderWalk]) -> Walk:
        """Return the predictions and quantiles of all contenders.

        Args:
            selections: What each fold kept of the features.
            walks: The walks of all entrants, by name.

        Raises:
            DataError: Too few residuals were known to calibrate on.
        """
        spec, settled, folds = self._spec, self._settled, self._folds
        rows = np.arange(folds[0].test_start, folds[-1].test_stop)
        ends = np.cumsum([len(block) for block in self._blocks])[:-1]
        predictions = {
            contender.name: Forecasts(
                name=contender.name,
                baseline=contender.baseline,
                mean=walks[contender.name].mean,
                quantiles=_quantiles(settled, folds, np.split(walks[contender.name].mean, ends), spec),
                importance=walks[contender.name].shares,
            )
            for contender in self.entrants
        }
        return Walk(
            settled=settled,
            folds=folds,
            rows=rows,
            fold=np.repeat([fold.number for fold in folds], [len(block) for block in self._blocks]),
            period=periods_of(settled.time[rows], spec),
            probabilities=_probabilities(spec),
            predictions=predictions,
            config=selections[-1],
        )


def walk(
    observations: Observations, inputs: Inputs, spec: PredictionJobSpec, *, engine: Engine, period: Period | None = None
) -> Walk:
    """Return every contender's predictions of the rows of the folds.

    The arguments and errors are those of `RowWalkForward` and its methods; the engine runs all of its tasks.
    """
    rows = RowWalkForward(observations, inputs, spec, period=period)
    selections = rows.select(engine)
    return rows.gather(selections, rows.walk(selections, engine))


def fit_final(walked: Walk, inputs: Inputs, spec: PredictionJobSpec, contender: Contender) -> Final:
    """Return a contender fitted on all that is known now; a Rolling job's on its newest `trainSize` rows.

    Its intervals are those of the newest residuals of the walk.

    Raises:
        DataError: There are too few rows.
    """
    evaluation, task = spec.evaluation, table_task(spec)
    size = evaluation.train_size if evaluation.window == "Rolling" else None
    known = walked.settled.take(
        np.arange(max(0, len(walked.settled) - (size or len(walked.settled))), len(walked.settled))
    )
    nothing = known.take(np.arange(0))
    with single_threaded():
        config = select_features(Selecting(known, inputs, task, spec.selection, spec.seed, "final"))
        prepared = prepare(inputs, task, config, training=known, block=nothing)
        fitting = Fitting(contender, task, evaluation, seed_of(spec.seed, contender.name, "final"))
        model, fitted = fit(window_of(prepared, known), fitting)
    residual = walked.outcome - walked.predictions[contender.name].mean
    return Final(
        design=prepared.design,
        config=config,
        model=model,
        fitted=fitted,
        offsets=offsets_of(residual[-evaluation.intervals.window :], walked.probabilities),
        start=known.time[0],
        end=known.time[-1],
    )


def _probabilities(spec: PredictionJobSpec) -> FloatArray:
    if spec.task == "Classification":
        return np.empty(0)
    return quantile_probabilities(spec.evaluation.intervals.levels)


def _quantiles(
    settled: Observations, folds: Sequence[RowFold], means: Sequence[FloatArray], spec: PredictionJobSpec
) -> FloatArray:
    """Return quantiles from the newest residuals of earlier blocks that were known at each block's cut-off.

    Raises:
        DataError: Fewer than 20 were known at one.
    """
    probabilities = _probabilities(spec)
    parts = [np.full((len(means[0]), len(probabilities)), np.nan)]
    start = folds[0].test_start
    for place, fold in enumerate(folds[1:], start=1):
        rows = slice(start, fold.test_start)
        residual = settled.outcome[rows] - np.concatenate(means[:place])
        known = residual[settled.known_at[rows] <= fold.cutoff]
        if len(probabilities) and len(known) < LEAST_CALIBRATION:
            raise DataError(
                f"fold {fold.number}: {len(known)} residuals were known when it began, and intervals need "
                f"{LEAST_CALIBRATION}.",
                "Ask for fewer folds (spec.evaluation.folds) or a larger testSize: outcomes become known a lag later.",
            )
        offsets = offsets_of(known[-spec.evaluation.intervals.window :], probabilities)
        parts.append(with_offsets(means[place], offsets, spec.target.minimum))
    return np.concatenate(parts)
