"""`presage verify` of jobs over rows: what is looked at, and each way in which it goes wrong."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from commands import content, presage
from row_job_case import NOW, WAITING, make_job, run, trips

from presage.lake.manifest import MANIFEST, load_manifest
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.checks import Check
from presage.steps.history import open_run
from presage.steps.row_checks import check_quality
from presage.steps.verify import Verification, verify
from presage.steps.workdir import BUNDLE, WorkDirectory

LATER = NOW + timedelta(days=10)
NAMES = ["run", "tables", "schemas", "data trips", "gate", "quality", "forecast", "disk"]


@dataclass(frozen=True)
class Ran:
    """A folder with trips, and the work directory of a run on them."""

    folder: Path
    workdir: Path


def ran_in(folder: Path, job: PredictionJob) -> Ran:
    trips().write_csv(folder / "trips.csv")
    run(job, folder, workdir=folder / "work")
    return Ran(folder, folder / "work")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Ran:
    return ran_in(tmp_path_factory.mktemp("rows"), make_job())


@pytest.fixture
def copied(ran, tmp_path) -> Ran:
    folder = Path(shutil.copytree(ran.folder, tmp_path / "copy"))
    return Ran(folder, folder / "work")


def look(done: Verification, name: str) -> Check:
    return next(check for check in done.checks if check.name == name)


def test_a_sound_installation_is_ready_and_nothing_of_it_changes(ran):
    before = content(ran.workdir)
    done = verify(make_job(), workdir=ran.workdir, now=NOW)
    assert done.verdict == "ALL SYSTEMS READY"
    assert [check.name for check in done.checks] == NAMES
    assert {check.state for check in done.checks if check.name != "disk"} == {"pass"}
    assert look(done, "data trips").message == "newest row 2020-04-29 11:00 UTC, another due by 2020-05-02 00:00"
    assert look(done, "schemas").message.startswith("4 columns of trips")
    assert "90 % interval held" in look(done, "quality").message
    assert look(done, "forecast").message == f"ridge has predicted all {WAITING} rows that wait for an outcome"
    assert content(ran.workdir) == before


def test_a_classification_is_judged_by_its_calibration_and_has_no_interval(tmp_path):
    job = make_job("Classification")
    workdir = ran_in(tmp_path, job).workdir
    done = verify(job, workdir=workdir, now=NOW)
    assert [check.name for check in done.checks] == NAMES
    assert done.ready
    scorecard = open_run(job, workdir=workdir).summary.scorecard
    champion = scorecard.contender(scorecard.verdict.champion)
    for error, state in [(0.05, "pass"), (0.051, "warn")]:
        off = champion.classification.model_copy(update={"calibration_error": error})
        contenders = (champion.model_copy(update={"classification": off}),)
        quality = check_quality(job, scorecard.model_copy(update={"contenders": contenders}))
        assert quality.state == state
        assert f"{100 * error:.1f} % off on average, 5 % are told as a caveat" in quality.message


def test_rows_that_stop_coming_are_stale(ran):
    done = verify(make_job(), workdir=ran.workdir, now=LATER)
    assert done.verdict == "NOT READY: data trips"
    assert look(done, "data trips").message.endswith("stale for 7 days")


def test_the_job_says_how_old_the_newest_row_may_be(ran):
    assert verify(make_job(monitoring={"maxStaleness": "30d"}), workdir=ran.workdir, now=LATER).ready
    strict = verify(make_job(monitoring={"maxStaleness": "1h"}), workdir=ran.workdir, now=NOW + timedelta(hours=8))
    assert look(strict, "data trips").state == "fail"


def test_a_weekend_without_rows_is_not_waited_for(tmp_path):
    day = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.weekday()
    weekdays = trips(waiting=0).filter(day <= 5)
    weekdays.write_csv(tmp_path / "trips.csv")
    job = make_job()
    run(job, tmp_path, workdir=tmp_path / "work")
    # The newest trip is of Wednesday 29 April 2020, the next working days are Thursday and Friday.
    told = look(verify(job, workdir=tmp_path / "work", now=NOW), "data trips").message
    assert told == "newest row 2020-04-29 11:00 UTC, another due by 2020-05-02 00:00"
    weekdays.head(len(weekdays) - 12).write_csv(tmp_path / "trips.csv")
    run(job, tmp_path, workdir=tmp_path / "other")
    # Friday 24 April: Monday and Tuesday are the next ones.
    told = look(verify(job, workdir=tmp_path / "other", now=NOW), "data trips").message
    assert told.startswith("newest row 2020-04-24 11:00 UTC, another due by 2020-04-29 00:00")


def test_outcomes_that_stop_coming_while_rows_go_on_are_told(tmp_path):
    trips(waiting=40).write_csv(tmp_path / "trips.csv")
    run(make_job(), tmp_path, workdir=tmp_path / "work")
    done = verify(make_job(), workdir=tmp_path / "work", now=NOW)
    found = look(done, "data trips")
    assert (found.state, done.ready) == ("warn", True)
    assert "no outcome of a row after 2020-04-19 11:00 is known: stale for 7 days" in found.message
    assert "still gives 'price'" in found.remedy


def test_rows_that_came_after_the_forecast_are_not_predicted_yet(copied):
    late = NOW - timedelta(days=2)
    shutil.rmtree(copied.workdir)
    run(make_job(), copied.folder, workdir=copied.workdir, now=late)
    done = verify(make_job(), workdir=copied.workdir, now=NOW)
    assert done.verdict == "NOT READY: forecast"
    assert look(done, "forecast").message == "ridge has not predicted 6 of 6 rows that wait for an outcome"
    assert look(done, "forecast").remedy == "Issue one: presage forecast FILE."


def test_a_bundle_that_was_changed_is_told(copied):
    run_directory = open_run(make_job(), workdir=copied.workdir).directory
    (run_directory / BUNDLE / "design.json").write_text("{}")
    done = verify(make_job(), workdir=copied.workdir, now=NOW)
    assert done.verdict == "NOT READY: forecast"


def test_a_champion_file_that_is_gone_is_told(copied):
    WorkDirectory(copied.workdir).champion(make_job()).unlink()
    done = verify(make_job(), workdir=copied.workdir, now=NOW)
    assert look(done, "forecast").message == "there is no champion"


def test_tables_that_are_gone_or_changed_are_told(copied):
    manifest = load_manifest(open_run(make_job(), workdir=copied.workdir).directory / MANIFEST)
    pinned = manifest.tables["trips"]
    lake = Lake(str(copied.workdir / "lake"))
    rows = lake.read(pinned)
    shutil.rmtree(copied.workdir / "lake" / pinned.table)
    done = verify(make_job(), workdir=copied.workdir, now=NOW)
    assert done.verdict == "NOT READY: tables, schemas, data trips"
    assert "has no table" in look(done, "tables").message
    lake.write(pinned.table, rows.drop("row"))
    done = verify(make_job(), workdir=copied.workdir, now=NOW)
    assert done.verdict == "NOT READY: tables, schemas, data trips"
    assert "was pinned" in look(done, "tables").message
    assert look(done, "schemas").message == "the rows of source 'trips' lack row."


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"features": [{"columns": {"columns": ["trips.weight"]}}]}, "has no column 'weight'"),
        ({"target": {"source": "trips", "column": "fare"}}, "has no column 'fare'"),
        ({"features": [{"columns": {"columns": ["trips.price"]}}]}, "the target is made of it"),
    ],
    ids=["feature", "target", "leak"],
)
def test_what_the_job_file_needs_now_is_missed(ran, parts, words):
    done = verify(make_job(**parts), workdir=ran.workdir, now=NOW)
    assert look(done, "run").state == "warn"
    assert look(done, "schemas").state == "fail"
    assert words in look(done, "schemas").message


def test_without_a_run_nothing_is_ready(tmp_path):
    done = verify(make_job(), workdir=tmp_path, now=NOW)
    assert done.verdict == "NOT READY: run"


def test_the_command_ends_with_what_it_found(ran, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(make_job().model_dump(mode="json", by_alias=True, exclude_none=True)))
    words = ("verify", file, "--workdir", ran.workdir)
    fine = presage(*words, "--as-of", f"{NOW:%Y-%m-%dT%H:%M:%S}")
    assert fine.out.splitlines()[-1] == "ALL SYSTEMS READY"
    none = presage("verify", file, "--workdir", tmp_path / "none", code=8).out
    assert "no finished run" in none
    assert ".." not in none
    late = presage(*words, "--as-of", f"{LATER:%Y-%m-%d}", "-o", "json", code=8).json()
    assert late["verdict"] == "NOT READY: data trips"
