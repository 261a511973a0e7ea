"""Finished runs: their summaries, the jobs that they are of, and how to find them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import JobError, LakeError
from presage.evaluation.scorecard import Condition, Scorecard
from presage.files import write_atomically
from presage.lake.manifest import list_manifests
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage.steps.workdir import JOB, SUMMARY, WorkDirectory

_RESTORE = "Restore the run's directory from a copy, or use the Presage that wrote it."


class RunSummary(BaseModel):
    """What a run found, as programs read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    namespace: str
    run: str
    digest: str
    """Digest of the scorecard: two runs with the same one found the same."""
    spec_digest: str
    procedure_digest: str
    conditions: tuple[Condition, ...]
    scorecard: Scorecard


@dataclass(frozen=True)
class FinishedRun:
    """A run's summary and the directory that holds its files."""

    summary: RunSummary
    directory: Path


def open_run(job: PredictionJob, *, workdir: Path, run_id: str | None = None) -> FinishedRun:
    """Return a finished run of a job: the one named, else the newest.

    Raises:
        JobError: There is no such run.
        LakeError: The run's files cannot be read.
    """
    work = WorkDirectory(workdir)
    found = [manifest.run for manifest in list_manifests(work.runs(job))]
    if run_id is None and not found:
        raise JobError(f"{job.metadata.name} has no finished run in {work.root}.", "Run it first: presage run FILE.")
    if run_id is not None and run_id not in found:
        raise JobError(f"{job.metadata.name} has no run {run_id!r} in {work.root}.", f"There are: {', '.join(found)}.")
    directory = work.run(job, run_id or found[0])
    return FinishedRun(summary=read_summary(directory), directory=directory)


def read_summary(directory: Path) -> RunSummary:
    """Return the summary in a run's directory; raises LakeError where it cannot be read."""
    try:
        return RunSummary.model_validate_json((directory / SUMMARY).read_bytes())
    except (OSError, ValidationError) as error:
        raise LakeError(
            f"the summary of run {directory.name} in {directory} cannot be read.", "Run the job again."
        ) from error


def write_job(directory: Path, job: PredictionJob) -> None:
    """Write the job that a run is of beside it, its defaults spelled out; secrets are references only."""
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["metadata"] = {"name": job.metadata.name, "namespace": job.metadata.namespace}
    write_atomically(directory / JOB, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def read_job(directory: Path) -> PredictionJob | None:
    """Return the job that a run is of; None where an earlier Presage made the run, which did not write it.

    Raises:
        LakeError: It cannot be read, or it is no job that this Presage reads.
    """
    path = directory / JOB
    try:
        return parse_job(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, JobError) as error:
        told = "; ".join(map(str, error.problems)) if isinstance(error, JobError) else str(error)
        raise LakeError(f"the job of run {directory.name} in {path} cannot be read: {told}.", _RESTORE) from error
