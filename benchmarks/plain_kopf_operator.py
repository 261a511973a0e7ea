"""The operator's peer: the same duty, written with kopf in the plain way. `operator_scale.py` starts it.

Decisions, children and status come from the operator's own pure functions, so that both do the same; what differs is
the frame: kopf's handlers, indexes, timers and persistence, with the official client. Where kopf leaves a choice, the
one that should be faster was taken, by reasoning, not by measuring both:

- Handlers are functions in kopf's pool of threads, not coroutines that send every call to a thread.
- Children are listed once at the start and kept by event handlers, so that a timer asks the API server nothing. Without
  that each look at a job would be six lists; and kopf's own indexes take ever longer to start with: of 400 jobs 15 s,
  of 600 jobs 44 s.
- The client's answers are read as JSON, for its models take longer to build than the request.
- Handling progress is kept in annotations alone: the status is pruned by its schema, and kopf would warn each time.

All else is kopf's default, events included.

    KUBECONFIG=FILE python benchmarks/plain_kopf_operator.py NAMESPACE
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import kopf
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from presage.spec.crd import GROUP, PLURAL, VERSION
from presage.spec.status import PredictionJobStatus
from presage_operator import names
from presage_operator.actions import ApplyServer, DeleteRun, Nothing, StartRun, StopRun
from presage_operator.cache import Cache, Child
from presage_operator.capabilities import Backends
from presage_operator.conditions import status_of
from presage_operator.decide import Decision, decide
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
"""Handlers at a time."""
SECONDS = 60.0
"""Between two looks at a job's schedule and children."""
MOST_STEPS = 16
SETTINGS = Settings()
BACKENDS = Backends("job", "deployment")
OWN = {names.MANAGED_BY: names.FIELD_MANAGER}
SELECTOR = f"{names.MANAGED_BY}={names.FIELD_MANAGER}"

_LOG = logging.getLogger("plain")
_READER = JobReader(SETTINGS)
_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_children: defaultdict[tuple[str, str], dict[tuple[str, str], Child]] = defaultdict(dict)


@kopf.on.startup()
def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    config.load_kube_config()
    defaults = client.Configuration.get_default_copy()
    defaults.connection_pool_maxsize = THREADS
    client.Configuration.set_default(defaults)
    settings.execution.max_workers = THREADS
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage()
    _LOG.info("started")
    _list_children(memo.namespace)


class Held(NamedTuple):
    """A child as it is kept."""

    kind: str
    child: Child


class Kind(NamedTuple):
    """A kind of child: the first words of the client's methods for it, and what is kept of an object."""

    name: str
    api: type
    record: Callable[[JsonObject], Child]


KINDS = {
    "job": Kind("Job", client.BatchV1Api, run_record),
    "pod": Kind("Pod", client.CoreV1Api, pod_record),
    "deployment": Kind("Deployment", client.AppsV1Api, deployment_record),
    "service": Kind("Service", client.CoreV1Api, server_part_record),
    "horizontal_pod_autoscaler": Kind("HorizontalPodAutoscaler", client.AutoscalingV2Api, server_part_record),
    "pod_disruption_budget": Kind("PodDisruptionBudget", client.PolicyV1Api, server_part_record),
}


def _keep(kind: Kind, content: JsonObject) -> None:
    child = kind.record(content)
    _children[tuple(child.key)][kind.name, child.name] = child


def _list_children(namespace: str) -> None:
    for words, kind in KINDS.items():
        listed = getattr(kind.api(), f"list_namespaced_{words}")
        for item in json.loads(listed(namespace, label_selector=SELECTOR, _preload_content=False).data)["items"]:
            _keep(kind, item)


@kopf.on.event("batch", "v1", "jobs", labels=OWN)
@kopf.on.event("", "v1", "pods", labels=OWN)
@kopf.on.event("apps", "v1", "deployments", labels=OWN)
@kopf.on.event("", "v1", "services", labels=OWN)
@kopf.on.event("autoscaling", "v2", "horizontalpodautoscalers", labels=OWN)
@kopf.on.event("policy", "v1", "poddisruptionbudgets", labels=OWN)
def child_changed(type: str | None, body: kopf.Body, **_: object) -> None:  # noqa: A002  # kopf's name
    kind = next(kind for kind in KINDS.values() if kind.name == body["kind"])
    key = (body["metadata"]["namespace"], body["metadata"]["labels"][names.JOB_LABEL])
    if type == "DELETED":
        _children[key].pop((kind.name, body["metadata"]["name"]), None)
        return
    _keep(kind, dict(body))
    # What is told at the start is known; what is not an end or an answer asks for nothing.
    if type is not None and _matters(body.get("status") or {}):
        _look_after_parent(*key)


def _matters(status: Mapping[str, Any]) -> bool:
    ended = status.get("phase") in {"Succeeded", "Failed"}
    return ended or bool(status.get("conditions"))


@kopf.on.create(GROUP, VERSION, PLURAL)
@kopf.on.update(GROUP, VERSION, PLURAL)
@kopf.on.resume(GROUP, VERSION, PLURAL)
@kopf.timer(GROUP, VERSION, PLURAL, interval=SECONDS, idle=SECONDS)
def look_after(body: kopf.Body, patch: kopf.Patch, **_: object) -> None:
    patch.status.update(_reconcile(job_record(dict(body))))


def _look_after_parent(namespace: str, name: str) -> None:
    custom = client.CustomObjectsApi()
    # Several children of a job change at a time: without the lock an earlier look would be written after a later one.
    with _locks[namespace, name]:
        job = custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        changes = _reconcile(job_record(job))
        if changes:
            body = {"status": changes}
            custom.patch_namespaced_custom_object_status(
                GROUP, VERSION, namespace, PLURAL, name, body, _preload_content=False
            )


def _reconcile(record: JobRecord) -> JsonObject:
    """Write the children that are missing; return what is to change in the status."""
    now = datetime.now(UTC).replace(microsecond=0)
    cache = Cache(lambda _: None)
    cache.put_job(record.key, record)
    for (kind, name), child in tuple(_children[tuple(record.key)].items()):
        cache.put_child(kind, (record.key.namespace, name), child)
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
    made = _made(batch.create_namespaced_job, key.namespace, run_job(job, action, SETTINGS))
    if made is None:
        answer = batch.read_namespaced_job(action.name, key.namespace, _preload_content=False)
        made = json.loads(answer.data)
    return Held("Job", run_record(made))


def _serve(namespace: str, wanted: JsonObject) -> Held:
    words, kind = next((words, kind) for words, kind in KINDS.items() if kind.name == wanted["kind"])
    api = kind.api()
    made = _made(getattr(api, f"create_namespaced_{words}"), namespace, wanted)
    if made is None:
        patch = getattr(api, f"patch_namespaced_{words}")
        made = json.loads(patch(wanted["metadata"]["name"], namespace, wanted, _preload_content=False).data)
    return Held(kind.name, kind.record(made))


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
    kopf.run(standalone=True, namespaces=[namespace], memo=kopf.Memo(namespace=namespace))


if __name__ == "__main__":
    main(sys.argv[1])
