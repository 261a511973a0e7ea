"""Finished runs: their summaries, and how to find them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import JobError, LakeError
from presage.evaluation.scorecard import Condition, Scorecard
from presage.lake.manifest import list_manifests
from presage.spec.job import PredictionJob
from presage.steps.workdir import SUMMARY, WorkDirectory


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
