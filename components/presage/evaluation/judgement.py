"""From losses to a verdict: the test over all that was tried, the evidence, and the gate. One for every task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from presage.evaluation.gate import Candidate, Case, decide
from presage.evaluation.losses import Losses
from presage.evaluation.scorecard import (
    BaselineScore,
    ChampionScore,
    Contender,
    Coverage,
    Evidence,
    SuperiorityTest,
    Verdict,
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
from presage.spec.evaluation import Promotion
from presage.spec.job import PredictionJobSpec


@dataclass(frozen=True)
class Judgement:
    """What the gate found.

    Attributes:
        trials: This run's candidates.
        contenders: Scorecard entries, baselines first.
        champion: What is served.
        baseline: The best baseline.
        test: The test of superiority; None where there were too few origins or no candidate.
        verdict: The gate's decision.
        evidence: How many origins it stands on.
        tried: Configurations tried in the job's history, this run's and its searches' included.
        untested: Earlier trials that cannot be compared with this run's.
    """

    trials: tuple[Trial, ...]
    contenders: tuple[Contender, ...]
    champion: ChampionScore
    baseline: BaselineScore
    test: SuperiorityTest | None
    verdict: Verdict
    evidence: Evidence
    tried: int
    untested: int

    @property
    def cards(self) -> Mapping[str, Contender]:
        """The scorecard entries by name."""
        return {card.name: card for card in self.contenders}


def judge_losses(
    losses: Losses,
    spec: PredictionJobSpec,
    *,
    question: str,
    procedure: str,
    history: Sequence[Trial],
    incumbent: Trial | None,
    card: Callable[[str, bool], Contender],
    leaking: tuple[str, ...] = (),
) -> Judgement:
    """Judge what contenders lost.

    The benchmark is the baseline with the smallest mean loss.

    Args:
        losses: What they lost.
        spec: The job.
        question: What the losses measure; losses compare only under the same question.
        procedure: Digest of what makes the procedure.
        history: What the job tried before, in any number of runs.
        incumbent: The served model's losses; None where no candidate is served. It makes the run a refit where its
            procedure is the same and at least 20 of its origins were scored again.
        card: Gives the scorecard's entry of a contender by its name and whether it is superior. An entry without any
            interval promises no coverage.
        leaking: Features that were found to use what was not yet known.
    """
    promotion = spec.promotion
    own = tuple(
        Trial(procedure, name, question, losses.origin, found)
        for name, found in losses.by_contender.items()
        if name not in losses.baselines
    )
    tried = merge(history, own)
    test, untested = _test(losses, own, tried, spec)
    superior = test.superior if test else ()
    contenders = tuple(card(name, name in superior) for name in losses.by_contender)
    cards = {one.name: one for one in contenders}
    baseline = cards[losses.best_baseline]
    refit_of = _comparable(incumbent, own)
    required = required_origins(promotion.significance, promotion.power, promotion.effect_size)
    origins = len(losses.origin)
    candidates = tuple(_candidate(losses, cards[trial.contender], trial, refit_of, promotion) for trial in own)
    verdict = decide(
        Case(
            metric=losses.metric,
            baseline=baseline.name,
            baseline_loss=baseline.loss,
            candidates=candidates,
            p_value=test.p_value if test else None,
            origins=origins,
            required=required,
            leaking=leaking,
            incumbent=refit_of.contender if refit_of else None,
        ),
        promotion,
    )
    about = verdict.candidate
    effective = {candidate.name: candidate.effective for candidate in candidates}
    return Judgement(
        trials=own,
        contenders=contenders,
        champion=ChampionScore(name=verdict.champion, metrics=cards[verdict.champion].metrics),
        baseline=BaselineScore(name=baseline.name, metrics=baseline.metrics),
        test=_test_card(test, losses, about),
        verdict=verdict,
        evidence=Evidence(origins=origins, effective=effective[about] if about else float(origins), required=required),
        tried=len(tried) + searched(spec.models),
        untested=untested,
    )


def _test(
    losses: Losses, own: Sequence[Trial], tried: Sequence[Trial], spec: PredictionJobSpec
) -> tuple[Superiority | None, int]:
    """Return the test over this run's candidates and every earlier one that can be compared, and how many cannot."""
    if not own:
        return None, 0
    candidates: dict[str, FloatArray] = {trial.contender: trial.losses for trial in own}
    untested = 0
    for trial in tried:
        if trial.procedure == own[0].procedure and trial.contender in candidates:
            continue
        found = trial.losses_at(losses.origin) if trial.question == own[0].question else None
        if found is None:
            untested += 1
        else:
            candidates[f"{trial.contender} of {trial.procedure}"] = found
    test = superiority(
        losses.by_contender[losses.best_baseline],
        candidates,
        significance=spec.promotion.significance,
        replications=spec.promotion.replications,
        horizon=losses.horizon,
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
    losses: Losses, card: Contender, trial: Trial, incumbent: Trial | None, promotion: Promotion
) -> Candidate:
    difference = loss_difference(losses.by_contender[losses.best_baseline], trial.losses)
    worse = diebold_mariano(-difference, losses.horizon)
    return Candidate(
        name=card.name,
        loss=card.loss,
        superior=card.superior,
        effective=effective_origins(difference, losses.horizon),
        coverage=_watched(card, promotion.coverage.level),
        worse_p_value=worse.p_value if worse else 1.0,
        excess=_excess(losses, trial, incumbent, promotion.significance) if incumbent else None,
    )


def _watched(card: Contender, level: float) -> Coverage:
    if not card.coverage:
        return Coverage(level=level, coverage=level, lower=0.0, upper=1.0, width=0.0)
    return next(one for one in card.coverage if one.level == level)


def _excess(losses: Losses, trial: Trial, incumbent: Trial, significance: float) -> float:
    now, then = common_losses(trial, incumbent)
    share = excess_loss(now, then, significance=significance, horizon=losses.horizon)
    # The margin is a share of the loss that is shown, which under RMSE is a root.
    return max(0.0, 1 + share) ** 0.5 - 1 if losses.metric == "RMSE" else share


def _test_card(test: Superiority | None, losses: Losses, about: str | None) -> SuperiorityTest | None:
    if test is None:
        return None
    benchmark = losses.best_baseline
    difference = loss_difference(losses.by_contender[benchmark], losses.by_contender[about]) if about else None
    return SuperiorityTest(
        p_value=test.p_value,
        benchmark=benchmark,
        block_length=test.block_length,
        replications=test.replications,
        diebold_mariano=None if difference is None else diebold_mariano(difference, losses.horizon),
    )
