"""Events: what people are told when a state turns, and that nothing is told twice."""

from __future__ import annotations

from dataclasses import replace

import operator_case as case
import pytest
from operator_case import JOB, MINUTE, NOW, a_failure, a_run, a_server, observed

from presage.spec.status import PredictionJobStatus
from presage_operator.observed import Observed
from presage_operator.transitions import LONGEST_NOTE, Note, transitions


def told_of(*steps: Observed) -> list[list[tuple[str, str]]]:
    """Types and reasons of the events of each step, one minute after the other."""
    before, events = PredictionJobStatus(), []
    for minute, seen in enumerate(steps):
        after = case.status(replace(seen, job=replace(seen.job, status=before)), NOW + minute * MINUTE)
        events.append([(note.type, note.reason) for note in transitions(before, after)])
        before = after
    return events


def test_a_new_job_is_no_news() -> None:
    assert told_of(observed()) == [[]]


def test_a_state_that_stays_is_told_once() -> None:
    seen = observed(JOB, a_run(), server=a_server())
    assert told_of(seen, seen)[1] == []


def test_the_way_of_a_job_to_its_first_forecast_is_told() -> None:
    assert told_of(
        observed(),
        observed(JOB, a_run(state="Pending")),
        observed(JOB, a_run(state="Running")),
        observed(JOB, a_run()),
        observed(JOB, a_run(), server=a_server()),
    ) == [
        [],
        [("Normal", "RunStarted")],
        [],
        [("Normal", "RunSucceeded"), ("Normal", "Passed")],
        [("Normal", "ChampionServed"), ("Normal", "ChampionServed")],
    ]


def test_trouble_of_a_run_under_way_is_no_event() -> None:
    waiting = a_run(state="Running", reason="ErrImagePull", message="not found")
    other = replace(waiting, reason="ImagePullBackOff", message="back-off")
    assert told_of(observed(JOB, waiting), observed(JOB, other), observed(JOB, waiting))[1:] == [[], []]


def test_a_failure_is_a_warning_with_its_reason_and_its_message() -> None:
    before = case.status(observed(JOB, a_run(state="Running")))
    failed = observed(JOB, a_failure(retry=False, reason="DataError", message="a column is missing."))
    notes = transitions(before, case.status(failed))
    assert notes[0] == Note("Warning", "DataError", "Run", "train run sp500-00000001 failed: a column is missing.")
    assert [(note.type, note.action) for note in notes[1:]] == [("Warning", "Stalled")]


def test_a_run_that_was_cancelled_is_told() -> None:
    assert told_of(observed(JOB, a_run(state="Running")), observed())[1] == [("Normal", "RunCancelled")]


def test_a_model_that_is_not_promoted_is_an_answer_not_a_warning() -> None:
    outcome = case.an_outcome("one", champion=case.a_champion("one", reason="WorseThanBaseline"), promoted=False)
    seen = observed(JOB, a_run(outcome=outcome), server=a_server(run="one"))
    events = told_of(observed(JOB, a_run(state="Running")), seen)[1]
    assert {type_ for type_, _ in events} == {"Normal"}
    assert ("Normal", "WorseThanIncumbent") in events


def test_a_server_that_no_longer_answers_is_a_warning() -> None:
    seen = observed(JOB, a_run(), server=a_server())
    down = replace(seen, server=a_server(available=False, reason="MinimumReplicasUnavailable"))
    assert told_of(seen, down)[1] == [("Warning", "MinimumReplicasUnavailable")] * 2


def test_a_job_that_is_refused_and_mended_is_told_each_time() -> None:
    seen = observed(JOB, a_run(), server=a_server())
    events = told_of(seen, case.refused(seen), seen)
    assert [type_ for type_, _ in events[1]] == ["Warning", "Warning"]
    assert [type_ for type_, _ in events[2]] == ["Normal", "Normal"]


def test_runs_are_told_in_the_order_in_which_they_started() -> None:
    seen = observed(JOB, a_run("a", at=NOW + MINUTE), a_run("b"))
    messages = [note.message for note in transitions(PredictionJobStatus(), case.status(seen))]
    assert messages[:2] == ["train run b succeeded", "train run a succeeded"]


@pytest.mark.parametrize("letter", ["x", "é", "🚀"], ids=["plain", "accent", "emoji"])
def test_a_note_is_no_longer_than_the_api_server_takes(letter: str) -> None:
    seen = case.refused(observed(), message=letter * 5000)
    before = case.status(observed())
    notes = transitions(before, case.status(seen))
    assert notes
    assert all(0 < len(note.message.encode()) <= LONGEST_NOTE for note in notes)
