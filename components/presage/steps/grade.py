"""Grading: what was issued against what became known since."""

from __future__ import annotations

import logging
from datetime import datetime

import polars as pl

from presage.frame import KNOWN_AT, SERIES
from presage.lake.manifest import list_manifests
from presage.lake.tables import Lake
from presage.ledger.grading import ACTUAL, TARGET_TIME, grade, summary, truths_of
from presage.spec.job import PredictionJob
from presage.steps.bars import JobBars
from presage.steps.history import read_job
from presage.steps.rows import JobRows
from presage.steps.workdir import WorkDirectory, issued_table, job_key
from presage.tabular.rows import ROW

_LOG = logging.getLogger(__name__)


def grades_table(job: PredictionJob) -> str:
    """Return the name of the table of a job's grades."""
    return f"grades/{job_key(job)}"


def grade_issued(data: JobBars | JobRows, work: WorkDirectory, *, now: datetime) -> pl.DataFrame:
    """Grade what a job has issued and keep the grades in the lake; a grade that is there stays as it is.

    Graded is what kept runs issued about the outcomes that the job is about now. A job of the same name may have been
    about others.

    Args:
        data: The job's data.
        work: The work directory, with the job's runs.
        now: What became known later is not known, UTC.

    Returns:
        All grades of the job, of `presage.ledger.grading`; empty and without columns where nothing was issued yet.

    Raises:
        LakeError: A table, or a run's manifest or job, is damaged.
        LakeConflictError: Others kept writing to the table.
        StorageError: The lake cannot be written to.
    """
    job, lake = data.job, data.lake
    issued = _table(lake, issued_table(job))
    if issued is None:
        return pl.DataFrame()
    on = (ROW,) if isinstance(data, JobRows) else (SERIES, TARGET_TIME)
    own = issued.filter(pl.col("inputs").is_in(_inputs_of_same_outcomes(job, work)))
    if own.height < issued.height:
        left_out = {"job": job_key(job), "forecasts": issued.height - own.height}
        _LOG.info("not graded: of other outcomes, or of runs that are gone", extra=left_out)
    made = grade(own, _truths(data), on=on, now=now)
    if made.height:
        lake.append_unique(grades_table(job), made, key=(*on, "issued_at", "model", "inputs"))
    held = _table(lake, grades_table(job))
    return made if held is None else held


def grades_summary(job: PredictionJob, grades: pl.DataFrame) -> dict[str, float]:
    """Return what the newest grades say, as many as the job's `monitoring.window`."""
    return summary(grades, newest=job.spec.monitoring.window) if grades.height else {"count": 0.0}


def _inputs_of_same_outcomes(job: PredictionJob, work: WorkDirectory) -> list[str]:
    """Return the inputs of the kept runs whose forecasts are about the outcomes that the job is about now."""
    found = []
    for manifest in list_manifests(work.runs(job)):
        made_of = read_job(work.run(job, manifest.run))
        if manifest.inputs is not None and made_of is not None and _outcomes(made_of) == _outcomes(job):
            found.append(manifest.inputs)
    return found


def _outcomes(job: PredictionJob) -> tuple[object, ...]:
    """Return all that says which outcomes a job's forecasts are about; what models learn of them is not among it."""
    spec, target = job.spec, job.spec.target
    source = next(one for one in spec.sources if one.name == target.source)
    return (spec.task, spec.frequency, spec.calendar, source, target.column, target.above, target.relative_to)


def _table(lake: Lake, name: str) -> pl.DataFrame | None:
    version = lake.current(name)
    return None if version is None else lake.read(version)


def _truths(data: JobBars | JobRows) -> pl.DataFrame:
    if isinstance(data, JobBars):
        return truths_of(data.built.panel)
    settled = data.ingested.observations.settled
    known_at = pl.Series(settled.known_at.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    return pl.DataFrame({ROW: settled.table[ROW], ACTUAL: settled.outcome, KNOWN_AT: known_at})
