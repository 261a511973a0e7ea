"""What each contender of a back-test scored, over all origins, by step and by fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import BackTest, Forecasts
from presage.evaluation.coverage import cover
from presage.evaluation.losses import Losses, skill
from presage.evaluation.metrics import by_date, displayed, hits, measure, origin_losses, seasonal_scale
from presage.evaluation.scorecard import Contender, Metrics, SeriesScore, StepMetrics
from presage.frame import FloatArray, IntArray
from presage.spec.evaluation import Evaluation, Metric, Promotion


@dataclass(frozen=True)
class Scored:
    """The origins that count, with what came and what each contender lost.

    Attributes:
        losses: What each contender lost at each date, averaged over the series that are scored there. A date's origin
            is of one series when the forecast could be issued, of a panel the start of its bar, as its series are
            known at different moments.
        date: (n,) place of each scored origin among the dates; those of one series are its dates.
        series: (n,) place of its series among `names`.
        names: Names of the series.
        level: (n,) level at the origin.
        outcome: (n, h) level that came.
        scale: (n,) seasonal naive error of the series in the fold's training window; NaN where unknown.
        probabilities: (q,) probabilities of the quantiles.
        forecasts: By contender, baselines first, cut to these origins.
        origin_losses: (n,) loss of each contender at each origin, finite.
        overflowing: Candidates left out because their forecasts are too large to be scored.
    """

    losses: Losses
    date: IntArray
    series: IntArray
    names: tuple[str, ...]
    level: FloatArray
    outcome: FloatArray
    scale: FloatArray
    probabilities: FloatArray
    forecasts: Mapping[str, Forecasts]
    origin_losses: Mapping[str, FloatArray]
    overflowing: tuple[str, ...]

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return int(self.outcome.shape[1])


def score(back_test: BackTest, metric: Metric, season: int) -> Scored:
    """Return what every contender lost at the scored origins.

    Raises:
        DataError: No origin could be scored, or the metric is not defined on the outcomes.
    """
    panel, frame = back_test.panel, back_test.frame
    scales = _scales(back_test, season)
    counted = back_test.scored
    if metric == "MASE" and len(panel) > 1 and (counted & (scales > 0)).any():
        # A series that has no scale yet, as it has just begun, must not end the whole panel.
        counted = counted & (scales > 0)
    rows = back_test.rows[counted]
    if not len(rows):
        raise DataError(
            "no forecast origin of the back-test can be scored: at each of them an outcome, a forecast or an interval "
            "is missing.",
            "Give the sources more history, fill their gaps, or ask for fewer folds.",
        )
    dates, first, date = np.unique(panel.date[rows], return_index=True, return_inverse=True)
    outcome, scale = frame.target_level[rows], scales[counted]
    probabilities = back_test.probabilities
    forecasts, losses, overflowing = losses_of(
        [one.at(counted) for one in back_test.forecasts.values()],
        lambda one: origin_losses(
            metric, outcome, one.mean, quantiles=one.quantiles, probabilities=probabilities, scale=scale
        ),
    )
    return Scored(
        losses=Losses(
            metric=metric,
            time=frame.time[rows[first]],
            origin=(panel.issued if len(panel) == 1 else panel.dates)[dates],
            fold=back_test.fold[counted][first],
            by_contender={name: by_date(loss, date) for name, loss in losses.items()},
            baselines=tuple(name for name, one in forecasts.items() if one.baseline),
            horizon=int(outcome.shape[1]),
        ),
        date=date,
        series=back_test.series[counted],
        names=panel.names,
        level=frame.level[rows],
        outcome=outcome,
        scale=scale,
        probabilities=probabilities,
        forecasts=forecasts,
        origin_losses=losses,
        overflowing=overflowing,
    )


def losses_of(
    forecasts: Sequence[Forecasts], loss: Callable[[Forecasts], FloatArray]
) -> tuple[dict[str, Forecasts], dict[str, FloatArray], tuple[str, ...]]:
    """Return the contenders that count by name, what each lost, and the candidates whose loss is too large to count."""
    losses = {one.name: loss(one) for one in forecasts}
    counting = {one.name: one for one in forecasts if one.baseline or np.isfinite(losses[one.name]).all()}
    overflowing = tuple(name for name in losses if name not in counting)
    return counting, {name: losses[name] for name in counting}, overflowing


def _scales(back_test: BackTest, season: int) -> FloatArray:
    """Return (r,) the seasonal naive error of each row's series in the training window of its fold."""
    panel, rows = back_test.panel, len(back_test.rows)
    scales = np.full(rows, np.nan)
    series = back_test.series
    for place, frame in enumerate(panel.frames):
        own = slice(*np.searchsorted(series, (place, place + 1)).tolist())
        folds = back_test.fold[own]
        for fold in back_test.folds:
            window = frame.level[slice(*panel.span(place, fold.train_start, fold.train_stop))]
            scales[own][folds == fold.number] = seasonal_scale(window, season)
    return scales


def contender_card(
    scored: Scored, name: str, superior: bool, evaluation: Evaluation, promotion: Promotion
) -> Contender:
    """Return the scorecard's entry of one contender."""
    forecasts = scored.forecasts[name]
    return Contender(
        name=name,
        baseline=forecasts.baseline,
        loss=scored.losses.shown(name),
        skill=scored.losses.skill(name),
        superior=superior,
        metrics=_metrics(scored, forecasts, slice(None), promotion.coverage.level),
        steps=tuple(
            StepMetrics(
                step=step + 1, metrics=_metrics(scored, forecasts, slice(step, step + 1), promotion.coverage.level)
            )
            for step in range(scored.horizon)
        ),
        folds=scored.losses.folds(name),
        coverage=tuple(
            cover(
                level,
                scored.outcome,
                forecasts.quantiles,
                scored.probabilities,
                date=scored.date,
                horizon=scored.horizon,
                confidence=promotion.coverage.confidence,
            )
            for level in sorted(evaluation.intervals.levels)
        ),
        importance=dict(forecasts.importance),
    )


def series_scores(scored: Scored, about: str, coverage_level: float) -> tuple[SeriesScore, ...]:
    """Return what each series of a panel contributed; nothing for a single series.

    Args:
        scored: The scored origins.
        about: The contender that the verdict is about.
        coverage_level: Nominal coverage of the interval that the gate watches.
    """
    if len(scored.names) == 1:
        return ()
    metric = scored.losses.metric
    benchmark, loss = scored.origin_losses[scored.losses.best_baseline], scored.origin_losses[about]
    inside = hits(coverage_level, scored.outcome, scored.forecasts[about].quantiles, scored.probabilities).mean(axis=1)
    scores = []
    for place, name in enumerate(scored.names):
        own = slice(*np.searchsorted(scored.series, (place, place + 1)).tolist())
        if own.start == own.stop:
            scores.append(SeriesScore(name=name, origins=0, loss=None, skill=None, coverage=None))
            continue
        mine = displayed(metric, loss[own])
        scores.append(
            SeriesScore(
                name=name,
                origins=own.stop - own.start,
                loss=mine,
                skill=skill(mine, displayed(metric, benchmark[own])),
                coverage=float(inside[own].mean()),
            )
        )
    return tuple(scores)


def _metrics(scored: Scored, forecasts: Forecasts, steps: slice, coverage_level: float) -> Metrics:
    return measure(
        scored.outcome[:, steps],
        forecasts.mean[:, steps],
        quantiles=forecasts.quantiles[:, steps],
        probabilities=scored.probabilities,
        level=scored.level,
        scale=scored.scale,
        coverage_level=coverage_level,
    )
