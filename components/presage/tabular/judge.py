"""From a walk over rows to the scorecard, by the gate that judges forecasts: an origin is a period of the frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from presage.evaluation.caveats import caveats
from presage.evaluation.gate import Candidate, Case, decide
from presage.evaluation.numbers import percent
from presage.evaluation.scorecard import (
    BaselineScore,
    ChampionScore,
    Contender,
    Coverage,
    DroppedFeature,
    Evidence,
    Scorecard,
    SourceSummary,
    SuperiorityTest,
)
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
from presage.tabular.observations import made_of
from presage.tabular.scores import ScoredRows, clipped_sentences, contender_card, moment, score_rows
from presage.tabular.walk import Final, Walk

MISCALIBRATED = 0.05
"""Expected calibration error above which a reader is told."""
_NEIGHBOURS = 1
"""Periods over which the loss of one is part of that of another: none, as rows are predicted from themselves."""


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
    metric, promotion = spec.evaluation.metric, spec.promotion
    scored = score_rows(walked, metric)
    baseline = scored.best_baseline()
    question = f"{metric} of {made_of(spec)}, mean by {spec.frequency}"
    own = tuple(
        Trial(procedure, name, question, scored.period, losses)
        for name, losses in scored.losses.items()
        if not scored.predictions[name].baseline
    )
    tried = merge(history, own)
    test, untested = _test(scored, baseline, own, tried, spec)
    superior = test.superior if test else ()
    contenders = tuple(
        contender_card(scored, name, name in superior, spec.evaluation, promotion) for name in scored.predictions
    )
    cards = {card.name: card for card in contenders}
    comparable = _comparable(incumbent, own)
    required = required_origins(promotion.significance, promotion.power, promotion.effect_size)
    case = Case(
        metric=metric,
        baseline=baseline,
        baseline_loss=cards[baseline].loss,
        candidates=tuple(
            _candidate(scored, cards[trial.contender], trial, incumbent=comparable, spec=spec) for trial in own
        ),
        p_value=test.p_value if test else None,
        origins=len(scored.period),
        required=required,
        incumbent=comparable.contender if comparable else None,
    )
    verdict = decide(case, promotion)
    about = verdict.candidate
    effective = {candidate.name: candidate.effective for candidate in case.candidates}
    target = spec.target
    scorecard = Scorecard(
        target=made_of(spec),
        unit="" if scored.classifies else spec.source(target.source).units.get(target.column, ""),
        transform=target.transform,
        horizon=target.horizon,
        frequency=spec.frequency,
        metric=metric,
        champion=ChampionScore(name=verdict.champion, metrics=cards[verdict.champion].metrics),
        baseline=BaselineScore(name=baseline, metrics=cards[baseline].metrics),
        test=_test_card(test, scored, baseline, about),
        verdict=verdict,
        evidence=Evidence(
            origins=len(scored.period),
            effective=effective[about] if about else float(len(scored.period)),
            required=required,
        ),
        folds=len(cards[baseline].folds),
        tried=len(tried) + searched(spec.models),
        start=moment(scored.period[0]),
        end=moment(scored.period[-1]),
        contenders=contenders,
        features=(),
        dropped=(),
        sources=sources,
        caveats=(
            *caveats(
                cards,
                verdict,
                sources=sources,
                overflowing=scored.overflowing,
                untested=untested,
                missing={},
                unscored=0,
            ),
            *clipped_sentences(scored),
            *_miscalibrated(cards[verdict.champion]),
            *_repeated(sources),
        ),
        task=spec.task,
        rows=len(scored.outcome),
    )
    return scorecard, own


def with_features(scorecard: Scorecard, final: Final) -> Scorecard:
    """Return the scorecard with the features of the final training window."""
    dropped = tuple(DroppedFeature(name=one.name, reason=one.reason) for one in final.config.dropped)
    return scorecard.model_copy(update={"features": final.config.kept, "dropped": dropped})


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


def _test(
    scored: ScoredRows, baseline: str, own: Sequence[Trial], tried: Sequence[Trial], spec: PredictionJobSpec
) -> tuple[Superiority | None, int]:
    """Return the test over this run's candidates and every earlier one that can be compared, and how many cannot."""
    if not own:
        return None, 0
    candidates: dict[str, FloatArray] = {trial.contender: trial.losses for trial in own}
    untested = 0
    for trial in tried:
        if trial.procedure == own[0].procedure and trial.contender in candidates:
            continue
        losses = trial.losses_at(scored.period) if trial.question == own[0].question else None
        if losses is None:
            untested += 1
        else:
            candidates[f"{trial.contender} of {trial.procedure}"] = losses
    test = superiority(
        scored.losses[baseline],
        candidates,
        significance=spec.promotion.significance,
        replications=spec.promotion.replications,
        horizon=_NEIGHBOURS,
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
    scored: ScoredRows,
    card: Contender,
    trial: Trial,
    *,
    incumbent: Trial | None,
    spec: PredictionJobSpec,
) -> Candidate:
    difference = loss_difference(scored.losses[scored.best_baseline()], trial.losses)
    worse = diebold_mariano(-difference, _NEIGHBOURS)
    level = spec.promotion.coverage.level
    nothing_promised = Coverage(level=level, coverage=level, lower=0.0, upper=1.0, width=0.0)
    return Candidate(
        name=card.name,
        loss=card.loss,
        superior=card.superior,
        effective=effective_origins(difference, _NEIGHBOURS),
        coverage=next((one for one in card.coverage if one.level == level), nothing_promised),
        worse_p_value=worse.p_value if worse else 1.0,
        excess=_excess(trial, incumbent, spec) if incumbent else None,
    )


def _excess(trial: Trial, incumbent: Trial, spec: PredictionJobSpec) -> float:
    now, then = common_losses(trial, incumbent)
    share = excess_loss(now, then, significance=spec.promotion.significance, horizon=_NEIGHBOURS)
    # The margin is a share of the loss that is shown, which under RMSE is a root.
    return float(np.sqrt(max(0.0, 1 + share))) - 1 if spec.evaluation.metric == "RMSE" else share


def _test_card(
    test: Superiority | None, scored: ScoredRows, baseline: str, about: str | None
) -> SuperiorityTest | None:
    if test is None:
        return None
    difference = loss_difference(scored.losses[baseline], scored.losses[about]) if about else None
    return SuperiorityTest(
        p_value=test.p_value,
        benchmark=baseline,
        block_length=test.block_length,
        replications=test.replications,
        diebold_mariano=None if difference is None else diebold_mariano(difference, _NEIGHBOURS),
    )
