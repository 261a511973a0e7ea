"""The step that grades: what was issued against what became known since."""

from __future__ import annotations

from pathlib import Path

from presage.files import storage_faults
from presage.lake.tables import Lake
from presage.steps.grade import grade_issued, grades_summary
from presage.steps.pinned import pinned
from presage_pipelines.steps.given import job_of, moment_of, writing


def grade(job: str, workdir: str, data: str, as_of: str, *, grades: Path) -> dict[str, float]:
    """Grade what the job has issued, keep the grades in the lake, and write all of them as Parquet.

    Args:
        job: The job, as text.
        workdir: A directory's path, or `s3://bucket/prefix`.
        data: The pin, as JSON.
        as_of: What became known later is not known, UTC.
        grades: Parquet file to write.

    Returns:
        What the newest grades say, by name (see `presage.ledger.grading.summary`).

    Raises:
        PresageError: As `presage.steps.grade.grade_issued`.
    """
    parsed, now = job_of(job), moment_of(as_of)
    with writing(workdir, parsed) as work:
        found = grade_issued(pinned(parsed, Lake(work.lake.as_uri()), data, now=now), work, now=now)
    with storage_faults(grades, "the artefact's path"):
        grades.parent.mkdir(parents=True, exist_ok=True)
        found.write_parquet(grades)
    return grades_summary(parsed, found)
