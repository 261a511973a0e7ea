"""From what is kept of a job and its children to one value: which Pod speaks for a run, which children are a job's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import operator_case as case
import pytest

from presage.spec.outcome import Failure, RunOutcome, to_message
from presage.spec.status import PredictionJobStatus
from presage_operator.cache import Cache
from presage_operator.names import Key
from presage_operator.observe import JobReader, observe
from presage_operator.observed import Observed, ObservedRun, Rollback
from presage_operator.records import JobRecord, PodRecord, RunRecord, ServerRecord
from presage_operator.settings import Settings

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
KEY = Key("desk", "sp500")
SPEC = case.JOB.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
OUTCOME = case.an_outcome("one")
TOLD = to_message(OUTCOME)
JOB = JobRecord(
    key=KEY,
    uid="job-uid",
    generation=1,
    resource_version="1",
    created_at=AT,
    deleted_at=None,
    finalizers=(),
    train_request=None,
    forecast_request="now",
    rollback_request=None,
    rollback=Rollback(),
    document=json.dumps(
        {
            "apiVersion": "presage.dev/v1alpha1",
            "kind": "PredictionJob",
            "metadata": {"name": "sp500", "namespace": "desk"},
            "spec": SPEC,
        }
    ).encode(),
    status=b"{}",
    phase="",
)
RUN = RunRecord(key=KEY, uid="run-uid", owner="job-uid", run=case.silent(case.a_run("sp500-1")))
FAILED = replace(
    RUN, run=case.a_run("sp500-1", state="Failed", reason="BackoffLimitExceeded", message="it has reached the limit")
)
POD = PodRecord(
    key=KEY,
    uid="pod-uid",
    owner="run-uid",
    name="sp500-1-a",
    run="sp500-1",
    created_at=AT,
    outcome=b"",
    reason="",
    message="",
)
DEPLOYMENT = ServerRecord(
    key=KEY,
    uid="server-uid",
    owner="job-uid",
    run="one",
    desired="sha256:1",
    available=True,
    current=True,
    url="http://sp500-predictor.desk.svc",
    reason="",
    message="",
)


def seen(
    *children: RunRecord | PodRecord, servers: dict[str, ServerRecord] | None = None, job: JobRecord = JOB
) -> Observed:
    cache = Cache(lambda _: None)
    cache.put_job(KEY, job)
    for child in children:
        kind, name = ("Job", child.run.name) if isinstance(child, RunRecord) else ("Pod", child.name)
        cache.put_child(kind, ("desk", name), child)
    for kind, server in (servers or {}).items():
        cache.put_child(kind, ("desk", "sp500-predictor"), server)
    made = observe(cache, KEY, JobReader(Settings()))
    assert made is not None
    return made


def run_of(*children: RunRecord | PodRecord) -> ObservedRun:
    (run,) = seen(*children).runs
    return run


def test_a_job_that_is_gone_is_not_seen() -> None:
    assert observe(Cache(lambda _: None), KEY, JobReader(Settings())) is None


def test_a_run_tells_what_its_pod_told() -> None:
    assert run_of(RUN, replace(POD, outcome=TOLD)).outcome == OUTCOME


def test_a_run_that_goes_on_has_told_nothing_yet() -> None:
    running = replace(RUN, run=case.a_run("sp500-1", state="Running"))
    assert run_of(running, replace(POD, outcome=TOLD)).outcome is None


def test_the_newest_pod_speaks_for_its_run() -> None:
    failure = to_message(RunOutcome(failure=Failure(reason="StorageError", message="full", retry=True)))
    first = replace(POD, outcome=failure, reason="Error", message="exit code 7")
    second = replace(POD, name="sp500-1-b", created_at=AT + timedelta(minutes=1), reason="OOMKilled")
    made = run_of(FAILED, first, second)
    assert (made.outcome, made.reason) == (None, "OOMKilled")


@pytest.mark.parametrize(
    "pod",
    [replace(POD, owner="another", outcome=TOLD), replace(POD, run="sp500-2", outcome=TOLD)],
    ids=["of a run of the same name before it", "of another run"],
)
def test_another_run_s_pod_does_not_speak_for_it(pod: PodRecord) -> None:
    assert run_of(RUN, pod).outcome is None


@pytest.mark.parametrize(
    "message", [b"", b"Traceback", b"{", b"{}x", b'{"version": "v9"}', b'{"level": "info"}'], ids=repr
)
def test_what_is_no_outcome_is_none(message: bytes) -> None:
    assert run_of(RUN, replace(POD, outcome=message)).outcome is None


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (b"", "exit code 137"),
        (b"first\nfold 3 of 9\n", "exit code 137: fold 3 of 9"),
        (b'first\n{"level": "info"}\n', "exit code 137"),
    ],
    ids=["no log", "a last line", "a last line for programs"],
)
def test_a_failure_s_message_ends_with_the_last_line_of_the_log(log: bytes, message: str) -> None:
    pod = replace(POD, outcome=log, reason="OOMKilled", message="exit code 137")
    made = run_of(FAILED, pod)
    assert (made.reason, made.message) == ("OOMKilled", message)


@pytest.mark.parametrize("reason", ["DeadlineExceeded", "PodFailurePolicy"])
def test_the_job_s_own_reason_stays_where_its_pod_cannot_know_it(reason: str) -> None:
    pod = replace(POD, reason="Error", message="exit code 2", outcome=b"no such option\n")
    made = run_of(replace(FAILED, run=replace(FAILED.run, reason=reason)), pod)
    assert (made.reason, made.message) == (reason, "exit code 2: no such option")


def test_a_failure_whose_pod_is_gone_is_told_in_the_job_s_words() -> None:
    made = run_of(FAILED)
    assert (made.reason, made.message) == ("BackoffLimitExceeded", "it has reached the limit")


def test_what_a_job_of_the_same_name_left_is_none_of_this_one_s() -> None:
    old = replace(JOB, uid="another")
    made = seen(RUN, servers={"Deployment": DEPLOYMENT}, job=old)
    assert (made.runs, made.server) == ((), None)


def test_a_server_is_all_of_its_parts() -> None:
    made = seen(servers={"Deployment": DEPLOYMENT, "Service": DEPLOYMENT}).server
    assert made is not None
    assert (made.kinds, made.desired) == (frozenset({"Deployment", "Service"}), "sha256:1")


def test_parts_of_different_applies_are_not_applied_together() -> None:
    made = seen(servers={"Deployment": DEPLOYMENT, "Service": replace(DEPLOYMENT, desired="sha256:0")}).server
    assert made is not None
    assert made.desired == ""


def test_parts_without_what_serves_are_seen_so_that_they_can_be_removed() -> None:
    made = seen(servers={"Service": DEPLOYMENT}).server
    assert made is not None
    assert (made.kinds, made.available, made.url) == (frozenset({"Service"}), False, "")


def test_an_inference_service_speaks_before_a_deployment() -> None:
    kserve = replace(DEPLOYMENT, run="two", url="http://sp500.desk.example")
    made = seen(servers={"Deployment": DEPLOYMENT, "InferenceService": kserve}).server
    assert made is not None
    assert (made.run, made.url) == ("two", "http://sp500.desk.example")


def test_a_job_reads_as_its_file_does() -> None:
    made = seen().job
    assert made.job == case.JOB
    assert (made.fault, made.run_digest) == ("", case.observed().job.run_digest)
    assert made.requested == {"Forecast": "now"}


def test_a_job_that_reads_as_invalid_says_which_field() -> None:
    made = seen(job=replace(JOB, document=JOB.document.replace(b'"1d"', b'"soon"'))).job
    assert (made.job, made.fault_reason, made.run_digest) == (None, "InvalidSpec", "")
    assert "spec.frequency" in made.fault


@pytest.mark.parametrize("status", [b"{", b'{"phase": "Dreaming"}', b'{"later": 1}'], ids=repr)
def test_a_status_that_means_nothing_is_told_anew(status: bytes) -> None:
    assert seen(job=replace(JOB, status=status)).job.status == PredictionJobStatus()


RUN_OF_STATUS = {"name": "sp500-1", "cadence": "Train", "state": "Succeeded", "run": "one"}
STATUS = {
    "observedGeneration": 3,
    "phase": "Serving",
    "runs": [RUN_OF_STATUS, RUN_OF_STATUS | {"name": "sp500-0"}],
    "lastSchedules": {"train": "2026-03-02T12:00:00Z", "forecast": "2026-03-02T13:00:00Z"},
    "handledRequests": {"train": "now"},
}


def status_of(content: dict[str, object]) -> dict[str, object]:
    made = seen(job=replace(JOB, status=json.dumps(content).encode())).job.status
    return made.model_dump(mode="json", by_alias=True, exclude_unset=True)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({}, {}),
        ({"laterField": {"any": [1]}}, {}),
        ({"phase": "Dreaming"}, {"phase": None}),
        ({"observedGeneration": -1, "url": 7}, {"observedGeneration": None}),
        (
            {"lastSchedules": {"train": "soon", "forecast": "2026-03-02T13:00:00Z"}},
            {"lastSchedules": {"forecast": "2026-03-02T13:00:00Z"}},
        ),
        ({"runs": "none"}, {"runs": None}),
        ({"runs": [RUN_OF_STATUS | {"later": 1}, 7]}, {"runs": [RUN_OF_STATUS]}),
        ({"runs": [RUN_OF_STATUS | {"state": "Dreaming", "later": 1}, RUN_OF_STATUS]}, {"runs": [RUN_OF_STATUS]}),
        ({"runs": [RUN_OF_STATUS | {"attempt": "many"}, {"cadence": "Train"}]}, {"runs": [RUN_OF_STATUS]}),
    ],
    ids=[
        "all of it",
        "a later field",
        "a word of another version",
        "two faults",
        "inside of a field",
        "not a list",
        "a later field of a run, and no run",
        "a state of another version",
        "what a run may lack, and what it may not",
    ],
)
def test_of_a_status_of_another_version_all_is_kept_that_can_be_read(
    written: dict[str, object], read: dict[str, object]
) -> None:
    expected = {name: value for name, value in (STATUS | read).items() if value is not None}
    assert status_of(STATUS | written) == expected


@pytest.mark.parametrize("status", [b"[]", b"7", b"null", b'"text"'], ids=repr)
def test_a_status_that_is_no_object_is_told_anew(status: bytes) -> None:
    assert seen(job=replace(JOB, status=status)).job.status == PredictionJobStatus()
