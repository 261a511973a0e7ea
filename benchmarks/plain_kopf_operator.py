"""The operator's peer: the same duty, written with kopf in the plain way. `operator_scale.py` starts it.

Decisions, children and status come from the operator's own pure functions, so that both do the same; what differs is
the frame: kopf's handlers, indexes, timers and persistence, with the official client. Where kopf leaves a choice, the
faster one was taken:

- Handlers are functions in kopf's pool of threads, not coroutines that send every call to a thread.
- Children are indexed, so that a timer or a handler asks the API server nothing. Without indexes each look at a job
  would be six lists.
- The client's answers are read as JSON, for its models take longer to build than the request.
- Handling progress is kept in annotations alone: the status is pruned by its schema, and kopf would warn each time.

All else is kopf's default, events included.

    KUBECONFIG=FILE python benchmarks/plain_kopf_operator.py NAMESPACE
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import kopf
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from presage.spec.crd import GROUP, PLURAL, VERSION
from presage.spec.status import PredictionJobStatus
from presage_operator import names
from presage_operator.cache import Cache, Child
from presage_operator.capabilities import Backends
from presage_operator.conditions import status_of
from presage_operator.decide import ApplyServer, Decision, DeleteRun, Nothing, StartRun, StopRun, decide
from presage_operator.desired.claim import lake_claim
from presage_operator.desired.run import run_job
from presage_operator.names import Key
from presage_operator.observe import JobReader, observe
from presage_operator.observed import Observed
from presage_operator.records import (
    JobRecord,
    JsonObject,
    deployment_record,
    job_record,
    pod_record,
    run_record,
    server_part_record,
)
from presage_operator.settings import Settings

THREADS = 16
"""Handlers at a time; fewer were slower, more were not faster."""
SECONDS = 60.0
"""Between two looks at a job's schedule and children."""
MOST_STEPS = 16
SETTINGS = Settings()
BACKENDS = Backends("job", "deployment")
OWN = {names.MANAGED_BY: names.FIELD_MANAGER}
CHILDREN = ("jobs", "pods", "deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets")

_LOG = logging.getLogger("plain")
_READER = JobReader(SETTINGS)
_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


@kopf.on.startup()
def start(settings: kopf.OperatorSettings, **_: object) -> None:
    config.load_kube_config()
    defaults = client.Configuration.get_default_copy()
    defaults.connection_pool_maxsize = THREADS
    client.Configuration.set_default(defaults)
    settings.execution.max_workers = THREADS
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage()
    _LOG.info("started")


class Held(NamedTuple):
    """A child as an index holds it."""

    kind: str
    child: Child


def _held(body: kopf.Body, record: Callable[[JsonObject], Child]) -> dict[tuple[str, str], Held]:
    child = record(dict(body))
    return {tuple(child.key): Held(str(body["kind"]), child)}


@kopf.index("batch", "v1", "jobs", labels=OWN)
def jobs(body: kopf.Body, **_: object) -> dict[tuple[str, str], Held]:
    return _held(body, run_record)


@kopf.index("", "v1", "pods", labels=OWN)
def pods(body: kopf.Body, **_: object) -> dict[tuple[str, str], Held]:
    return _held(body, pod_record)


@kopf.index("apps", "v1", "deployments", labels=OWN)
def deployments(body: kopf.Body, **_: object) -> dict[tuple[str, str], Held]:
    return _held(body, deployment_record)


@kopf.index("", "v1", "services", labels=OWN)
def services(body: kopf.Body, **_: object) -> dict[tuple[str, str], Held]:
    return _held(body, server_part_record)


@kopf.index("autoscaling", "v2", "horizontalpodautoscalers", labels=OWN)
def horizontalpodautoscalers(body: kopf.Body, **_: object) -> dict[tuple[str, str], Held]:
    return _held(body, server_part_record)


@kopf.index("policy", "v1", "poddisruptionbudgets", labels=OWN)
def poddisruptionbudgets(body: kopf.Body, **_: object) -> dict[tuple[str, str], Held]:
    return _held(body, server_part_record)


@kopf.on.create(GROUP, VERSION, PLURAL)
@kopf.on.update(GROUP, VERSION, PLURAL)
@kopf.on.resume(GROUP, VERSION, PLURAL)
@kopf.timer(GROUP, VERSION, PLURAL, interval=SECONDS, idle=SECONDS)
def look_after(body: kopf.Body, patch: kopf.Patch, **indexes: Any) -> None:
    record = job_record(dict(body))
    patch.status.update(_reconcile(record, _children(record.key, indexes)))


def _job_ended(status: Mapping[str, Any], **_: object) -> bool:
    return any(one["type"] in {"Complete", "Failed"} for one in status.get("conditions") or ())


def _pod_ended(status: Mapping[str, Any], **_: object) -> bool:
    return status.get("phase") in {"Succeeded", "Failed"}


def _server_answers(status: Mapping[str, Any], **_: object) -> bool:
    return bool(status.get("conditions"))


@kopf.on.event("batch", "v1", "jobs", labels=OWN, when=_job_ended)
@kopf.on.event("", "v1", "pods", labels=OWN, when=_pod_ended)
@kopf.on.event("apps", "v1", "deployments", labels=OWN, when=_server_answers)
def child_changed(namespace: str, labels: Mapping[str, str], **indexes: Any) -> None:
    name = labels[names.JOB_LABEL]
    custom = client.CustomObjectsApi()
    # Several children of a job change at a time: without the lock an earlier look would be written after a later one.
    with _locks[namespace, name]:
        record = job_record(custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name))
        changes = _reconcile(record, _children(record.key, indexes))
        if changes:
            body = {"status": changes}
            custom.patch_namespaced_custom_object_status(
                GROUP, VERSION, namespace, PLURAL, name, body, _preload_content=False
            )


def _children(key: Key, indexes: Mapping[str, Mapping[tuple[str, str], Iterable[Held]]]) -> list[Held]:
    return [held for name in CHILDREN for held in indexes[name].get(tuple(key), ())]


def _reconcile(record: JobRecord, children: Iterable[Held]) -> JsonObject:
    """Write the children that are missing; return what is to change in the status."""
    now = datetime.now(UTC).replace(microsecond=0)
    cache = Cache(lambda _: None)
    cache.put_job(record.key, record)
    for kind, child in children:
        cache.put_child(kind, (record.key.namespace, child.name), child)
    for _ in range(MOST_STEPS):
        observed = observe(cache, record.key, _READER)
        assert observed is not None
        decision = decide(SETTINGS, BACKENDS, observed, now)
        made = _act(decision, record.key, observed)
        if not made:
            break
        for kind, child in made:
            cache.put_child(kind, (record.key.namespace, child.name), child)
    old, new = (_content(status) for status in (observed.job.status, status_of(BACKENDS, observed, now)))
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    return changed | {name: None for name in old if name not in new}


def _content(status: PredictionJobStatus) -> JsonObject:
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _act(decision: Decision, key: Key, observed: Observed) -> list[Held]:
    match decision.action:
        case StartRun() as start:
            return [_start(start, key, observed)]
        case ApplyServer(objects):
            return [_serve(key.namespace, wanted) for wanted in objects]
        case StopRun(name) | DeleteRun(name):
            client.BatchV1Api().delete_namespaced_job(name, key.namespace, propagation_policy="Foreground")
            return []
        case Nothing():
            return []
    raise NotImplementedError(decision)


def _start(action: StartRun, key: Key, observed: Observed) -> Held:
    job = observed.job.job
    assert job is not None
    core, batch = client.CoreV1Api(), client.BatchV1Api()
    claim = lake_claim(job, uid=observed.job.uid, settings=SETTINGS)
    _made(core.create_namespaced_persistent_volume_claim, key.namespace, claim)
    wanted = run_job(
        job,
        **{field.name: getattr(action, field.name) for field in dataclasses.fields(action)},
        uid=observed.job.uid,
        run_digest=observed.job.run_digest,
        settings=SETTINGS,
    )
    made = _made(batch.create_namespaced_job, key.namespace, wanted)
    if made is None:
        answer = batch.read_namespaced_job(action.name, key.namespace, _preload_content=False)
        made = json.loads(answer.data)
    return Held("Job", run_record(made))


def _serve(namespace: str, wanted: JsonObject) -> Held:
    kind = wanted["kind"]
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    scaling, policy = client.AutoscalingV2Api(), client.PolicyV1Api()
    create, patch = {
        "Deployment": (apps.create_namespaced_deployment, apps.patch_namespaced_deployment),
        "Service": (core.create_namespaced_service, core.patch_namespaced_service),
        "HorizontalPodAutoscaler": (
            scaling.create_namespaced_horizontal_pod_autoscaler,
            scaling.patch_namespaced_horizontal_pod_autoscaler,
        ),
        "PodDisruptionBudget": (
            policy.create_namespaced_pod_disruption_budget,
            policy.patch_namespaced_pod_disruption_budget,
        ),
    }[kind]
    made = _made(create, namespace, wanted)
    if made is None:
        made = json.loads(patch(wanted["metadata"]["name"], namespace, wanted, _preload_content=False).data)
    return Held(kind, deployment_record(made) if kind == "Deployment" else server_part_record(made))


def _made(create: Callable[..., Any], namespace: str, wanted: JsonObject | None) -> JsonObject | None:
    """Create an object and return it; None where there is one already."""
    try:
        return json.loads(create(namespace, wanted, _preload_content=False).data)
    except ApiException as error:
        if error.status != 409:
            raise
        return None


def main(namespace: str) -> None:
    """Run until a signal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    kopf.run(standalone=True, namespaces=[namespace])


if __name__ == "__main__":
    main(sys.argv[1])
