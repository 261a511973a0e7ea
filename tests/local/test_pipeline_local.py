"""The compiled pipeline on real data, by Kubeflow's own local runner, against the same job's run by the command."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import polars as pl
import pytest
from commands import EXAMPLES, content, presage
from pipeline_case import AS_OF, Ran, command, pipeline_environment, run_pipeline
from row_job_case import WAITING, make_job, trips
from stock_case import stock_job, stocks

from presage.spec.job_text import job_text
from presage.spec.load import load_job, parse_job
from presage.steps.workdir import WorkDirectory
from presage_pipelines.compile import compile_pipeline
from presage_pipelines.placement import Placement

# The runner takes the name of a Python image for a sign that a step can run without it.
IMAGE = "python:3.11"
NAMES = ("AAPL", "JWN")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline of any job."""
    path = tmp_path_factory.mktemp("package") / "pipeline.yaml"
    # Between attempts a cluster is given time, and a test is not.
    path.write_text(compile_pipeline(Placement(image=IMAGE)).replace("backoffDuration: 10s", "backoffDuration: 0s"))
    return path


def commanded(job: str, folder: Path) -> dict:
    """What `presage run` finds of a job."""
    file = folder / "commanded.json"
    file.write_text(job)
    return presage(
        "run", file, "--workdir", folder / "commanded", "--as-of", AS_OF, "--tracking", "off", "-o", "json"
    ).json()


def newest(root: Path) -> Path:
    """The artefacts of the newest run of a pipeline."""
    return max(root.glob("presage-*"))


def metadata(root: Path, step: str, name: str) -> dict:
    """What a step of the newest run said of an artefact."""
    written = json.loads((newest(root) / step / "executor_output.json").read_text())
    return written["artifacts"][name]["artifacts"][0]["metadata"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def quickstart() -> str:
    return job_text(load_job(EXAMPLES / "quickstart.yaml"))


@pytest.fixture(scope="module")
def trained(package: Path, folder: Path, quickstart: str) -> Ran:
    """The quickstart, trained."""
    ran = run_pipeline(package, folder / "root", workdir=folder / "work", job=quickstart)
    assert ran.code == 0, ran.log
    return ran


def test_the_pipeline_finds_what_the_command_finds(trained: Ran, folder: Path, quickstart: str) -> None:
    found = commanded(quickstart, folder)
    assert trained.outcome["scorecard"]["digest"] == found["digest"]
    assert trained.outcome["run"] == found["run"]
    made, other = folder / "work" / "runs" / "default.quickstart", folder / "commanded" / "runs" / "default.quickstart"
    for name in ("scorecard.json", "forecast.json", "bundle/bundle.json", "predictions.csv"):
        assert (made / found["run"] / name).read_bytes() == (other / found["run"] / name).read_bytes(), name
    assert presage("report", EXAMPLES / "quickstart.yaml", "--workdir", folder / "work", "-o", "json").json() == found


def test_each_entrant_is_a_step_of_its_own(trained: Ran) -> None:
    steps = trained.steps()
    assert steps.count("train") == 7
    assert {"ingest", "select", "promote", "forecast", "grade"} <= set(steps)


def test_a_step_leaves_what_kubeflow_shows(trained: Ran, folder: Path) -> None:
    root = folder / "root"
    rows = pl.read_parquet(newest(root) / "ingest" / "dataset")
    told = metadata(root, "ingest", "dataset")
    assert told["rows"] == len(rows)
    assert set(told["sources"]) == {"sp500", "vix"}
    numbers = metadata(root, "promote", "metrics")
    champion = trained.outcome["champion"]
    assert {"mae", "skill", "p_value", "coverage", "promoted"} <= numbers.keys()
    assert round(numbers["skill"], 3) == trained.outcome["scorecard"]["skill"]
    model = metadata(root, "promote", "model")
    assert (model["framework"], model["digest"]) == (champion["model"], champion["digest"])
    served = folder / "work" / "runs" / "default.quickstart" / champion["run"]
    assert content(newest(root) / "promote" / "model") == content(served / "bundle")
    assert (newest(root) / "promote" / "report").read_bytes() == (served / "report.html").read_bytes()
    assert json.loads((newest(root) / "forecast" / "issued").read_text())["run"] == champion["run"]
    # A Forecast has no classes.
    assert not metadata(root, "promote", "classification")


def test_a_second_run_takes_what_was_learnt_from_the_cache(
    trained: Ran, package: Path, folder: Path, quickstart: str
) -> None:
    later = "2026-01-03T03:04:05"
    again = run_pipeline(package, folder / "root", workdir=folder / "work", job=quickstart, as_of=later)
    assert again.code == 0, again.log
    assert not {"select", "train"} & set(again.steps())
    assert again.outcome["scorecard"]["digest"] == trained.outcome["scorecard"]["digest"]


def test_the_forecast_cadence_issues_from_the_champion(
    trained: Ran, package: Path, folder: Path, quickstart: str
) -> None:
    before = set((folder / "work" / "runs" / "default.quickstart").iterdir())
    issued = run_pipeline(package, folder / "root", workdir=folder / "work", job=quickstart, cadence="Forecast")
    assert issued.code == 0, issued.log
    assert issued.steps() == ["ingest", "forecast-2", "grade-2"]
    assert issued.outcome["champion"]["model"] == trained.outcome["champion"]["model"]
    assert "conditions" not in issued.outcome or not issued.outcome["conditions"]
    assert set((folder / "work" / "runs" / "default.quickstart").iterdir()) == before


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A folder with two stocks as they were in the autumn of 2017, and as they are at the end."""
    folder = tmp_path_factory.mktemp("stocks")
    rows = stocks(shared_data, NAMES)
    rows.filter(pl.col("date") < "2017-10-01").write_csv(folder / "stocks.csv")
    rows.write_csv(folder / "later.csv")
    return folder


@pytest.fixture(scope="module")
def panel(listed: Path) -> str:
    """The job over the stocks."""
    return job_text(parse_job(stock_job(listed / "stocks.csv", "ridge", folds=3), "stocks.yaml"))


def test_a_panel_is_found_as_the_command_finds_it_and_graded_once_its_outcomes_are_known(
    package: Path, listed: Path, panel: str
) -> None:
    given = {"workdir": listed / "work", "job": panel}
    first = run_pipeline(package, listed / "root", **given)
    assert first.code == 0, first.log
    assert first.outcome["scorecard"]["digest"] == commanded(panel, listed)["digest"]
    assert metadata(listed / "root", "grade", "metrics") == {"count": 0.0}
    (listed / "stocks.csv").write_bytes((listed / "later.csv").read_bytes())
    later = run_pipeline(package, listed / "root", cadence="Forecast", as_of="2026-02-02T03:04:05", **given)
    assert later.code == 0, later.log
    told = metadata(listed / "root", "grade-2", "metrics")
    assert told["count"] == len(NAMES)
    assert told["mae"] > 0
    assert 0 <= told["coverage_0.8"] <= 1
    grades = pl.read_parquet(newest(listed / "root") / "grade-2" / "grades")
    assert grades["series"].to_list() == list(NAMES)
    assert grades["target_time"].dt.strftime("%Y-%m-%d").unique().to_list() == ["2017-10-02"]


@pytest.fixture
def classification(tmp_path: Path) -> str:
    """A job over trips, some of which wait for their price."""
    trips().write_csv(tmp_path / "trips.csv")
    return job_text(make_job("Classification", source={"file": {"uri": str(tmp_path / "trips.csv")}}))


def test_a_classification_that_is_killed_in_a_step_is_found_as_the_command_finds_it(
    package: Path, tmp_path: Path, classification: str
) -> None:
    given = {"workdir": tmp_path / "work", "job": classification, "cadence": "Train", "as_of": AS_OF}
    words = command(package, tmp_path / "root", **given)
    runner = subprocess.Popen(words, env=pipeline_environment(), start_new_session=True, stdout=subprocess.DEVNULL)
    runs = tmp_path / "work" / "runs" / "default.trips"
    while not list(runs.glob(".draft-*")):
        with suppress(subprocess.TimeoutExpired):
            assert runner.wait(0.01) is None, "it ended before it could be killed"
    os.killpg(runner.pid, signal.SIGKILL)
    assert runner.wait() == -signal.SIGKILL
    assert not list(runs.glob("2*"))
    database = tmp_path / "mlflow.db"
    again = run_pipeline(package, tmp_path / "root", **given, PRESAGE_TRACKING=f"sqlite:///{database}")
    assert again.code == 0, again.log
    assert not {"select", "train"} & set(again.steps())
    assert not list(runs.glob(".draft-*"))
    assert again.outcome["scorecard"]["digest"] == commanded(classification, tmp_path)["digest"]
    found = json.loads((runs / again.outcome["run"] / "scorecard.json").read_text())
    told = metadata(tmp_path / "root", "promote", "classification")
    recall = [point["recall"] for point in told["confidenceMetrics"]]
    assert (recall[0], recall[-1]) == (0.0, 1.0)
    assert recall == sorted(recall)
    assert sum(sum(row["row"]) for row in told["confusionMatrix"]["rows"]) == found["rows"]
    issued = json.loads((newest(tmp_path / "root") / "forecast" / "issued").read_text())
    assert len(issued["rows"]) == WAITING
    with closing(sqlite3.connect(database)) as tracked:
        assert ("default/trips",) in tracked.execute("SELECT name FROM experiments").fetchall()


def test_what_no_repeat_mends_is_told_in_a_sentence_and_not_repeated_endlessly(package: Path, tmp_path: Path) -> None:
    ran = run_pipeline(package, tmp_path / "root", workdir=tmp_path / "work", job="{}")
    assert ran.code == 1
    assert ran.log.count("error: the pipeline's parameter job is no valid PredictionJob: 1 fault.") == 4
    assert "Traceback" not in ran.log
    assert ran.steps() == ["ingest"] * 4
    assert not list((tmp_path / "root").glob("presage-*/*/*"))


def test_a_step_that_meets_another_run_is_repeated_and_a_job_without_a_champion_is_told(
    package: Path, tmp_path: Path, classification: str
) -> None:
    given = {"workdir": tmp_path / "work", "job": classification, "cadence": "Forecast", "as_of": AS_OF}
    words = command(package, tmp_path / "root", **given)
    with WorkDirectory(tmp_path / "work").only_run(parse_job(classification, "job")):
        runner = subprocess.Popen(
            words, env=pipeline_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert runner.stdout is not None
        log = ""
        while "another run of default.trips is going on" not in log:
            line = runner.stdout.readline()
            assert line, log
            log += line
    log += runner.communicate(timeout=300)[0]
    ran = Ran(runner.returncode, log)
    assert ran.steps() == ["ingest"] * 2 + ["forecast-2"] * 4
    assert ran.log.count("error: trips has no champion of its present procedure") == 4
    assert ran.code == 1
