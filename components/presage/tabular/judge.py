"""From a walk over rows to the scorecard, by the gate that judges forecasts: an origin is a period of the frequency."""

from __future__ import annotations

from collections.abc import Sequence

from presage.evaluation.caveats import caveats
from presage.evaluation.judge import dropped_features
from presage.evaluation.judgement import judge_losses
from presage.evaluation.numbers import percent
from presage.evaluation.scorecard import Contender, Scorecard, SourceSummary
from presage.evaluation.trials import Trial
from presage.features.config import FeatureConfig
from presage.frame import moment
from presage.spec.job import PredictionJobSpec
from presage.tabular.observations import made_of
from presage.tabular.scores import clipped_sentences, contender_card, score_rows
from presage.tabular.walk import Walk

MISCALIBRATED = 0.05
"""Expected calibration error above which a reader is told."""


def judge_rows(
    walked: Walk,
    spec: PredictionJobSpec,
    *,
    procedure: str,
    history: Sequence[Trial],
    incumbent: Trial | None,
    sources: tuple[SourceSummary, ...],
) -> tuple[Scorecard, tuple[Trial, ...]]:
    """Judge a walk; the scorecard's features are those of no window yet, see `with_features`.

    A Classification has no interval: its loss is a proper score, which wrong probabilities make worse by themselves
    (Gneiting & Raftery, Journal of the American Statistical Association 102, 2007), so the gate watches no coverage.

    Args:
        walked: Predictions of all contenders for the same rows.
        spec: The job.
        procedure: Digest of what makes the procedure.
        history: What the job tried before.
        incumbent: The served model's losses; None where no candidate is served.
        sources: What each source gave.

    Returns:
        The scorecard, and this run's own trials.

    Raises:
        DataError: The metric is not defined on the outcomes.
        NotSupportedError: The metric is none for rows.
    """
    target = spec.target
    scored = score_rows(walked, spec.evaluation.metric)
    found = judge_losses(
        scored.losses,
        spec,
        question=f"{spec.evaluation.metric} of {made_of(spec)}, mean by {spec.frequency}",
        procedure=procedure,
        history=history,
        incumbent=incumbent,
        card=lambda name, superior: contender_card(scored, name, superior, spec.evaluation, spec.promotion),
    )
    scorecard = Scorecard(
        target=made_of(spec),
        unit="" if scored.classifies else spec.source(target.source).units.get(target.column, ""),
        transform=target.transform,
        horizon=target.horizon,
        frequency=spec.frequency,
        metric=spec.evaluation.metric,
        champion=found.champion,
        baseline=found.baseline,
        test=found.test,
        verdict=found.verdict,
        evidence=found.evidence,
        folds=len(found.contenders[0].folds),
        tried=found.tried,
        start=moment(scored.losses.time[0]),
        end=moment(scored.losses.time[-1]),
        contenders=found.contenders,
        features=(),
        dropped=(),
        sources=sources,
        caveats=(
            *caveats(
                found.cards,
                found.verdict,
                sources=sources,
                overflowing=scored.overflowing,
                untested=found.untested,
                missing={},
                unscored=0,
            ),
            *clipped_sentences(scored),
            *_miscalibrated(found.cards[found.champion.name]),
            *_repeated(sources),
        ),
        task=spec.task,
        rows=len(scored.outcome),
    )
    return scorecard, found.trials


def with_features(scorecard: Scorecard, config: FeatureConfig) -> Scorecard:
    """Return the scorecard with the features of a training window."""
    update = {"features": config.kept, "dropped": dropped_features(config)}
    return scorecard.model_copy(update=update)


def _miscalibrated(champion: Contender) -> tuple[str, ...]:
    found = champion.classification
    if found is None or found.calibration_error <= MISCALIBRATED:
        return ()
    off = percent(found.calibration_error)
    return (
        f"{champion.name}'s probabilities are {off} off on average: they rank rows better than they say how likely.",
    )


def _repeated(sources: Sequence[SourceSummary]) -> tuple[str, ...]:
    return tuple(
        f"{one.duplicates:,} rows of {one.name} are equal to another in every cell; all were kept."
        for one in sources
        if one.duplicates
    )
