"""A run that finds itself done: what it leaves alone, what it still writes, and when it is made anew all the same."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from subprocess import run as run_process

import polars as pl
import pytest
import yaml
from commands import ENVIRONMENT, EXAMPLES, content, presage

from presage.lake.manifest import list_manifests
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.steps.promote import read_champions
from presage.steps.records import DoneRun
from presage.steps.run import run_job
from presage.steps.workdir import WorkDirectory, issued_table

MODULES = """
import sys
from presage.cli.app import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    print(*sys.modules, file=sys.stderr)
"""
HEAVY = {"arch", "matplotlib", "mlflow", "optuna", "plotly", "scipy", "sklearn", "statsmodels", "xgboost"}
NOW, LATER = datetime(2019, 6, 1, tzinfo=UTC), datetime(2019, 6, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart with small models, and a sink of its bars."""
    document = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    document["spec"]["models"] = [{"name": "ridge"}]
    document["spec"]["promotion"] = {"replications": 200}
    document["spec"]["evaluation"] = {"folds": 4}
    path = tmp_path_factory.mktemp("job") / "job.yaml"
    document["spec"]["sinks"] = [{"name": "bars", "data": "bars", "files": {"uri": f"file://{path.parent}/sink"}}]
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def once(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory after one run."""
    workdir = tmp_path_factory.mktemp("once") / "work"
    again(load_job(file), workdir, NOW)
    return workdir


@pytest.fixture
def copied(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "work"))


@pytest.fixture(scope="module")
def job(file: Path) -> PredictionJob:
    return load_job(file)


def again(job: PredictionJob, workdir: Path, now: datetime = LATER, *, cache: bool = True) -> DoneRun:
    return run_job(
        job, base=workdir.parent, workdir=workdir, now=now, sources={}, workers=1, progress=lambda *_: None, cache=cache
    )


def runs(workdir: Path) -> int:
    return len(list_manifests(workdir / "runs"))


def test_a_second_run_is_the_first_one(job: PredictionJob, copied: Path) -> None:
    before = content(copied)
    done = again(job, copied)
    assert content(copied) == before
    assert done.report is None
    champions = read_champions(WorkDirectory(copied).champion(job))
    assert champions is not None
    assert champions.current.run == done.summary.run == done.outcome.run
    assert done.outcome.champion is not None
    assert done.outcome.champion.digest == done.summary.digest


def test_the_command_says_so_and_loads_no_library_that_fits_or_draws(file: Path, copied: Path) -> None:
    words = ["run", str(file), "--workdir", str(copied), "--tracking", "off"]
    ended = run_process(
        [sys.executable, "-c", MODULES, *words], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    (first,) = list_manifests(copied / "runs")
    assert f"unchanged since run {first.run}: nothing was fitted; --no-cache makes it anew" in ended.stderr
    assert ended.stdout.split()[0] in {"PROMOTED", "NOT"}
    loaded = set(ended.stderr.splitlines()[-1].split())
    assert "presage.steps.unchanged" in loaded
    assert sorted(loaded & HEAVY) == []


def test_programs_are_told_the_same_and_a_new_run_is_to_be_had(file: Path, copied: Path) -> None:
    words = ("run", file, "--workdir", copied, "--tracking", "off", "-o", "json")
    first = presage(*words, "--outcome", copied.parent / "outcome").json()
    assert json.loads((copied.parent / "outcome").read_text())["run"] == first["run"]
    assert runs(copied) == 1
    assert presage(*words, "--require-promotion", code=0 if promoted(first) else 3).json() == first
    anew = presage(*words, "--no-cache").json()
    assert (anew["digest"], runs(copied)) == (first["digest"], 2)
    assert presage(*words).json() == anew
    assert presage(*words, PRESAGE_NO_CACHE="1").json()["run"] != anew["run"]


def promoted(summary: dict) -> bool:
    return summary["scorecard"]["verdict"]["promoted"]


def test_sinks_are_written_and_a_forecast_that_is_gone_is_made_again(
    file: Path, job: PredictionJob, copied: Path
) -> None:
    shutil.rmtree(file.parent / "sink")
    forecast = next(copied.glob("runs/*/2*/forecast.json"))
    held = forecast.read_bytes()
    forecast.unlink()
    assert again(job, copied).report is None
    assert forecast.read_bytes() == held
    assert all(pl.read_parquet(path).height for path in (file.parent / "sink").rglob("*.parquet"))
    assert (file.parent / "sink").is_dir()


def test_a_forecast_that_a_killed_run_kept_from_the_lake_is_kept_by_the_next(job: PredictionJob, copied: Path) -> None:
    lake = Lake((copied / "lake").as_uri())
    table = issued_table(job)
    issued = lake.current(table)
    assert issued is not None
    before = lake.read(issued)
    shutil.rmtree(copied / "lake" / table)
    assert again(job, copied).report is None
    kept = lake.current(table)
    assert kept is not None
    assert lake.read(kept).equals(before)


def test_a_run_of_the_same_moment_takes_no_other_s_place(job: PredictionJob, copied: Path) -> None:
    (first,) = list_manifests(copied / "runs")
    held = content(WorkDirectory(copied).run(job, first.run))
    anew = again(job, copied, NOW, cache=False)
    assert anew.summary.run == f"{first.run}-2"
    assert anew.summary.digest == first.scorecard_digest
    assert content(WorkDirectory(copied).run(job, first.run)) == held
    assert again(job, copied, NOW, cache=False).summary.run == f"{first.run}-3"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    "harm",
    [
        lambda run: cut(next(path for path in (run / "bundle").iterdir() if path.name != "bundle.json")),
        lambda run: cut(run / "summary.json"),
        lambda run: (run / "job.json").unlink(),
        lambda run: (run.parents[2] / "champions" / "default.quickstart.json").unlink(),
    ],
    ids=["bundle", "summary", "job", "champion"],
)
def test_a_run_that_is_not_whole_is_made_anew(job: PredictionJob, copied: Path, harm: Callable[[Path], None]) -> None:
    (directory,) = copied.glob("runs/*/2*")
    digest = list_manifests(copied / "runs")[0].scorecard_digest
    harm(directory)
    done = again(job, copied)
    assert done.report is not None
    assert (runs(copied), done.summary.digest) == (2, digest)


@pytest.mark.parametrize("change", [{"seed": 5}, {"retention": {"runs": 7}}], ids=["seed", "retention"])
def test_another_spec_is_another_run(job: PredictionJob, copied: Path, change: dict[str, object]) -> None:
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    other = PredictionJob.model_validate({**document, "spec": {**document["spec"], **change}})
    assert again(other, copied).report is not None
    # The newest run is now of the other spec.
    assert again(job, copied, datetime(2019, 6, 3, tzinfo=UTC)).report is not None


def test_an_earlier_day_sees_less_of_the_same_rows(job: PredictionJob, copied: Path) -> None:
    earlier = again(job, copied, datetime(2017, 6, 1, tzinfo=UTC))
    later = again(job, copied, datetime(2018, 6, 1, tzinfo=UTC))
    assert (earlier.report is None, later.report is None) == (False, False)
    assert earlier.summary.scorecard.end < later.summary.scorecard.end
    inputs = [manifest.inputs for manifest in list_manifests(copied / "runs")]
    assert len(set(inputs)) == len(inputs) == 3
