"""What runs found of each contender, in real databases and in files: one row a run and contender."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from row_job_case import NOW, WAITING, make_job, run, trips
from servers.sqlite import Sqlite

from presage.errors import LakeError
from presage.spec.job import PredictionJob
from presage.steps.metrics import metrics_results, metrics_table
from presage.steps.sink import write_sinks
from presage.steps.workdir import SUMMARY, WorkDirectory

LATER = NOW + timedelta(hours=1)


def sink(database) -> dict[str, object]:
    secret = {} if isinstance(database, Sqlite) else {"secret_ref": {"name": "market"}}
    return {"name": "out", "data": "metrics", "sql": {"uri": database.uri} | secret}


def files(directory: str = "out") -> dict[str, object]:
    return {"name": "out", "data": "metrics", "files": {"uri": directory}}


@pytest.fixture
def clean(database):
    database.run("DROP TABLE IF EXISTS trips_metrics")
    return database


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Regression and a Classification, each run twice: the second time some outcomes more are known."""
    folder = tmp_path_factory.mktemp("metrics")
    for now, waiting in ((NOW, WAITING), (LATER, 2)):
        trips(waiting=waiting).write_csv(folder / "trips.csv")
        for task in ("Regression", "Classification"):
            run(make_job(task), folder, workdir=folder / task, now=now)
    return folder


def write(job: PredictionJob, workdir: Path, base: Path) -> None:
    write_sinks(job, metrics_results(job, WorkDirectory(workdir)), base=base)


def summaries(workdir: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(workdir.glob(f"runs/*/*/{SUMMARY}"))]


def test_every_contender_of_every_run_has_a_row_of_what_was_found(clean, folder):
    job = make_job(sinks=[sink(clean)])
    for _ in range(2):
        write(job, folder / "Regression", folder)
    columns = "run, model, baseline, promoted, metric, loss, skill, mae, coverage"
    found = clean.run(f"SELECT namespace, job, {columns} FROM trips_metrics ORDER BY run, model")
    expected = [
        (
            *("default", "trips", one["run"], contender["name"], contender["baseline"]),
            one["scorecard"]["verdict"]["promoted"] and one["scorecard"]["verdict"]["champion"] == contender["name"],
            *("MAE", contender["loss"], contender["skill"]),
            *(contender["metrics"][name] for name in ("mae", "coverage")),
        )
        for one in summaries(folder / "Regression")
        for contender in sorted(one["scorecard"]["contenders"], key=lambda contender: contender["name"])
    ]
    assert len(expected) == 4
    assert [tuple(row) for row in found] == expected
    times = [str(row[0])[:19] for row in clean.run("SELECT DISTINCT time FROM trips_metrics ORDER BY time")]
    assert times == [f"{NOW:%Y-%m-%d %H:%M:%S}", f"{LATER:%Y-%m-%d %H:%M:%S}"]


def test_a_classifications_metrics_are_there_and_what_is_not_defined_is_null(clean, folder):
    write(make_job("Classification", sinks=[sink(clean)]), folder / "Classification", folder)
    newest = summaries(folder / "Classification")[-1]
    for contender in newest["scorecard"]["contenders"]:
        where = f"run = '{newest['run']}' AND model = '{contender['name']}'"
        found = clean.run(f"SELECT log_loss, brier, auc, prevalence, mase FROM trips_metrics WHERE {where}")
        said = contender["classification"]
        assert [tuple(row) for row in found] == [
            (said["log_loss"], said["brier"], said["auc"], said["prevalence"], None)
        ]


def test_what_an_older_run_found_stays_once_the_run_is_gone(clean, folder, tmp_path):
    job = make_job(sinks=[sink(clean)])
    write(job, folder / "Regression", folder)
    newer = tmp_path / "runs" / "default.trips"
    newer.mkdir(parents=True)
    gone, kept = sorted(one["run"] for one in summaries(folder / "Regression"))
    (newer / kept).symlink_to(folder / "Regression" / "runs" / "default.trips" / kept, target_is_directory=True)
    write(job, tmp_path, folder)
    assert [row[0] for row in clean.run("SELECT DISTINCT run FROM trips_metrics ORDER BY run")] == [gone, kept]


def test_a_file_holds_the_runs_that_are_kept(folder, tmp_path):
    job = make_job(sinks=[files()])
    write(job, folder / "Regression", tmp_path)
    content = (tmp_path / "out" / "trips_metrics.parquet").read_bytes()
    table = pl.read_parquet(content)
    assert table.select("run", "model").is_unique().all()
    assert table.height == 4
    assert table.schema["time"] == pl.Datetime("us", "UTC")
    assert table.schema["auc"] == pl.Float64
    write(job, folder / "Regression", tmp_path)
    assert (tmp_path / "out" / "trips_metrics.parquet").read_bytes() == content


def test_all_tasks_have_the_same_columns(folder):
    tables = [metrics_table(make_job(task), WorkDirectory(folder / task)) for task in ("Regression", "Classification")]
    assert tables[0].schema == tables[1].schema
    assert tables[0].columns[:9] == [
        *("namespace", "job", "run", "time", "model", "baseline", "promoted", "metric", "loss"),
    ]


def test_a_job_that_never_ran_has_no_rows(tmp_path):
    assert metrics_table(make_job(), WorkDirectory(tmp_path)).height == 0


def test_a_run_whose_summary_is_damaged_is_named(folder, tmp_path):
    work = tmp_path / "runs" / "default.trips"
    for path in (folder / "Regression" / "runs" / "default.trips").glob("*/*.json"):
        (work / path.parent.name).mkdir(parents=True, exist_ok=True)
        (work / path.parent.name / path.name).write_bytes(path.read_bytes())
    spoilt = min(work.iterdir())
    (spoilt / SUMMARY).write_text("{")
    with pytest.raises(LakeError, match=spoilt.name):
        write(make_job(sinks=[files()]), tmp_path, tmp_path)


def test_a_run_and_its_repeat_write_what_they_found(clean, tmp_path):
    job, workdir = make_job(sinks=[sink(clean)]), tmp_path / "work"
    trips().write_csv(tmp_path / "trips.csv")
    done = run(job, tmp_path, workdir=workdir)
    for _ in range(2):
        found = clean.run("SELECT run, model, loss FROM trips_metrics ORDER BY model")
        card = done.summary.scorecard
        assert [tuple(row) for row in found] == sorted(
            (done.summary.run, one.name, one.loss) for one in card.contenders
        )
        clean.run("DELETE FROM trips_metrics")
        run(job, tmp_path, workdir=workdir, now=LATER)
