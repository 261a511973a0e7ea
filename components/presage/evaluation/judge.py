"""From a back-test to the scorecard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from presage.evaluation.backtest import BackTest, FeatureConfig
from presage.evaluation.caveats import caveats
from presage.evaluation.judgement import judge_losses
from presage.evaluation.scorecard import DroppedFeature, Scorecard, SourceSummary
from presage.evaluation.scores import Scored, contender_card, score, series_scores
from presage.evaluation.trials import Trial
from presage.frame import moment
from presage.spec.job import PredictionJobSpec

_DIGITS = 12


def judge(
    back_test: BackTest,
    spec: PredictionJobSpec,
    *,
    procedure: str,
    history: Sequence[Trial],
    incumbent: Trial | None,
    sources: tuple[SourceSummary, ...],
    config: FeatureConfig,
    unit: str,
    season: int,
    leaking: tuple[str, ...] = (),
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Scorecard, tuple[Trial, ...]]:
    """Judge a back-test.

    A panel's losses are averaged by date before anything is tested: its series move together, so that many of them
    are no more evidence than their dates.

    The benchmark is the baseline with the smallest mean loss over the scored origins.

    Args:
        back_test: Forecasts of all contenders at the same origins.
        spec: The job.
        procedure: Digest of what makes the forecasting procedure.
        history: What the job tried before, in any number of runs.
        incumbent: The served model's losses at past origins, from the back-test that promoted it or live since; None
            where no candidate is served. It makes the run a refit where its procedure is the same and at least 20 of
            its origins were scored again.
        sources: What each source gave.
        config: Feature selection of the final training window.
        unit: Unit of the target; empty where the job declares none.
        season: Bars in a season, at least 1.
        leaking: Features that were found to use what was not yet known.
        left_out: By name, the series of the target's source that are not in the panel, and why.

    Returns:
        The scorecard, and this run's own trials: `trials.merge(history, ...)` makes the next run's history of them.

    Raises:
        DataError: No origin could be scored, or the metric is not defined on the outcomes.
    """
    target, level = spec.target, spec.promotion.coverage.level
    scored = score(back_test, spec.evaluation.metric, season)
    found = judge_losses(
        scored.losses,
        spec,
        question=_question(scored, spec),
        procedure=procedure,
        history=history,
        incumbent=incumbent,
        card=lambda name, superior: contender_card(scored, name, superior, spec.evaluation, spec.promotion),
        leaking=leaking,
    )
    verdict = found.verdict
    scorecard = Scorecard(
        target=f"{target.source}.{target.column}",
        unit=unit,
        transform=target.transform,
        horizon=target.horizon,
        frequency=spec.frequency,
        metric=spec.evaluation.metric,
        champion=found.champion,
        baseline=found.baseline,
        test=found.test,
        verdict=verdict,
        evidence=found.evidence,
        folds=len(found.contenders[0].folds),
        tried=found.tried,
        start=moment(scored.losses.time[0]),
        end=moment(scored.losses.time[-1]),
        contenders=found.contenders,
        features=config.kept,
        dropped=dropped_features(config),
        sources=sources,
        caveats=caveats(
            found.cards,
            verdict,
            sources=sources,
            overflowing=scored.overflowing,
            untested=found.untested,
            missing=_missing(back_test, config),
            unscored=_unscored(back_test),
            left_out=left_out,
        ),
        series=series_scores(scored, verdict.candidate or verdict.champion, level),
    )
    return scorecard, found.trials


def dropped_features(config: FeatureConfig) -> tuple[DroppedFeature, ...]:
    """Return the scorecard's entries of what selection dropped."""
    return tuple(DroppedFeature(name=dropped.name, reason=dropped.reason) for dropped in config.dropped)


def _missing(back_test: BackTest, config: FeatureConfig) -> dict[str, float]:
    """Return the share of scored origins at which each kept feature was missing."""
    scored = back_test.frame.with_features(config.kept).features[back_test.rows[back_test.scored]]
    return dict(zip(config.kept, np.isnan(scored).mean(axis=0).tolist(), strict=True))


def _unscored(back_test: BackTest) -> int:
    """Return how many origins of scored folds could have been scored and were not."""
    level = back_test.frame.level[back_test.rows]
    outcome = back_test.frame.target_level[back_test.rows]
    possible = (back_test.fold > 0) & np.isfinite(level) & np.isfinite(outcome).all(axis=1)
    return int((possible & ~back_test.scored).sum())


def _question(scored: Scored, spec: PredictionJobSpec) -> str:
    target = spec.target
    question = f"{spec.evaluation.metric} of {target.source}.{target.column}, {target.horizon} x {spec.frequency} ahead"
    if len(scored.names) > 1:
        # A series that joins or leaves changes what the mean over the series is, whatever the model does.
        names = json.dumps(sorted(scored.names[place] for place in np.unique(scored.series)))
        question += f" over {hashlib.sha256(names.encode()).hexdigest()[:_DIGITS]}"
    return question
