"""What each contender of a walk scored: a loss a period for the verdict, and metrics over all rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from presage.errors import NotSupportedError
from presage.evaluation.backtest import Forecasts
from presage.evaluation.dependence import degrees_of_freedom, long_run_variance
from presage.evaluation.losses import Losses
from presage.evaluation.metrics import by_date, hits, interval, measure
from presage.evaluation.scorecard import (
    ClassificationMetrics,
    Contender,
    Coverage,
    Metrics,
    ReliabilityBin,
)
from presage.evaluation.scores import losses_of
from presage.frame import FloatArray, IntArray
from presage.spec.evaluation import CLASSIFICATION_METRICS, Evaluation, Metric, Promotion
from presage.tabular.metrics import (
    brier_losses,
    calibration_error,
    clipped,
    log_losses,
    reliability,
    roc_area,
)
from presage.tabular.search import row_losses
from presage.tabular.walk import Walk

_NEIGHBOURS = 1
"""Periods over which the loss of one is part of that of another: none, as rows are predicted from themselves."""
_NO_METRICS = Metrics(
    mae=None,
    rmse=None,
    mape=None,
    smape=None,
    mase=None,
    theil_u=None,
    directional_accuracy=None,
    pinball=None,
    crps=None,
    coverage=None,
)


@dataclass(frozen=True)
class ScoredRows:
    """The rows that count, with what came and what each contender lost.

    Attributes:
        losses: Mean loss of each contender over the rows of a period; an origin is the start of a period.
        outcome: (n,) what came.
        place: (n,) place of each row's period, ascending.
        probabilities: (q,) probabilities of the quantiles.
        predictions: By contender, baselines first, cut to these rows.
        overflowing: Candidates left out because their predictions are too large to be scored.
    """

    losses: Losses
    outcome: FloatArray
    place: IntArray
    probabilities: FloatArray
    predictions: Mapping[str, Forecasts]
    overflowing: tuple[str, ...]

    @property
    def classifies(self) -> bool:
        """Whether probabilities are scored."""
        return self.losses.metric in CLASSIFICATION_METRICS


def score_rows(walked: Walk, metric: Metric) -> ScoredRows:
    """Return what every contender lost.

    Trips of one day share its weather and its traffic: losses are averaged by period before anything is tested, so that
    a busy day is not many days.

    Raises:
        DataError: The metric is not defined on the outcomes, as MAPE at 0.
        NotSupportedError: The metric is MASE, which compares with a seasonal naive forecast.
    """
    if metric == "MASE":
        raise NotSupportedError(
            "spec.evaluation.metric: MASE divides by the error of a seasonal naive forecast, and rows have none.",
            "Set it to MAE, RMSE, MAPE, sMAPE or CRPS.",
        )
    scored = walked.fold > 0
    outcome = walked.outcome[scored]
    period, place = np.unique(walked.period[scored], return_inverse=True)
    fold = np.zeros(len(period), dtype=np.intp)
    fold[place] = walked.fold[scored]
    predictions, losses, overflowing = losses_of(
        [one.at(scored) for one in walked.predictions.values()],
        lambda one: by_date(row_losses(metric, outcome, one.mean, one.quantiles, walked.probabilities), place),
    )
    return ScoredRows(
        losses=Losses(
            metric=metric,
            time=period,
            origin=period,
            fold=fold,
            by_contender=losses,
            baselines=tuple(name for name, one in predictions.items() if one.baseline),
            horizon=_NEIGHBOURS,
        ),
        outcome=outcome,
        place=place,
        probabilities=walked.probabilities,
        predictions=predictions,
        overflowing=overflowing,
    )


def contender_card(
    scored: ScoredRows, name: str, superior: bool, evaluation: Evaluation, promotion: Promotion
) -> Contender:
    """Return the scorecard's entry of one contender."""
    predictions = scored.predictions[name]
    return Contender(
        name=name,
        baseline=predictions.baseline,
        loss=scored.losses.shown(name),
        skill=scored.losses.skill(name),
        superior=superior,
        metrics=_NO_METRICS if scored.classifies else _metrics(scored, predictions, promotion.coverage.level),
        steps=(),
        folds=scored.losses.folds(name),
        coverage=()
        if scored.classifies
        else tuple(
            _cover(level, scored, predictions, promotion.coverage.confidence)
            for level in sorted(evaluation.intervals.levels)
        ),
        importance=dict(predictions.importance),
        classification=_classification(scored.outcome, predictions.mean) if scored.classifies else None,
    )


def clipped_sentences(scored: ScoredRows) -> tuple[str, ...]:
    """Return, for each contender whose probabilities log loss does not take as they are, a sentence that says so."""
    if scored.losses.metric != "LogLoss":
        return ()
    counts = {name: int(clipped(one.mean).sum()) for name, one in scored.predictions.items()}
    return tuple(
        f"{found:,} of {len(scored.outcome):,} probabilities of {name} are so near to 0 or 1 that log loss takes them "
        f"as a millionth from there."
        for name, found in counts.items()
        if found
    )


def _metrics(scored: ScoredRows, predictions: Forecasts, level: float) -> Metrics:
    found = measure(
        scored.outcome[:, None],
        predictions.mean[:, None],
        quantiles=predictions.quantiles[:, None, :],
        probabilities=scored.probabilities,
        level=scored.outcome,
        scale=np.full(len(scored.outcome), np.nan),
        coverage_level=level,
    )
    # A row has no level of its own before it, which these two compare with.
    return found.model_copy(update={"theil_u": None, "directional_accuracy": None})


def _classification(outcome: FloatArray, probability: FloatArray) -> ClassificationMetrics:
    bins = reliability(outcome, probability)
    return ClassificationMetrics(
        log_loss=float(log_losses(outcome, probability).mean()),
        brier=float(brier_losses(outcome, probability).mean()),
        auc=roc_area(outcome, probability),
        calibration_error=calibration_error(bins),
        prevalence=float(outcome.mean()),
        bins=tuple(ReliabilityBin(rows=one.rows, probability=one.probability, share=one.share) for one in bins),
    )


def _cover(level: float, scored: ScoredRows, predictions: Forecasts, confidence: float) -> Coverage:
    """Return what a central interval promised and held over all rows, with a band that allows for dependence.

    As `presage.evaluation.coverage.cover` for a series of periods, each with the deviation of its hits from the nominal
    coverage, times its rows over the mean number of rows: the ratio estimator of Cochran (Sampling Techniques, 3rd
    edition, 1977, section 6.3). The band is never narrower than for rows that are independent of each other.
    """
    from scipy import stats  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

    quantiles = predictions.quantiles[:, None, :]
    inside = hits(level, scored.outcome[:, None], quantiles, scored.probabilities)[:, 0]
    rows = np.bincount(scored.place)
    deviation = (np.bincount(scored.place, weights=inside) - level * rows) / rows.mean()
    tail = (1 - confidence) / 2
    reach = max(
        float(stats.norm.isf(tail)) * math.sqrt(level * (1 - level) / len(inside)),
        float(stats.t.isf(tail, degrees_of_freedom(len(rows), 1)))
        * math.sqrt(long_run_variance(deviation, 1) / len(rows)),
    )
    lower, upper = interval(level, scored.probabilities)
    return Coverage(
        level=level,
        coverage=float(inside.mean()),
        lower=max(0.0, level - reach),
        upper=min(1.0, level + reach),
        width=float((predictions.quantiles[:, upper] - predictions.quantiles[:, lower]).mean()),
    )
