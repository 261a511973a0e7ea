"""The Kubernetes Job of one run."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage.spec.status import RunKind
from presage.tracking.place import OFF, TRACKING_VARIABLE
from presage_operator.actions import StartRun
from presage_operator.desired.job_file import NAME, PATH
from presage_operator.desired.lake import bucket_credentials, bucket_environment, lake_mounts, lake_volumes, workdir
from presage_operator.desired.metadata import metadata
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
from presage_operator.names import (
    ATTEMPT,
    CADENCE_LABEL,
    JOB_FILE,
    REQUEST,
    RUN_DIGEST,
    RUN_LABEL,
    SCHEDULED_TIME,
    TRIGGER,
    labels,
    utc_text,
)
from presage_operator.settings import Settings

CONTAINER = "run"
OUTCOME = "/dev/termination-log"

# What presage.errors calls an error that no repeat mends, and a model that was not promoted.
_FINAL_EXIT_CODES: list[JsonValue] = [2, 3, 4, 5, 6]
_COMMANDS: dict[RunKind, str] = {"Train": "run", "Forecast": "forecast", "Rollback": "rollback"}
# Tasks are processes of one thread each: more threads than that slow them and change sums.
_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def run_job(job: PredictionJob, start: StartRun, settings: Settings) -> JsonObject:
    """Return the batch/v1 Job that runs a job's steps in one Pod."""
    run_labels = {**labels(job.metadata.name), CADENCE_LABEL: start.cadence, RUN_LABEL: start.name}
    annotations = {TRIGGER: start.trigger, ATTEMPT: str(start.attempt), RUN_DIGEST: start.run_digest}
    if start.scheduled_time is not None:
        annotations[SCHEDULED_TIME] = utc_text(start.scheduled_time)
    if start.request is not None:
        annotations[REQUEST] = start.request
    spec: JsonObject = {
        "backoffLimit": settings.pipelines.retries,
        # One Pod at a time: two would write to the same lake.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": _FINAL_EXIT_CODES},
                },
            ]
        },
        "template": {
            "metadata": {"labels": {**run_labels}, "annotations": {JOB_FILE: job_text(job)}},
            "spec": _pod(job, start, settings),
        },
    }
    if settings.pipelines.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = settings.pipelines.active_deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(job, start.name, uid=start.uid, labels=run_labels, annotations=annotations),
        "spec": spec,
    }


def as_of_text(moment: datetime) -> str:
    """Return a moment, UTC, as the option `--as-of` takes it: without a sign for the zone."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}"


def run_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of what runs a job's steps; none of them is secret."""
    bucket, gateway = settings.lake.s3, settings.pushgateway
    return {
        **base_environment(),
        **_THREADS,
        **(bucket_environment(bucket) if bucket is not None else {}),
        # Without a server, a run would tell a file of its own beside each lake.
        TRACKING_VARIABLE: settings.tracking.uri or OFF,
        **({"PRESAGE_PUSHGATEWAY": gateway} if gateway is not None else {}),
    }


def _pod(job: PredictionJob, start: StartRun, settings: Settings) -> JsonObject:
    data: list[JsonValue] = [
        {"name": f"data-{number}", "persistentVolumeClaim": {"claimName": volume.claim_name, "readOnly": True}}
        for number, volume in enumerate(settings.data_volumes)
    ]
    projected: JsonObject = {
        "name": "job",
        "downwardAPI": {
            "items": [{"path": NAME, "fieldRef": {"fieldPath": f"metadata.annotations['{JOB_FILE}']"}}],
        },
    }
    return {
        **pod_settings(settings),
        "restartPolicy": "Never",
        "securityContext": pod_security(),
        "containers": [_container(job, start, settings)],
        "volumes": [projected, scratch_volume(), *lake_volumes(job, settings), *data],
    }


def _container(job: PredictionJob, start: StartRun, settings: Settings) -> JsonObject:
    data: list[JsonValue] = [
        {"name": f"data-{number}", "mountPath": volume.mount_path, "readOnly": True}
        for number, volume in enumerate(settings.data_volumes)
    ]
    bucket = settings.lake.s3
    container: JsonObject = {
        "name": CONTAINER,
        "image": settings.images.steps,
        "imagePullPolicy": settings.images.pull_policy,
        "args": [
            _COMMANDS[start.cadence],
            f"{PATH}/{NAME}",
            *("--workdir", workdir(job, settings)),
            *("--as-of", as_of_text(start.as_of)),
            *("--outcome", OUTCOME),
            *("-o", "json"),
            *_rollback_words(start),
        ],
        "terminationMessagePath": OUTCOME,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(job),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "job", "mountPath": PATH, "readOnly": True},
            scratch_mount(),
            *lake_mounts(settings, read_only=False),
            *data,
        ],
    }
    if secrets := [*(bucket_credentials(bucket) if bucket else []), *_tracking(settings), *_secrets(job)]:
        container["envFrom"] = secrets
    container["env"] = environment(run_environment(settings))
    return container


def _tracking(settings: Settings) -> list[JsonValue]:
    """Return what gives the run the user of the MLflow server."""
    name = settings.tracking.secret_name
    return [] if name is None else [{"secretRef": {"name": name}}]


def _rollback_words(start: StartRun) -> list[JsonValue]:
    """Return what a rollback is told, as options; Kubernetes would put variables, secret ones too, in a $(NAME)."""
    asked = start.rollback
    if asked is None:
        return []
    options = {"--reason": asked.reason, "--by": asked.by, "--to": asked.to, "--from": asked.serving}
    return [f"{name}={text}".replace("$", "$$") for name, text in options.items() if text]


def _secrets(job: PredictionJob) -> list[JsonValue]:
    """Return what gives the run the Secrets that the job's sources and sinks name, each under its own prefix."""
    by_name = {reference.name: reference.prefix for reference in job.spec.secret_refs}
    return [{"prefix": prefix, "secretRef": {"name": name}} for name, prefix in by_name.items()]


def _resources(job: PredictionJob) -> JsonObject:
    content: JsonObject = job.spec.resources.model_dump(mode="json", by_alias=True, exclude_none=True)
    return content
