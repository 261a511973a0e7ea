"""The main job through the command line, on the real series that the package index brings."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml
from commands import EXAMPLES, PRESAGE, Ended, content, presage

from presage.lake.manifest import load_manifest
from presage.models.bundle import read_bundle

QUICKSTART = EXAMPLES / "quickstart.yaml"
METRICS = ("mae", "rmse", "mape", "smape", "mase", "theil_u", "directional_accuracy", "crps", "coverage")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def first(workdir: Path) -> Ended:
    return presage("run", QUICKSTART, "--workdir", workdir, "-o", "json")


def run_directory(workdir: Path, ended: Ended) -> Path:
    return workdir / "runs" / "default.quickstart" / ended.json()["run"]


def test_the_quickstart_is_promoted_with_its_reason_in_numbers(first: Ended) -> None:
    found = first.json()
    card = found["scorecard"]
    promoted = next(condition for condition in found["conditions"] if condition["type"] == "Promoted")
    assert promoted["status"] == "True"
    assert promoted["reason"] == "BetterThanBaseline"
    assert f"{card['champion']['metrics']['mae']:.3g}"[:4] in promoted["message"]
    assert card["test"]["p_value"] < 0.05
    assert card["champion"]["metrics"]["mae"] < card["baseline"]["metrics"]["mae"]
    assert card["champion"]["name"] not in {one["name"] for one in card["contenders"] if one["baseline"]}


def test_the_answer_has_every_field_that_programs_rely_on(first: Ended) -> None:
    found = first.json()
    assert found["job"] == "quickstart"
    assert found["digest"].startswith("sha256:")
    card = found["scorecard"]
    for side in ("champion", "baseline"):
        assert set(METRICS) <= card[side]["metrics"].keys()
        assert all(isinstance(card[side]["metrics"][name], float) for name in METRICS)
    assert card["test"]["name"] == "SPA"
    assert card["folds"] == 12
    assert card["tried"] == 4


def test_intervals_of_80_and_95_percent_hold_inside_the_dependence_aware_band(first: Ended) -> None:
    card = first.json()["scorecard"]
    champion = next(one for one in card["contenders"] if one["name"] == card["champion"]["name"])
    levels = {one["level"]: one for one in champion["coverage"]}
    for level in (0.8, 0.95):
        assert levels[level]["lower"] <= levels[level]["coverage"] <= levels[level]["upper"], levels[level]


def test_a_run_leaves_everything_that_it_promises(first: Ended, workdir: Path) -> None:
    directory = run_directory(workdir, first)
    assert {path.name for path in directory.iterdir()} >= {
        "manifest.json", "summary.json", "scorecard.json", "report.html", "predictions.csv", "features.json", "bundle",
    }  # fmt: skip
    manifest = load_manifest(directory / "manifest.json")
    assert manifest.scorecard_digest == first.json()["digest"]
    bundle, _ = read_bundle(directory / "bundle")
    assert bundle.model == first.json()["scorecard"]["champion"]["name"]
    with (directory / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= first.json()["scorecard"]["evidence"]["origins"]


def test_a_rerun_has_the_same_digest_and_writes_no_new_table_version(first: Ended, workdir: Path) -> None:
    before = content(workdir / "lake" / "raw")
    again = presage("run", QUICKSTART, "--workdir", workdir, "--no-cache", "-o", "json")
    assert again.json()["digest"] == first.json()["digest"]
    assert again.json()["run"] != first.json()["run"]
    assert content(workdir / "lake" / "raw") == before


def test_two_workers_and_other_threads_find_the_same(first: Ended, tmp_path: Path) -> None:
    other = presage(
        "run",
        QUICKSTART,
        "--workdir",
        tmp_path,
        "--workers",
        "2",
        "-o",
        "json",
        OMP_NUM_THREADS="2",
        PYTHONHASHSEED="7",
    )
    assert other.json()["digest"] == first.json()["digest"]


def test_the_file_may_be_written_otherwise_and_stand_elsewhere(first: Ended, tmp_path: Path) -> None:
    job = yaml.safe_load(QUICKSTART.read_text())
    job["spec"]["evaluation"] = {"metric": "MAE", "folds": 12}
    (tmp_path / "same.json").write_text(yaml.safe_dump(job, default_flow_style=True))
    other = presage("run", tmp_path / "same.json", "--workdir", tmp_path / "work", "-o", "yaml")
    assert yaml.safe_load(other.out)["digest"] == first.json()["digest"]


def test_a_forecast_has_one_row_a_step_and_a_column_a_quantile(first: Ended, workdir: Path, tmp_path: Path) -> None:
    ended = presage("forecast", QUICKSTART, "--workdir", workdir, "--out", tmp_path / "f.parquet", "-o", "json")
    table = pl.read_parquet(tmp_path / "f.parquet")
    assert table.columns[:4] == ["series", "issued_at", "target_time", "mean"]
    quantiles = table.columns[4:]
    assert {"q0.05", "q0.5", "q0.95"} <= set(quantiles)
    assert table.height == 1
    values = table.select(quantiles).row(0)
    assert list(values) == sorted(values)
    assert table["target_time"][0] > pl.Series([table["issued_at"][0]]).dt.offset_by("-1h")[0]
    assert ended.json()["steps"][0]["mean"] == table["mean"][0]


def test_issuing_the_same_forecast_twice_keeps_it_once(first: Ended, workdir: Path) -> None:
    presage("forecast", QUICKSTART, "--workdir", workdir)
    before = content(workdir / "lake" / "forecasts")
    presage("forecast", QUICKSTART, "--workdir", workdir)
    assert content(workdir / "lake" / "forecasts") == before


def test_a_job_without_a_run_is_trained_before_it_forecasts(tmp_path: Path) -> None:
    job = yaml.safe_load(QUICKSTART.read_text())
    job["spec"]["models"] = [{"name": "ridge"}]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    ended = presage(
        "forecast", tmp_path / "job.yaml", "--workdir", tmp_path / "w", "--out", tmp_path / "f.parquet", "-o", "json"
    )
    assert ended.json()["model"] == "ridge"
    assert (tmp_path / "f.parquet").exists()


def test_the_report_command_shows_the_newest_run(first: Ended, workdir: Path) -> None:
    shown = presage("report", QUICKSTART, "--workdir", workdir)
    assert first.json()["scorecard"]["champion"]["name"] in shown.out
    path = presage("report", QUICKSTART, "--workdir", workdir, "--path").out.strip()
    assert Path(path).read_text().startswith("<!doctype html>")
    named = presage("report", QUICKSTART, "--workdir", workdir, "--run", first.json()["run"], "-o", "json")
    assert named.json()["run"] == first.json()["run"]


def test_a_run_that_is_not_there_is_said_so_and_those_that_are_named(first: Ended, workdir: Path) -> None:
    ended = presage("report", QUICKSTART, "--workdir", workdir, "--run", "nope", code=2)
    assert first.json()["run"] in ended.err


def test_run_as_of_an_earlier_day_knows_nothing_later(tmp_path: Path) -> None:
    ended = presage("run", QUICKSTART, "--workdir", tmp_path, "--as-of", "2016-01-01", "-o", "json")
    card = ended.json()["scorecard"]
    assert card["end"] < "2016-01-01"
    assert all(source["end"] < "2016-01-01" for source in card["sources"])


def test_a_reader_that_goes_away_is_no_failure(workdir: Path, first: Ended) -> None:
    shell = f"{PRESAGE} report {QUICKSTART} --workdir {workdir} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("PROMOTED")
    assert (done.returncode, "Traceback" in done.stderr, "error" in done.stderr.lower()) == (0, False, False)
