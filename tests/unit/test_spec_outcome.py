"""What a run tells the platform: always JSON that fits a termination message, whatever it has to say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from presage.spec.outcome import LARGEST_MESSAGE, Failure, OutcomeCondition, RunOutcome, to_message
from presage.spec.status import Champion, ConditionType, ScorecardSummary

DIGEST = "sha256:" + 64 * "a"
CONDITIONS = get_args(ConditionType)


def full(sentence: str, reason: str = "Because") -> RunOutcome:
    """An outcome in which every field is given, and each is as long as its type allows where that is short."""
    return RunOutcome(
        run=253 * "r",
        spec_digest=DIGEST,
        conditions=tuple(
            OutcomeCondition(type=name, status="Unknown", reason=reason, message=sentence) for name in CONDITIONS
        ),
        scorecard=ScorecardSummary(
            model=63 * "m", skill=-1.2345678901234567e-300, coverage=0.1, digest=DIGEST, run=253 * "r", data=DIGEST
        ),
        champion=Champion(
            model=63 * "m",
            run=253 * "r",
            since=datetime(2026, 1, 1, 1, 1, 1, 123456, UTC),
            reason=sentence[:1024] or "-",
            digest=DIGEST,
        ),
        stale_after=datetime(2026, 1, 1, 1, 1, 1, 123456, UTC),
        failure=Failure(reason=reason, message=sentence, retry=False),
    )


def test_a_short_outcome_is_told_whole() -> None:
    outcome = full("Prices end on 3 January, “too early”.").model_copy(update={"run": "20260101T000000Z-abcdef01"})
    assert RunOutcome.model_validate_json(to_message(outcome)) == outcome


@pytest.mark.parametrize("letter", ["x", "é", "価", "😀", '"', "\\", "\n", "\x00"])
@pytest.mark.parametrize("length", [500, 1000, 100_000])
def test_long_sentences_of_any_script_are_cut_until_the_outcome_fits(letter: str, length: int) -> None:
    outcome = full(length * letter, reason=128 * "R")
    text = to_message(outcome)
    assert len(text) <= LARGEST_MESSAGE
    told = RunOutcome.model_validate_json(text)
    assert told.failure is not None
    assert told.failure.message.endswith("…")
    assert outcome.failure is not None
    assert outcome.failure.message.startswith(told.failure.message[:-1])
    assert told.scorecard == outcome.scorecard
    assert [one.reason for one in told.conditions] == [one.reason for one in outcome.conditions]


def test_one_long_sentence_is_not_cut_shorter_than_by_half() -> None:
    told = RunOutcome.model_validate_json(
        to_message(RunOutcome(failure=Failure(reason="DataError", message=4000 * "x", retry=False)))
    )
    assert told.failure is not None
    assert len(told.failure.message) > 1500


@settings(deadline=None)
@given(st.text(max_size=3000), st.integers(0, 40))
def test_any_text_gives_a_message_that_fits_and_reads_back(sentence: str, times: int) -> None:
    text = to_message(full(sentence * times))
    assert len(text) <= LARGEST_MESSAGE
    RunOutcome.model_validate_json(text)


@pytest.mark.parametrize("reason", ["", "two words", "ünlaut", "-", 129 * "x"])
def test_a_reason_is_one_word_as_conditions_want_it(reason: str) -> None:
    with pytest.raises(ValidationError):
        Failure(reason=reason, message="", retry=False)


def test_a_newer_fields_outcome_is_refused_and_not_half_read() -> None:
    with pytest.raises(ValidationError):
        RunOutcome.model_validate_json(b'{"version": "v1", "unheardOf": 1}')
