"""Which back ends there are, and which of them run and serve jobs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from presage_operator.client import ApiClient
from presage_operator.desired.fault import Fault
from presage_operator.desired.serving import ServingBackend
from presage_operator.observed import Capabilities
from presage_operator.resources import INFERENCE_SERVICES, SCHEDULED_WORKFLOWS
from presage_operator.settings import Settings

PipelineBackend = Literal["job", "kubeflow"]


@dataclass(frozen=True, slots=True)
class Backends:
    """What runs a job's steps and what serves it; a fault where the chosen one lacks something."""

    pipelines: PipelineBackend | Fault
    serving: ServingBackend | Fault


async def discover(client: ApiClient) -> Capabilities:
    """Return what a cluster has beside Kubernetes itself; raises ApiError where it does not answer."""
    return Capabilities(
        kserve=await client.serves(INFERENCE_SERVICES), kubeflow=await client.serves(SCHEDULED_WORKFLOWS)
    )


def kserve_types_installed() -> bool:
    """Tell whether KServe's Python types are here; nothing of them is imported."""
    return find_spec("kserve") is not None


def shipped_pipeline() -> Path | None:
    """Return the compiled pipeline that is installed beside the operator, None where there is none.

    It is data: nothing of the package around it is imported.
    """
    package = find_spec("presage_pipelines")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name("pipeline.yaml")
    return path if path.is_file() else None


def choose_backends(settings: Settings, found: Capabilities, *, kserve_types: bool, pipeline: bool) -> Backends:
    """Return the back ends of the configuration.

    Args:
        settings: The operator's configuration.
        found: What the cluster has.
        kserve_types: Whether KServe's Python types are installed beside the operator.
        pipeline: Whether a compiled pipeline is.
    """
    return Backends(
        _pipelines(settings, found, pipeline=pipeline), _serving(settings, found, kserve_types=kserve_types)
    )


def _pipelines(settings: Settings, found: Capabilities, *, pipeline: bool) -> PipelineBackend | Fault:
    packaged = pipeline or settings.pipelines.kubeflow.package is not None
    match settings.pipelines.backend:
        case "job":
            return "job"
        case "auto":
            return "kubeflow" if found.kubeflow and packaged else "job"
        case "kubeflow" if not settings.pipelines.kubeflow.endpoint:
            return _missing(
                "pipelines.backend is kubeflow, and no address of its API is given.",
                "Set pipelines.kubeflow.endpoint, or set the back end to job.",
            )
        case "kubeflow" if not packaged:
            return _missing(
                "pipelines.backend is kubeflow, and no compiled pipeline is installed or given.",
                "Set pipelines.kubeflow.package, or set the back end to job.",
            )
    return "kubeflow"


def _serving(settings: Settings, found: Capabilities, *, kserve_types: bool) -> ServingBackend | Fault:
    match settings.serving.backend:
        case "auto" if found.kserve and kserve_types:
            return "kserve"
        case "auto" | "deployment":
            return "deployment"
        case "kserve" if not found.kserve:
            return _missing(
                "serving.backend is kserve, and the cluster has no InferenceService (serving.kserve.io/v1beta1).",
                "Install KServe, or set the back end to deployment.",
            )
        case "kserve" if not kserve_types:
            return _missing(
                "serving.backend is kserve, and the operator's image lacks KServe's Python types.",
                "Use an image with the extra kserve, or set the back end to deployment.",
            )
    return "kserve"


def _missing(what: str, remedy: str) -> Fault:
    return Fault("BackendMissing", f"{what} {remedy}")
