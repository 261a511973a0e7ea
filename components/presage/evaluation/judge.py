"""From a back-test to the scorecard: metrics, significance, coverage, and the gate's verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from presage.evaluation.backtest import BackTest, FeatureConfig
from presage.evaluation.caveats import caveats
from presage.evaluation.conditions import conditions
from presage.evaluation.gate import Candidate, Case, decide
from presage.evaluation.scorecard import (
    BaselineScore,
    ChampionScore,
    Contender,
    DroppedFeature,
    Evidence,
    Scorecard,
    SourceSummary,
    SuperiorityTest,
)
from presage.evaluation.scores import Scored, contender_card, moment, score, series_scores
from presage.evaluation.search import searched
from presage.evaluation.significance import (
    MINIMUM_ORIGINS,
    Superiority,
    diebold_mariano,
    effective_origins,
    excess_loss,
    loss_difference,
    required_origins,
    superiority,
)
from presage.evaluation.trials import Trial, common_losses, merge
from presage.frame import FloatArray
from presage.spec.job import PredictionJobSpec

__all__ = ["conditions", "judge"]

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
    metric, promotion = spec.evaluation.metric, spec.promotion
    scored = score(back_test, metric, season)
    baseline = scored.best_baseline()
    own = tuple(_trial(scored, name, procedure, spec) for name in scored.losses if not scored.forecasts[name].baseline)
    tried = merge(history, own)
    test, untested = _test(scored, baseline, own, tried, spec)
    superior = test.superior if test else ()
    contenders = tuple(
        contender_card(scored, name, name in superior, spec.evaluation, promotion) for name in scored.forecasts
    )
    cards = {card.name: card for card in contenders}
    comparable = _comparable(incumbent, own)
    required = required_origins(promotion.significance, promotion.power, promotion.effect_size)
    case = Case(
        metric=metric,
        baseline=baseline,
        baseline_loss=cards[baseline].loss,
        candidates=tuple(_candidate(scored, cards[trial.contender], trial, comparable, spec) for trial in own),
        p_value=test.p_value if test else None,
        origins=len(scored.origin),
        required=required,
        leaking=leaking,
        incumbent=comparable.contender if comparable else None,
    )
    verdict = decide(case, promotion)
    about = verdict.candidate
    effective = {candidate.name: candidate.effective for candidate in case.candidates}
    scorecard = Scorecard(
        target=f"{spec.target.source}.{spec.target.column}",
        unit=unit,
        transform=spec.target.transform,
        horizon=spec.target.horizon,
        frequency=spec.frequency,
        metric=metric,
        champion=ChampionScore(name=verdict.champion, metrics=cards[verdict.champion].metrics),
        baseline=BaselineScore(name=baseline, metrics=cards[baseline].metrics),
        test=_test_card(test, scored, baseline, about),
        verdict=verdict,
        evidence=Evidence(
            origins=len(scored.origin),
            effective=effective[about] if about else float(len(scored.origin)),
            required=required,
        ),
        folds=len(cards[baseline].folds),
        tried=len(tried) + searched(spec.models),
        start=moment(scored.time[0]),
        end=moment(scored.time[-1]),
        contenders=contenders,
        features=config.kept,
        dropped=tuple(DroppedFeature(name=dropped.name, reason=dropped.reason) for dropped in config.dropped),
        sources=sources,
        caveats=caveats(
            cards,
            verdict,
            sources=sources,
            overflowing=scored.overflowing,
            untested=untested,
            missing=_missing(back_test, config),
            unscored=_unscored(back_test),
            left_out=left_out,
        ),
        series=series_scores(scored, about or verdict.champion, metric, promotion.coverage.level),
    )
    return scorecard, own


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


def _trial(scored: Scored, name: str, procedure: str, spec: PredictionJobSpec) -> Trial:
    target = spec.target
    question = f"{spec.evaluation.metric} of {target.source}.{target.column}, {target.horizon} x {spec.frequency} ahead"
    if len(scored.names) > 1:
        # A series that joins or leaves changes what the mean over the series is, whatever the model does.
        names = json.dumps(sorted(scored.names[place] for place in np.unique(scored.series)))
        question += f" over {hashlib.sha256(names.encode()).hexdigest()[:_DIGITS]}"
    return Trial(procedure, name, question, scored.origin, scored.losses[name])


def _test(
    scored: Scored, baseline: str, own: Sequence[Trial], tried: Sequence[Trial], spec: PredictionJobSpec
) -> tuple[Superiority | None, int]:
    """Return the test over this run's candidates and every earlier one that can be compared, and how many cannot."""
    if not own:
        return None, 0
    candidates: dict[str, FloatArray] = {trial.contender: trial.losses for trial in own}
    untested = 0
    for trial in tried:
        if trial.procedure == own[0].procedure and trial.contender in candidates:
            continue
        losses = trial.losses_at(scored.origin) if trial.question == own[0].question else None
        if losses is None:
            untested += 1
        else:
            candidates[f"{trial.contender} of {trial.procedure}"] = losses
    test = superiority(
        scored.losses[baseline],
        candidates,
        significance=spec.promotion.significance,
        replications=spec.promotion.replications,
        horizon=scored.horizon,
        seed=spec.seed,
        untested=untested,
    )
    return test, untested


def _comparable(incumbent: Trial | None, own: Sequence[Trial]) -> Trial | None:
    """Return the incumbent if this run is a refit of it."""
    if incumbent is None:
        return None
    same = [trial for trial in own if trial.key == incumbent.key and trial.question == incumbent.question]
    return incumbent if same and len(common_losses(same[0], incumbent)[0]) >= MINIMUM_ORIGINS else None


def _candidate(
    scored: Scored, card: Contender, trial: Trial, incumbent: Trial | None, spec: PredictionJobSpec
) -> Candidate:
    difference = loss_difference(scored.losses[scored.best_baseline()], trial.losses)
    worse = diebold_mariano(-difference, scored.horizon)
    return Candidate(
        name=card.name,
        loss=card.loss,
        superior=card.superior,
        effective=effective_origins(difference, scored.horizon),
        coverage=next(one for one in card.coverage if one.level == spec.promotion.coverage.level),
        worse_p_value=worse.p_value if worse else 1.0,
        excess=_excess(trial, incumbent, scored.horizon, spec) if incumbent else None,
    )


def _excess(trial: Trial, incumbent: Trial, horizon: int, spec: PredictionJobSpec) -> float:
    now, then = common_losses(trial, incumbent)
    share = excess_loss(now, then, significance=spec.promotion.significance, horizon=horizon)
    # The margin is a share of the loss that is shown, which under RMSE is a root.
    return max(0.0, 1 + share) ** 0.5 - 1 if spec.evaluation.metric == "RMSE" else share


def _test_card(test: Superiority | None, scored: Scored, baseline: str, about: str | None) -> SuperiorityTest | None:
    if test is None:
        return None
    difference = loss_difference(scored.losses[baseline], scored.losses[about]) if about else None
    return SuperiorityTest(
        p_value=test.p_value,
        benchmark=baseline,
        block_length=test.block_length,
        replications=test.replications,
        diebold_mariano=None if difference is None else diebold_mariano(difference, scored.horizon),
    )
