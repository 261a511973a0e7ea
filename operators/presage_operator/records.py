"""What is kept of the API server's objects: trimmed at once, as bytes where it is read seldom.

Thousands of settled jobs are held for hours; a job's own document and status stay text until a reconcile wants them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, get_args

from pydantic import JsonValue

from presage.spec.job import API_VERSION, KIND
from presage.spec.status import RunKind, Trigger
from presage_operator import names
from presage_operator.errors import JsonObject
from presage_operator.names import Key
from presage_operator.observed import ObservedRun, Rollback, RunState
from presage_operator.runs import sentence

Name = TypeVar("Name", bound=str)

_LONGEST_REQUEST = 256
_LONGEST_REASON = 128
_LONGEST_WORDS = 500
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NO_WORD = re.compile(r"^[^A-Za-z]+|[^A-Za-z0-9_,:]|[^A-Za-z0-9_]+$")
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
# Argo's own container, which ends after the step's.
_BESIDE_A_STEP = frozenset({"wait"})


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A PredictionJob."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    deleted_at: datetime | None
    finalizers: tuple[str, ...]
    train_request: str | None
    forecast_request: str | None
    rollback_request: str | None
    rollback: Rollback
    document: bytes
    """The job as a file would have it, JSON."""
    status: bytes
    """Its status, JSON."""
    phase: str
    """The phase that its status tells; empty where there is none."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's Kubernetes Job."""

    key: Key
    uid: str
    owner: str
    """UID of its PredictionJob: one of the same name that was before has other runs."""
    run: ObservedRun
    """What the Job itself tells: its Pods know the outcome."""


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A Pod of a run, or of a step of a pipeline's run: how it fares."""

    key: Key
    uid: str
    owner: str
    """UID of its Job."""
    name: str
    run: str
    created_at: datetime
    outcome: bytes
    """The termination message of its container; empty before its end."""
    reason: str
    """Kind of its trouble, such as OOMKilled or ImagePullBackOff; empty where there is none."""
    message: str
    job_uid: str = ""
    """UID of its PredictionJob, by the label of a pipeline's Pods."""


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """An object that serves: a Deployment, what stands around it, or an InferenceService."""

    key: Key
    uid: str
    owner: str
    """UID of its PredictionJob."""
    run: str
    desired: str
    available: bool
    current: bool
    url: str
    reason: str
    message: str


def job_record(item: JsonObject) -> JobRecord:
    """Return what is kept of a PredictionJob."""
    metadata = _object(item, "metadata")
    annotations = _texts(metadata, "annotations")
    key = Key(_text(metadata, "namespace"), _text(metadata, "name"))
    document: JsonObject = {
        "apiVersion": item.get("apiVersion", API_VERSION),
        "kind": item.get("kind", KIND),
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": item.get("spec"),
    }
    return JobRecord(
        key=key,
        uid=_text(metadata, "uid"),
        generation=_number(metadata, "generation"),
        resource_version=_text(metadata, "resourceVersion"),
        created_at=moment(_text(metadata, "creationTimestamp")),
        deleted_at=_moment(metadata, "deletionTimestamp"),
        finalizers=tuple(str(one) for one in _list(metadata, "finalizers")),
        train_request=_request(annotations.get(names.TRAIN_REQUESTED_AT)),
        forecast_request=_request(annotations.get(names.FORECAST_REQUESTED_AT)),
        rollback_request=_request(annotations.get(names.ROLLBACK_REQUESTED_AT)),
        rollback=_rollback(annotations),
        document=_compact(document),
        status=_compact(item.get("status") or {}),
        phase=_text(_object(item, "status"), "phase"),
    )


def run_record(item: JsonObject) -> RunRecord:
    """Return what is kept of a run's Job."""
    metadata, status = _object(item, "metadata"), _object(item, "status")
    labels, annotations = _texts(metadata, "labels"), _texts(metadata, "annotations")
    conditions = _conditions(status)
    failed, complete = conditions.get("Failed"), conditions.get("Complete")
    state: RunState
    if failed:
        state = "Failed"
    elif complete:
        state = "Succeeded"
    else:
        # A Pod that has ended is counted before the Job says that it has: it is no return to waiting.
        begun = any(_number(status, count) for count in ("active", "succeeded", "failed"))
        state = "Running" if begun or _object(status, "uncountedTerminatedPods") else "Pending"
    ended = failed or complete
    digest = annotations.get(names.RUN_DIGEST, "")
    observed = ObservedRun(
        name=_text(metadata, "name"),
        cadence=_one_of(labels.get(names.CADENCE_LABEL), get_args(RunKind), "Train"),
        trigger=_one_of(annotations.get(names.TRIGGER), get_args(Trigger), "Spec"),
        state=state,
        attempt=_attempt(annotations.get(names.ATTEMPT, "")),
        run_digest=digest if _DIGEST.fullmatch(digest) else "",
        scheduled_time=_scheduled_time(annotations.get(names.SCHEDULED_TIME, "")),
        request=annotations.get(names.REQUEST),
        created_at=moment(_text(metadata, "creationTimestamp")),
        completed_at=_moment(ended, "lastTransitionTime") if ended else None,
        deleting="deletionTimestamp" in metadata,
        outcome=None,
        reason=_reason(failed) if failed else "",
        message=_text(failed, "message") if failed else "",
    )
    return RunRecord(key=_key(metadata), uid=_text(metadata, "uid"), owner=_owner(metadata), run=observed)


def pod_record(item: JsonObject, *, elsewhere: str | None = None) -> PodRecord:
    """Return what is kept of a Pod.

    Args:
        item: The Pod.
        elsewhere: Namespace whose Pods may be of jobs in another one, by their label; None where there is none.
    """
    metadata, status = _object(item, "metadata"), _object(item, "status")
    labels, key = _texts(metadata, "labels"), _key(metadata)
    if key.namespace == elsewhere:
        key = key._replace(namespace=labels.get(names.JOB_NAMESPACE_LABEL, elsewhere))
    reason, message = _reason(status), _text(status, "message")
    disrupted = _conditions(status).get("DisruptionTarget")
    if disrupted and not reason:
        reason, message = _reason(disrupted), _text(disrupted, "message")
    outcome = b""
    containers = [_as_object(one) for one in _list(status, "containerStatuses")]
    first = [_as_object(one) for one in _list(status, "initContainerStatuses")]
    for container in (*first, *sorted(containers, key=lambda one: _text(one, "name") in _BESIDE_A_STEP)):
        state = _object(container, "state")
        ended, waiting = _object(state, "terminated"), _object(state, "waiting")
        if ended:
            outcome = outcome or _text(ended, "message").encode()
            code = _number(ended, "exitCode")
            if code and not reason:
                reason = _reason(ended) or "Error"
                message = f"the container ended with exit code {code}"
        elif waiting and _text(waiting, "reason") not in _STARTING:
            reason, message = _reason(waiting), _text(waiting, "message")
    if not reason and _text(status, "phase") == "Pending":
        unscheduled = _conditions(status, "False").get("PodScheduled")
        if unscheduled:
            reason, message = _reason(unscheduled), _text(unscheduled, "message")
    return PodRecord(
        key=key,
        uid=_text(metadata, "uid"),
        owner=_owner(metadata),
        name=_text(metadata, "name"),
        run=labels.get(names.RUN_LABEL, ""),
        created_at=moment(_text(metadata, "creationTimestamp")),
        outcome=outcome,
        reason=reason,
        message=message,
        job_uid=labels.get(names.JOB_UID_LABEL, ""),
    )


def deployment_record(item: JsonObject) -> ServerRecord:
    """Return what is kept of a server's Deployment."""
    metadata, spec, status = _object(item, "metadata"), _object(item, "spec"), _object(item, "status")
    template = _object(_object(spec, "template"), "metadata")
    seen = _number(status, "observedGeneration") >= _number(metadata, "generation")
    replicas, updated = _number(status, "replicas"), _number(status, "updatedReplicas")
    available = _number(status, "availableReplicas") > 0
    trouble = _conditions(status, "False").get("Progressing") or _conditions(status, "True").get("ReplicaFailure") or {}
    return _server_record(
        item,
        run=_texts(template, "annotations").get(names.RUN_LABEL, ""),
        available=available,
        current=seen and available and replicas == updated,
        url=f"http://{_text(metadata, 'name')}.{_text(metadata, 'namespace')}.svc.cluster.local",
        trouble=trouble,
    )


def inference_service_record(item: JsonObject) -> ServerRecord:
    """Return what is kept of a KServe InferenceService."""
    status = _object(item, "status")
    available = "Ready" in _conditions(status)
    # Of a Deployment that it made, not of itself, KServe tells the observedGeneration; how a model moves in, it says.
    moving = _text(_object(status, "modelStatus"), "transitionStatus")
    return _server_record(
        item,
        run=_texts(_object(item, "metadata"), "annotations").get(names.RUN_LABEL, ""),
        available=available,
        current=available and moving in {"", "UpToDate"},
        url=_text(status, "url"),
        trouble=_conditions(status, "False").get("Ready", {}),
    )


def server_part_record(item: JsonObject) -> ServerRecord:
    """Return what is kept of an object around a Deployment: that it is there, and as of which apply."""
    return _server_record(item, run="", available=True, current=True, url="", trouble={})


def moment(text: str) -> datetime:
    """Return a Kubernetes time as UTC; raises ValueError for other text."""
    return datetime.fromisoformat(text)


def _server_record(
    item: JsonObject, *, run: str, available: bool, current: bool, url: str, trouble: JsonObject
) -> ServerRecord:
    metadata = _object(item, "metadata")
    return ServerRecord(
        key=_key(metadata),
        uid=_text(metadata, "uid"),
        owner=_owner(metadata),
        run=run,
        desired=_texts(metadata, "annotations").get(names.DESIRED, ""),
        available=available,
        current=current,
        url=url,
        reason=_reason(trouble),
        message=_text(trouble, "message"),
    )


def _key(metadata: JsonObject) -> Key:
    """Return whose child an object is, by its label."""
    return Key(_text(metadata, "namespace"), _texts(metadata, "labels").get(names.JOB_LABEL, ""))


def _owner(metadata: JsonObject) -> str:
    owners = (_as_object(one) for one in _list(metadata, "ownerReferences"))
    return next((_text(one, "uid") for one in owners if one.get("controller") is True), "")


def _reason(content: JsonObject) -> str:
    """Return a reason as a word that a condition takes: others than Kubernetes write what they like."""
    return _NO_WORD.sub("", _text(content, "reason")[:_LONGEST_REASON])


def _request(value: str | None) -> str | None:
    return value[:_LONGEST_REQUEST] if value else None


def _rollback(annotations: dict[str, str]) -> Rollback:
    """Return what annotations, which anybody may have written, say of a rollback, as words of a line each."""
    reason, by, to, serving = (
        sentence(annotations.get(name, ""), _LONGEST_WORDS)
        for name in (names.ROLLBACK_REASON, names.ROLLBACK_BY, names.ROLLBACK_TO, names.ROLLBACK_FROM)
    )
    return Rollback(reason, by, to or None, serving or None)


def _attempt(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) else 1


def _scheduled_time(text: str) -> datetime | None:
    """Return the time of an annotation, which a person may have changed; None where it means nothing."""
    try:
        time = moment(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _conditions(status: JsonObject, wanted: str = "True") -> dict[str, JsonObject]:
    found = (_as_object(one) for one in _list(status, "conditions"))
    return {_text(one, "type"): one for one in found if one.get("status") == wanted}


def _compact(content: JsonValue) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _as_object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _object(parent: JsonObject, name: str) -> JsonObject:
    return _as_object(parent.get(name))


def _list(parent: JsonObject, name: str) -> list[JsonValue]:
    value = parent.get(name)
    return value if isinstance(value, list) else []


def _texts(parent: JsonObject, name: str) -> dict[str, str]:
    return {key: str(value) for key, value in _object(parent, name).items()}


def _text(parent: JsonObject, name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _number(parent: JsonObject, name: str) -> int:
    value = parent.get(name)
    return value if isinstance(value, int) else 0


def _moment(parent: JsonObject, name: str) -> datetime | None:
    text = _text(parent, name)
    return moment(text) if text else None


def _one_of(value: str | None, allowed: tuple[Name, ...], default: Name) -> Name:
    return next((name for name in allowed if name == value), default)
