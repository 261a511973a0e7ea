"""The Deployment, Service, autoscaler and disruption budget that serve a job's forecasts without KServe."""

from __future__ import annotations

from pydantic import JsonValue

from presage.spec.job import PredictionJob
from presage_operator.desired.fault import Fault
from presage_operator.desired.lake import (
    bucket_credentials,
    bucket_environment,
    lake_mounts,
    lake_volumes,
    model_directory,
)
from presage_operator.desired.metadata import marked, metadata
from presage_operator.desired.pod import (
    base_environment,
    container_security,
    environment,
    pod_security,
    pod_settings,
    scratch_mount,
    scratch_volume,
)
from presage_operator.errors import JsonObject
from presage_operator.names import JOB_LABEL, RUN_LABEL, labels, server_name
from presage_operator.settings import Settings

COMPONENT_LABEL = "app.kubernetes.io/component"
COMPONENT = "server"
CONTAINER = "server"
PORT = 8080
_STARTUP_SECONDS = 120
# A stopping server refuses new connections at once: first the Service must have forgotten it.
_WITHDRAWAL_SECONDS = 5
_GRACE_SECONDS = 30 + _WITHDRAWAL_SECONDS


def server_objects(job: PredictionJob, *, uid: str, run: str, settings: Settings) -> tuple[JsonObject, ...]:
    """Return what serves a run of the job's lake, each object marked with the digest of all.

    A Deployment cannot scale to none and be woken by a request, so `serving.replicas.min: 0` means one server here. An
    autoscaler is among them only where `max` is more than `min`; one that was there before is the caller's to delete.
    """
    fewest, most = _replicas(job)
    scaled = most > fewest
    made = [_deployment(job, uid, run, settings, None if scaled else fewest), _service(job, uid)]
    if scaled:
        made.append(_autoscaler(job, uid, settings, fewest, most))
    made.append(_disruption_budget(job, uid))
    return marked(made)


def name_fault(job: PredictionJob) -> Fault | None:
    """Return the fault NameNotServable where a job that is to be served has a name that no Service can have."""
    name = job.metadata.name
    if not job.spec.is_served or name[0].isalpha():
        return None
    return Fault(
        "NameNotServable",
        f"A Service's name begins with a letter, and the job is named {name}. "
        "Give the job another name, or set spec.serving.enabled to false.",
    )


def server_container(name: str, job: PredictionJob, directory: str, settings: Settings) -> JsonObject:
    """Return the container of an inference server, without probes and volumes."""
    return {
        "name": name,
        "image": settings.images.server,
        "imagePullPolicy": settings.images.pull_policy,
        "args": ["--model-name", job.metadata.name, "--model-dir", directory, "--port", str(PORT)],
        "env": environment(base_environment()),
        "resources": {
            "requests": settings.serving.resources.requests.model_dump(exclude_none=True),
            "limits": settings.serving.resources.limits.model_dump(exclude_none=True),
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_security(),
    }


def probe(path: str, *, period: int, failures: int) -> JsonObject:
    """Return an HTTP probe of the server; `period` in seconds."""
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _replicas(job: PredictionJob) -> tuple[int, int]:
    replicas = job.spec.serving.replicas
    return max(1, replicas.min), replicas.max


def _selector(job: PredictionJob) -> JsonObject:
    return {JOB_LABEL: job.metadata.name, COMPONENT_LABEL: COMPONENT}


def _head(job: PredictionJob, uid: str, annotations: dict[str, str] | None = None) -> JsonObject:
    name = job.metadata.name
    server_labels = {**labels(name), COMPONENT_LABEL: COMPONENT}
    return metadata(job, server_name(name), uid=uid, labels=server_labels, annotations=annotations or {})


def _deployment(job: PredictionJob, uid: str, run: str, settings: Settings, replicas: int | None) -> JsonObject:
    spec: JsonObject = {
        "selector": {"matchLabels": _selector(job)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        # Every new model is a new template: their ReplicaSets would pile up.
        "revisionHistoryLimit": 1,
        "template": {
            "metadata": {
                "labels": {**labels(job.metadata.name), COMPONENT_LABEL: COMPONENT},
                "annotations": {RUN_LABEL: run},
            },
            "spec": _pod(job, run, settings),
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _head(job, uid, {RUN_LABEL: run}),
        "spec": spec,
    }


def _pod(job: PredictionJob, run: str, settings: Settings) -> JsonObject:
    container = server_container(CONTAINER, job, model_directory(job, run, settings), settings)
    mounts: list[JsonValue] = [scratch_mount(), *lake_mounts(settings, read_only=True)]
    container |= {
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        # Not by readiness: a restart mends no store that is down, and would fetch a large bundle from the start again.
        "startupProbe": probe("/v2/health/live", period=1, failures=_STARTUP_SECONDS),
        "readinessProbe": probe("/v2/health/ready", period=5, failures=2),
        "livenessProbe": probe("/v2/health/live", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": _WITHDRAWAL_SECONDS}}},
        "volumeMounts": mounts,
    }
    bucket = settings.lake.s3
    if bucket is not None:
        container["env"] = environment({**base_environment(), **bucket_environment(bucket)})
        if credentials := bucket_credentials(bucket):
            container["envFrom"] = credentials
    return {
        **pod_settings(settings),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [scratch_volume(), *lake_volumes(job, settings)],
    }


def _service(job: PredictionJob, uid: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _head(job, uid),
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(job),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _autoscaler(job: PredictionJob, uid: str, settings: Settings, fewest: int, most: int) -> JsonObject:
    aim: JsonObject = {"type": "Utilization", "averageUtilization": settings.serving.target_cpu_percent}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _head(job, uid),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": server_name(job.metadata.name)},
            "minReplicas": fewest,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": aim}}],
        },
    }


def _disruption_budget(job: PredictionJob, uid: str) -> JsonObject:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _head(job, uid),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(job)}},
    }
