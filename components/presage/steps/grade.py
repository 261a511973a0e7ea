"""Grading: what was issued against what became known since."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from presage.frame import KNOWN_AT, SERIES
from presage.lake.tables import Lake
from presage.ledger.grading import ACTUAL, TARGET_TIME, grade, summary, truths_of
from presage.spec.job import PredictionJob
from presage.steps.bars import JobBars
from presage.steps.rows import JobRows
from presage.steps.workdir import issued_table, job_key
from presage.tabular.rows import ROW


def grades_table(job: PredictionJob) -> str:
    """Return the name of the table of a job's grades."""
    return f"grades/{job_key(job)}"


def grade_issued(data: JobBars | JobRows, *, now: datetime) -> pl.DataFrame:
    """Grade what a job has issued and keep the grades in the lake; a grade that is there stays as it is.

    Args:
        data: The job's data.
        now: What became known later is not known, UTC.

    Returns:
        All grades of the job, of `presage.ledger.grading`; empty and without columns where nothing was issued yet.

    Raises:
        LakeError: A table is damaged.
        LakeConflictError: Others kept writing to the table.
        StorageError: The lake cannot be written to.
    """
    job, lake = data.job, data.lake
    issued = _table(lake, issued_table(job))
    if issued is None:
        return pl.DataFrame()
    on = (ROW,) if isinstance(data, JobRows) else (SERIES, TARGET_TIME)
    made = grade(issued, _truths(data), on=on, now=now)
    if made.height:
        lake.append_unique(grades_table(job), made, key=(*on, "issued_at", "model", "inputs"))
    held = _table(lake, grades_table(job))
    return made if held is None else held


def grades_summary(job: PredictionJob, grades: pl.DataFrame) -> dict[str, float]:
    """Return what the newest grades say, as many as the job's `monitoring.window`."""
    return summary(grades, newest=job.spec.monitoring.window) if grades.height else {"count": 0.0}


def _table(lake: Lake, name: str) -> pl.DataFrame | None:
    version = lake.current(name)
    return None if version is None else lake.read(version)


def _truths(data: JobBars | JobRows) -> pl.DataFrame:
    if isinstance(data, JobBars):
        return truths_of(data.built.panel)
    settled = data.ingested.observations.settled
    known_at = pl.Series(settled.known_at.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    return pl.DataFrame({ROW: settled.table[ROW], ACTUAL: settled.outcome, KNOWN_AT: known_at})
