"""Grading from the lake: predictions of real runs, once their outcomes come; kept once, and never changed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from row_job_case import NOW, WAITING, make_job, run, trips

from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.bars import read_bars
from presage.steps.grade import grade_issued, grades_summary, grades_table
from presage.steps.rows import read_rows
from presage.steps.run import run_job
from presage.steps.workdir import WorkDirectory


def graded(job: PredictionJob, folder: Path, now: datetime) -> pl.DataFrame:
    """Read the job's rows as they are now, and grade what was predicted of them."""
    lake = Lake(str(folder / "w" / "lake"))
    data = read_rows(job, lake, base=folder, now=now, sources={})
    return grade_issued(data, WorkDirectory(folder / "w"), now=now)


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


def test_predictions_of_another_target_or_of_a_run_that_is_gone_are_not_graded(tmp_path: Path) -> None:
    asked = make_job("Classification")
    trips().write_csv(tmp_path / "trips.csv")
    done = run(asked, tmp_path, workdir=tmp_path / "w")
    trips(waiting=0).write_csv(tmp_path / "trips.csv")
    later = NOW + timedelta(days=1)

    target = {"source": "trips", "column": "price", "above": 12}
    assert graded(make_job("Classification", target=target), tmp_path, later).is_empty()
    shutil.move(done.directory, tmp_path / "aside")
    assert graded(asked, tmp_path, later).is_empty()
    shutil.move(tmp_path / "aside", done.directory)
    other_models = make_job("Classification", models=[{"name": "xgboost"}])
    assert graded(other_models, tmp_path, later).height == WAITING


def prices(days: int) -> pl.DataFrame:
    """A day's low and high, which are far apart."""
    random = np.random.default_rng(5)
    walk = np.cumsum(random.normal(size=days))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [(start + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ") for day in range(days)]
    return pl.DataFrame({"at": times, "low": 100 + walk, "high": 200 + walk})


def price_job(column: str) -> PredictionJob:
    source = {"name": "prices", "file": {"uri": "prices.csv"}, "time": "at", "availability": {"lag": "0s"}}
    spec = {
        "frequency": "1d",
        "target": {"source": "prices", "column": column},
        "sources": [source],
        "features": [{"lag": {"columns": [f"prices.{column}"], "steps": [1]}}],
        "models": [{"name": "ridge"}],
        "evaluation": {"folds": 3},
    }
    metadata = {"name": "prices"}
    return PredictionJob.model_validate(
        {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": metadata, "spec": spec}
    )


def test_forecasts_of_another_column_are_not_compared_with_this_one(tmp_path: Path) -> None:
    work = WorkDirectory(tmp_path / "w")
    start = datetime(2024, 1, 1, tzinfo=UTC)

    def to(days: int) -> datetime:
        prices(320)[:days].write_csv(tmp_path / "prices.csv")
        return start + timedelta(days=days, hours=1)

    def ran(job: PredictionJob, now: datetime) -> None:
        run_job(job, base=tmp_path, workdir=work.root, now=now, sources={}, workers=None, progress=lambda *_: None)

    ran(price_job("low"), to(300))
    ran(price_job("high"), to(301))
    now = to(303)
    data = read_bars(price_job("high"), Lake(work.lake.as_uri()), base=tmp_path, now=now, sources={})
    grades = grade_issued(data, work, now=now)
    assert grades.height == 1
    assert (grades["error"].abs() < 50).all()
