"""The operator's configuration, one YAML file: what a platform chooses, so that a job stays portable."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from presage.errors import JobError
from presage.spec.base import SpecModel
from presage.spec.operations import Quantity, ResourceAmounts

VERSION_TAG = "0.1.0"

Image = Annotated[str, Field(min_length=1)]
"""Reference of an image."""
Label = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""Name of a namespace: lower-case letters, digits and dashes."""
Name = Annotated[
    str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
]
"""Name of a Kubernetes object: lower-case letters, digits, dashes and dots."""

# What a run's container has mounted already: its lake, its scratch space, its job file.
_TAKEN = ("/var/lib/presage", "/tmp", "/etc/presage")  # noqa: S108  # a place to refuse, nothing is written there
LONGEST_PAUSE = 1.2
"""The longest pause between two tries for the Lease, as a multiple of the period: replicas that started together must
not go on asking together."""


class Images(SpecModel):
    """Which images run."""

    steps: Image = f"presage/steps:{VERSION_TAG}"
    """Image of a run: `components/Dockerfile`."""
    server: Image = f"presage/server:{VERSION_TAG}"
    """Image of the inference server: `serving/Dockerfile`."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When images are pulled."""
    pull_secrets: tuple[Name, ...] = ()
    """Names of Secrets, in each job's namespace, to pull with."""


class KubeflowSettings(SpecModel):
    """Where Kubeflow Pipelines is."""

    endpoint: str = "http://ml-pipeline.kubeflow.svc:8888"
    """Address of its API."""
    token_file: Path | None = None
    """File with a token to show it, read anew for each request, as a multi-user Kubeflow wants one; default: none."""
    namespace: Label | None = None
    """Where a single-user Kubeflow runs all Pods, which must be said; a multi-user one runs them where the job is."""
    service_account_name: Name | None = None
    """Service account of the steps there; default: Kubeflow's own choice, which has the rights that its steps need."""
    security_context: bool = True
    """Whether steps are told the image's user, as restricted namespaces want it; a server that does not know the field
    refuses them."""
    package: Path | None = None
    """Compiled pipeline to run; default: the one that comes with Presage."""
    cancel_seconds: Annotated[int, Field(ge=1)] = 300
    """How long the deletion of a job waits for the API to cancel its runs."""


class Pipelines(SpecModel):
    """What runs a job's steps."""

    backend: Literal["auto", "job", "kubeflow"] = "auto"
    """`auto` is Kubeflow where the cluster has it, else a Kubernetes Job."""
    kubeflow: KubeflowSettings = KubeflowSettings()
    """Where Kubeflow Pipelines is."""
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a Job starts another Pod after one that failed and may succeed later."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """Seconds after which a run is stopped, in Kubeflow each step of it; default: never."""


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

    size: Quantity = "10Gi"
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
    secret_name: Name | None = None
    """Secret in each job's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; default: the Pod's identity."""


class LakeSettings(SpecModel):
    """Where lakes are."""

    volume: LakeVolume | None = LakeVolume()
    """A volume a job."""
    s3: LakeBucket | None = None
    """A bucket for all; it takes the volume's place."""

    @model_validator(mode="after")
    def _somewhere(self) -> LakeSettings:
        if self.volume is None and self.s3 is None:
            raise PydanticCustomError("lake", "one of volume and s3 is needed")
        return self


class TrackingSettings(SpecModel):
    """The MLflow server that runs are told to."""

    uri: Annotated[str, Field(pattern=r"^https?://[^@]+$", examples=["http://mlflow.mlflow:5000"])] | None = None
    """Its address, without credentials; default: no run is told."""
    secret_name: Name | None = None
    """Secret in each job's namespace with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN."""


class DataVolume(SpecModel):
    """A claim with data that every run may read; a namespace without such a claim cannot run jobs that need it."""

    claim_name: Name
    """Name of the PersistentVolumeClaim in the job's namespace."""
    mount_path: Annotated[str, Field(pattern=r"^/[^/:][^:]*$")]
    """Where it stands in a run, read-only; `file://` sources below it are allowed."""

    @model_validator(mode="after")
    def _free(self) -> DataVolume:
        path = posixpath.normpath(self.mount_path)
        for taken in _TAKEN:
            if _inside(path, taken) or _inside(taken, path):
                raise PydanticCustomError("mount_path", "mountPath: the place of {taken} is taken", {"taken": taken})
        return self


class AllowedSources(SpecModel):
    """Which places a job may read from and write to."""

    schemes: tuple[str, ...] = ("https", "http", "s3", "mysql+pymysql", "postgresql", "nats", "kafka", "clickhouse")
    """Schemes of URIs. `file` is allowed below the data volumes alone."""
    hosts: tuple[str, ...] = ("*",)
    """Hosts, with * for any part; loopback, link-local and metadata addresses never are. Addresses count as they are
    written: no name is resolved, so a NetworkPolicy should bound what runs reach."""


class LeaderElection(SpecModel):
    """Which of several replicas works."""

    enabled: bool = True
    """Whether a Lease decides; without it there must be one replica only."""
    lease_name: Name = "presage-operator"
    """Name of the Lease."""
    namespace: Label | None = None
    """Namespace of the Lease; default: the operator's own."""
    lease_duration_seconds: Annotated[int, Field(ge=2)] = 15
    """How long a Lease that is not renewed is respected."""
    renew_deadline_seconds: Annotated[int, Field(ge=1)] = 10
    """How long a holder tries to renew before it stops working."""
    retry_period_seconds: Annotated[float, Field(gt=0)] = 2
    """Seconds between tries."""

    @property
    def in_order(self) -> bool:
        """Whether a holder has time to renew, and stops before another replica may start."""
        longest_pause = self.retry_period_seconds * LONGEST_PAUSE
        return self.lease_duration_seconds > self.renew_deadline_seconds > longest_pause


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
    tracking: TrackingSettings = TrackingSettings()
    """The MLflow server that runs are told to."""
    pushgateway: Annotated[str, Field(pattern=r"^https?://[^@]+$")] | None = None
    """Address of a Pushgateway for the metrics of runs in Kubernetes Jobs; default: they are not pushed."""
    allowed: AllowedSources = AllowedSources()
    """Which places a job may read from and write to."""
    service_account_name: Name = "default"
    """Service account, in each job's namespace, that runs and servers use; it needs no rights."""
    namespaces: tuple[Label, ...] = ()
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

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        paths = [posixpath.normpath(volume.mount_path) for volume in self.data_volumes]
        if len(set(paths)) < len(paths):
            raise PydanticCustomError("mount_path", "dataVolumes: two of them have the same mountPath")
        if self.leader_election.enabled and not self.leader_election.in_order:
            raise PydanticCustomError(
                "leader_election",
                "leaderElection: leaseDurationSeconds must be longer than renewDeadlineSeconds, and that longer than "
                "retryPeriodSeconds by more than a fifth",
            )
        return self


def load_settings(path: Path | None) -> Settings:
    """Return the configuration of a file, or the defaults.

    Raises:
        JobError: The file cannot be read or is wrong; the message names each field.
    """
    if path is None:
        return Settings()
    remedy = "Mend the operator's configuration file."
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Settings.model_validate({} if content is None else content)
    except OSError as error:
        raise JobError(
            f"{path} cannot be read: {error.strerror}.", "Name the operator's configuration file."
        ) from error
    except ValidationError as error:
        faults = "; ".join(_fault(fault["loc"], fault["msg"]) for fault in error.errors())
        raise JobError(f"{path}: {faults}.", remedy) from error
    # A byte that is no UTF-8, or a date that no calendar has, is a ValueError.
    except (yaml.YAMLError, ValueError) as error:
        raise JobError(f"{path} is not YAML in UTF-8: {error}.", remedy) from error


def _fault(place: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, place))}: {message}" if place else message


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
