"""The operator's configuration, one YAML file: what a platform chooses, so that a job stays portable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError

from presage.errors import JobError
from presage.spec.base import SpecModel
from presage.spec.operations import ResourceAmounts

VERSION_TAG = "0.1.0"


class Images(SpecModel):
    """Which images run."""

    steps: str = f"presage/steps:{VERSION_TAG}"
    """Image of a run: `components/Dockerfile`."""
    server: str = f"presage/server:{VERSION_TAG}"
    """Image of the inference server: `serving/Dockerfile`."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When images are pulled."""
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets, in each job's namespace, to pull with."""


class KubeflowSettings(SpecModel):
    """Where Kubeflow Pipelines is."""

    endpoint: str = "http://ml-pipeline.kubeflow.svc:8888"
    """Address of its API."""
    package: Path | None = None
    """Compiled pipeline to run; without one the Kubeflow back end lacks what it runs."""
    cancel_seconds: Annotated[int, Field(ge=1)] = 300
    """How long the deletion of a job waits for the API to cancel its runs."""


class Pipelines(SpecModel):
    """What runs a job's steps."""

    backend: Literal["auto", "job", "kubeflow"] = "auto"
    """`auto` is Kubeflow where the cluster has it and a compiled pipeline is given, else a Kubernetes Job."""
    kubeflow: KubeflowSettings = KubeflowSettings()
    """Where Kubeflow Pipelines is."""
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a Job starts another Pod after one that failed and may succeed later."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """Seconds after which a run is stopped; default: never."""


class ServerResources(SpecModel):
    """Kubernetes quantities of one inference server."""

    requests: ResourceAmounts = ResourceAmounts(cpu="50m", memory="128Mi")
    """What is set aside."""
    limits: ResourceAmounts = ResourceAmounts(memory="1Gi")
    """What may not be passed."""


class ServingSettings(SpecModel):
    """What serves a job's forecasts."""

    backend: Literal["auto", "deployment", "kserve"] = "auto"
    """`auto` is KServe where the cluster has it, else a Deployment."""
    resources: ServerResources = ServerResources()
    """Of one inference server."""
    target_cpu_percent: Annotated[int, Field(ge=1, le=1000)] = 80
    """Share of the requested CPU that the autoscaler aims at."""


class LakeVolume(SpecModel):
    """A volume for each job's lake."""

    size: str = "10Gi"
    """Size of the claim."""
    storage_class_name: str | None = None
    """Class of the claim; default: the cluster's."""
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteMany"], ...] = ("ReadWriteOnce",)
    """Modes of the claim; ReadWriteMany where runs and servers may be on different nodes."""
    when_deleted: Literal["Delete", "Retain"] = "Delete"
    """What becomes of the claim when its job is deleted."""


class LakeBucket(SpecModel):
    """A bucket for all lakes."""

    uri: Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$", examples=["s3://presage/lakes"])]
    """s3:// location; each namespace and job has its own part of it."""
    endpoint: str | None = None
    """Address of the store; default: Amazon S3."""
    region: str = "us-east-1"
    """Region."""
    secret_name: str | None = None
    """Secret in each job's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; default: the Pod's identity."""


class LakeSettings(SpecModel):
    """Where lakes are."""

    volume: LakeVolume | None = LakeVolume()
    """A volume a job."""
    s3: LakeBucket | None = None
    """A bucket for all; it takes the volume's place."""


class DataVolume(SpecModel):
    """A claim with data that every run may read; a namespace without such a claim cannot run jobs that need it."""

    claim_name: str
    """Name of the PersistentVolumeClaim in the job's namespace."""
    mount_path: str
    """Where it stands in a run, read-only; `file://` sources below it are allowed."""


class AllowedSources(SpecModel):
    """Which places a job may read from and write to."""

    schemes: tuple[str, ...] = ("https", "http", "s3", "mysql+pymysql", "postgresql", "nats", "kafka", "clickhouse")
    """Schemes of URIs. `file` is allowed below the data volumes alone."""
    hosts: tuple[str, ...] = ("*",)
    """Hosts, with * for any part; loopback, link-local and metadata addresses never are."""


class LeaderElection(SpecModel):
    """Which of several replicas works."""

    enabled: bool = True
    """Whether a Lease decides; without it there must be one replica only."""
    lease_name: str = "presage-operator"
    """Name of the Lease."""
    namespace: str | None = None
    """Namespace of the Lease; default: the operator's own."""
    lease_duration_seconds: Annotated[int, Field(ge=2)] = 15
    """How long a Lease that is not renewed is respected."""
    renew_deadline_seconds: Annotated[int, Field(ge=1)] = 10
    """How long a holder tries to renew before it stops working."""
    retry_period_seconds: Annotated[float, Field(gt=0)] = 2
    """Seconds between tries."""


class Settings(SpecModel):
    """The operator's configuration."""

    images: Images = Images()
    """Which images run."""
    pipelines: Pipelines = Pipelines()
    """What runs a job's steps."""
    serving: ServingSettings = ServingSettings()
    """What serves a job's forecasts."""
    lake: LakeSettings = LakeSettings()
    """Where lakes are."""
    data_volumes: tuple[DataVolume, ...] = ()
    """Claims with data that runs may read."""
    allowed: AllowedSources = AllowedSources()
    """Which places a job may read from and write to."""
    service_account_name: str = "default"
    """Service account, in each job's namespace, that runs and servers use; it needs no rights."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; none for all of the cluster."""
    workers: Annotated[int, Field(ge=1, le=256)] = 8
    """Reconciles at a time."""
    retry_after_seconds: Annotated[int, Field(ge=1)] = 60
    """Wait before a failed run that may succeed later is started again; it doubles up to an hour."""
    leader_election: LeaderElection = LeaderElection()
    """Which of several replicas works."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """Port of /healthz, /readyz and /metrics; 0 for a free one."""

    list_keys: ClassVar[dict[str, str]] = {}


def load_settings(path: Path | None) -> Settings:
    """Return the configuration of a file, or the defaults.

    Raises:
        JobError: The file cannot be read or is wrong; the message names each field.
    """
    if path is None:
        return Settings()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Settings.model_validate(content or {})
    except OSError as error:
        raise JobError(
            f"{path} cannot be read: {error.strerror}.", "Name the operator's configuration file."
        ) from error
    except yaml.YAMLError as error:
        raise JobError(f"{path} is not YAML: {error}.", "Mend the operator's configuration file.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise JobError(f"{path}: {faults}.", "Mend the operator's configuration file.") from error
