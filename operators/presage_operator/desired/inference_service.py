"""The KServe InferenceService that serves a job's forecasts, in KServe's own types."""

from __future__ import annotations

from typing import cast

from presage.errors import MissingExtraError
from presage.spec.job import PredictionJob
from presage_operator.desired.lake import model_uri
from presage_operator.desired.metadata import marked, metadata
from presage_operator.desired.pod import environment, pod_settings, scratch_mount, scratch_volume
from presage_operator.desired.server import COMPONENT, COMPONENT_LABEL, PORT, probe, server_container
from presage_operator.errors import JsonObject
from presage_operator.names import RUN_LABEL, labels
from presage_operator.settings import Settings

try:
    import kserve  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingExtraError(
        "The kserve back end needs KServe's Python types, which are not installed.",
        "Install the extra: pip install 'presage[kserve]', or set serving.backend to deployment.",
    ) from error

CONTAINER = "kserve-container"
MODEL_DIRECTORY = "/mnt/models"
"""Where KServe puts what STORAGE_URI names."""


def inference_service(job: PredictionJob, *, uid: str, run: str, settings: Settings) -> JsonObject:
    """Return the InferenceService that serves a run of the job's lake, marked with its digest.

    The security context is the container's alone: Knative, which KServe may run on, takes no other by default.
    """
    own = labels(job.metadata.name)
    head = metadata(job, job.metadata.name, uid=uid, labels=own, annotations={RUN_LABEL: run})
    replicas = job.spec.serving.replicas
    pod = pod_settings(settings)
    predictor = kserve.V1beta1PredictorSpec(
        # By these Prometheus finds its Pods, as it finds those of a Deployment.
        labels={**own, COMPONENT_LABEL: COMPONENT},
        min_replicas=replicas.min,
        max_replicas=replicas.max,
        # Without a metric the target is a share of the CPU in KServe's raw mode, and requests at a time on Knative.
        scale_target=settings.serving.target_cpu_percent,
        containers=[_container(job, run, settings)],
        volumes=[scratch_volume()],
        service_account_name=pod["serviceAccountName"],
        automount_service_account_token=pod["automountServiceAccountToken"],
        enable_service_links=pod["enableServiceLinks"],
        image_pull_secrets=pod.get("imagePullSecrets"),
    )
    service = kserve.V1beta1InferenceService(
        api_version=f"{kserve.constants.KSERVE_GROUP}/{kserve.constants.KSERVE_V1BETA1_VERSION}",
        kind=kserve.constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=head,
        spec=kserve.V1beta1InferenceServiceSpec(predictor=predictor),
    )
    content = kserve.ApiClient().sanitize_for_serialization(service)
    return marked([cast(JsonObject, content)])[0]


def _container(job: PredictionJob, run: str, settings: Settings) -> JsonObject:
    container = server_container(CONTAINER, job, MODEL_DIRECTORY, settings)
    variables = container["env"]
    return {
        **container,
        "env": [
            *(variables if isinstance(variables, list) else ()),
            *environment({"STORAGE_URI": model_uri(job, run, settings)}),
        ],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": probe("/v2/health/ready", period=5, failures=2),
        "livenessProbe": probe("/v2/health/live", period=10, failures=3),
        "volumeMounts": [scratch_mount()],
    }
