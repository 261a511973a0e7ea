"""`presage verify`: what it says of a sound work directory, and of each way in which one goes wrong."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from commands import content, presage

from presage.lake.manifest import MANIFEST, load_manifest
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.history import open_run
from presage.steps.promote import read_champions
from presage.steps.run import run_job
from presage.steps.verify import Verification, verify
from presage.steps.workdir import WorkDirectory

NOW = datetime(2018, 6, 1, 12, tzinfo=UTC)
AFTER = datetime(2019, 1, 20, tzinfo=UTC)
"""Days after the last row of the data."""

JOB = {
    "apiVersion": "presage.dev/v1alpha1",
    "kind": "PredictionJob",
    "metadata": {"name": "checked"},
    "spec": {
        "frequency": "1d",
        "target": {"source": "sp500", "column": "Close", "transform": "LogChange"},
        "sources": [
            {
                "name": name,
                "dataset": {"name": f"arch/{name}"},
                "timeZone": "America/New_York",
                "availability": {"lag": "0s"},
            }
            for name in ("sp500", "vix")
        ],
        "features": [{"lag": {"columns": ["vix.vix"], "steps": [1]}}],
        "models": [{"name": "ridge"}],
        "evaluation": {"folds": 3},
    },
}


def the_job(**spec: object) -> PredictionJob:
    return PredictionJob.model_validate({**JOB, "spec": {**JOB["spec"], **spec}})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory after one run."""
    root = tmp_path_factory.mktemp("verify") / "work"
    run_job(the_job(), base=Path(), workdir=root, now=NOW, sources={}, workers=None, progress=lambda *_: None)
    return root


@pytest.fixture
def work(ran, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ran, tmp_path / "work"))


def state(done: Verification, name: str) -> str:
    return next(check.state for check in done.checks if check.name == name)


def message(done: Verification, name: str) -> str:
    return next(check.message for check in done.checks if check.name == name)


def test_a_sound_installation_is_ready_and_nothing_of_it_changes(ran):
    before = content(ran)
    done = verify(the_job(), workdir=ran, now=NOW)
    assert done.verdict == "ALL SYSTEMS READY"
    assert done.ready
    names = ["run", "tables", "schemas", "data sp500", "data vix", "gate", "quality", "forecast", "disk"]
    assert [check.name for check in done.checks] == names
    assert {check.state for check in done.checks if check.name not in ("gate", "quality", "disk")} == {"pass"}
    assert done.bytes_used > 100_000
    assert content(ran) == before


def test_without_a_run_nothing_is_ready(tmp_path):
    done = verify(the_job(), workdir=tmp_path / "none", now=NOW)
    assert done.verdict == "NOT READY: run"
    assert done.checks[0].remedy == "Run it first: presage run FILE."


def test_another_job_file_than_the_run_was_made_of_is_told(ran):
    done = verify(the_job(seed=7), workdir=ran, now=NOW)
    assert state(done, "run") == "warn"
    assert done.ready


def test_old_data_and_an_old_forecast_are_stale(ran):
    done = verify(the_job(), workdir=ran, now=AFTER)
    assert done.verdict == "NOT READY: data sp500, forecast"
    assert "stale for" in message(done, "data sp500")
    assert state(done, "data vix") == "warn"
    assert "presage forecast FILE" in next(check.remedy for check in done.checks if check.name == "forecast")


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ({"x": 0, "y": 0}, None),
        ({"x": 0, "y": 40}, "series 'y' with no bar after 2024-04-20 00:00"),
        ({"x": 0, "y": 40, "z": 9}, "2 of 3 series, 'y' the longest, with no bar after 2024-04-20 00:00"),
    ],
    ids=["none", "one", "two"],
)
def test_a_series_that_ends_while_others_go_on_is_named(tmp_path, ends, told):
    start, days = datetime(2024, 1, 1, tzinfo=UTC), 151
    rows = [
        f"{start + timedelta(days=day):%Y-%m-%d},{name},{100 + day % 7 + place}"
        for place, (name, missing) in enumerate(ends.items())
        for day in range(days - missing)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["time,name,close", *rows]))
    source = {"name": "a", "series": "name", "file": {"uri": "rows.csv"}, "availability": {"lag": "0d"}}
    panel = the_job(
        sources=[source],
        target={"source": "a", "column": "close", "transform": "LogChange"},
        features=[{"lag": {"columns": ["a.close"], "steps": [1]}}],
        evaluation={"folds": 2},
    )
    now, root = start + timedelta(days=days, hours=12), tmp_path / "work"
    run_job(panel, base=tmp_path, workdir=root, now=now, sources={}, workers=None, progress=lambda *_: None)
    done = verify(panel, workdir=root, now=now)
    assert state(done, "data a") == ("pass" if told is None else "warn")
    assert message(done, "data a").partition("; stale at the newest run: ")[2] == (told or "")


def test_a_weekend_is_not_waited_for(ran):
    # 31 May 2018 was a Thursday: the bar of Friday closes on Saturday morning UTC, the next on Tuesday.
    assert verify(the_job(), workdir=ran, now=datetime(2018, 6, 2, 3, tzinfo=UTC)).ready


def test_the_job_says_how_old_data_may_be(ran):
    lenient = the_job(monitoring={"maxStaleness": "30d"})
    assert state(verify(lenient, workdir=ran, now=AFTER), "data sp500") == "pass"
    strict = the_job(monitoring={"maxStaleness": "1h"})
    assert state(verify(strict, workdir=ran, now=NOW + timedelta(hours=2)), "data sp500") == "fail"


def test_a_table_that_changed_under_the_run_is_named(work):
    run = open_run(the_job(), workdir=work)
    pinned = load_manifest(run.directory / MANIFEST).tables["sp500"]
    lake = Lake(str(work / "lake"))
    rows = lake.read(pinned)
    shutil.rmtree(work / "lake" / pinned.table)
    lake.write(pinned.table, rows.head(10))
    done = verify(the_job(), workdir=work, now=NOW)
    assert state(done, "tables") == "fail"
    assert pinned.table in message(done, "tables")
    assert "was pinned" in message(done, "tables")


def test_a_table_that_is_gone_is_named(work):
    for name in ("raw", "bars"):
        shutil.rmtree(work / "lake" / name)
    done = verify(the_job(), workdir=work, now=NOW)
    assert done.verdict == "NOT READY: tables, schemas, data sp500, data vix"
    assert "has no table" in message(done, "tables")
    assert "3 more of 6 tables" in message(done, "tables")


def test_a_column_that_the_job_needs_now_is_missed(ran):
    other = the_job(features=[{"lag": {"columns": ["vix.Turnover"], "steps": [1]}}])
    done = verify(other, workdir=ran, now=NOW)
    assert state(done, "schemas") == "fail"
    assert "Turnover" in message(done, "schemas")


def test_a_forecast_that_is_gone_or_damaged_is_told(work):
    champions = read_champions(WorkDirectory(work).champion(the_job()))
    assert champions is not None
    path = WorkDirectory(work).run(the_job(), champions.current.run) / "forecast.json"
    path.write_text("{")
    assert "cannot be read" in message(verify(the_job(), workdir=work, now=NOW), "forecast")
    path.unlink()
    done = verify(the_job(), workdir=work, now=NOW)
    assert (state(done, "forecast"), message(done, "forecast")) == ("fail", "there is none")


def test_what_no_run_needs_can_be_cleaned(work):
    lake = Lake(str(work / "lake"))
    leftover = lake.directory / "frames" / "default.checked" / "part-0-leftover.parquet"
    leftover.write_bytes(bytes(5000))
    old = (NOW - timedelta(days=400)).timestamp()
    os.utime(leftover, (old, old))
    done = verify(the_job(), workdir=work, now=NOW)
    assert done.bytes_to_clean == 5000
    assert "4.9 KiB of it could be cleaned" in message(done, "disk")
    assert leftover.exists()


def test_the_command_ends_with_what_it_found(ran, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(JOB))
    words = ("verify", job, "--workdir", ran)
    fine = presage(*words, "--as-of", f"{NOW:%Y-%m-%dT%H:%M:%S}")
    assert fine.out.splitlines()[-1] == "ALL SYSTEMS READY"
    late = presage(*words, "--as-of", f"{AFTER:%Y-%m-%d}", "-o", "json", code=8).json()
    assert (late["ready"], late["verdict"]) == (False, "NOT READY: data sp500, forecast")
