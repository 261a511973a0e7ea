"""What runs amount to: history, the last that ended well, what it told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import operator_case as case
import pytest
from operator_case import JOB, MINUTE, NOW, OTHER, a_failure, a_run, observed, told

from presage.spec.digest import run_digest
from presage.spec.outcome import Failure, RunOutcome
from presage.spec.status import PredictionJobStatus, RunSummary
from presage_operator import runs
from presage_operator.observed import Observed


def known(seen: Observed, now=NOW + MINUTE) -> tuple[RunSummary, ...]:
    return runs.history(seen.job, seen.runs, now)


def test_the_newest_run_comes_first() -> None:
    seen = observed(JOB, a_run("b", at=NOW), a_run("c", at=NOW + MINUTE), a_run("a", at=NOW))
    assert [one.name for one in known(seen)] == ["c", "b", "a"]


def test_a_run_that_went_while_it_was_under_way_was_cancelled_then_and_not_later() -> None:
    seen = told(observed(JOB, a_run(state="Running")))
    gone = told(replace(seen, runs=()), NOW + MINUTE)
    (first,) = gone.job.status.runs
    assert (first.state, first.reason, first.completion_time) == ("Cancelled", "Deleted", NOW + MINUTE)
    assert known(gone, NOW + 5 * MINUTE) == (first,)


def test_a_run_that_was_thought_gone_and_is_there_goes_on() -> None:
    seen = told(observed(JOB, a_run(state="Running")))
    gone = told(replace(seen, runs=()), NOW + MINUTE)
    assert known(replace(gone, runs=seen.runs))[0].state == "Running"


@pytest.mark.parametrize(
    "ended",
    [a_run(), a_failure(retry=False), a_failure(retry=True), a_run(state="Failed", reason="OOMKilled", message="137")],
    ids=["well", "for good", "for now", "killed"],
)
def test_what_was_told_of_a_run_s_end_stays_when_its_pod_goes(ended) -> None:
    seen = told(observed(JOB, ended), ended.completed_at)
    left = replace(seen, runs=(case.silent(ended),))
    assert known(left, NOW + timedelta(days=1)) == seen.job.status.runs


def test_what_a_pod_tells_late_is_heard() -> None:
    ended = a_run(state="Failed", reason="BackoffLimitExceeded", message="it has reached the limit")
    seen = told(observed(JOB, ended), ended.completed_at)
    (summary,) = known(replace(seen, runs=(a_failure(retry=False),)))
    assert (summary.reason, summary.retry) == ("SourceUnavailableError", False)


def test_a_lost_outcome_that_is_found_counts() -> None:
    lost = case.silent(a_run())
    late = NOW + timedelta(hours=1)
    seen = told(observed(JOB, lost), late)
    assert seen.job.status.runs[0].reason == runs.OUTCOME_LOST
    assert known(replace(seen, runs=(a_run(),)), late)[0].state == "Succeeded"


def test_another_run_of_the_same_name_is_told_anew() -> None:
    seen = told(observed(JOB, a_run()), NOW + MINUTE)
    again = a_run(state="Running", at=NOW + timedelta(hours=1))
    assert known(replace(seen, runs=(again,)))[0].state == "Running"


def test_the_failure_of_an_earlier_pod_is_none_of_a_run_that_ended_well() -> None:
    failure = RunOutcome(failure=Failure(reason="StorageError", message="the disk is full", retry=True))
    seen = observed(JOB, a_run(outcome=failure))
    assert known(seen, NOW + timedelta(hours=1))[0].reason == runs.OUTCOME_LOST
    assert runs.newest_outcome(known(seen), seen.runs) is None


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "Running"), (29, "Running"), (30, "Failed")], ids=["at once", "in time", "too late"]
)
def test_the_outcome_of_a_run_that_ended_well_is_waited_for(seconds: int, state: str) -> None:
    lost = case.silent(a_run())
    now = lost.completed_at + timedelta(seconds=seconds)
    (summary,) = known(observed(JOB, lost), now)
    assert summary.state == state
    assert (summary.completion_time is None) == (state == "Running")


def test_an_earlier_outcome_is_not_taken_for_the_newest() -> None:
    first, second = a_run("a"), a_run("b", at=NOW + 5 * MINUTE)
    seen = told(observed(JOB, first, second), NOW + 10 * MINUTE)
    assert runs.newest_outcome(known(seen), seen.runs).run == "b"
    for left in ((first,), (first, case.silent(second))):
        assert runs.newest_outcome(known(replace(seen, runs=left)), left) is None


def test_the_run_that_ended_last_counts_not_the_one_that_started_last() -> None:
    long, short = a_run("a", minutes=60), a_run("b", at=NOW + 5 * MINUTE)
    seen = observed(JOB, long, short)
    assert runs.newest_success(known(seen)).name == "a"


def test_a_training_settles_the_spec_that_it_ran_until_another_one_s_ends_well() -> None:
    first, second = a_run("a"), a_run("b", OTHER, at=NOW + 5 * MINUTE)
    assert runs.settles(known(observed(JOB, first)), run_digest(JOB))
    between = known(observed(JOB, first, second))
    assert not runs.settles(between, run_digest(JOB))
    assert runs.settles(between, run_digest(OTHER))
    forecast = a_run("c", OTHER, at=NOW + 5 * MINUTE, cadence="Forecast")
    assert runs.settles(known(observed(JOB, first, forecast)), run_digest(JOB))


def test_runs_that_decisions_rest_on_are_kept_before_all_others() -> None:
    trained, forecast = a_run("train"), a_run("forecast", at=NOW, cadence="Forecast")
    failures = [a_failure(f"failed-{i:03}", at=NOW + i * MINUTE, cadence="Forecast") for i in range(1, 150)]
    kept = runs.kept(known(observed(JOB, trained, forecast, *failures)), frozenset())
    assert len(kept) == 100
    assert [one.name for one in kept[-2:]] == ["train", "forecast"]
    assert kept[0].name == "failed-149"


def test_runs_whose_child_is_there_are_kept_before_those_that_are_gone() -> None:
    trained = a_run("a-train", at=NOW + timedelta(days=1))
    many = [a_failure(f"failed-{i:03}", at=NOW + i * MINUTE) for i in range(150)]
    kept = runs.kept(known(observed(JOB, trained, *many)), frozenset({"failed-000"}))
    assert kept[-1].name == "failed-000"


def test_of_many_cancelled_runs_the_newest_ten_are_kept() -> None:
    many = [a_run(f"run-{i:03}", at=NOW + i * MINUTE, state="Running") for i in range(60)]
    gone = told(replace(told(observed(JOB, *many)), runs=()), NOW + timedelta(days=1))
    trained = a_run("train", at=NOW - timedelta(days=1))
    kept = runs.kept(known(replace(gone, runs=(trained,))), frozenset({"train"}))
    assert [one.name for one in kept] == [*(f"run-{i:03}" for i in range(59, 49, -1)), "train"]


def test_a_cancelled_run_whose_child_is_there_is_kept() -> None:
    many = [RunSummary(name=f"run-{i:03}", cadence="Train", state="Cancelled") for i in range(60)]
    kept = runs.kept(tuple(many), frozenset({"run-059"}))
    assert [one.name for one in kept] == [*(f"run-{i:03}" for i in range(10)), "run-059"]


def test_a_champion_takes_the_head_once() -> None:
    job = observed().job
    first, second = case.an_outcome("one"), case.an_outcome("two")
    champions = runs.champions(job, first)
    job = replace(job, status=PredictionJobStatus(champions=champions))
    assert runs.champions(job, first) == runs.champions(job, None) == champions
    assert [one.run for one in runs.champions(job, second)] == ["two", "one"]


def test_a_champion_that_comes_back_takes_the_head_again() -> None:
    status = PredictionJobStatus(champions=(case.a_champion("two"), case.a_champion("one")))
    job = replace(observed().job, status=status)
    back = runs.champions(job, case.a_forecast_outcome(case.a_champion("one", reason="Rollback")))
    assert [one.run for one in back] == ["one", "two", "one"]


def test_runs_that_are_being_deleted_are_not_under_way() -> None:
    children = (a_run("a", state="Running"), a_run("b", state="Running", deleting=True), a_run("c"))
    assert [run.name for run in runs.active(children)] == ["a"]
    assert runs.active(children, "Forecast") == ()


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("as it is", 20, "as it is"),
        ("two\n  lines\tand more", 99, "two lines and more"),
        ("\x1b[31mred\x1b[0m", 99, "[31mred [0m"),
        ("x" * 9, 8, "xxxxx…"),
        ("é" * 9, 8, "éé…"),
        ("\ud800", 9, "\ud800".encode(errors="replace").decode()),
    ],
    ids=["short", "lines", "a terminal's commands", "long", "never half a letter", "half a pair"],
)
def test_a_message_is_one_line_of_so_many_bytes(text: str, longest: int, expected: str) -> None:
    made = runs.sentence(text, longest)
    assert made in {expected, ""}
    assert len(made.encode()) <= longest
    assert runs.sentence(made, longest) == made
