"""The last step: the champion's next forecast, and how the run ended."""

from __future__ import annotations

from pathlib import Path

from presage.errors import JobError
from presage.files import write_atomically
from presage.lake.manifest import MANIFEST, load_manifest
from presage.lake.tables import Lake
from presage.spec.digest import procedure_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.history import read_summary
from presage.steps.issued import issue_next
from presage.steps.outcome import forecast_outcome, run_outcome
from presage.steps.pinned import pinned
from presage.steps.promote import Champions, held_back, read_champions
from presage.steps.sink import write_sinks
from presage.steps.workdir import WorkDirectory
from presage_pipelines.steps.given import BASE, job_of, moment_of, writing


def forecast(job: str, workdir: str, data: str, as_of: str, run: str = "", *, issued: Path) -> RunOutcome:
    """Issue the champion's next forecast: keep it in the lake, beside the bundle, and as an artefact.

    Args:
        job: The job, as text.
        workdir: A directory's path, or `s3://bucket/prefix`.
        data: The pin, as JSON.
        as_of: When the forecast is made, UTC.
        run: The run that `promote` has just kept, whose outcome is returned; empty where the champion only forecasts.
        issued: File to write: the forecast, JSON.

    Raises:
        JobError: The job has no champion, or one of another procedure.
        PresageError: As `presage.steps.issue.issue_forecast`.
    """
    parsed, now = job_of(job), moment_of(as_of)
    with writing(workdir, parsed) as work:
        champions = _champions(parsed, work, workdir, run)
        champion = champions.current
        found = pinned(parsed, Lake(work.lake.as_uri()), data, now=now)
        made = issue_next(found, work, champion)
        if run:
            # The step that kept the run has written its sinks.
            kept = work.run(parsed, run)
            held = None if champion.run == run else _held_back(champions, kept)
            outcome = run_outcome(parsed, work, read_summary(kept), champion, held)
        else:
            outcome = forecast_outcome(parsed, work, champion)
            write_sinks(parsed, found.results, base=BASE)
    write_atomically(issued, made.summary.model_dump_json(indent=2) + "\n")
    return outcome


def _champions(job: PredictionJob, work: WorkDirectory, workdir: str, run: str) -> Champions:
    """Return the champions, of which the current one is of the job's procedure; raises JobError where none is."""
    champions = read_champions(work.champion(job))
    if champions is None or (champions.current.procedure != procedure_digest(job) and not run):
        raise JobError(
            f"{job.metadata.name} has no champion of its present procedure in {workdir}.",
            "Run the pipeline with cadence Train first.",
        )
    current = champions.current
    if current.procedure != procedure_digest(job):
        raise JobError(
            f"run {run} is kept and did not take over: {current.model} of run {current.run} serves "
            f"{job.metadata.name} since {current.since:%Y-%m-%d %H:%M} UTC, and is of another procedure than this job, "
            "for which it cannot forecast.",
            "Bring back the job that it was made with, or run the pipeline with cadence Train on newer data.",
        )
    return champions


def _held_back(champions: Champions, directory: Path) -> str | None:
    """Return why a kept run does not serve; None where no rollback stands against it, or where it does not say."""
    inputs = load_manifest(directory / MANIFEST).inputs
    return None if inputs is None else held_back(champions, inputs)
