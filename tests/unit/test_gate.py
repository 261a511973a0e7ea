"""The gate as a table: each row is a case in numbers and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from presage.evaluation.gate import Candidate, Case, decide
from presage.evaluation.numbers import pair, percent
from presage.evaluation.scorecard import Coverage, Reason, Verdict
from presage.spec.evaluation import Promotion

GATE = Promotion()
FORCE = Promotion(policy="Force")
MANUAL = Promotion(policy="Manual")


def held(coverage: float) -> Coverage:
    return Coverage(level=0.9, coverage=coverage, lower=0.877, upper=0.923, width=1.5)


RIDGE = Candidate(name="ridge", loss=0.350, superior=True, effective=1210.7, coverage=held(0.905))
TREES = Candidate(name="xgboost", loss=0.360, superior=True, effective=1100.0, coverage=held(0.897))
CASE = Case(
    metric="MAE",
    baseline="window_mean",
    baseline_loss=0.376,
    candidates=(RIDGE, TREES),
    p_value=0.000999,
    origins=2304,
    required=155,
)
REFIT = replace(
    CASE,
    candidates=(replace(RIDGE, superior=False, excess=0.004), replace(TREES, superior=False, excess=-0.2)),
    incumbent="ridge",
)


def with_candidates(case: Case, *candidates: Candidate) -> Case:
    return replace(case, candidates=candidates)


NEW = {
    "the superior candidate with the smallest loss is promoted": (CASE, GATE, True, "BetterThanBaseline", "ridge"),
    "a smaller loss that is not superior does not win": (
        with_candidates(CASE, replace(RIDGE, superior=False), TREES),
        GATE,
        True,
        "BetterThanBaseline",
        "xgboost",
    ),
    "intervals that fail hand over to the next superior candidate": (
        with_candidates(CASE, replace(RIDGE, coverage=held(0.82)), TREES),
        GATE,
        True,
        "BetterThanBaseline",
        "xgboost",
    ),
    "intervals that fail everywhere leave the baseline": (
        with_candidates(CASE, replace(RIDGE, coverage=held(0.82)), replace(TREES, coverage=held(0.95))),
        GATE,
        False,
        "CoverageOutOfBand",
        "window_mean",
    ),
    "intervals that hold do not help a candidate that is not superior": (
        with_candidates(CASE, replace(RIDGE, coverage=held(0.82)), replace(TREES, superior=False)),
        GATE,
        False,
        "CoverageOutOfBand",
        "window_mean",
    ),
    "an advantage within chance is refused": (
        replace(with_candidates(CASE, replace(RIDGE, superior=False)), p_value=0.31),
        GATE,
        False,
        "NotBetterThanBaseline",
        "window_mean",
    ),
    "a small p-value that an earlier configuration caused promotes nobody": (
        with_candidates(CASE, replace(RIDGE, superior=False)),
        GATE,
        False,
        "NotBetterThanBaseline",
        "window_mean",
    ),
    "too few independent origins are no verdict even for a superior candidate": (
        with_candidates(CASE, replace(RIDGE, effective=154.9)),
        GATE,
        False,
        "InsufficientEvidence",
        "window_mean",
    ),
    "exactly as many independent origins as needed are enough": (
        with_candidates(CASE, replace(RIDGE, effective=155.0)),
        GATE,
        True,
        "BetterThanBaseline",
        "ridge",
    ),
    "too little evidence on the best leaves another with enough": (
        with_candidates(CASE, replace(RIDGE, effective=20.0), TREES),
        GATE,
        True,
        "BetterThanBaseline",
        "xgboost",
    ),
    "a superior candidate with too little evidence beside one that is not superior is no verdict": (
        with_candidates(CASE, replace(RIDGE, effective=20.0), replace(TREES, superior=False)),
        GATE,
        False,
        "InsufficientEvidence",
        "window_mean",
    ),
    "no test for want of origins is too little evidence": (
        replace(with_candidates(CASE, replace(RIDGE, superior=False, effective=12.0)), p_value=None, origins=12),
        GATE,
        False,
        "InsufficientEvidence",
        "window_mean",
    ),
    "a leak is refused before anything else": (
        replace(CASE, leaking=("sp500.Close.lag_1",)),
        GATE,
        False,
        "LeakageDetected",
        "window_mean",
    ),
    "a leak is refused even under policy Force": (
        replace(CASE, leaking=("sp500.Close.lag_1",)),
        FORCE,
        False,
        "LeakageDetected",
        "window_mean",
    ),
    "policy Force promotes the smallest loss without evidence": (
        replace(with_candidates(CASE, TREES, replace(RIDGE, superior=False, effective=1.0)), p_value=None),
        FORCE,
        True,
        "Forced",
        "ridge",
    ),
    "policy Manual waits although the gate is passed": (CASE, MANUAL, False, "ManualApprovalRequired", "window_mean"),
    "policy Manual gives the gate's reason where it is not passed": (
        with_candidates(CASE, replace(RIDGE, superior=False)),
        MANUAL,
        False,
        "NotBetterThanBaseline",
        "window_mean",
    ),
    "a job of baselines alone serves the best of them": (
        with_candidates(CASE),
        FORCE,
        False,
        "NotBetterThanBaseline",
        "window_mean",
    ),
}

REFITS = {
    "a refit within the margin is promoted without new proof": (REFIT, GATE, True, "NotWorseThanIncumbent", "ridge"),
    "a refit that may be worse beyond the margin leaves the incumbent": (
        with_candidates(REFIT, replace(RIDGE, superior=False, excess=0.031)),
        GATE,
        False,
        "WorseThanIncumbent",
        "ridge",
    ),
    "exactly the margin is allowed": (
        with_candidates(REFIT, replace(RIDGE, superior=False, excess=0.02)),
        GATE,
        True,
        "NotWorseThanIncumbent",
        "ridge",
    ),
    "a refit that is worse than the baseline for certain hands over to it": (
        with_candidates(REFIT, replace(RIDGE, loss=0.4, superior=False, excess=0.0, worse_p_value=0.01)),
        GATE,
        False,
        "NotBetterThanBaseline",
        "window_mean",
    ),
    "a refit that is worse than the baseline by chance stays": (
        with_candidates(REFIT, replace(RIDGE, loss=0.38, superior=False, excess=0.0, worse_p_value=0.2)),
        GATE,
        True,
        "NotWorseThanIncumbent",
        "ridge",
    ),
    "a refit whose intervals fail hands over to the baseline": (
        with_candidates(REFIT, replace(RIDGE, superior=False, excess=0.0, coverage=held(0.8))),
        GATE,
        False,
        "CoverageOutOfBand",
        "window_mean",
    ),
    "another contender takes over a refit only where it is superior": (
        with_candidates(REFIT, replace(RIDGE, loss=0.37, excess=0.0), replace(TREES, excess=-0.03)),
        GATE,
        True,
        "NotWorseThanIncumbent",
        "xgboost",
    ),
    "another contender that may be worse than the incumbent leaves its own refit": (
        with_candidates(REFIT, replace(RIDGE, loss=0.37, excess=0.0), replace(TREES, excess=0.1)),
        GATE,
        True,
        "NotWorseThanIncumbent",
        "ridge",
    ),
    "a refit needs no 155 independent origins": (
        with_candidates(REFIT, replace(RIDGE, superior=False, excess=0.0, effective=30.0)),
        GATE,
        True,
        "NotWorseThanIncumbent",
        "ridge",
    ),
    "policy Manual leaves the incumbent": (REFIT, MANUAL, False, "ManualApprovalRequired", "ridge"),
    "policy Force refits whatever the comparison says": (
        with_candidates(REFIT, replace(RIDGE, superior=False, excess=9.0)),
        FORCE,
        True,
        "Forced",
        "ridge",
    ),
}


@pytest.mark.parametrize(
    ("case", "policy", "promoted", "reason", "champion"), list((NEW | REFITS).values()), ids=list(NEW | REFITS)
)
def test_the_gate(case: Case, policy: Promotion, promoted: bool, reason: Reason, champion: str) -> None:
    verdict = decide(case, policy)
    assert (verdict.promoted, verdict.reason, verdict.champion) == (promoted, reason, champion)
    assert verdict.baseline == "window_mean"
    assert verdict.candidate == (champion if promoted else verdict.candidate)
    assert decide(replace(case, candidates=case.candidates[::-1]), policy) == verdict


def say(case: Case, policy: Promotion = GATE) -> str:
    verdict: Verdict = decide(case, policy)
    return verdict.message


def test_a_promotion_says_its_advantage_its_test_and_its_evidence() -> None:
    assert say(CASE) == (
        "ridge's MAE 0.350 is 6.9 % below window_mean's 0.376 "
        "(SPA p = 0.001 <= 0.05, 2,304 origins worth 1,210 independent ones)"
    )


def test_a_refusal_says_its_disadvantage() -> None:
    worse = replace(with_candidates(CASE, replace(RIDGE, loss=0.3771, superior=False)), p_value=0.6234)
    assert say(worse) == (
        "ridge's MAE 0.377 is 0.29 % above window_mean's 0.376 "
        "(SPA p = 0.62 > 0.05, 2,304 origins worth 1,210 independent ones)"
    )


def test_too_little_evidence_says_how_much_would_do() -> None:
    assert say(with_candidates(CASE, replace(RIDGE, effective=41.2))) == (
        "2,304 origins worth 41 independent ones, and an advantage of 0.2 standard deviations needs 155 to be seen "
        "with power 0.8"
    )


def test_coverage_out_of_band_says_what_was_held_and_what_was_allowed() -> None:
    assert say(with_candidates(CASE, replace(RIDGE, coverage=held(0.8214)))) == (
        "ridge's 90 % interval held 82.1 % of outcomes, outside the band from 87.7 % to 92.3 %, "
        "although ridge's MAE 0.350 is 6.9 % below window_mean's 0.376"
    )


def test_a_refit_says_its_bound_and_the_margin() -> None:
    assert say(REFIT) == (
        "the refit's MAE is at most 0.4 % above the incumbent's (with 95 % confidence), within the margin of 2 %, "
        "and ridge's MAE 0.350 is 6.9 % below window_mean's 0.376"
    )
    assert say(with_candidates(REFIT, replace(RIDGE, superior=False, excess=0.0312))) == (
        "the refit's MAE may be 3.1 % above the incumbent's (with 95 % confidence), more than the margin of 2 %, "
        "so the incumbent ridge stays"
    )


def test_a_leak_names_its_features() -> None:
    assert say(replace(CASE, leaking=("a", "b"))) == "a, b use what was not yet known at the forecast origin"


@pytest.mark.parametrize("name", list(NEW | REFITS))
def test_every_message_is_one_line_without_an_unfilled_number(name: str) -> None:
    case, policy, *_ = (NEW | REFITS)[name]
    message = say(case, policy)
    assert message
    assert not {"nan", "inf", "None", "\n"} & set(message.replace("(", " ").split(" "))


@pytest.mark.parametrize(
    ("first", "second", "texts"),
    [
        pytest.param(0.35, 0.376, ("0.350", "0.376"), id="three digits tell them apart"),
        pytest.param(11.374, 11.353, ("11.37", "11.35"), id="a fourth digit is needed"),
        pytest.param(1234.5, 1236.1, ("1,234", "1,236"), id="thousands are whole"),
        pytest.param(1234.51, 1234.62, ("1,234.5", "1,234.6"), id="thousands that are close are not"),
        pytest.param(1.0, 1.0, ("1.00000", "1.00000"), id="equal values have six digits"),
        pytest.param(3.1e-7, 4.2e-7, ("3.1e-07", "4.2e-07"), id="tiny values have an exponent"),
        pytest.param(0.0, 2.0, ("0.00", "2.00"), id="zero"),
    ],
)
def test_compared_values_are_told_apart(first: float, second: float, texts: tuple[str, str]) -> None:
    assert pair(first, second) == texts


@pytest.mark.parametrize(
    ("share", "text"), [(0.9, "90 %"), (0.8214, "82.1 %"), (0.00187, "0.19 %"), (1.5, "150 %"), (0.0, "0 %")]
)
def test_shares_in_percent(share: float, text: str) -> None:
    assert percent(share) == text
