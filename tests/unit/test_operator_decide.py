"""What the operator does next for a job: runs, schedules, requests, servers, history, the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import operator_case as case
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_case import JOB, MINUTE, NOW, OTHER, World, a_failure, a_run, a_server, decided, observed, served, told

from presage.spec.job import PredictionJob
from presage.spec.status import HandledRequests, LastSchedules, PredictionJobStatus
from presage_operator.actions import (
    ApplyServer,
    DeleteRun,
    Guard,
    Nothing,
    Release,
    RemoveServer,
    StartRun,
    StopRun,
)
from presage_operator.capabilities import Backends
from presage_operator.decide import Decision
from presage_operator.desired.fault import Fault
from presage_operator.names import FINALIZER, TRAIN_REQUESTED_AT
from presage_operator.settings import Settings

HOURLY = {"schedule": "0 * * * *"}
MISSING = Fault("BackendMissing", "it is not there")


def start(decision: Decision) -> StartRun:
    assert isinstance(decision.action, StartRun), decision
    return decision.action


def test_a_new_job_starts_its_first_training() -> None:
    decision, digest = decided(observed()), observed().job.run_digest
    assert start(decision) == StartRun(case.UID, case.named(f"spec:1:{digest}"), "Train", "Spec", 1, NOW, digest)
    assert decision.reason == "SpecWantsTrain"


def test_a_suspended_training_holds_the_first_run_back() -> None:
    job = case.scheduled(train={**HOURLY, "suspend": True})
    assert decided(observed(job)) == Decision(Nothing(), "Settled", None)


def test_a_job_whose_run_is_under_way_waits() -> None:
    assert decided(told(observed(JOB, a_run(state="Running")))).action == Nothing()


def test_a_changed_spec_stops_the_run_under_way() -> None:
    assert decided(observed(OTHER, a_run(state="Running"))) == Decision(StopRun("sp500-00000001"), "SpecChanged")


def test_a_changed_spec_stops_a_forecast_under_way() -> None:
    assert decided(observed(OTHER, a_run(state="Pending", cadence="Forecast"))).reason == "SpecChanged"


def test_a_new_run_starts_only_when_the_pods_of_the_old_one_are_gone() -> None:
    world = World(observed())
    world.settle()
    world.respec(OTHER)
    world.settle()
    assert world.actions == ["StartRun", "StopRun"]
    world.vanish()
    world.settle()
    assert world.actions == ["StartRun", "StopRun", "StartRun"]
    assert [run.run_digest for run in world.under_way()] == [world.seen.job.run_digest]


def test_a_spec_that_came_back_while_its_first_run_goes_on_starts_nothing() -> None:
    world = World(observed())
    world.settle()
    world.respec(OTHER)
    world.respec(JOB)
    world.settle()
    assert world.actions == ["StartRun"]


def test_a_spec_that_came_back_after_its_run_was_stopped_is_run_anew_under_another_name() -> None:
    world = World(observed())
    world.settle()
    world.respec(OTHER)
    world.settle()
    world.respec(JOB)
    world.settle()
    assert world.actions == ["StartRun", "StopRun"], "the first run is still on its way out"
    world.vanish()
    world.settle()
    assert [one.trigger for one in world.starts] == ["Spec", "Spec"]
    assert len({one.name for one in world.starts}) == 2


def test_a_spec_that_came_back_after_another_one_was_trained_is_trained_anew() -> None:
    world = served()
    world.retrain(OTHER)
    world.respec(JOB)
    world.settle()
    assert len({one.name for one in world.starts}) == len(world.starts) == 3


def test_only_the_server_is_applied_where_only_the_number_of_servers_changed() -> None:
    world = served()
    world.respec(case.a_job(serving={"replicas": {"min": 2, "max": 5}}))
    world.settle()
    assert world.actions == ["StartRun", "ApplyServer", "ApplyServer"]


def test_a_run_that_was_deleted_by_hand_is_made_again_under_the_same_name() -> None:
    world = World(observed())
    world.settle()
    world.seen = told(replace(world.seen, runs=()))
    assert world.seen.job.status.runs[0].state == "Cancelled"
    world.settle()
    assert len(world.starts) == 2
    assert len({one.name for one in world.starts}) == 1


def test_a_finished_run_that_was_deleted_by_hand_is_not_made_again() -> None:
    world = served()
    world.seen = replace(world.seen, runs=())
    world.settle()
    assert world.actions == ["StartRun", "ApplyServer"]


@pytest.mark.parametrize(
    ("attempt", "minutes"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (500, 60)], ids=lambda each: f"{each}"
)
def test_a_failed_run_that_may_succeed_later_is_tried_again_after_a_wait_that_doubles(
    attempt: int, minutes: int
) -> None:
    failed = a_failure(attempt=attempt)
    again = failed.completed_at + minutes * MINUTE
    seen = told(observed(JOB, failed), failed.completed_at)
    assert decided(seen, again - timedelta(seconds=1)) == Decision(Nothing(), "Settled", again)
    repeated = start(decided(seen, again))
    assert (repeated.trigger, repeated.attempt) == ("Retry", attempt + 1)
    assert repeated.name == case.named(f"retry:{failed.name}")


def test_a_failed_run_that_cannot_succeed_waits() -> None:
    seen = told(observed(JOB, a_failure(retry=False)), NOW)
    assert decided(seen, NOW + timedelta(days=30)) == Decision(Nothing(), "Settled", None)


def test_a_failed_run_that_cannot_succeed_gives_way_to_the_next_schedule() -> None:
    job = case.scheduled(train=HOURLY)
    seen = told(observed(job, a_failure(retry=False, job=job), status=last(train=NOW)))
    assert start(decided(seen, NOW + 60 * MINUTE)).trigger == "Schedule"


def test_a_failed_run_that_cannot_succeed_gives_way_to_a_request() -> None:
    seen = told(observed(JOB, a_failure(retry=False), requested={"Train": "now"}))
    assert start(decided(seen)).trigger == "Request"


def test_a_failed_run_that_cannot_succeed_gives_way_to_another_spec() -> None:
    seen = observed(OTHER, a_failure(retry=False), generation=2)
    assert start(decided(seen)).trigger == "Spec"


def test_a_failed_run_of_which_only_the_pod_is_gone_is_not_tried_again() -> None:
    failed = a_failure(retry=False)
    seen = told(observed(JOB, failed))
    seen = told(replace(seen, runs=(case.silent(failed),)), NOW + MINUTE)
    assert decided(seen, NOW + timedelta(days=1)).action == Nothing()


def test_an_exit_code_that_no_repeat_mends_is_not_repeated_where_nothing_was_told() -> None:
    failed = a_run(state="Failed", reason="PodFailurePolicy", message="exit code 2")
    assert decided(told(observed(JOB, failed)), NOW + timedelta(days=1)).action == Nothing()


def test_a_run_that_ended_well_without_a_readable_outcome_is_run_again() -> None:
    lost = case.silent(a_run())
    ended = lost.completed_at
    seen = told(observed(JOB, lost), ended + 2 * MINUTE)
    assert start(decided(seen, ended + 2 * MINUTE)).trigger == "Retry"


def test_a_run_that_ended_well_may_be_seen_before_its_pod() -> None:
    early = case.silent(a_run())
    seen = told(observed(JOB, early), early.completed_at)
    look = decided(seen, early.completed_at)
    assert look == Decision(Nothing(), "Settled", early.completed_at + timedelta(seconds=30))
    late = told(replace(seen, runs=(a_run(),)), early.completed_at)
    assert isinstance(decided(late, early.completed_at).action, ApplyServer)


def test_a_failed_forecast_of_a_spec_before_is_not_tried_again() -> None:
    world = served()
    failed = a_failure("sp500-00000002", cadence="Forecast", job=JOB, at=NOW)
    world.seen = replace(world.seen, runs=(*world.seen.runs, failed))
    world.settle()
    world.respec(OTHER)
    world.settle()
    world.end_well()
    world.now += timedelta(days=1)
    world.settle()
    assert [one.trigger for one in world.starts] == ["Spec", "Spec"]


def test_a_request_starts_a_suspended_training() -> None:
    job = case.scheduled(train={**HOURLY, "suspend": True})
    wanted = start(decided(observed(job, requested={"Train": "2026-03-02T11:59:00Z"})))
    assert (wanted.trigger, wanted.request) == ("Request", "2026-03-02T11:59:00Z")


def test_a_request_is_obeyed_once() -> None:
    world = served()
    world.request("Train", "first")
    world.settle()
    world.end_well()
    world.settle()
    world.seen = replace(world.seen, runs=())
    world.settle()
    assert [one.trigger for one in world.starts] == ["Spec", "Request"]
    assert world.seen.job.status.handled_requests == HandledRequests(train="first")


def test_two_requests_are_two_runs_one_after_the_other() -> None:
    world = served()
    world.request("Train", "first")
    world.settle()
    world.request("Train", "second")
    world.settle()
    assert [one.request for one in world.starts] == [None, "first"]
    world.end_well()
    world.settle()
    assert [one.request for one in world.starts] == [None, "first", "second"]


def test_a_request_for_a_forecast_waits_for_a_champion() -> None:
    world = World(observed(requested={"Forecast": "now"}))
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train"]
    world.end_well()
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train", "Forecast"]


def last(train: datetime | None = None, forecast: datetime | None = None) -> PredictionJobStatus:
    return PredictionJobStatus(last_schedules=LastSchedules(train=train, forecast=forecast))


def with_policy(policy: str) -> tuple[World, str]:
    """A served job whose scheduled run is under way an hour later, when the next is due."""
    world = served(case.scheduled(train={**HOURLY, "concurrencyPolicy": policy}))
    world.now = NOW + 60 * MINUTE
    world.settle()
    (first,) = world.under_way()
    world.now += 60 * MINUTE
    return world, first.name


def test_forbid_waits_for_the_run_under_way() -> None:
    world, _ = with_policy("Forbid")
    look = world.settle()
    assert len(world.under_way()) == 1
    assert look.again_at == world.now + 60 * MINUTE, "the next due time changes the status"
    world.end_well()
    world.settle()
    assert world.starts[-1].scheduled_time == NOW + 120 * MINUTE


def test_replace_ends_the_run_under_way_first() -> None:
    world, first = with_policy("Replace")
    assert decided(world.seen, world.now) == Decision(StopRun(first), "Replaced")
    world.settle()
    assert [run.name for run in world.under_way()] == [first]
    world.vanish()
    world.settle()
    assert world.starts[-1].scheduled_time == NOW + 120 * MINUTE
    assert len(world.under_way()) == 1


def test_replace_ends_the_first_run_too_and_does_not_start_it_again() -> None:
    world = World(case.observed(case.scheduled(train={**HOURLY, "concurrencyPolicy": "Replace"})))
    world.settle()
    world.now += 60 * MINUTE
    world.settle()
    world.vanish()
    world.settle()
    assert [(start.trigger, start.scheduled_time) for start in world.starts] == [
        ("Spec", None),
        ("Schedule", NOW + 60 * MINUTE),
    ]
    assert len(world.under_way()) == 1


def test_allow_starts_beside_the_run_under_way() -> None:
    world, _ = with_policy("Allow")
    world.settle()
    assert len(world.under_way()) == 2


def test_allow_is_for_runs_of_one_cadence_only() -> None:
    world = served(case.scheduled(forecast={**HOURLY, "concurrencyPolicy": "Allow"}))
    world.request("Train", "now")
    world.settle()
    world.now = NOW + 60 * MINUTE
    world.settle()
    assert [run.cadence for run in world.under_way()] == ["Train"]


def test_a_training_that_is_held_up_is_not_overtaken_by_forecasts() -> None:
    world = served(case.scheduled(forecast={**HOURLY, "concurrencyPolicy": "Allow"}))
    world.now = NOW + 60 * MINUTE
    world.settle()
    world.request("Train", "now")
    world.now = NOW + 120 * MINUTE
    world.settle()
    assert [run.cadence for run in world.under_way()] == ["Forecast"]
    world.end_well()
    world.settle()
    assert [run.cadence for run in world.under_way()] == ["Train"]


@pytest.mark.parametrize(
    ("late", "expected"), [(60, "Schedule"), (601, None)], ids=["inside its deadline", "outside its deadline"]
)
def test_a_missed_start_is_due_inside_its_deadline_only(late: int, expected: str | None) -> None:
    world = served(case.scheduled(train={**HOURLY, "startingDeadlineSeconds": 600}))
    world.now = NOW + 60 * MINUTE + timedelta(seconds=late)
    world.settle()
    assert ([one.trigger for one in world.starts] == ["Spec", "Schedule"]) is (expected is not None)


def test_many_missed_starts_are_one_run() -> None:
    world = served(case.scheduled(train=HOURLY))
    world.now = NOW + timedelta(days=40, minutes=5)
    world.settle()
    world.end_well()
    world.settle()
    assert [one.scheduled_time for one in world.starts] == [None, NOW + timedelta(days=40)]


def test_forecasts_wait_for_a_champion() -> None:
    world = World(observed(case.scheduled(forecast=HOURLY)))
    world.now = NOW + 61 * MINUTE
    world.settle()
    world.fail(retry=False)
    world.now += 60 * MINUTE
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train"]


def test_forecasts_wait_for_a_training_under_way() -> None:
    world = served(case.scheduled(forecast=HOURLY))
    world.request("Train", "now")
    world.settle()
    world.now = NOW + 61 * MINUTE
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train", "Train"]
    world.end_well()
    world.settle()
    assert [one.cadence for one in world.starts] == ["Train", "Train", "Forecast"]


@pytest.mark.parametrize("jump", [5 * MINUTE, -5 * MINUTE], ids=["forward", "back"])
def test_a_clock_that_jumps_five_minutes_starts_no_second_run_for_the_same_due_time(jump: timedelta) -> None:
    world = served(case.scheduled(train=HOURLY))
    world.now = NOW + 58 * MINUTE
    for step in (jump, -jump, 4 * MINUTE, jump, -jump, 2 * MINUTE):
        world.now += step
        world.settle()
        world.end_well()
        world.settle()
    due = [one.scheduled_time for one in world.starts if one.scheduled_time]
    assert due == [NOW + 60 * MINUTE]


def test_a_schedule_is_looked_at_again_when_it_is_due() -> None:
    world = served(case.scheduled(train=HOURLY, forecast={"schedule": "30 * * * *"}))
    assert world.settle().again_at == NOW + 30 * MINUTE


def test_times_to_look_again_are_whole_seconds() -> None:
    stale = NOW + timedelta(seconds=5, microseconds=1)
    seen = told(observed(JOB, a_run(outcome=case.an_outcome("one", stale_after=stale)), server=a_server(run="one")))
    assert decided(seen).again_at == NOW + timedelta(seconds=6)


def test_the_champion_s_run_is_what_is_served() -> None:
    incumbent = case.a_champion("earlier")
    seen = told(observed(JOB, a_run(outcome=case.an_outcome("later", champion=incumbent, promoted=False))))
    action = decided(seen).action
    assert isinstance(action, ApplyServer)
    (deployment,) = [one for one in action.objects if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["metadata"]["annotations"]["presage.dev/run"] == "earlier"


def test_a_refit_that_is_not_promoted_changes_nothing() -> None:
    world = served()
    champions = world.seen.job.status.champions
    world.request("Train", "again")
    world.settle()
    told_of = case.an_outcome("refit", champion=champions[0], promoted=False)
    world.go_on(lambda run: replace(run, state="Succeeded", completed_at=world.now, outcome=told_of))
    world.settle()
    assert world.actions == ["StartRun", "ApplyServer", "StartRun"]
    assert world.seen.job.status.champions == champions


def test_a_champion_stays_when_its_own_run_and_its_pod_are_gone_and_an_earlier_one_is_still_there() -> None:
    first, second = a_run(), a_run("sp500-00000002", at=NOW + 10 * MINUTE)
    seen = told(observed(JOB, first, second), NOW + 12 * MINUTE)
    for left in ((first,), (first, case.silent(second))):
        left_over = told(replace(seen, runs=left), NOW + 13 * MINUTE)
        assert [one.run for one in left_over.job.status.champions] == [second.name]


def test_disabled_serving_removes_the_server() -> None:
    world = served()
    world.respec(case.a_job(serving={"enabled": False}))
    world.settle()
    assert world.actions[-1] == "RemoveServer"
    assert world.seen.server is None


def test_what_a_removal_left_behind_is_removed() -> None:
    job = case.a_job(serving={"enabled": False})
    left = a_server(job, kinds=frozenset({"Service"}), desired="", available=False)
    assert decided(told(observed(job, a_run(job=job), server=left))).action == RemoveServer()


def test_a_service_that_somebody_deleted_is_applied_again() -> None:
    world = served()
    without = replace(world.seen.server, kinds=world.seen.server.kinds - {"Service"})
    world.seen = replace(world.seen, server=without)
    assert isinstance(decided(world.seen).action, ApplyServer)


def test_a_server_whose_objects_were_not_applied_together_is_applied_again() -> None:
    world = served()
    world.seen = replace(world.seen, server=replace(world.seen.server, desired=""))
    assert isinstance(decided(world.seen).action, ApplyServer)


def test_nothing_is_served_where_the_back_end_is_missing() -> None:
    seen = told(observed(JOB, a_run()))
    assert decided(seen, backends=Backends("job", MISSING)).action == Nothing()


def limited(state: str, limit: int, count: int, **changes: object) -> World:
    job = case.scheduled(
        train={"schedule": "@yearly", "successfulJobsHistoryLimit": limit, "failedJobsHistoryLimit": limit}
    )
    made = a_run if state == "Succeeded" else a_failure
    runs = (made(f"sp500-{i:08x}", job=job, at=NOW + i * MINUTE, minutes=0, **changes) for i in range(count))
    return World(observed(job, *runs, status=last(train=NOW)), NOW + count * MINUTE)


@pytest.mark.parametrize("state", ["Succeeded", "Failed"])
def test_history_limits_delete_the_oldest_finished_child(state: str) -> None:
    changes = {"retry": False} if state == "Failed" else {}
    world = limited(state, 2, 4, **changes)
    world.seen = told(world.seen, world.now)
    server = a_server(world.seen.job.job, run=world.seen.job.status.champions[0].run) if state == "Succeeded" else None
    world.seen = replace(world.seen, server=server)
    assert decided(world.seen, world.now).action == DeleteRun("sp500-00000000")
    world.settle()
    assert [run.name for run in world.seen.runs if not run.deleting] == ["sp500-00000002", "sp500-00000003"]


def test_a_finished_child_is_deleted_only_once_the_status_on_the_server_tells_of_it() -> None:
    world = limited("Failed", 0, 1, retry=False)
    assert decided(world.seen, world.now).action == Nothing()
    assert isinstance(decided(told(world.seen, world.now), world.now).action, DeleteRun)


def test_history_limits_beyond_what_the_status_has_room_for_are_kept_too() -> None:
    world = limited("Failed", 110, 113, retry=False)
    for _ in range(4):
        world.settle()
        world.vanish()
    assert len(world.seen.runs) == 110


def test_a_training_is_not_repeated_because_many_forecasts_pushed_it_out_of_the_status() -> None:
    job = case.scheduled(
        train={"schedule": "@yearly", "successfulJobsHistoryLimit": 0},
        forecast={**HOURLY, "successfulJobsHistoryLimit": 0},
    )
    world = served(job)
    for _ in range(120):
        world.vanish()
        world.settle()
        world.end_well()
        world.settle()
        world.now += 60 * MINUTE
    assert [one.cadence for one in world.starts].count("Train") == 1
    assert len(world.seen.job.status.runs) == 100


def test_a_refused_place_stops_what_runs() -> None:
    assert decided(case.refused(observed(JOB, a_run(state="Running")))).action == StopRun("sp500-00000001")


def test_a_refused_place_starts_nothing() -> None:
    assert decided(case.refused(observed())) == Decision(Nothing(), "JobRefused")


def test_a_job_that_cannot_be_read_starts_nothing() -> None:
    assert decided(case.unreadable(observed(requested={"Train": "now"}))) == Decision(Nothing(), "JobRefused")


def test_a_job_that_cannot_be_read_keeps_its_server() -> None:
    world = served()
    assert decided(case.unreadable(world.seen)).action == Nothing()


def test_a_missing_back_end_starts_nothing() -> None:
    assert decided(observed(), backends=Backends(MISSING, "deployment")) == Decision(Nothing(), "JobRefused")


@pytest.mark.parametrize("finalizers", [(), ("another.dev/finalizer",)], ids=["none", "another's"])
def test_a_job_without_our_finalizer_is_let_go(finalizers: tuple[str, ...]) -> None:
    seen = observed(JOB, a_run(state="Running"), deleted_at=NOW, finalizers=finalizers)
    assert decided(seen) == Decision(Nothing(), "Deleting")


def test_a_job_with_runs_outside_of_the_cluster_is_let_go_once_they_are_cancelled() -> None:
    seen = observed(deleted_at=NOW, finalizers=(FINALIZER,))
    assert decided(seen) == Decision(Release(cancel=True), "Deleting", NOW + 5 * MINUTE)


def test_a_job_whose_runs_cannot_be_cancelled_is_let_go_at_its_deadline() -> None:
    seen = observed(deleted_at=NOW, finalizers=(FINALIZER,))
    wait = Settings.model_validate({"pipelines": {"kubeflow": {"cancelSeconds": 30}}})
    assert decided(seen, NOW + timedelta(seconds=29), settings=wait).action == Release(cancel=True)
    assert decided(seen, NOW + timedelta(seconds=30), settings=wait).action == Release(cancel=False)


def test_a_refused_job_is_let_go_too() -> None:
    seen = case.refused(observed(deleted_at=NOW, finalizers=(FINALIZER,)))
    assert decided(seen).action == Release(cancel=True)


def test_a_run_outside_of_the_cluster_starts_under_a_finalizer() -> None:
    kubeflow = Backends("kubeflow", "deployment")
    assert decided(observed(), backends=kubeflow).action == Guard()
    assert isinstance(decided(observed(finalizers=(FINALIZER,)), backends=kubeflow).action, StartRun)


@pytest.mark.parametrize(
    ("children", "seconds"),
    [
        ((), 10),
        ((a_run(state="Running"),), 10),
        ((a_run(state="Running", job=OTHER),), 10),
        ((a_failure(retry=False),), None),
    ],
    ids=["started", "under way", "stopped", "ended"],
)
def test_runs_outside_of_the_cluster_are_looked_at_while_they_move(children: tuple, seconds: int | None) -> None:
    seen = told(observed(JOB, *children, finalizers=(FINALIZER,)))
    again_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert decided(seen, backends=Backends("kubeflow", "deployment")).again_at == again_at


def test_the_annotation_that_asks_for_a_run_is_the_documented_one() -> None:
    assert TRAIN_REQUESTED_AT == "presage.dev/train-requested-at"


def any_spec(policy: str, seed: int = 0, replicas: int = 2, *, suspend: bool = False) -> PredictionJob:
    train = {**HOURLY, "concurrencyPolicy": policy, "suspend": suspend}
    forecast = {"schedule": "20 * * * *", "successfulJobsHistoryLimit": 1}
    schedule = {"train": train, "forecast": forecast}
    return case.a_job(seed=seed, schedule=schedule, serving={"replicas": {"min": 1, "max": replicas}})


HAPPENINGS: dict[str, Callable[[World, str, int], None]] = {
    "all ends well": lambda world, policy, number: world.end_well(),
    "all fails for now": lambda world, policy, number: world.fail(retry=True),
    "all fails for good": lambda world, policy, number: world.fail(retry=False),
    "children are lost": lambda world, policy, number: world.go_on(lambda run: None),
    "deleted children go": lambda world, policy, number: world.vanish(),
    "Pods go": lambda world, policy, number: world.forget_pods(),
    "another spec": lambda world, policy, number: world.respec(any_spec(policy, seed=number)),
    "the first spec": lambda world, policy, number: world.respec(any_spec(policy)),
    "other replicas": lambda world, policy, number: world.respec(any_spec(policy, replicas=7)),
    "suspended": lambda world, policy, number: world.respec(any_spec(policy, suspend=True)),
    "a request to train": lambda world, policy, number: world.request("Train", f"{number}"),
    "a request to forecast": lambda world, policy, number: world.request("Forecast", f"{number}"),
}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.tuples(st.sampled_from(list(HAPPENINGS)), st.integers(-10, 200)), max_size=12),
    policy=st.sampled_from(["Forbid", "Replace", "Allow"]),
)
def test_whatever_happens_one_run_goes_on_at_a_time_and_all_comes_to_rest(
    steps: list[tuple[str, int]], policy: str
) -> None:
    world = World(observed(any_spec(policy)))
    for happening, minutes in steps:
        world.now += minutes * MINUTE
        HAPPENINGS[happening](world, policy, abs(minutes))
        world.settle()
        going = [run for run in world.under_way() if not run.deleting]
        several_allowed = policy == "Allow" and all(run.cadence == "Train" for run in going)
        assert len(going) <= 1 or several_allowed
        assert case.status(world.seen, world.now) == world.seen.job.status, "a second computation writes nothing"
        due = [(one.cadence, one.scheduled_time) for one in world.starts if one.scheduled_time]
        assert len(set(due)) == len(due), "one run for each due time"


RUNS = st.builds(
    lambda number, cadence, state, minutes, length, job, deleting, ending: case.any_run(
        f"sp500-{number:08x}", cadence, state, NOW + minutes * MINUTE, length, job, deleting=deleting, ending=ending
    ),
    number=st.integers(0, 200),
    cadence=st.sampled_from(["Train", "Forecast"]),
    state=st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
    minutes=st.integers(-300, 300),
    length=st.integers(0, 90),
    job=st.sampled_from([JOB, OTHER]),
    deleting=st.booleans(),
    ending=st.sampled_from(["told", "told for good", "silent"]),
)
MOMENTS = st.lists(
    st.tuples(st.integers(-400, 400), st.lists(RUNS, max_size=8, unique_by=lambda run: run.name)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moments=MOMENTS, request=st.sampled_from([{}, {"Train": "now"}, {"Forecast": "now"}]), server=st.booleans())
def test_whatever_is_seen_the_decision_is_one_and_the_status_is_valid(moments, request, server: bool) -> None:
    seen = observed(JOB, requested=request, server=a_server() if server else None)
    for minutes, runs in moments:
        now = NOW + minutes * MINUTE
        seen = replace(seen, runs=tuple(runs))
        decision = decided(seen, now)
        assert decision == decided(seen, now) == decided(replace(seen, runs=tuple(reversed(runs))), now)
        if isinstance(decision.action, StartRun):
            assert not [run for run in runs if run.completed_at is None]
        assert decision.again_at is None or decision.again_at > now
        seen = told(seen, now)
        known = seen.job.status
        assert case.status(seen, now) == known, "a second computation writes nothing"
        assert len(known.model_dump_json(by_alias=True, exclude_none=True)) < 200 * 1024
        assert len({one.type for one in known.conditions}) == len(known.conditions) == 8
        assert len(known.runs) <= 100
        assert len(known.champions) <= 20


def test_names_of_runs_are_told_apart_by_their_causes() -> None:
    world = served(case.scheduled(train=HOURLY))
    for _ in range(5):
        world.now += 60 * MINUTE
        world.settle()
        world.end_well()
        world.settle()
    assert len({one.name for one in world.starts}) == len(world.starts) == 6
    assert all(earlier.as_of < later.as_of for earlier, later in pairwise(world.starts))
