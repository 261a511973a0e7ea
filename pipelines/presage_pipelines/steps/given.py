"""What the texts that a step is given mean, and where it works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from presage.errors import JobError
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage.steps.mirror import look_at, work_in
from presage.steps.pinned import parse_pin
from presage.steps.workdir import WorkDirectory, job_key

BASE = Path()
"""Folder that a job's relative paths start from: the container's working directory."""


def job_of(text: str) -> PredictionJob:
    """Return the job that the pipeline was given; raises JobError for a text that is none."""
    return parse_job(text, "the pipeline's parameter job")


def moment_of(text: str) -> datetime:
    """Return the moment that the pipeline was given, UTC; raises JobError for a text that is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise JobError(
            f"the pipeline's parameter as_of is no moment: {text!r}.", "Write it as 2026-01-02T03:04:05, UTC."
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@contextmanager
def writing(workdir: str, job: PredictionJob) -> Iterator[WorkDirectory]:
    """Give a job's work directory to a step that writes; no other step of the job writes meanwhile.

    Raises:
        LakeConflictError: Another step or run of the job is going on.
        PresageError: As `presage.steps.mirror.work_in`.
    """
    with work_in(workdir, job) as place:
        work = WorkDirectory(place.directory)
        with work.only_run(job):
            yield work


@contextmanager
def reading(workdir: str, job: PredictionJob, data: str) -> Iterator[Lake]:
    """Give a lake that holds what a pin's series or rows are made of, to a step that writes nothing.

    Any number of steps may read at once. Of a bucket only the tables that are read are copied.

    Args:
        workdir: A directory's path, or `s3://bucket/prefix`.
        job: The job.
        data: The pin, as JSON.

    Raises:
        LakeError: The text is no pin.
        LakeConflictError: A table of the bucket was cleaned up while it was read.
        PresageError: As `presage.steps.mirror.look_at`.
    """
    pin = parse_pin(data)
    names = [f"bars/{name}" for name in pin.bars] or list(pin.tables)
    needed = tuple(f"lake/{pin.tables[name].table}/" for name in names)
    with look_at(workdir, job_key(job), lambda name: name.startswith(needed)) as place:
        yield Lake(WorkDirectory(place.directory).lake.as_uri())
