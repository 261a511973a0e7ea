"""What is kept of the API server's objects: the shapes that real controllers and kubelets write."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presage.spec.job import API_VERSION
from presage.spec.status import JobCondition
from presage_operator import names, records
from presage_operator.names import Key
from presage_operator.records import JsonObject

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AT_TEXT = "2026-03-02T12:00:00Z"
END_TEXT = "2026-03-02T12:05:00Z"
DIGEST = "sha256:" + "0" * 64


def head(name: str = "sp500-0a1b2c3d", owner: str = "job-uid", **changes: object) -> JsonObject:
    return {
        "name": name,
        "namespace": "desk",
        "uid": "uid-1",
        "resourceVersion": "41",
        "generation": 3,
        "creationTimestamp": AT_TEXT,
        "labels": {names.JOB_LABEL: "sp500", names.CADENCE_LABEL: "Forecast", names.RUN_LABEL: name},
        "ownerReferences": [{"kind": "Other", "uid": "no"}, {"kind": "X", "uid": owner, "controller": True}],
        **changes,
    }


def condition(type_: str, status: str = "True", reason: str = "", message: str = "") -> JsonObject:
    told = {"reason": reason, "message": message} if reason else {}
    return {"type": type_, "status": status, "lastTransitionTime": END_TEXT, "lastProbeTime": END_TEXT, **told}


def run(status: JsonObject, annotations: JsonObject | None = None) -> records.RunRecord:
    written = {
        names.TRIGGER: "Schedule",
        names.ATTEMPT: "2",
        names.RUN_DIGEST: DIGEST,
        names.SCHEDULED_TIME: AT_TEXT,
        names.REQUEST: "now",
    }
    return records.run_record({"metadata": head(annotations=written | (annotations or {})), "status": status})


def test_a_run_s_cause_is_read_from_its_labels_and_annotations() -> None:
    record = run({})
    made = record.run
    assert (record.key, made.name, record.owner) == (Key("desk", "sp500"), "sp500-0a1b2c3d", "job-uid")
    assert (made.cadence, made.trigger, made.attempt, made.request) == ("Forecast", "Schedule", 2, "now")
    assert (made.run_digest, made.scheduled_time, made.created_at) == (DIGEST, AT, AT)


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        pytest.param({}, "Pending", "", id="new"),
        pytest.param({"active": 1, "ready": 0, "terminating": 0, "startTime": AT_TEXT}, "Running", "", id="a Pod"),
        pytest.param(
            {"active": 0, "uncountedTerminatedPods": {"succeeded": ["f3"]}},
            "Running",
            "",
            id="a Pod that has just ended",
        ),
        pytest.param(
            {"succeeded": 1, "active": 0, "conditions": [condition("SuccessCriteriaMet", reason="CompletionsReached")]},
            "Running",
            "",
            id="a criterion of success is met, and its Pods still end",
        ),
        pytest.param(
            {
                "succeeded": 1,
                "completionTime": END_TEXT,
                "conditions": [
                    condition("SuccessCriteriaMet", reason="CompletionsReached"),
                    condition("Complete", reason="CompletionsReached"),
                ],
            },
            "Succeeded",
            "",
            id="complete",
        ),
        pytest.param(
            {"active": 1, "conditions": [condition("FailureTarget", reason="PodFailurePolicy")]},
            "Running",
            "",
            id="it will fail, and its Pods still end",
        ),
        pytest.param(
            {
                "failed": 1,
                "conditions": [
                    condition("FailureTarget", reason="PodFailurePolicy", message="Container run for pod"),
                    condition("Failed", reason="PodFailurePolicy", message="Container run for pod"),
                ],
            },
            "Failed",
            "PodFailurePolicy",
            id="an exit code that ends it",
        ),
        pytest.param(
            {"failed": 4, "conditions": [condition("Failed", reason="BackoffLimitExceeded")]},
            "Failed",
            "BackoffLimitExceeded",
            id="too many Pods failed",
        ),
        pytest.param(
            {"failed": 1, "conditions": [condition("Failed", reason="DeadlineExceeded")]},
            "Failed",
            "DeadlineExceeded",
            id="it took too long",
        ),
        pytest.param(
            {"active": 1, "conditions": [condition("Failed", status="False")]}, "Running", "", id="not failed"
        ),
    ],
)
def test_the_state_of_a_run_is_its_job_s_last_word(status: JsonObject, state: str, reason: str) -> None:
    made = run(status).run
    assert (made.state, made.reason) == (state, reason)
    ended = state in {"Succeeded", "Failed"}
    assert made.completed_at == (datetime.fromisoformat(END_TEXT) if ended else None)


def test_a_run_that_is_being_deleted_says_so() -> None:
    assert records.run_record({"metadata": head(deletionTimestamp=END_TEXT)}).run.deleting


@pytest.mark.parametrize(
    ("annotation", "value", "field", "expected"),
    [
        (names.ATTEMPT, "many", "attempt", 1),
        (names.ATTEMPT, "0", "attempt", 1),
        (names.ATTEMPT, "-3", "attempt", 1),
        (names.SCHEDULED_TIME, "yesterday", "scheduled_time", None),
        (names.SCHEDULED_TIME, "2026-03-02T12:00:00", "scheduled_time", None),
        (names.TRIGGER, "Whim", "trigger", "Spec"),
        (names.RUN_DIGEST, "sha256:0", "run_digest", ""),
    ],
)
def test_an_annotation_that_somebody_spoilt_blinds_nobody(annotation, value, field, expected) -> None:
    assert getattr(run({}, {annotation: value}).run, field) == expected


def pod(status: JsonObject) -> records.PodRecord:
    return records.pod_record({"metadata": head("sp500-0a1b2c3d-x7k2p", "run-uid"), "status": status})


def container(**state: JsonObject) -> list[JsonObject]:
    return [{"name": "run", "ready": False, "restartCount": 0, "state": state}]


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        pytest.param({"phase": "Pending"}, "", "", id="new"),
        pytest.param(
            {"phase": "Pending", "containerStatuses": container(waiting={"reason": "ContainerCreating"})},
            "",
            "",
            id="its container is made",
        ),
        pytest.param(
            {"phase": "Running", "containerStatuses": container(running={"startedAt": AT_TEXT})}, "", "", id="it runs"
        ),
        pytest.param(
            {
                "phase": "Failed",
                "containerStatuses": container(terminated={"reason": "OOMKilled", "exitCode": 137, "message": ""}),
            },
            "OOMKilled",
            "the container ended with exit code 137",
            id="killed for want of memory",
        ),
        pytest.param(
            {"phase": "Failed", "containerStatuses": container(terminated={"exitCode": 1})},
            "Error",
            "the container ended with exit code 1",
            id="it failed",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "The node was low on resource: memory.",
                "conditions": [condition("DisruptionTarget", reason="TerminationByKubelet")],
                "containerStatuses": container(terminated={"reason": "Error", "exitCode": 137}),
            },
            "Evicted",
            "The node was low on resource: memory.",
            id="evicted by its node",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "conditions": [
                    condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting")
                ],
                "containerStatuses": container(terminated={"reason": "Error", "exitCode": 143}),
            },
            "EvictionByEvictionAPI",
            "Eviction API: evicting",
            id="evicted by somebody",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "containerStatuses": container(
                    waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "presage/steps:0"'}
                ),
            },
            "ImagePullBackOff",
            'Back-off pulling image "presage/steps:0"',
            id="an image that is not there",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "containerStatuses": container(
                    waiting={"reason": "CreateContainerConfigError", "message": 'secret "lake" not found'}
                ),
            },
            "CreateContainerConfigError",
            'secret "lake" not found',
            id="a Secret that is not there",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "conditions": [condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available")],
            },
            "Unschedulable",
            "0/1 nodes are available",
            id="no node",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "reason": "NodeShutdown: now!",
                "message": "Pod was terminated",
            },
            "NodeShutdown:now",
            "Pod was terminated",
            id="a reason that is no word",
        ),
    ],
)
def test_a_pod_s_trouble_is_named(status: JsonObject, reason: str, message: str) -> None:
    made = pod(status)
    assert (made.reason, made.message) == (reason, message)
    assert (made.run, made.owner) == ("sp500-0a1b2c3d-x7k2p", "run-uid")


@given(st.text(max_size=300) | st.text("aB1 ,:_-", max_size=300))
def test_any_reason_is_a_word_that_a_condition_takes(text: str) -> None:
    made = pod({"phase": "Failed", "reason": text}).reason
    if made:
        JobCondition(type="Ready", status="False", reason=made, message="", last_transition_time=AT)
        assert len(made) <= 128


def test_a_pod_s_termination_message_is_kept() -> None:
    outcome = json.dumps({"version": "v1", "run": "20260102T030405Z-8f14e45f"})
    ended = container(terminated={"reason": "Completed", "exitCode": 0, "message": outcome})
    made = pod({"phase": "Succeeded", "containerStatuses": ended})
    assert (made.outcome.decode(), made.reason) == (outcome, "")


def deployment(status: JsonObject, generation: int = 3) -> records.ServerRecord:
    item = {
        "metadata": head("sp500-predictor", generation=generation, annotations={names.DESIRED: DIGEST}),
        "spec": {"template": {"metadata": {"annotations": {names.RUN_LABEL: "20260102T030405Z-8f14e45f"}}}},
        "status": status,
    }
    return records.deployment_record(item)


FULL = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("status", "available", "current", "reason"),
    [
        pytest.param({}, False, False, "", id="new"),
        pytest.param(FULL, True, True, "", id="all answer"),
        pytest.param({**FULL, "observedGeneration": 2}, True, False, "", id="its controller has not seen it yet"),
        pytest.param({**FULL, "replicas": 3, "updatedReplicas": 1}, True, False, "", id="rolling out"),
        pytest.param(
            {
                **FULL,
                "replicas": 3,
                "updatedReplicas": 1,
                "conditions": [
                    condition("Available", reason="MinimumReplicasAvailable"),
                    condition("Progressing", "False", "ProgressDeadlineExceeded", "it has timed out progressing."),
                ],
            },
            True,
            False,
            "ProgressDeadlineExceeded",
            id="a new Pod does not come up",
        ),
        pytest.param(
            {"observedGeneration": 3, "conditions": [condition("ReplicaFailure", "True", "FailedCreate", "quota")]},
            False,
            False,
            "FailedCreate",
            id="no Pod may be made",
        ),
        pytest.param(
            {
                "observedGeneration": 3,
                "replicas": 1,
                "updatedReplicas": 1,
                "unavailableReplicas": 1,
                "conditions": [condition("Available", "False", "MinimumReplicasUnavailable")],
            },
            False,
            False,
            "",
            id="none answers yet",
        ),
    ],
)
def test_how_a_deployment_fares(status: JsonObject, available: bool, current: bool, reason: str) -> None:
    made = deployment(status)
    assert (made.available, made.current, made.reason) == (available, current, reason)
    assert (made.run, made.desired) == ("20260102T030405Z-8f14e45f", DIGEST)
    assert made.url == "http://sp500-predictor.desk.svc.cluster.local"


@pytest.mark.parametrize(
    ("status", "available", "current", "reason"),
    [
        pytest.param({}, False, False, "", id="new"),
        pytest.param(
            {"conditions": [condition("Ready", "Unknown", "Deploying")]}, False, False, "", id="not known yet"
        ),
        pytest.param(
            {"conditions": [condition("Ready", "False", "RevisionFailed", "no image")]},
            False,
            False,
            "RevisionFailed",
            id="it failed",
        ),
        pytest.param(
            {"conditions": [condition("PredictorReady"), condition("Ready")], "url": "http://sp500.desk.example"},
            True,
            True,
            "",
            id="it answers",
        ),
        pytest.param(
            {
                "conditions": [condition("Ready")],
                "url": "http://sp500.desk.example",
                "modelStatus": {"transitionStatus": "InProgress"},
            },
            True,
            False,
            "",
            id="another model moves in",
        ),
    ],
)
def test_how_an_inference_service_fares(status: JsonObject, available: bool, current: bool, reason: str) -> None:
    annotations = {names.RUN_LABEL: "one", names.DESIRED: DIGEST}
    made = records.inference_service_record({"metadata": head("sp500", annotations=annotations), "status": status})
    assert (made.available, made.current, made.reason) == (available, current, reason)
    assert (made.run, made.desired, made.owner) == ("one", DIGEST, "job-uid")


def test_an_object_around_a_deployment_is_there_as_of_an_apply() -> None:
    made = records.server_part_record({"metadata": head("sp500-predictor", annotations={names.DESIRED: DIGEST})})
    assert (made.key, made.desired, made.available) == (Key("desk", "sp500"), DIGEST, True)


def test_a_job_is_kept_as_its_file_would_have_it() -> None:
    written = {
        names.TRAIN_REQUESTED_AT: AT_TEXT,
        names.FORECAST_REQUESTED_AT: "",
        "kubectl.kubernetes.io/last-applied-configuration": "much",
    }
    item = {
        "apiVersion": API_VERSION,
        "kind": "PredictionJob",
        "metadata": head("sp500", annotations=written, finalizers=["a"], managedFields=[{"manager": "kubectl"}]),
        "spec": {"frequency": "1d"},
    }
    made = records.job_record(item)
    assert (made.key, made.uid, made.generation, made.finalizers) == (Key("desk", "sp500"), "uid-1", 3, ("a",))
    assert (made.created_at, made.deleted_at, made.status) == (AT, None, b"{}")
    assert (made.train_request, made.forecast_request) == (AT_TEXT, None)
    assert json.loads(made.document) == {
        "apiVersion": API_VERSION,
        "kind": "PredictionJob",
        "metadata": {"name": "sp500", "namespace": "desk"},
        "spec": {"frequency": "1d"},
    }


@pytest.mark.parametrize(
    ("status", "phase"),
    [(None, ""), ({}, ""), ({"phase": "Serving", "url": "http://a"}, "Serving"), ({"phase": 7}, ""), ("lost", "")],
    ids=repr,
)
def test_a_job_s_phase_is_kept_as_its_status_tells_it(status: object, phase: str) -> None:
    assert records.job_record({"metadata": head("sp500"), "status": status}).phase == phase


def test_a_request_is_as_long_as_the_status_can_tell() -> None:
    made = records.job_record({"metadata": head("sp500", annotations={names.TRAIN_REQUESTED_AT: "x" * 1000})})
    assert made.train_request == "x" * 256


def test_a_job_that_is_being_deleted_says_since_when() -> None:
    made = records.job_record({"metadata": head("sp500", deletionTimestamp=END_TEXT)})
    assert made.deleted_at == datetime.fromisoformat(END_TEXT)
