"""Whether what a job left can be relied on: its data, lake, newest run, forecast and disk, in one table of checks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from presage.errors import JobError, LakeError, PresageError
from presage.lake.manifest import MANIFEST, load_manifest
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps import bar_checks, row_checks
from presage.steps.checks import (
    Check,
    Installation,
    check_disk,
    check_gate,
    check_intervals,
    check_run,
    check_tables,
    failed,
)
from presage.steps.history import open_run
from presage.steps.workdir import WorkDirectory


class Verification(BaseModel):
    """All checks of a job, and the verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    checked_at: datetime
    """When, UTC."""
    ready: bool
    """Whether no check failed."""
    verdict: str
    """The verdict as one line."""
    checks: tuple[Check, ...]
    """In the order in which things build on each other."""
    bytes_used: int
    """Size of the work directory's files."""
    bytes_to_clean: int
    """Size of the files that no kept run needs."""


def verify(job: PredictionJob, *, workdir: Path, now: datetime) -> Verification:
    """Look at what a job left in its work directory; nothing is changed, and no source is asked.

    Args:
        job: The job.
        workdir: Directory of the lake and the runs.
        now: The moment to judge by, UTC.

    Raises:
        NotSupportedError: The lake cannot stand at the work directory's path.
        StorageError: The work directory cannot be read.
    """
    work = WorkDirectory(workdir)
    checks: list[Check] = []
    used = to_clean = 0
    try:
        run = open_run(job, workdir=workdir)
        manifest = load_manifest(run.directory / MANIFEST)
    except (JobError, LakeError) as error:
        checks.append(Check(name="run", state="fail", message=error.what, remedy=error.remedy))
    else:
        lake = Lake(work.lake.as_uri())
        checks += [check_run(job, run), check_tables(lake, manifest)]
        looks = _rows if job.spec.is_tabular else _bars
        checks += looks(Installation(job, work, lake, manifest, run.summary.scorecard, now))
        disk, used, to_clean = check_disk(work, lake)
        checks.append(disk)
    failures = [check for check in checks if check.state == "fail"]
    return Verification(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        checked_at=now,
        ready=not failures,
        verdict=f"NOT READY: {', '.join(check.name for check in failures)}" if failures else "ALL SYSTEMS READY",
        checks=tuple(checks),
        bytes_used=used,
        bytes_to_clean=to_clean,
    )


def _bars(seen: Installation) -> Iterator[Check]:
    yield bar_checks.check_schemas(seen)
    for source in seen.job.spec.sources:
        yield bar_checks.check_source(seen, source)
    yield check_gate(seen.scorecard)
    yield check_intervals(seen.job, seen.scorecard)
    yield bar_checks.check_forecast(seen)


def _rows(seen: Installation) -> Iterator[Check]:
    yield row_checks.check_schema(seen)
    observations = None
    try:
        observations = row_checks.read_observations(seen)
        yield row_checks.check_rows(seen, observations)
    except PresageError as error:
        yield failed(f"data {seen.job.spec.target.source}", error)
    yield check_gate(seen.scorecard)
    yield row_checks.check_quality(seen.job, seen.scorecard)
    # Without the rows nobody can tell which of them wait for a prediction.
    if observations is not None:
        yield row_checks.check_predictions(seen, observations)
