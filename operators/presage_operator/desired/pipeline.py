"""A compiled pipeline as one job's run needs it: what its compiler could not know stands with each executor.

The fields are those of Kubeflow's own types: PipelineContainerSpec for the container, KubernetesExecutorConfig for the
Pod around it. A server refuses fields that it does not know, so of two words for a thing the older one is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

from presage.errors import JobError
from presage.sources.secrets import SECRETS_DIRECTORY
from presage.spec.job import PredictionJob
from presage.spec.outcome import OUTCOME_VARIABLE
from presage_operator.actions import StartRun
from presage_operator.desired.fault import Fault
from presage_operator.desired.lake import MOUNT_PATH
from presage_operator.desired.pod import USER, environment
from presage_operator.desired.run import OUTCOME, run_environment
from presage_operator.errors import JsonObject
from presage_operator.names import (
    CADENCE_LABEL,
    JOB_NAMESPACE_LABEL,
    JOB_UID_LABEL,
    RUN_LABEL,
    claim_name,
    labels,
)
from presage_operator.settings import Settings

SECRETS = "/etc/presage/secrets"
"""Where the Secrets that a job names stand in its steps, each in a folder of its name."""

_CREDENTIALS: list[JsonValue] = [
    {"secretKey": name, "envVar": name} for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
]
_TRACKING_USER: list[JsonValue] = [
    {"secretKey": name, "envVar": name}
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
]
_VOLUME_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def pipeline_of(compiled: JsonObject, job: PredictionJob, start: StartRun, settings: Settings) -> JsonObject:
    """Return a pipeline for a run of a job, with its platform's part, in the form in which a run carries both.

    Args:
        compiled: `pipeline_spec` and `platform_spec`, of `presage_operator.compiled.load_pipeline`.
        job: The job.
        start: The run.
        settings: The operator's configuration.

    Raises:
        JobError: An executor is no container.
    """
    pipeline, platform = _object(compiled, "pipeline_spec"), _object(compiled, "platform_spec")
    containers = {name: _container(container, job, settings) for name, container in executors(pipeline)}
    kubernetes = _object(_object(platform, "platforms"), "kubernetes")
    given = _object(_object(kubernetes, "deploymentSpec"), "executors")
    around = _around(job, start, settings)
    configs: JsonObject = {name: {**_object(given, name), **around} for name in containers}
    return {
        "pipeline_spec": {
            **pipeline,
            "deploymentSpec": {
                **_object(pipeline, "deploymentSpec"),
                "executors": {name: {"container": container} for name, container in containers.items()},
            },
        },
        "platform_spec": {
            **platform,
            "platforms": {
                **_object(platform, "platforms"),
                "kubernetes": {**kubernetes, "deploymentSpec": {"executors": configs}},
            },
        },
    }


def executors(pipeline: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """Give the containers of a compiled pipeline, by the labels of their executors.

    Raises:
        JobError: There is none, or an executor is no container: what it runs could not be told of its job.
    """
    found = _object(_object(pipeline, "deploymentSpec"), "executors")
    remedy = "Name a pipeline of container steps in pipelines.kubeflow.package."
    if not found:
        raise JobError("the compiled pipeline has no executors.", remedy)
    for name in found:
        executor = _object(found, name)
        container = executor.get("container")
        if list(executor) != ["container"] or not isinstance(container, dict):
            kinds = ", ".join(executor) or "nothing"
            raise JobError(f"executor {name!r} of the compiled pipeline is no container: it has {kinds}.", remedy)
        yield name, container


def reach_fault(job: PredictionJob, settings: Settings, *, namespace: str | None) -> Fault | None:
    """Return what keeps a job's steps from what they need, or from what they may have; None where nothing does.

    Args:
        job: The job.
        settings: The operator's configuration.
        namespace: Where its steps' Pods are; None where that is not known.
    """
    if namespace is None:
        return _fault(
            "Kubeflow Pipelines is single-user, and the namespace of its Pods is not known.",
            "Set pipelines.kubeflow.namespace, or pipelines.backend to job.",
        )
    home = job.metadata.namespace
    secrets, claims = _secrets(job), _claims(job, settings)
    if namespace != home and secrets:
        # To name a Secret is to use it, and whoever makes jobs here need not be allowed to in that namespace.
        return _fault(
            f"the job names Secrets, and a single-user Kubeflow runs its steps in namespace {namespace}, where those "
            f"of {home} are not.",
            f"Make the job in {namespace}, or set pipelines.backend to job.",
        )
    if namespace != home and settings.lake.s3 is None:
        return _fault(
            f"a single-user Kubeflow runs the job's steps in namespace {namespace}, where its lake's volume is not.",
            "Keep lakes in a bucket, lake.s3, or set pipelines.backend to job.",
        )
    volumes = [*secrets, *claims]
    unfit = sorted({name for name in volumes if volumes.count(name) > 1 or not _VOLUME_NAME.fullmatch(name)})
    if unfit:
        return _fault(
            f"Kubeflow names a step's volumes as their Secrets and claims, and {', '.join(unfit)} cannot be the name "
            "of a volume, or is that of two.",
            "Rename the Secret or the claim: lower-case letters, digits and dashes, 63 at most.",
        )
    return None


def _container(container: JsonObject, job: PredictionJob, settings: Settings) -> JsonObject:
    variables = {**run_environment(settings), OUTCOME_VARIABLE: OUTCOME}
    if _secrets(job):
        variables[SECRETS_DIRECTORY] = SECRETS
    present = container.get("env")
    kept = [one for one in present if isinstance(one, dict)] if isinstance(present, list) else []
    env = [*(one for one in kept if one.get("name") not in variables), *environment(variables)]
    return {**container, "image": settings.images.steps, "env": env, "resources": _resources(job)}


def _resources(job: PredictionJob) -> JsonObject:
    wanted = job.spec.resources
    amounts = {
        "resourceCpuRequest": wanted.requests.cpu,
        "resourceMemoryRequest": wanted.requests.memory,
        "resourceCpuLimit": wanted.limits.cpu,
        "resourceMemoryLimit": wanted.limits.memory,
    }
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _around(job: PredictionJob, start: StartRun, settings: Settings) -> JsonObject:
    """Return what the Pod around each container of the run has."""
    marks = {
        **labels(job.metadata.name),
        CADENCE_LABEL: start.cadence,
        RUN_LABEL: start.name,
        JOB_NAMESPACE_LABEL: job.metadata.namespace,
        JOB_UID_LABEL: start.uid,
    }
    content: JsonObject = {
        "podMetadata": {"labels": {**marks}},
        "imagePullPolicy": settings.images.pull_policy,
    }
    if settings.pipelines.kubeflow.security_context:
        content["securityContext"] = {"runAsUser": str(USER), "runAsGroup": str(USER), "runAsNonRoot": True}
    if settings.images.pull_secrets:
        content["imagePullSecret"] = [{"secretName": name} for name in settings.images.pull_secrets]
    if secrets := _secrets(job):
        content["secretAsVolume"] = [{"secretName": name, "mountPath": f"{SECRETS}/{name}"} for name in secrets]
    mounts = [*_lake(job, settings), *((volume.claim_name, volume.mount_path) for volume in settings.data_volumes)]
    if mounts:
        content["pvcMount"] = [{"constant": name, "mountPath": path} for name, path in mounts]
    bucket = settings.lake.s3
    users: list[JsonValue] = []
    if bucket is not None and bucket.secret_name is not None:
        users.append({"secretName": bucket.secret_name, "keyToEnv": _CREDENTIALS})
    if settings.tracking.secret_name is not None:
        users.append({"secretName": settings.tracking.secret_name, "keyToEnv": _TRACKING_USER, "optional": True})
    if users:
        content["secretAsEnv"] = users
    if settings.pipelines.active_deadline_seconds is not None:
        content["activeDeadlineSeconds"] = str(settings.pipelines.active_deadline_seconds)
    return content


def _secrets(job: PredictionJob) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reference.name for reference in job.spec.secret_refs))


def _claims(job: PredictionJob, settings: Settings) -> tuple[str, ...]:
    return (*(name for name, _ in _lake(job, settings)), *(volume.claim_name for volume in settings.data_volumes))


def _lake(job: PredictionJob, settings: Settings) -> tuple[tuple[str, str], ...]:
    return ((claim_name(job.metadata.name), MOUNT_PATH),) if settings.lake.s3 is None else ()


def _fault(what: str, remedy: str) -> Fault:
    return Fault("OutOfReach", f"{what} {remedy}")


def _object(parent: JsonObject, name: str) -> JsonObject:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}
