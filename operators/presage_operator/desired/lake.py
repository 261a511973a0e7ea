"""Where a job's lake is, as its Pods see it."""

from __future__ import annotations

from pydantic import JsonValue

from presage.spec.job import PredictionJob
from presage_operator.errors import JsonObject
from presage_operator.names import claim_name
from presage_operator.settings import LakeBucket, Settings

MOUNT_PATH = "/var/lib/presage"
_VOLUME = "lake"


def job_key(job: PredictionJob) -> str:
    """Return the name under which a lake keeps a job's things."""
    return f"{job.metadata.namespace}.{job.metadata.name}"


def workdir(job: PredictionJob, settings: Settings) -> str:
    """Return the place that a run's `--workdir` names."""
    bucket = settings.lake.s3
    return MOUNT_PATH if bucket is None else f"{bucket.uri.rstrip('/')}/{job_key(job)}"


def model_directory(job: PredictionJob, run: str, settings: Settings) -> str:
    """Return the place of a lake run's bundle and its newest forecast, below the work directory."""
    return f"{workdir(job, settings)}/runs/{job_key(job)}/{run}"


def model_uri(job: PredictionJob, run: str, settings: Settings) -> str:
    """Return the same place as KServe names it: in the claim or in the bucket."""
    if settings.lake.s3 is not None:
        return model_directory(job, run, settings)
    return f"pvc://{claim_name(job.metadata.name)}/runs/{job_key(job)}/{run}"


def lake_volumes(job: PredictionJob, settings: Settings) -> list[JsonValue]:
    """Return a Pod's volume of the lake; none where the lake is in a bucket."""
    if settings.lake.s3 is not None:
        return []
    return [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": claim_name(job.metadata.name)}}]


def lake_mounts(settings: Settings, *, read_only: bool) -> list[JsonValue]:
    """Return where a container finds that volume."""
    if settings.lake.s3 is not None:
        return []
    mount: JsonObject = {"name": _VOLUME, "mountPath": MOUNT_PATH}
    return [{**mount, "readOnly": True} if read_only else mount]


def bucket_environment(bucket: LakeBucket) -> dict[str, str]:
    """Return the variables by which Amazon's clients find the store; credentials come from the Secret or the Pod."""
    found = {"AWS_REGION": bucket.region, "AWS_DEFAULT_REGION": bucket.region}
    if bucket.endpoint is not None:
        found["AWS_ENDPOINT_URL_S3"] = bucket.endpoint
    return found


def bucket_credentials(bucket: LakeBucket) -> list[JsonValue]:
    """Return what a container takes the Secret's variables from; nothing where the Pod has an identity."""
    return [] if bucket.secret_name is None else [{"secretRef": {"name": bucket.secret_name}}]
