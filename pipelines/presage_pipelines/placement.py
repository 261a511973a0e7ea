"""Where a pipeline's tasks run: image, resources, secrets, volumes and variables, in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl.pipeline_task import PipelineTask

from presage import __version__
from presage.errors import JobError, NotSupportedError
from presage.sources.secrets import SECRETS_DIRECTORY
from presage.spec.job import PredictionJob
from presage.spec.outcome import OUTCOME_VARIABLE
from presage.tracking.place import OFF, TRACKING_VARIABLE, parse_place

DEFAULT_IMAGE = f"presage/steps:{__version__}"
LAKE_PATH = "/var/lib/presage"
"""Where a claim with the lake is mounted: the pipeline's `workdir` then."""
_SECRETS_PATH = "/etc/presage/secrets"
_TERMINATION_LOG = "/dev/termination-log"
# Tasks are processes of one thread each: more threads than that slow them and change sums.
_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # The image is read-only to its user, who has no home.
    "HOME": "/tmp",  # noqa: S108  # the container's own
    "PRESAGE_LOG_LEVEL": "INFO",
    OUTCOME_VARIABLE: _TERMINATION_LOG,
}
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_STORE = ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3")
_KEEPS_RUNS = "promote"
_READS_SOURCES = frozenset({"ingest"})
_WRITES_SINKS = frozenset({_KEEPS_RUNS, "forecast"})


@dataclass(frozen=True)
class Placement:
    """What all tasks of a pipeline have in common.

    Attributes:
        image: Image of the steps.
        lake_secret: Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the lake's bucket, and where the bucket
            is: AWS_REGION, AWS_ENDPOINT_URL_S3; None where the Pods have an identity, or the lake is on a claim.
        lake_claim: PersistentVolumeClaim with the lake, mounted at /var/lib/presage; None where it is in a bucket.
        tracking: Address of the MLflow that is told of each run; None to tell none.
        job: The one job of the pipeline, whose resources and secrets the tasks get; None for a pipeline of any job.

    Raises:
        JobError: The address of MLflow is none, or holds credentials, which would stand in the compiled pipeline.
        NotSupportedError: MLflow is to be reached in a way that it is not.
    """

    image: str = DEFAULT_IMAGE
    lake_secret: str | None = None
    lake_claim: str | None = None
    tracking: str | None = None
    job: PredictionJob | None = None

    def __post_init__(self) -> None:
        if self.tracking is None or self.tracking.strip().lower() == OFF:
            return
        place = parse_place(self.tracking.strip())
        if place.username is not None or place.password is not None:
            raise JobError(
                f"--tracking: the address of {place} holds credentials, and the compiled pipeline would show them.",
                "Leave them out, and give the step `promote` the variables MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD from a Secret.",
            )

    def __call__(self, task: PipelineTask, step: str) -> None:
        """Say of a task where it runs.

        Args:
            task: The task.
            step: Name of its component.

        Raises:
            NotSupportedError: Kubeflow does not take an amount of the job's resources.
        """
        task.set_container_image(self.image)
        for name, value in _VARIABLES.items():
            task.set_env_variable(name, value)
        if self.lake_secret is not None:
            kubernetes.use_secret_as_env(task, self.lake_secret, _same(_CREDENTIALS))
            kubernetes.use_secret_as_env(task, self.lake_secret, _same(_STORE), optional=True)
        if self.lake_claim is not None:
            kubernetes.mount_pvc(task, self.lake_claim, LAKE_PATH)
        if self.tracking is not None and step == _KEEPS_RUNS:
            task.set_env_variable(TRACKING_VARIABLE, self.tracking)
        if self.job is not None:
            _resources(task, self.job)
            _secrets(task, self.job, step)


def _same(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


def _resources(task: PipelineTask, job: PredictionJob) -> None:
    asked, most = job.spec.resources.requests, job.spec.resources.limits
    amounts = (
        ("requests.cpu", asked.cpu, task.set_cpu_request),
        ("requests.memory", asked.memory, task.set_memory_request),
        ("limits.cpu", most.cpu, task.set_cpu_limit),
        ("limits.memory", most.memory, task.set_memory_limit),
    )
    for name, amount, set_amount in amounts:
        if amount is None:
            continue
        try:
            set_amount(amount)
        except ValueError as error:
            raise NotSupportedError(
                f"spec.resources.{name}: Kubeflow takes no amount {amount!r}.", "Write it as 500m or as 2Gi."
            ) from error


def _secrets(task: PipelineTask, job: PredictionJob, step: str) -> None:
    wanted = {"sources": step in _READS_SOURCES, "sinks": step in _WRITES_SINKS}
    names = sorted({reference.name for group, _, _, reference in job.spec.secret_places if wanted[group]})
    # Which keys a Secret has is not known here: it comes whole, as files.
    for name in names:
        kubernetes.use_secret_as_volume(task, name, f"{_SECRETS_PATH}/{name}")
    if names:
        task.set_env_variable(SECRETS_DIRECTORY, _SECRETS_PATH)
