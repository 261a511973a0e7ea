"""Compiled pipelines: of any job, as the operator starts them, or of one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from kfp import compiler

from presage.spec.job import PredictionJob
from presage_pipelines.pipeline import NAME, make_pipeline
from presage_pipelines.placement import Placement

# Kubernetes puts variables, secret ones too, in a $(NAME) of a container's arguments, and Argo its own in a {{name}}.
_READ_BY_OTHERS = re.compile(r"\$(?=\()|\{(?=\{)")


def compile_pipeline(placement: Placement) -> str:
    """Return a pipeline as YAML: the pipeline, and what it needs of Kubernetes as a second document where it does.

    That of one job has the job's name, its resources and its Secrets, and the job as the default of parameter `job`.

    Raises:
        NotSupportedError: Kubeflow does not take an amount of the job's resources.
    """
    job = placement.job
    name = NAME if job is None else job.metadata.name
    with TemporaryDirectory(prefix="presage-") as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(
            make_pipeline(placement),
            str(path),
            pipeline_name=name,
            pipeline_parameters=None if job is None else {"job": job_text(job)},
        )
        return path.read_text(encoding="utf-8")


def job_text(job: PredictionJob) -> str:
    """Return a job as the pipeline's parameter: compact JSON; what was left out stays left out.

    It holds no secret, only references; of the metadata only name and namespace are kept. Nothing on its way to a step
    takes a part of it for a variable's name.
    """
    head = {"name": job.metadata.name, "namespace": job.metadata.namespace}
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    content = {"apiVersion": job.api_version, "kind": job.kind, "metadata": head, "spec": spec}
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    # Either sign stands within a JSON text's strings only.
    return _READ_BY_OTHERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
