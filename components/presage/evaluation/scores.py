"""What each contender of a back-test scored, over all origins, by step and by fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import BackTest, Forecasts
from presage.evaluation.coverage import cover
from presage.evaluation.metrics import displayed, measure, origin_losses, seasonal_scale
from presage.evaluation.scorecard import Contender, FoldMetrics, Metrics, StepMetrics
from presage.frame import FloatArray, IntArray, TimeArray
from presage.spec.evaluation import Evaluation, Metric, Promotion


@dataclass(frozen=True)
class Scored:
    """The origins that count, with what came and what each contender lost.

    Attributes:
        time: (n,) datetime64[us], UTC; start of each origin's bar.
        origin: (n,) datetime64[us], UTC; when the forecast could be issued.
        fold: (n,) number of the fold.
        level: (n,) level at the origin.
        outcome: (n, h) level that came.
        scale: (n,) seasonal naive error of the fold's training window; NaN where unknown.
        probabilities: (q,) probabilities of the quantiles.
        forecasts: By contender, baselines first, cut to these origins.
        losses: (n,) loss of each contender, finite.
        overflowing: Candidates left out because their forecasts are too large to be scored.
    """

    time: TimeArray
    origin: TimeArray
    fold: IntArray
    level: FloatArray
    outcome: FloatArray
    scale: FloatArray
    probabilities: FloatArray
    forecasts: Mapping[str, Forecasts]
    losses: Mapping[str, FloatArray]
    overflowing: tuple[str, ...]

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return int(self.outcome.shape[1])

    def best_baseline(self) -> str:
        """Return the baseline with the smallest mean loss; of equal ones, the first."""
        names = [name for name, forecasts in self.forecasts.items() if forecasts.baseline]
        return min(names, key=lambda name: float(self.losses[name].mean()))


def score(back_test: BackTest, metric: Metric, season: int) -> Scored:
    """Return what every contender lost at the scored origins.

    Raises:
        DataError: No origin could be scored, or the metric is not defined on the outcomes.
    """
    frame, rows, fold = back_test.frame, back_test.rows[back_test.scored], back_test.fold[back_test.scored]
    if not len(rows):
        raise DataError(
            "no forecast origin of the back-test can be scored: at each of them an outcome, a forecast or an interval "
            "is missing.",
            "Give the sources more history, fill their gaps, or ask for fewer folds.",
        )
    windows = {step.number: frame.level[step.train_start : step.train_stop] for step in back_test.folds}
    scales = {number: seasonal_scale(window, season) for number, window in windows.items()}
    outcome = frame.target_level[rows]
    scale = np.array([scales[int(number)] for number in fold], dtype=np.float64)
    forecasts: dict[str, Forecasts] = {}
    losses: dict[str, FloatArray] = {}
    overflowing: list[str] = []
    for name, whole in back_test.forecasts.items():
        mean, quantiles = whole.mean[back_test.scored], whole.quantiles[back_test.scored]
        loss = origin_losses(
            metric, outcome, mean, quantiles=quantiles, probabilities=back_test.probabilities, scale=scale
        )
        if whole.baseline or np.isfinite(loss).all():
            forecasts[name] = Forecasts(name, whole.baseline, mean, quantiles, whole.importance)
            losses[name] = loss
        else:
            overflowing.append(name)
    return Scored(
        time=frame.time[rows],
        origin=frame.origin[rows],
        fold=fold,
        level=frame.level[rows],
        outcome=outcome,
        scale=scale,
        probabilities=back_test.probabilities,
        forecasts=forecasts,
        losses=losses,
        overflowing=tuple(overflowing),
    )


def contender_card(
    scored: Scored, name: str, superior: bool, evaluation: Evaluation, promotion: Promotion
) -> Contender:
    """Return the scorecard's entry of one contender."""
    forecasts, losses = scored.forecasts[name], scored.losses[name]
    benchmark = scored.losses[scored.best_baseline()]
    loss = displayed(evaluation.metric, losses)
    return Contender(
        name=name,
        baseline=forecasts.baseline,
        loss=loss,
        skill=_skill(loss, displayed(evaluation.metric, benchmark)),
        superior=superior,
        metrics=_metrics(scored, forecasts, slice(None), promotion.coverage.level),
        steps=tuple(
            StepMetrics(
                step=step + 1, metrics=_metrics(scored, forecasts, slice(step, step + 1), promotion.coverage.level)
            )
            for step in range(scored.horizon)
        ),
        folds=tuple(
            _fold_metrics(scored, int(number), losses, benchmark, evaluation.metric)
            for number in np.unique(scored.fold)
        ),
        coverage=tuple(
            cover(
                level,
                scored.outcome,
                forecasts.quantiles,
                scored.probabilities,
                horizon=scored.horizon,
                confidence=promotion.coverage.confidence,
            )
            for level in sorted(evaluation.intervals.levels)
        ),
        importance=dict(forecasts.importance),
    )


def moment(value: np.datetime64) -> datetime:
    """Return a datetime64 in UTC as a datetime."""
    naive: datetime = value.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)


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


def _fold_metrics(
    scored: Scored, number: int, losses: FloatArray, benchmark: FloatArray, metric: Metric
) -> FoldMetrics:
    rows = scored.fold == number
    loss = displayed(metric, losses[rows])
    return FoldMetrics(
        fold=number,
        start=moment(scored.time[rows][0]),
        end=moment(scored.time[rows][-1]),
        origins=int(rows.sum()),
        loss=loss,
        skill=_skill(loss, displayed(metric, benchmark[rows])),
    )


def _skill(loss: float, benchmark: float) -> float | None:
    return 1 - loss / benchmark if benchmark > 0 else None
