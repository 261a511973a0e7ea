"""Compiled pipelines: of any job, as the operator starts them, or of one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from kfp import compiler

from presage.spec.job_text import job_text
from presage_pipelines.pipeline import NAME, make_pipeline
from presage_pipelines.placement import Placement


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
