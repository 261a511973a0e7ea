"""The pipeline's steps where the lake is in a bucket: what they find, what they copy, and who may work beside whom."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from commands import content
from pipeline_case import run_pipeline
from pipeline_steps import trained
from row_job_case import NOW, make_job, run, trips
from s3.gateway import BUCKET, Gateway

from presage.errors import LakeConflictError, LakeError
from presage.lake.tables import Lake
from presage.spec.job_text import job_text
from presage.steps.mirror import work_in
from presage_pipelines.compile import compile_pipeline
from presage_pipelines.placement import Placement
from presage_pipelines.steps.given import reading
from presage_pipelines.steps.grade import grade
from presage_pipelines.steps.ingest import ingest
from presage_pipelines.steps.walk import select, train

AS_OF, LATER = (f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in (NOW, NOW + timedelta(hours=1)))


@pytest.fixture
def job(tmp_path: Path) -> str:
    """A job over trips in the test's folder."""
    trips().write_csv(tmp_path / "trips.csv")
    return job_text(make_job(source={"file": {"uri": str(tmp_path / "trips.csv")}}))


def test_a_pipeline_finds_in_a_bucket_what_a_run_finds_on_a_disk(reached: Gateway, tmp_path: Path, job: str) -> None:
    package = tmp_path / "pipeline.yaml"
    package.write_text(
        compile_pipeline(Placement(image="python:3.11")).replace("backoffDuration: 10s", "backoffDuration: 0s")
    )
    workdir = f"s3://{BUCKET}/pipeline"
    ran = run_pipeline(package, tmp_path / "root", workdir=workdir, job=job, as_of=AS_OF, **reached.environment())
    assert ran.code == 0, ran.log
    given = make_job(source={"file": {"uri": str(tmp_path / "trips.csv")}})
    assert ran.outcome["scorecard"]["digest"] == run(given, tmp_path, workdir=tmp_path / "disk").summary.digest
    with work_in(workdir, given) as place:
        assert (place.directory / "runs" / "default.trips" / ran.outcome["run"] / "forecast.json").exists() is False
        assert Lake(str(place.directory / "lake")).current("predictions/default.trips") is not None


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_a_run_that_is_found_done_in_a_bucket_leaves_its_report_and_its_bundle_again(
    reached: Gateway, tmp_path: Path, task: str, caplog: pytest.LogCaptureFixture
) -> None:
    workdir = f"s3://{BUCKET}/done-{task.lower()}"
    trips().write_csv(tmp_path / "trips.csv")
    job = job_text(make_job(task, source={"file": {"uri": str(tmp_path / "trips.csv")}}))
    caplog.set_level(logging.INFO)
    made = [trained(job, workdir, tmp_path / name, as_of) for name, as_of in (("first", AS_OF), ("again", LATER))]
    assert caplog.messages.count("run finished") == 1
    assert made[0] == made[1]
    assert (made[0].ranking is not None) == (task == "Classification")
    assert content(tmp_path / "first" / "model") == content(tmp_path / "again" / "model")
    assert (tmp_path / "first" / "report").read_bytes() == (tmp_path / "again" / "report").read_bytes()
    assert b"<html" in (tmp_path / "again" / "report").read_bytes()


def test_an_mlflow_that_does_not_answer_does_not_end_the_step(
    tmp_path: Path, job: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PRESAGE_TRACKING", "http://127.0.0.1:9")
    made = trained(job, str(tmp_path / "work"), tmp_path / "made", AS_OF)
    assert (tmp_path / "work" / "runs" / "default.trips" / made.run / "manifest.json").exists()
    assert (tmp_path / "made" / "report").exists()
    (warned,) = [record for record in caplog.records if record.message == "run not tracked"]
    assert warned.levelno == logging.WARNING


def test_steps_that_learn_read_beside_one_that_writes_and_two_that_write_do_not_work_at_once(
    reached: Gateway, tmp_path: Path, job: str
) -> None:
    workdir, given = f"s3://{BUCKET}/beside", make_job()
    data = ingest(job, workdir, AS_OF, dataset=tmp_path / "dataset").data
    assert pl.read_parquet(tmp_path / "dataset").height == trips().height
    with work_in(workdir, given):
        entrants = select(job, workdir, data, features=tmp_path / "features")
        assert entrants == ["median", "ridge"]
        train(job, workdir, data, "ridge", features=tmp_path / "features", walk=tmp_path / "walk")
        with pytest.raises(LakeConflictError) as raised:
            grade(job, workdir, data, AS_OF, grades=tmp_path / "grades")
        assert raised.value.retry
    assert grade(job, workdir, data, AS_OF, grades=tmp_path / "grades") == {"count": 0.0}


def test_a_step_that_learns_copies_the_tables_of_its_pin_and_no_other(
    reached: Gateway, tmp_path: Path, job: str
) -> None:
    workdir, given = f"s3://{BUCKET}/copied", make_job()
    data = ingest(job, workdir, AS_OF, dataset=tmp_path / "dataset").data
    with work_in(workdir, given) as place:
        Lake(str(place.directory / "lake")).write("forecasts/default.trips", pl.DataFrame({"a": [1.0]}))
    with reading(workdir, given, data) as lake:
        (table,) = lake.tables()
        assert table.startswith("raw/default.trips/")
        directory = lake.directory
        assert directory is not None
        assert directory.exists()
    assert not directory.exists()


def test_a_pin_of_another_lake_is_refused(reached: Gateway, tmp_path: Path, job: str) -> None:
    data = ingest(job, str(tmp_path / "work"), AS_OF, dataset=tmp_path / "dataset").data
    with pytest.raises(LakeError, match=r"has no table raw/default\.trips/trips"):
        select(job, f"s3://{BUCKET}/nowhere", data, features=tmp_path / "features")
