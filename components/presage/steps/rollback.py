"""The way back: an earlier champion serves again, and issues its next forecast."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from presage.errors import DataExpiredError, JobError, PresageError
from presage.lake.manifest import MANIFEST
from presage.models.bundle import read_bundle
from presage.spec.digest import procedure_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.champions import ServedChampion, champion_history
from presage.steps.history import read_summary
from presage.steps.issue import Issued, issue_forecast
from presage.steps.mirror import WorkPlace
from presage.steps.outcome import forecast_outcome
from presage.steps.progress import Report
from presage.steps.promote import Champion, read_champions, roll_back, write_champions
from presage.steps.workdir import BUNDLE, WorkDirectory, job_key

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a person asks for.

    Attributes:
        reason: Why, in a few words.
        by: Who says so; None where that is not known.
        to: Run of the champion to bring back; None for the one that served before the current one.
        serving: Run that is to be rolled back; None for whatever serves.
    """

    reason: str
    by: str | None = None
    to: str | None = None
    serving: str | None = None


class RollbackSummary(BaseModel):
    """What a rollback did, as programs read it."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    changed: bool
    """Whether another champion serves than before."""
    before: ServedChampion
    """What served before."""
    champion: ServedChampion
    """What serves now."""
    issued_at: datetime | None = None
    """Moment that its next forecast was issued for, UTC; None where no forecast could be issued."""
    fault: str = ""
    """Why no forecast could be issued."""


@dataclass(frozen=True)
class RolledBack:
    """A rollback: what it did, the forecast that it issued, and what the platform is told."""

    summary: RollbackSummary
    issued: Issued | None
    outcome: RunOutcome


def roll_back_job(
    job: PredictionJob,
    asked: Asked,
    *,
    base: Path,
    place: WorkPlace,
    now: datetime,
    progress: Report,
) -> RolledBack:
    """Bring an earlier champion back and issue its next forecast.

    A rollback does not wait for data: where the forecast cannot be issued, such as for a source that is away, the
    champion is back all the same, with the forecast that it issued last.

    Args:
        job: The job.
        asked: What is to be brought back, and why.
        base: Folder that relative paths start from.
        place: Where the lake and the runs are; the champion that is back is kept there before the forecast begins.
        now: When, UTC.
        progress: Told how far the step is.

    Raises:
        JobError: The job has no champion, or none that can be brought back (see `promote.roll_back`).
        DataExpiredError: The champion's run is no longer kept.
        LakeError: The champion file, or the champion's bundle, is damaged.
        LakeConflictError: A run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    work = WorkDirectory(place.directory)
    with work.only_run(job):
        before = read_champions(work.champion(job))
        if before is None:
            raise JobError(
                f"there is nothing to roll back: {job.metadata.name} has no champion in {work.root}.",
                "Run it first: presage run FILE.",
            )
        after = roll_back(
            before,
            procedure=procedure_digest(job),
            reason=asked.reason,
            by=asked.by,
            now=now,
            to=asked.to,
            serving=asked.serving,
        )
        champion = after.current
        if after is not before:
            _require_kept(work, job, champion)
            write_champions(work.champion(job), after)
    if after is not before:
        place.keep()
    _LOG.info(
        "rolled back" if after is not before else "nothing to roll back",
        extra={"job": job_key(job), "run": champion.run, "before": before.current.run, "reason": asked.reason},
    )
    issued, fault = None, ""
    try:
        if champion.procedure != procedure_digest(job):
            # To forecast now would train the job anew, which nobody asked for.
            raise JobError(
                f"run {champion.run} serves, and the job file states another procedure.",
                "Run the job, so that the gate judges that one.",
            )
        issued = issue_forecast(
            job, base=base, workdir=place.directory, now=now, sources={}, out=None, progress=progress
        )
    except PresageError as error:
        fault = str(error).replace(str(place.directory), place.name)
        _LOG.warning("no forecast after the rollback", extra={"job": job_key(job), "fault": fault})
    outcome = forecast_outcome(job, work, champion) if issued is None else issued.outcome
    told = champion_history(job, workdir=place.directory).champions
    return RolledBack(
        summary=RollbackSummary(
            job=job.metadata.name,
            namespace=job.metadata.namespace,
            changed=after is not before,
            before=told[1] if after is not before else told[0],
            champion=told[0],
            issued_at=None if issued is None else issued.summary.issued_at,
            fault=fault,
        ),
        issued=issued,
        outcome=outcome,
    )


def _require_kept(work: WorkDirectory, job: PredictionJob, champion: Champion) -> None:
    """Require that what serves from now on is there and unharmed."""
    directory = work.run(job, champion.run)
    if not (directory / MANIFEST).exists():
        raise DataExpiredError(
            f"run {champion.run} of {champion.model} is no longer kept: retention removed it from {work.runs(job)}.",
            "Name a champion whose run is kept with --to, as the history shows them. Kept are the newest "
            f"{job.spec.retention.runs} runs (spec.retention.runs) and those of the newest champions.",
        )
    read_bundle(directory / BUNDLE)
    read_summary(directory)
