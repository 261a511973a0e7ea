"""A rollback that is asked for by annotations: when it starts, what it is told, and what comes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import operator_case as case
import pytest
from operator_case import JOB, MINUTE, NOW, OTHER, World, a_failure, a_run, observed, served, told

from presage.spec.digest import run_digest
from presage.spec.outcome import Failure, RunOutcome
from presage.spec.status import Champion, HandledRequests, PredictionJobStatus
from presage_operator import names, runs
from presage_operator.actions import Guard, Nothing, StartRun
from presage_operator.capabilities import Backends
from presage_operator.conditions import status_of
from presage_operator.desired.run import run_job
from presage_operator.observed import ObservedRun, Rollback
from presage_operator.records import job_record
from presage_operator.settings import Settings

REQUEST = "2026-03-02T12:30:00.000000Z"
ASKED = Rollback("too narrow", "ana", "first", "second")
HOURLY = {"schedule": "0 * * * *"}


def served_twice(job=JOB) -> World:
    """A job whose second training took over from the first: runs `first` and `second` of the lake."""
    world = served(job)
    world.now += 10 * MINUTE
    world.request("Train", "again")
    world.settle()
    world.end_well()
    world.settle()
    assert len(world.seen.job.status.champions) == 2
    return world


def ask(world: World, said: Rollback = ASKED, request: str = REQUEST) -> None:
    """Ask for a rollback."""
    world.request("Rollback", request)
    world.seen = replace(world.seen, job=replace(world.seen.job, rollback=said))


def rollback_of(world: World) -> StartRun:
    """The newest run that was started, which must be a rollback."""
    assert world.starts[-1].cadence == "Rollback"
    return world.starts[-1]


def end_back(world: World) -> Champion:
    """Let the rollback under way end well, with the first champion."""
    first = world.seen.job.status.champions[-1]
    back = first.model_copy(
        update={"since": world.now, "reason": "RolledBack", "message": "too narrow", "by": "ana", "promoted": True}
    )
    world.go_on(
        lambda run: replace(
            run, state="Succeeded", completed_at=world.now, outcome=RunOutcome(run=back.run, champion=back)
        )
    )
    return back


def fail_back(world: World, *, retry: bool) -> None:
    """Let the rollback under way fail."""
    said = Failure(reason="LakeConflictError" if retry else "JobError", message="there is no way back.", retry=retry)
    world.go_on(
        lambda run: replace(
            run, state="Failed", completed_at=world.now, outcome=RunOutcome(failure=said), reason="Error"
        )
    )


def test_a_request_starts_one_rollback_with_the_words_of_who_asked() -> None:
    world = served_twice()
    ask(world)
    assert isinstance(world.settle().action, Nothing)
    start = rollback_of(world)
    assert (start.trigger, start.attempt, start.request, start.rollback) == ("Request", 1, REQUEST, ASKED)
    assert start.name == names.run_name("sp500", case.UID, "Rollback", f"request:{REQUEST}")
    assert len(world.starts) == 3
    assert world.seen.job.status.handled_requests == HandledRequests(train="again", rollback=REQUEST)


def test_a_request_without_words_rolls_back_what_serves_when_it_is_obeyed() -> None:
    world = served_twice()
    newest = world.seen.job.status.champions[0].run
    ask(world, Rollback())
    world.settle()
    assert rollback_of(world).rollback == Rollback("asked for without a reason", "an annotation", None, newest)


def test_a_champion_whose_run_has_just_ended_is_what_serves() -> None:
    world = served()
    world.request("Train", "again")
    world.settle()
    world.end_well()
    ask(world, Rollback())
    world.settle()
    start = rollback_of(world)
    assert start.rollback is not None
    assert start.rollback.serving == world.starts[-2].name


def test_a_rollback_that_ended_well_is_served_with_its_reason() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    back = end_back(world)
    world.settle()
    status = world.seen.job.status
    assert status.champions[0] == back
    assert [one.reason for one in status.champions] == ["RolledBack", "BetterThanBaseline", "BetterThanBaseline"]
    assert world.seen.server is not None
    assert world.seen.server.run == back.run
    ready = case.condition(status)
    assert (ready.status, ready.reason) == ("True", "RolledBack")
    assert ready.message == f"forecasts come from ridge of run {back.run}, by a rollback: too narrow"
    assert case.condition(status, "Promoted").status == "True", "the verdict on the training stands"


def test_a_rollback_is_obeyed_once_also_by_an_operator_that_starts_anew() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    end_back(world)
    world.settle()
    world.forget_pods()
    world.settle()
    world.seen = replace(world.seen, runs=())
    world.settle()
    assert len(world.starts) == 3
    assert world.seen.job.status.champions[0].reason == "RolledBack"
    ask(world, request="another")
    world.settle()
    assert len(world.starts) == 4


def test_a_rollback_waits_for_a_training_under_way_and_goes_before_what_else_is_due() -> None:
    world = served(case.scheduled(train=HOURLY, forecast=HOURLY))
    world.request("Train", "again")
    world.settle()
    world.now = NOW + 61 * MINUTE
    ask(world)
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train", "Train"]
    world.end_well()
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train", "Train", "Rollback"]
    end_back(world)
    world.settle()
    assert [one.cadence for one in world.starts][3:] == ["Train"]


def test_a_suspended_schedule_does_not_hold_a_rollback_back() -> None:
    world = served_twice(case.scheduled(train=HOURLY))
    suspended = {**HOURLY, "suspend": True}
    world.respec(case.scheduled(train=suspended, forecast=suspended))
    ask(world)
    world.settle()
    assert rollback_of(world).rollback == ASKED


def test_a_changed_spec_does_not_end_a_rollback_under_way_and_is_trained_after_it() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    world.respec(OTHER)
    world.settle()
    assert [one.cadence for one in world.starts][2:] == ["Rollback"]
    end_back(world)
    world.settle()
    assert [one.cadence for one in world.starts][2:] == ["Rollback", "Train"]
    assert world.starts[-1].run_digest == run_digest(OTHER)


def test_a_rollback_without_a_champion_is_tried_and_told() -> None:
    world = World(observed())
    ask(world, Rollback("bad", "ana"))
    world.settle()
    assert rollback_of(world).rollback == Rollback("bad", "ana", None, None)
    fail_back(world, retry=False)
    world.settle()
    assert [one.cadence for one in world.starts] == ["Rollback", "Train"]


def test_a_rollback_that_fails_is_told_and_leaves_the_job_ready() -> None:
    world = served_twice()
    before = world.seen.job.status
    ask(world)
    world.settle()
    fail_back(world, retry=False)
    world.settle()
    status = world.seen.job.status
    assert (status.runs[0].cadence, status.runs[0].state, status.runs[0].reason) == ("Rollback", "Failed", "JobError")
    assert status.runs[0].message == "there is no way back."
    assert (status.conditions, status.champions, status.phase) == (before.conditions, before.champions, "Serving")
    world.now += timedelta(hours=2)
    world.settle()
    assert len(world.starts) == 3, "no repeat mends it"


def test_a_rollback_that_may_succeed_later_is_tried_again_with_the_same_words() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    fail_back(world, retry=True)
    again_at = world.settle().again_at
    assert again_at == world.now + MINUTE
    world.now = again_at
    world.settle()
    start = rollback_of(world)
    assert (start.trigger, start.attempt, start.request, start.rollback) == ("Retry", 2, REQUEST, ASKED)
    assert len(world.starts) == 4


def test_a_rollback_whose_word_was_lost_is_said_again() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    world.go_on(lambda run: replace(run, state="Succeeded", completed_at=world.now, outcome=None))
    world.now += runs.OUTCOME_WAIT + MINUTE
    world.settle()
    assert rollback_of(world).attempt == 2
    back = end_back(world)
    world.settle()
    assert world.seen.job.status.champions[0] == back


def test_a_rollback_is_not_repeated_once_another_champion_came() -> None:
    world = served_twice()
    ask(world, Rollback())
    world.settle()
    fail_back(world, retry=True)
    world.settle()
    world.request("Train", "newer")
    world.settle()
    newer = case.a_champion("third").model_copy(update={"since": world.now + MINUTE})
    outcome = case.an_outcome("third", champion=newer)
    world.go_on(lambda run: replace(run, state="Succeeded", completed_at=world.now, outcome=outcome))
    world.settle()
    world.now += timedelta(hours=2)
    world.settle()
    assert [one.cadence for one in world.starts][2:] == ["Rollback", "Train"]


def test_a_rollback_that_is_not_asked_for_any_more_is_not_repeated() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    fail_back(world, retry=True)
    world.settle()
    world.seen = replace(world.seen, job=replace(world.seen.job, requested={"Train": "again"}))
    world.now += timedelta(hours=2)
    world.settle()
    assert len(world.starts) == 3


def test_with_kubeflow_a_rollback_is_a_kubernetes_job_and_needs_no_finalizer() -> None:
    world = served_twice()
    world.backends = Backends("kubeflow", "deployment")
    ask(world)
    world.settle()
    assert rollback_of(world).rollback == ASKED
    assert "Guard" not in world.actions
    end_back(world)
    world.settle()
    world.request("Train", "later")
    assert isinstance(case.decided(world.seen, world.now, backends=world.backends).action, Guard)


def test_finished_rollbacks_are_kept_as_few_as_finished_runs_of_a_cadence() -> None:
    world = served_twice()
    for number in range(6):
        world.now += 10 * MINUTE
        ask(world, request=f"request {number}")
        world.settle()
        end_back(world)
        world.settle()
        world.vanish()
    world.settle()
    world.vanish()
    assert len([run for run in world.seen.runs if run.cadence == "Rollback"]) == 3
    assert len([run for run in world.seen.job.status.runs if run.cadence == "Rollback"]) == 6


def test_a_rollback_under_way_is_told_as_promoting() -> None:
    world = served_twice()
    ask(world)
    world.settle()
    world.go_on(lambda run: replace(run, state="Running"))
    world.settle()
    assert world.seen.job.status.phase == "Promoting"


def test_words_of_a_champion_are_kept_short() -> None:
    back = case.a_champion("one", reason="RolledBack").model_copy(update={"message": "é" * 900, "by": "ü" * 200})
    seen = told(observed(JOB, a_run(outcome=RunOutcome(run="one", champion=back))))
    (kept,) = seen.job.status.champions
    assert kept.message is not None
    assert kept.by is not None
    assert len(kept.message.encode()) <= runs.MESSAGE_BYTES
    assert len(kept.by.encode()) <= runs.NAME_BYTES


def test_a_status_of_an_earlier_version_reads_and_stays_as_it_is() -> None:
    digest = "sha256:" + "a" * 64
    text = (
        '{"champions":[{"model":"ridge","run":"one","since":"2026-03-02T12:00:00Z","reason":"BetterThanBaseline",'
        f'"digest":"{digest}"}}],"handledRequests":{{"train":"now"}}}}'
    )
    status = PredictionJobStatus.model_validate_json(text)
    assert json.loads(status.model_dump_json(by_alias=True, exclude_none=True, exclude_unset=True)) == json.loads(text)
    seen = observed(JOB, status=status)
    after = status_of(case.BACKENDS, seen, NOW)
    assert (after.champions, after.handled_requests) == (status.champions, status.handled_requests)


def container(said: Rollback | None, cadence: str = "Rollback") -> dict:
    start = StartRun(case.UID, "sp500-1", cadence, "Request", 1, NOW, run_digest(JOB), request=REQUEST, rollback=said)
    made = run_job(JOB, start, Settings())
    assert made["metadata"]["labels"][names.CADENCE_LABEL] == cadence
    assert made["metadata"]["annotations"][names.REQUEST] == REQUEST
    return made["spec"]["template"]["spec"]["containers"][0]


def test_a_rollback_is_the_pod_of_any_run_with_another_command() -> None:
    made, training = container(ASKED), container(None, "Train")
    assert made["args"][0] == "rollback"
    assert made["args"][1 : len(training["args"])] == training["args"][1:]
    assert made["args"][len(training["args"]) :] == ["--reason=too narrow", "--by=ana", "--to=first", "--from=second"]
    assert {name: part for name, part in made.items() if name != "args"} == {
        name: part for name, part in training.items() if name != "args"
    }


def test_words_of_a_rollback_are_neither_options_nor_variables_of_the_pod() -> None:
    said = Rollback("--outcome=x $(AWS_SECRET_ACCESS_KEY) $$ $x", "-h", None, None)
    assert container(said)["args"][-2:] == [
        "--reason=--outcome=x $$(AWS_SECRET_ACCESS_KEY) $$$$ $$x",
        "--by=-h",
    ]


def record(annotations: dict[str, str]):
    head = {
        "namespace": "desk",
        "name": "sp500",
        "uid": "u",
        "creationTimestamp": "2026-03-02T12:00:00Z",
        "annotations": annotations,
    }
    return job_record({"metadata": head})


def test_a_request_for_a_rollback_is_read_from_annotations() -> None:
    read = record(
        {
            names.ROLLBACK_REQUESTED_AT: REQUEST,
            names.ROLLBACK_REASON: "too narrow",
            names.ROLLBACK_BY: "ana",
            names.ROLLBACK_TO: "first",
            names.ROLLBACK_FROM: "second",
        }
    )
    assert (read.rollback_request, read.rollback) == (REQUEST, ASKED)
    nothing = record({})
    assert (nothing.rollback_request, nothing.rollback) == (None, Rollback())


@pytest.mark.parametrize("text", ["a\nb\x00\x1b[2J", "é" * 9000], ids=["control", "long"])
def test_what_somebody_wrote_into_annotations_is_a_short_line(text: str) -> None:
    read = record(dict.fromkeys((names.ROLLBACK_REASON, names.ROLLBACK_BY, names.ROLLBACK_TO), text)).rollback
    for words in (read.reason, read.by, read.to):
        assert words is not None
        assert words.isprintable()
        assert 0 < len(words.encode()) <= 500


def test_a_failed_rollback_does_not_stand_for_the_newest_training() -> None:
    failed = a_failure("sp500-2", retry=False, cadence="Rollback", at=NOW + 10 * MINUTE)
    seen: tuple[ObservedRun, ...] = (a_run(), failed)
    status = case.status(observed(JOB, *seen, server=case.a_server()), NOW + 20 * MINUTE)
    assert case.condition(status).status == "True"
    assert case.condition(status, "Stalled").status == "False"
