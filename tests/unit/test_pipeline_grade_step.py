"""Grading from the lake: predictions of real runs, once their outcomes come; kept once, and never changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from row_job_case import NOW, WAITING, make_job, run, trips

from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.grade import grade_issued, grades_summary, grades_table
from presage.steps.rows import read_rows


def graded(job: PredictionJob, folder: Path, now: datetime) -> pl.DataFrame:
    """Read the job's rows as they are now, and grade what was predicted of them."""
    lake = Lake(str(folder / "w" / "lake"))
    return grade_issued(read_rows(job, lake, base=folder, now=now, sources={}), now=now)


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_predictions_are_graded_once_their_outcomes_come(task: str, tmp_path: Path) -> None:
    job, lake = make_job(task), Lake(str(tmp_path / "w" / "lake"))
    trips().write_csv(tmp_path / "trips.csv")
    run(job, tmp_path, workdir=tmp_path / "w")
    assert graded(job, tmp_path, NOW).is_empty()
    assert lake.current(grades_table(job)) is None
    assert grades_summary(job, graded(job, tmp_path, NOW)) == {"count": 0.0}

    trips(waiting=0).write_csv(tmp_path / "trips.csv")
    later = NOW + timedelta(days=1)
    grades = graded(job, tmp_path, later)
    assert grades.height == WAITING
    assert (grades["known_at"] == later).all()
    center = "mean" if task == "Regression" else "probability"
    assert (grades["error"] == grades["actual"] - grades[center]).all()
    said = grades_summary(job, grades)
    assert said.keys() == (
        {"count", "mae", "coverage_0.5", "coverage_0.8", "coverage_0.9", "coverage_0.95"}
        if task == "Regression"
        else {"count", "brier"}
    )

    version = lake.current(grades_table(job))
    assert graded(job, tmp_path, later + timedelta(days=1)).equals(grades)
    assert lake.current(grades_table(job)) == version


def test_an_outcome_that_is_revised_leaves_the_grade(tmp_path: Path) -> None:
    job = make_job()
    trips().write_csv(tmp_path / "trips.csv")
    run(job, tmp_path, workdir=tmp_path / "w")
    settled = trips(waiting=0)
    settled.write_csv(tmp_path / "trips.csv")
    grades = graded(job, tmp_path, NOW + timedelta(days=1))
    settled.with_columns(pl.col("price") + 1).write_csv(tmp_path / "trips.csv")
    assert graded(job, tmp_path, NOW + timedelta(days=2)).equals(grades)


def test_a_job_that_has_issued_nothing_has_no_grades(tmp_path: Path) -> None:
    trips().write_csv(tmp_path / "trips.csv")
    found = graded(make_job(), tmp_path, datetime(2026, 1, 2, tzinfo=UTC))
    assert (found.height, found.width) == (0, 0)
