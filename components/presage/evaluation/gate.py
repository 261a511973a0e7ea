"""The gate: whether a candidate takes the best baseline's place. Pure: numbers in, verdict out.

What is asked, in order; the first answer decides:

1. Does a feature use what was not yet known? LeakageDetected.
2. Is the policy Force? Forced: the candidate with the smallest loss.
3. Is it a refit, that is, does the served model come from the same procedure? Then `_judge_refit`, else `_judge_new`.

A new procedure: too little evidence on every candidate, InsufficientEvidence; none superior to the best baseline,
NotBetterThanBaseline; the coverage of every superior one out of its band, CoverageOutOfBand; policy Manual,
ManualApprovalRequired; else BetterThanBaseline. Of several that pass, the smallest loss wins: a candidate whose
intervals fail hands over to the next superior one, because a slightly larger loss with honest intervals is worth more.

A refit was proven when its procedure was promoted, and proving it anew each time would refuse a good model by chance
every so often. It needs sanity and no more loss than the incumbent, within a margin. The incumbent's own contender may
stand, and any superior one. One that is significantly worse than the best baseline is refused as NotBetterThanBaseline,
one without coverage as CoverageOutOfBand; then the baseline is served. One that may be worse than the incumbent by more
than the margin is refused as WorseThanIncumbent; then the incumbent stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from presage.evaluation.numbers import amount, count, pair, percent, probability
from presage.evaluation.scorecard import Coverage, Reason, Verdict
from presage.spec.evaluation import Metric, Promotion


@dataclass(frozen=True)
class Candidate:
    """What the gate knows of a candidate.

    Attributes:
        name: Name of the contender.
        loss: Mean loss over the scored origins, as it is shown; finite.
        superior: Whether StepM finds it better than the best baseline.
        effective: Independent origins that carry as much evidence on its difference to the best baseline.
        coverage: What the interval that the gate watches promised and held.
        worse_p_value: One-sided p-value of the Diebold-Mariano test that it is worse than the best baseline; 1 where
            the test says nothing.
        excess: How much worse than the incumbent it may be, as a share of the incumbent's loss; None where there is no
            incumbent to compare with.
    """

    name: str
    loss: float
    superior: bool
    effective: float
    coverage: Coverage
    worse_p_value: float = 1.0
    excess: float | None = None


@dataclass(frozen=True)
class Case:
    """All that the gate decides on.

    Attributes:
        metric: Loss that is compared.
        baseline: Name of the best baseline.
        baseline_loss: Its mean loss, as it is shown.
        candidates: Those whose forecasts could be scored; there may be none.
        p_value: Of the test of superior predictive ability; None where there was none.
        origins: Scored origins.
        required: Independent origins that the declared power needs.
        leaking: Features that use what was not yet known.
        incumbent: Contender of the served model, where that comes from the same procedure and can be compared.
    """

    metric: Metric
    baseline: str
    baseline_loss: float
    candidates: tuple[Candidate, ...]
    p_value: float | None
    origins: int
    required: int
    leaking: tuple[str, ...] = ()
    incumbent: str | None = None


def decide(case: Case, policy: Promotion) -> Verdict:
    """Return the gate's decision, with its reason in numbers as one sentence."""
    ranked = sorted(case.candidates, key=lambda candidate: candidate.loss)
    best = ranked[0] if ranked else None
    if case.leaking:
        names = ", ".join(case.leaking)
        knows = "uses" if len(case.leaking) == 1 else "use"
        return _refuse(case, best, "LeakageDetected", f"{names} {knows} what was not yet known at the forecast origin")
    if best is None:
        message = f"the job has no candidate beside the baselines, of which {_own_loss(case)} is the smallest loss"
        return _refuse(case, None, "NotBetterThanBaseline", message)
    if policy.policy == "Force":
        return _promote(
            case, best, "Forced", f"policy Force promotes {best.name} whatever the evidence: {_found(case, best)}"
        )
    if case.incumbent is not None:
        return _judge_refit(case, case.incumbent, ranked, policy)
    return _judge_new(case, ranked, policy)


def _judge_new(case: Case, ranked: list[Candidate], policy: Promotion) -> Verdict:
    enough = [candidate for candidate in ranked if candidate.effective >= case.required]
    superior = [candidate for candidate in enough if candidate.superior]
    if not enough or (not superior and any(candidate.superior for candidate in ranked)):
        message = (
            f"{_origins(case, ranked[0])}, and an advantage of {policy.effect_size:g} standard deviations needs "
            f"{count(case.required)} to be seen with power {policy.power:g}"
        )
        return _refuse(case, ranked[0], "InsufficientEvidence", message)
    if not superior:
        return _refuse(
            case, ranked[0], "NotBetterThanBaseline", f"{_compared(case, ranked[0])} ({_test(case, ranked[0], policy)})"
        )
    covered = [candidate for candidate in superior if candidate.coverage.inside]
    if not covered:
        message = f"{_covered(superior[0])}, although {_compared(case, superior[0])}"
        return _refuse(case, superior[0], "CoverageOutOfBand", message)
    chosen = covered[0]
    message = f"{_compared(case, chosen)} ({_test(case, chosen, policy)})"
    if policy.policy == "Manual":
        return _refuse(
            case,
            chosen,
            "ManualApprovalRequired",
            f"{chosen.name} waits for approval (policy Force gives it): {message}",
        )
    return _promote(case, chosen, "BetterThanBaseline", message)


def _judge_refit(case: Case, incumbent: str, ranked: list[Candidate], policy: Promotion) -> Verdict:
    standing = [candidate for candidate in ranked if candidate.superior or candidate.name == incumbent]
    sound = [candidate for candidate in standing if candidate.worse_p_value > policy.significance]
    if not sound:
        worst = standing[0] if standing else ranked[0]
        message = f"{_compared(case, worst)} (Diebold-Mariano p = {probability(worst.worse_p_value)})"
        return _refuse(case, worst, "NotBetterThanBaseline", message)
    covered = [candidate for candidate in sound if candidate.coverage.inside]
    if not covered:
        return _refuse(
            case, sound[0], "CoverageOutOfBand", f"{_covered(sound[0])}, although {_compared(case, sound[0])}"
        )
    within = [candidate for candidate in covered if candidate.excess is None or candidate.excess <= policy.margin]
    chosen = within[0] if within else covered[0]
    excess = 0.0 if chosen.excess is None else chosen.excess
    side = f"{percent(abs(excess))} {'below' if excess < 0 else 'above'} the incumbent's"
    sure = f"with {percent(1 - policy.significance)} confidence"
    if not within:
        message = (
            f"the refit's {case.metric} may be {side} ({sure}), more than the margin of {percent(policy.margin)}, "
            f"so the incumbent {incumbent} stays"
        )
        return _refuse(case, chosen, "WorseThanIncumbent", message, champion=incumbent)
    message = (
        f"the refit's {case.metric} is at most {side} ({sure}), within the margin of {percent(policy.margin)}, "
        f"and {_compared(case, chosen)}"
    )
    if policy.policy == "Manual":
        message = f"{chosen.name} waits for approval (policy Force gives it): {message}"
        return _refuse(case, chosen, "ManualApprovalRequired", message, champion=incumbent)
    return _promote(case, chosen, "NotWorseThanIncumbent", message)


def _promote(case: Case, chosen: Candidate, reason: Reason, message: str) -> Verdict:
    return Verdict(
        promoted=True,
        reason=reason,
        message=message,
        champion=chosen.name,
        candidate=chosen.name,
        baseline=case.baseline,
    )


def _refuse(case: Case, best: Candidate | None, reason: Reason, message: str, champion: str = "") -> Verdict:
    return Verdict(
        promoted=False,
        reason=reason,
        message=message,
        champion=champion or case.baseline,
        candidate=best.name if best else None,
        baseline=case.baseline,
    )


def _own_loss(case: Case) -> str:
    return f"{case.baseline}'s {case.metric} {amount(case.baseline_loss)}"


def _compared(case: Case, candidate: Candidate) -> str:
    mine, theirs = pair(candidate.loss, case.baseline_loss)
    own = f"{candidate.name}'s {case.metric} {mine}"
    if candidate.loss == case.baseline_loss:
        return f"{own} equals {case.baseline}'s"
    if case.baseline_loss == 0:
        return f"{own} is above {case.baseline}'s 0"
    share = candidate.loss / case.baseline_loss - 1
    side = "below" if share < 0 else "above"
    return f"{own} is {percent(abs(share))} {side} {case.baseline}'s {theirs}"


def _origins(case: Case, candidate: Candidate) -> str:
    return f"{count(case.origins)} origins worth {count(int(candidate.effective))} independent ones"


def _found(case: Case, candidate: Candidate) -> str:
    test = "too few for a test" if case.p_value is None else f"SPA p = {probability(case.p_value)}"
    return f"{_compared(case, candidate)} ({test}, {_origins(case, candidate)})"


def _test(case: Case, candidate: Candidate, policy: Promotion) -> str:
    found = 1.0 if case.p_value is None else case.p_value
    level = f"p = {probability(found)} {'<=' if found <= policy.significance else '>'} {policy.significance:g}"
    if found <= policy.significance and not candidate.superior:
        level = f"{level} is due to another configuration"
    return f"SPA {level}, {_origins(case, candidate)}"


def _covered(candidate: Candidate) -> str:
    coverage = candidate.coverage
    return (
        f"{candidate.name}'s {percent(coverage.level)} interval held {percent(coverage.coverage)} of outcomes, outside "
        f"the band from {percent(coverage.lower)} to {percent(coverage.upper)}"
    )
