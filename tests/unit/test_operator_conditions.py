"""The status of a job: what Ready promises, what failures say, and that a restart finds nothing to write."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import operator_case as case
import pytest
from operator_case import (
    JOB,
    MINUTE,
    NOW,
    OTHER,
    VERDICT,
    a_failure,
    a_run,
    a_server,
    condition,
    observed,
    served,
    told,
)

from presage.spec.status import Champion, PredictionJobStatus
from presage_operator.capabilities import Backends
from presage_operator.desired.fault import Fault
from presage_operator.observed import Observed

STALE = NOW + timedelta(days=2)
MISSING = Fault("BackendMissing", "the cluster has none. Install it.")


def ready(seen: Observed, now=NOW, *, backends: Backends = case.BACKENDS) -> tuple[str, str]:
    found = condition(case.status(seen, now, backends=backends))
    return found.status, found.reason


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        pytest.param(observed(), "Pending", id="no run of it was started"),
        pytest.param(observed(JOB, a_run(state="Pending")), "Pending", id="its run waits"),
        pytest.param(observed(JOB, a_run(state="Running")), "Running", id="its run is under way"),
        pytest.param(observed(JOB, a_run()), "ServerMissing", id="its server is not there"),
        pytest.param(
            observed(JOB, a_run(), server=a_server(available=False)), "ServerStarting", id="its server does not answer"
        ),
        pytest.param(
            observed(JOB, a_run(), server=a_server(current=False)), "RollingOut", id="servers are being replaced"
        ),
        pytest.param(
            observed(JOB, a_run(), server=a_server(run="before")), "RollingOut", id="another run is still served"
        ),
        pytest.param(observed(JOB, a_failure()), "SourceUnavailableError", id="its run failed"),
    ],
)
def test_a_job_is_not_ready_before_its_run_has_ended_well_and_its_server_answers(seen: Observed, reason: str) -> None:
    assert ready(seen) == ("False", reason)


def test_a_job_is_ready_once_its_server_answers() -> None:
    found = case.status(observed(JOB, a_run(), server=a_server()))
    assert (condition(found).status, condition(found).reason, found.phase) == ("True", "ChampionServed", "Serving")
    assert found.url == "http://sp500-predictor.desk.svc"


def test_a_job_that_serves_nothing_is_ready_once_its_run_has_ended_well() -> None:
    job = case.a_job(serving={"enabled": False})
    found = case.status(observed(job, a_run(job=job)))
    assert (condition(found).reason, condition(found, "Serving").reason, found.phase) == (
        "Complete",
        "Disabled",
        "Complete",
    )


def test_a_new_spec_takes_ready_away_until_its_own_run_is_served() -> None:
    world = served()
    world.respec(OTHER)
    reasons = [ready(world.seen)]
    world.settle()
    reasons.append(ready(world.seen))
    world.end_well()
    reasons.append(ready(world.seen))
    world.settle()
    reasons.append(ready(world.seen))
    assert reasons == [
        ("False", "Pending"),
        ("False", "Pending"),
        ("False", "RollingOut"),
        ("True", "ChampionServed"),
    ]


def test_a_spec_that_came_back_is_not_ready_while_the_model_of_the_one_between_is_served() -> None:
    world = served()
    world.retrain(OTHER)
    world.respec(JOB)
    world.settle()
    assert ready(world.seen) == ("False", "Pending")
    assert condition(world.seen.job.status, "Trained").status == "Unknown"


def test_a_spec_that_came_back_before_the_one_between_was_trained_is_as_it_was() -> None:
    world = served()
    before = {one.type: (one.status, one.reason, one.message) for one in world.seen.job.status.conditions}
    world.respec(OTHER)
    world.settle()
    world.respec(JOB)
    world.settle()
    world.vanish()
    world.settle()
    after = {one.type: (one.status, one.reason, one.message) for one in world.seen.job.status.conditions}
    assert after == before
    assert len(world.starts) == 2


def test_another_number_of_servers_takes_ready_away_only_while_they_roll_out() -> None:
    world = served()
    world.respec(case.a_job(serving={"replicas": {"min": 2, "max": 5}}))
    rolling = replace(world.seen, server=replace(world.seen.server, current=False))
    assert ready(rolling) == ("False", "RollingOut")
    world.settle()
    assert ready(world.seen) == ("True", "ChampionServed")
    assert condition(world.seen.job.status).observed_generation == 2


@pytest.mark.parametrize("retry", [True, False], ids=["tried again", "for good"])
def test_a_refit_that_goes_on_or_fails_does_not_take_ready_away(retry: bool) -> None:
    world = served()
    world.request("Train", "again")
    world.settle()
    assert ready(world.seen) == ("True", "ChampionServed")
    assert condition(world.seen.job.status, "DataReady").status == "True"
    world.fail(retry=retry)
    world.settle()
    assert ready(world.seen) == ("True", "ChampionServed")
    stalled, data = (condition(world.seen.job.status, type_) for type_ in ("Stalled", "DataReady"))
    assert (stalled.status, data.status, data.reason) == ("False" if retry else "True", "False", "DataError")


def test_a_promoted_refit_rolls_out_without_taking_ready_away() -> None:
    world = served()
    world.request("Train", "again")
    world.settle()
    world.end_well()
    world.settle()
    rolling = replace(world.seen, server=replace(world.seen.server, current=False))
    assert ready(rolling) == ("True", "ChampionServed")


def test_a_refit_whose_server_cannot_start_says_so_beside_ready() -> None:
    world = served()
    stuck = replace(
        world.seen.server, current=False, reason="ProgressDeadlineExceeded", message="it has timed out progressing."
    )
    found = condition(case.status(replace(world.seen, server=stuck)))
    assert (found.status, found.reason) == ("True", "ProgressDeadlineExceeded")
    assert "it has timed out progressing." in found.message


def test_the_condition_of_a_failed_step_turns_when_a_run_ends_not_when_it_is_tried() -> None:
    world = served()
    world.request("Train", "again")
    world.settle()
    world.fail(retry=True)
    world.settle()
    world.now += MINUTE
    world.settle()
    assert len(world.under_way()) == 1
    assert condition(world.seen.job.status, "DataReady").status == "False"
    world.end_well()
    world.settle()
    assert condition(world.seen.job.status, "DataReady").status == "True"


@pytest.mark.parametrize(
    ("max_staleness", "now", "expected"),
    [
        pytest.param("2d", STALE, ("False", "Stale"), id="declared, and its time has come"),
        pytest.param("2d", STALE - timedelta(seconds=1), ("True", "ChampionServed"), id="declared, a second before"),
        pytest.param(None, STALE + timedelta(days=9), ("True", "ChampionServed"), id="not declared"),
    ],
)
def test_a_forecast_is_stale_only_where_the_job_says_what_is(max_staleness, now, expected) -> None:
    job = case.a_job(monitoring={"maxStaleness": max_staleness} if max_staleness else {})
    name = "sp500-00000001"
    run = a_run(job=job, outcome=case.an_outcome(name, stale_after=STALE))
    seen = observed(job, run, server=a_server(job, name))
    assert ready(seen, now) == expected
    assert ready(replace(told(seen), runs=()), now) == expected, "also once the run is gone"


def test_a_newer_forecast_is_no_longer_stale() -> None:
    job = case.a_job(monitoring={"maxStaleness": "2d"})
    trained = a_run(job=job, outcome=case.an_outcome("one", stale_after=NOW))
    champion = trained.outcome.champion
    newer = case.a_forecast_outcome(champion, NOW + timedelta(days=1))
    issued = a_run("sp500-00000002", job, cadence="Forecast", at=NOW + 2 * MINUTE, outcome=newer)
    seen = observed(job, trained, issued, server=a_server(job, "one"))
    assert ready(seen, NOW + 5 * MINUTE) == ("True", "ChampionServed")


@pytest.mark.parametrize(
    ("run", "reason", "words"),
    [
        pytest.param(
            a_run(
                state="Running", reason="OOMKilled", message="the container ended with exit code 137: killed at fold 3"
            ),
            "OOMKilled",
            "exit code 137: killed at fold 3",
            id="killed for want of memory, and started again",
        ),
        pytest.param(
            a_run(state="Failed", reason="OOMKilled", message="the container ended with exit code 137"),
            "OOMKilled",
            "exit code 137",
            id="killed for want of memory for the last time",
        ),
        pytest.param(
            a_run(state="Running", reason="ImagePullBackOff", message='Back-off pulling image "presage/steps:0.1.0"'),
            "ImagePullBackOff",
            "presage/steps:0.1.0",
            id="an image that is not there",
        ),
        pytest.param(
            a_run(state="Pending", reason="Unschedulable", message="0/3 nodes are available"),
            "Unschedulable",
            "0/3 nodes",
            id="no node",
        ),
        pytest.param(
            a_failure(reason="DataError", message="sp500.csv: a column is missing.", retry=False),
            "DataError",
            "a column is missing",
            id="what the run told",
        ),
    ],
)
def test_a_child_s_failure_is_in_ready_s_reason_and_message(run, reason: str, words: str) -> None:
    found = condition(case.status(observed(JOB, run)))
    assert (found.status, found.reason) == ("False", reason)
    assert words in found.message


@pytest.mark.parametrize(
    ("reason", "type_"),
    [("DataError", "DataReady"), ("LeakageError", "FeaturesReady"), ("OOMKilled", "Trained")],
    ids=lambda each: each,
)
def test_the_step_that_failed_says_why_and_the_others_that_they_were_not_reached(reason: str, type_: str) -> None:
    found = case.status(observed(JOB, a_failure(reason=reason, retry=False)))
    assert (condition(found, type_).status, condition(found, type_).reason) == ("False", reason)
    others = {condition(found, other).reason for other in VERDICT if other != type_}
    assert others == {"NotReached"}
    assert (condition(found, "Stalled").status, found.phase) == ("True", "Failed")


def test_a_job_that_waits_to_be_tried_again_is_not_stalled() -> None:
    found = condition(case.status(observed(JOB, a_failure())), "Stalled")
    assert (found.status, found.reason) == ("False", "Retrying")


def test_a_suspended_job_says_so() -> None:
    job = case.scheduled(train={"schedule": "@daily", "suspend": True})
    found = case.status(observed(job))
    assert (condition(found).reason, found.phase, found.next_run) == ("Suspended", "Suspended", None)


@pytest.mark.parametrize(
    ("champion", "promoted", "reason"),
    [
        (case.a_champion("one"), True, "ChampionServed"),
        (case.a_champion("before"), False, "IncumbentServed"),
        (case.a_champion("one", "last_value", "WorseThanBaseline"), False, "BaselineServed"),
    ],
    ids=["a promoted model", "the incumbent", "the best baseline"],
)
def test_what_is_served_is_told(champion: Champion, promoted: bool, reason: str) -> None:
    run = a_run(outcome=case.an_outcome("one", champion=champion, promoted=promoted))
    seen = observed(JOB, run, server=a_server(run=champion.run))
    assert ready(seen) == ("True", reason)
    assert ready(replace(told(seen), runs=()), NOW) == ("True", reason), "also once the run is gone"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [(case.refused(observed()), "SourceNotAllowed"), (case.unreadable(observed()), "InvalidSpec")],
    ids=["refused", "unreadable"],
)
def test_a_job_that_may_not_run_says_why(seen: Observed, reason: str) -> None:
    found = case.status(seen)
    ready_, stalled = condition(found), condition(found, "Stalled")
    assert (ready_.status, ready_.reason, stalled.status, stalled.reason) == ("False", reason, "True", reason)
    assert (found.phase, found.next_run) == ("Failed", None)


def test_a_missing_back_end_says_so() -> None:
    found = case.status(observed(), backends=Backends(MISSING, "deployment"))
    assert {condition(found, type_).reason for type_ in ("Ready", "Stalled")} == {"BackendMissing"}
    assert condition(found).message == MISSING.message


def test_a_missing_serving_back_end_keeps_no_run_from_its_schedule() -> None:
    job = case.scheduled(train={"schedule": "@hourly"})
    found = case.status(observed(job, a_run(job=job, state="Running")), backends=Backends("job", MISSING))
    assert {condition(found, type_).reason for type_ in ("Ready", "Stalled", "Serving")} == {"BackendMissing"}
    assert (found.phase, found.next_run) == ("Training", NOW + 60 * MINUTE)


def test_every_condition_is_there_once_and_is_about_the_present_generation() -> None:
    world = served()
    world.respec(OTHER)
    found = case.status(world.seen)
    types = [one.type for one in found.conditions]
    assert sorted(types) == sorted([*VERDICT, "Ready", "Serving", "Stalled"])
    assert {one.observed_generation for one in found.conditions} == {found.observed_generation} == {2}


def test_a_condition_s_time_changes_with_its_status_only() -> None:
    first = told(observed(JOB, a_run(state="Pending")))
    second = told(replace(first, runs=(a_run(state="Running"),)), NOW + MINUTE)
    third = told(replace(second, runs=(a_run(),), server=a_server()), NOW + 2 * MINUTE)
    times = [condition(one.job.status).last_transition_time for one in (first, second, third)]
    assert times == [NOW, NOW, NOW + 2 * MINUTE]
    assert [condition(one.job.status).reason for one in (first, second)] == ["Pending", "Running"]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(observed(), id="new"),
        pytest.param(observed(JOB, a_run(state="Running", reason="OOMKilled")), id="under way"),
        pytest.param(observed(JOB, a_run(outcome=case.an_outcome("one", stale_after=STALE))), id="ended"),
        pytest.param(observed(JOB, a_run(), server=a_server()), id="served"),
        pytest.param(observed(JOB, case.silent(a_run())), id="outcome lost"),
        pytest.param(observed(JOB, a_failure(message="é \x1b[31m\n" * 400)), id="failed"),
        pytest.param(observed(OTHER, a_run(), server=a_server()), id="another spec"),
        pytest.param(case.refused(observed(JOB, a_run()), message="x " * 9000), id="refused"),
        pytest.param(case.unreadable(observed(JOB, a_run())), id="unreadable"),
        pytest.param(observed(case.scheduled({"schedule": "@daily"}, {"schedule": "@hourly"})), id="scheduled"),
    ],
)
def test_a_restart_finds_nothing_to_write(seen: Observed) -> None:
    first = told(seen, NOW + 5 * MINUTE)
    assert case.status(first, NOW + 6 * MINUTE) == first.job.status
    gone = told(replace(first, runs=()), NOW + 6 * MINUTE)
    assert case.status(gone, NOW + 8 * MINUTE) == gone.job.status


def test_a_verdict_outlives_the_run_that_reached_it() -> None:
    first = told(observed(JOB, a_run(), server=a_server()))
    left = told(replace(first, runs=()), NOW + MINUTE)
    assert left.job.status == first.job.status


def test_a_status_that_was_lost_is_told_anew_from_what_is_there() -> None:
    world = served()
    wiped = replace(world.seen, job=replace(world.seen.job, status=PredictionJobStatus()))
    assert case.status(wiped) == world.seen.job.status


def test_the_history_of_runs_and_champions_is_bounded() -> None:
    many = [a_run(f"sp500-{i:08x}", at=NOW + i * MINUTE) for i in range(130)]
    seen = observed()
    for run in many:
        seen = told(replace(seen, runs=(run,)), run.completed_at)
    known = seen.job.status
    assert [one.name for one in known.runs] == [run.name for run in reversed(many)][:100]
    assert [one.run for one in known.champions] == [run.name for run in reversed(many)][:20]


@pytest.mark.parametrize("letter", ["x", '"', "é", "\x00", "🚀"], ids=["plain", "quote", "accent", "control", "emoji"])
def test_the_largest_status_fits_the_object(letter: str) -> None:
    name = "n" * 62
    champion = Champion(model="m" * 63, run="r" * 253, since=NOW, reason=letter * 1024, digest="sha256:" + "a" * 64)
    seen = observed()
    for i in range(20):
        each = champion.model_copy(update={"run": f"{i}" + "r" * 250})
        run = a_run(f"{name}-{i}", at=NOW + i * MINUTE, outcome=case.an_outcome("r" * 253, champion=each))
        seen = told(replace(seen, runs=(*seen.runs, run)), run.completed_at)
    failures = [
        a_failure(f"{name}-{i:03}", message=letter * 3000, reason="R" * 128, at=NOW + i * MINUTE, retry=False)
        for i in range(20, 120)
    ]
    seen = case.refused(replace(seen, runs=tuple(failures)), message=letter * 40_000)
    found = case.status(seen, NOW + timedelta(days=1))
    assert (len(found.runs), len(found.champions)) == (100, 20)
    assert len(found.model_dump_json(by_alias=True, exclude_none=True)) < 200 * 1024


def test_the_scorecard_is_that_of_the_newest_training() -> None:
    first, second = a_run(), a_run("sp500-00000002", at=NOW + 10 * MINUTE)
    seen = told(observed(JOB, first, second), NOW + MINUTE)
    assert seen.job.status.scorecard == second.outcome.scorecard
    assert case.status(replace(seen, runs=(first,))).scorecard == second.outcome.scorecard


def test_the_next_runs_are_told_but_not_those_of_a_suspended_cadence() -> None:
    job = case.scheduled({"schedule": "0 6 * * *", "suspend": True}, {"schedule": "30 * * * *"})
    found = case.status(observed(job))
    assert (found.next_runs.train, found.next_runs.forecast, found.next_run) == (
        None,
        NOW + 30 * MINUTE,
        NOW + 30 * MINUTE,
    )


@pytest.mark.parametrize(
    ("run", "phase"),
    [
        (a_run("sp500-00000002", state="Pending", at=NOW + MINUTE), "Serving"),
        (a_run("sp500-00000002", state="Running", at=NOW + MINUTE), "Training"),
        (a_run("sp500-00000002", state="Running", at=NOW + MINUTE, cadence="Forecast"), "Forecasting"),
    ],
    ids=["a run waits", "training", "forecasting"],
)
def test_the_phase_of_a_served_job_is_what_it_does(run, phase: str) -> None:
    seen = observed(JOB, a_run(), run, server=a_server())
    assert case.status(seen, NOW + MINUTE).phase == phase
