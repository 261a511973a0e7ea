"""What MLflow knows of runs, read back by its own client from the file in the work directory."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import row_job_case
from commands import EXAMPLES, presage
from tracking_case import files_of, give, make_job, mlflow_client, place_of, run, told_runs

from presage.errors import JobError, LakeConflictError, TrackingUnavailableError
from presage.evaluation.scorecard import Scorecard
from presage.models.bundle import read_bundle
from presage.steps.history import open_run
from presage.steps.promote import read_champions
from presage.steps.run_record import FILES
from presage.steps.track import Tracked, track_finished, track_runs
from presage.steps.workdir import JOB, WorkDirectory
from presage.tracking.place import own_place

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
UNSAID = {"PRESAGE_TRACKING": "", "MLFLOW_TRACKING_URI": ""}


def track(job, folder: Path) -> Tracked:
    return track_runs(job, place_of(folder), own_place(folder / "work"))


def uri(folder: Path) -> str:
    return own_place(folder / "work").uri


def aliases(client) -> dict[str, int]:
    """Aliases of the registered model, and the versions that they name."""
    return {name: int(version) for name, version in client.get_registered_model("default.index").aliases.items()}


def expected_files(directory: Path) -> dict[str, bytes]:
    parts = [directory / name for name in FILES if (directory / name).exists()]
    paths = [path for part in parts for path in ([part] if part.is_file() else sorted(part.rglob("*")))]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    give(tmp_path)
    return tmp_path


def test_a_promoted_run_is_read_back_whole_by_mlflows_own_client(folder: Path, tmp_path: Path) -> None:
    job = make_job(models=[{"name": "ridge", "parameters": {"alpha": 9.0}}], seed=7)
    done = run(job, folder, NOW)
    card = done.summary.scorecard
    assert card.verdict.promoted
    tracked = track(job, folder)
    with mlflow_client(uri(folder)) as client:
        (told,) = told_runs(client, "default/index")
        assert told.info.run_name == done.summary.run
        assert told.info.status == "FINISHED"
        assert told.info.start_time == NOW.timestamp() * 1000
        assert told.info.end_time == round((done.directory / "manifest.json").stat().st_mtime * 1000)
        assert told.data.params == {
            "task": "Forecast", "target": "index.range_volatility", "transform": "Level", "horizon": "1",
            "frequency": "1d", "metric": "MAE", "folds": "3", "seed": "7", "candidates": "ridge", "ridge.alpha": "9.0",
        }  # fmt: skip
        check_metrics(client, told, card)
        tags = {name: value for name, value in told.data.tags.items() if name.startswith("presage.")}
        manifest = json.loads((done.directory / "manifest.json").read_text())
        assert tags == {
            "presage.run": done.summary.run, "presage.tracked": "true", "presage.job": "index",
            "presage.namespace": "default", "presage.spec_digest": done.summary.spec_digest,
            "presage.procedure_digest": done.summary.procedure_digest, "presage.scorecard_digest": done.summary.digest,
            "presage.lock_digest": manifest["lock_digest"], "presage.seed": "7", "presage.promoted": "true",
            "presage.reason": "BetterThanBaseline", "presage.message": card.verdict.message, "presage.model": "ridge",
        }  # fmt: skip
        (given,) = told.inputs.dataset_inputs
        (source,) = card.sources
        assert given.dataset.name == "index"
        assert source.digest == f"sha256:{json.loads(given.dataset.profile)['digest'].removeprefix('sha256:')}"
        assert json.loads(given.dataset.profile)["rows"] == source.rows
        assert json.loads(given.dataset.profile)["start"] == f"{source.start:%Y-%m-%dT%H:%M:%SZ}"
        assert source.digest.removeprefix("sha256:").startswith(given.dataset.digest)
        assert files_of(client, told.info.run_id, tmp_path / "files") == expected_files(done.directory)
        (version,) = client.search_model_versions("name = 'default.index'")
        assert version.run_id == told.info.run_id
        assert version.source == f"{told.info.artifact_uri}/bundle"
        assert version.tags == {
            "presage.run": done.summary.run, "presage.digest": done.summary.digest, "presage.model": "ridge",
            "presage.reason": "BetterThanBaseline",
        }  # fmt: skip
        assert aliases(client) == {"champion": 1}
    assert [(one.run, one.version, one.aliases, one.told) for one in tracked.runs] == [
        (done.summary.run, 1, ("champion",), True)
    ]
    assert read_bundle(tmp_path / "files" / "bundle") == read_bundle(done.directory / "bundle")


def check_metrics(client, told, card: Scorecard) -> None:
    ridge = card.contender("ridge")
    roles = {"ridge": "ridge", "champion": card.champion.name, "baseline": card.baseline.name}
    for role, name in roles.items():
        one = card.contender(name)
        assert told.data.metrics[f"{role}.loss"] == one.loss
        assert told.data.metrics[f"{role}.skill"] == one.skill
        for field, value in one.metrics.model_dump().items():
            assert told.data.metrics.get(f"{role}.{field}") == value
    history = client.get_metric_history(told.info.run_id, "ridge.fold_loss")
    assert {point.step: point.value for point in history} == {fold.fold: fold.loss for fold in ridge.folds}
    assert len(history) == 3
    assert told.data.metrics["p_value"] == card.test.p_value
    assert {name.partition(".")[0] for name in told.data.metrics} == {
        *(one.name for one in card.contenders), "champion", "baseline", "origins", "effective_origins", "tried",
        "p_value",
    }  # fmt: skip


def test_telling_twice_adds_nothing(folder: Path) -> None:
    job = make_job()
    run(job, folder, NOW)
    track(job, folder)
    with sqlite3.connect(own_place(folder / "work").database) as database:
        before = list(database.iterdump())
    again = track(job, folder)
    with sqlite3.connect(own_place(folder / "work").database) as database:
        assert list(database.iterdump()) == before
    assert [one.told for one in again.runs] == [False]


def test_a_refit_moves_the_champion_and_a_refused_run_is_its_challenger(folder: Path) -> None:
    job = make_job()
    first = run(job, folder, NOW)
    track(job, folder)
    give(folder, 3020)
    refit = run(job, folder, NOW + DAY)
    assert refit.summary.scorecard.verdict.promoted
    tracked = track(job, folder)
    assert [(one.run, one.version, one.aliases) for one in tracked.runs] == [
        (refit.summary.run, 2, ("champion",)),
        (first.summary.run, 1, ()),
    ]
    # Another configuration, which the gate does not let through, leaves the champion where it is.
    refused = run(make_job(promotion={"policy": "Manual"}), folder, NOW + 2 * DAY)
    verdict = refused.summary.scorecard.verdict
    tracked = track(job, folder)
    champion = read_champions(WorkDirectory(folder / "work").champion(job))
    assert champion is not None
    assert (verdict.promoted, champion.current.run) == (False, refit.summary.run)
    with mlflow_client(uri(folder)) as client:
        assert aliases(client) == {"champion": 2, "challenger": 3}
        told = told_runs(client, "default/index")[-1]
        assert told.data.tags["presage.reason"] == verdict.reason
        assert told.data.tags["presage.promoted"] == "false"
        assert told.data.tags["presage.message"] == verdict.message
        assert told.data.params["ridge.alpha"] == "1.0"


def test_parameters_of_a_run_that_does_not_keep_its_job_are_not_made_up(folder: Path) -> None:
    job = make_job()
    done = run(job, folder, NOW)
    (done.directory / JOB).unlink()
    track(make_job(models=[{"name": "ridge", "parameters": {"alpha": 9.0}}]), folder)
    with mlflow_client(uri(folder)) as client:
        (told,) = told_runs(client, "default/index")
        assert "ridge.alpha" not in told.data.params
        assert told.data.params["candidates"] == "ridge"


def test_mlflow_is_asked_again_only_where_something_changed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    job, place, tracking = make_job(), place_of(folder), own_place(folder / "work")
    run(job, folder, NOW)
    track_finished(job, place, tracking)
    assert tracking.database is not None
    # Whoever asks it now finds that it is broken.
    tracking.database.write_bytes(b"no database" * 100)
    track_finished(job, place, tracking)
    with pytest.raises(TrackingUnavailableError):
        track(job, folder)
    give(folder, 3020)
    run(job, folder, NOW + DAY)
    track_finished(job, place, tracking)
    assert "run not tracked" in caplog.messages


def test_where_a_baseline_serves_the_champion_is_that_runs_version(folder: Path) -> None:
    job = make_job(promotion={"policy": "Manual"})
    done = run(job, folder, NOW)
    verdict = done.summary.scorecard.verdict
    assert (verdict.promoted, verdict.champion) == (False, verdict.baseline)
    track(job, folder)
    with mlflow_client(uri(folder)) as client:
        assert aliases(client) == {"champion": 1}
        assert client.get_model_version("default.index", "1").tags["presage.model"] == verdict.baseline


def test_aliases_are_put_right_whoever_changed_them(folder: Path) -> None:
    job = make_job()
    run(job, folder, NOW)
    give(folder, 3020)
    run(job, folder, NOW + DAY)
    track(job, folder)
    with mlflow_client(uri(folder)) as client:
        client.set_registered_model_alias("default.index", "champion", "1")
        client.set_registered_model_alias("default.index", "challenger", "1")
        client.set_registered_model_alias("default.index", "mine", "1")
        track(job, folder)
        assert aliases(client) == {"champion": 2, "mine": 1}
        client.delete_model_version("default.index", "2")
        track(job, folder)
        assert aliases(client) == {"champion": 3, "mine": 1}
        assert len(client.search_model_versions("name = 'default.index'")) == 2


def test_runs_that_were_never_told_are_told_oldest_first(folder: Path) -> None:
    job = make_job()
    runs = []
    for day in range(3):
        give(folder, 3000 + 20 * day)
        runs.append(run(job, folder, NOW + day * DAY).summary.run)
    tracked = track(job, folder)
    assert [(one.run, one.version) for one in reversed(tracked.runs)] == list(zip(runs, (1, 2, 3), strict=True))
    with mlflow_client(uri(folder)) as client:
        assert [one.info.run_name for one in told_runs(client, "default/index")] == runs


def test_what_mlflow_knows_outlives_a_runs_retention(folder: Path) -> None:
    job = make_job(retention={"runs": 1})
    first = run(job, folder, NOW).summary.run
    track(job, folder)
    give(folder, 3020)
    run(job, folder, NOW + DAY)
    give(folder, 3040)
    run(job, folder, NOW + 2 * DAY)
    track(job, folder)
    with mlflow_client(uri(folder)) as client:
        told = told_runs(client, "default/index")
        assert told[0].info.run_name == first
        assert len(client.search_model_versions("name = 'default.index'")) == len(told)


def test_a_classification_tells_of_its_probabilities(tmp_path: Path) -> None:
    job = row_job_case.make_job("Classification")
    row_job_case.trips().write_csv(tmp_path / "trips.csv")
    done = row_job_case.run(job, tmp_path, workdir=tmp_path / "work")
    track(job, tmp_path)
    metrics = done.summary.scorecard.contender("logistic_regression").classification
    assert metrics is not None
    with mlflow_client(uri(tmp_path)) as client:
        (told,) = told_runs(client, "default/trips")
        assert told.data.params["task"] == "Classification"
        assert told.data.metrics["logistic_regression.log_loss"] == metrics.log_loss
        assert told.data.metrics["logistic_regression.auc"] == metrics.auc
        assert "logistic_regression.bins" not in told.data.metrics
        assert files_of(client, told.info.run_id, tmp_path / "files") == expected_files(done.directory)


def test_a_panel_is_told_as_one_run(tmp_path: Path, shared_data: Path) -> None:
    rows = pl.read_csv(shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz")
    rows.filter(pl.col("Name").is_in(["AAPL", "JWN"])).write_csv(tmp_path / "index.csv")
    source = {"name": "index", "file": {"uri": "index.csv"}, "time": "date", "series": "Name", "invalidRows": "Drop"}
    job = make_job(
        sources=[source | {"availability": {"lag": "0s"}}], evaluation={"folds": 3}, promotion={"replications": 200}
    )
    done = run(job, tmp_path, NOW)
    track(job, tmp_path)
    with mlflow_client(uri(tmp_path)) as client:
        (told,) = told_runs(client, "default/index")
        assert told.data.metrics["ridge.mae"] == done.summary.scorecard.contender("ridge").metrics.mae
        assert files_of(client, told.info.run_id, tmp_path / "files") == expected_files(done.directory)


def test_while_a_run_of_the_job_goes_on_nothing_is_told(folder: Path) -> None:
    job = make_job()
    run(job, folder, NOW)
    with WorkDirectory(folder / "work").only_run(job), pytest.raises(LakeConflictError):
        track(job, folder)


def test_a_work_directory_that_was_moved_does_not_write_where_it_was(folder: Path, tmp_path: Path) -> None:
    job = make_job()
    run(job, folder, NOW)
    track(job, folder)
    shutil.copytree(folder / "work", folder / "other" / "work")
    with pytest.raises(JobError, match="was moved"):
        track(job, folder / "other")
    shutil.rmtree(folder / "other" / "work" / "mlflow")
    (folder / "job.json").write_text(job.model_dump_json(by_alias=True, exclude_none=True))
    ended = presage("track", folder / "job.json", "--workdir", folder / "other" / "work", "-o", "json", **UNSAID)
    assert [one["told"] for one in ended.json()["runs"]] == [True]


def test_an_experiment_that_somebody_deleted_is_not_made_again(folder: Path) -> None:
    job = make_job()
    run(job, folder, NOW)
    track(job, folder)
    with mlflow_client(uri(folder)) as client:
        client.delete_experiment(client.get_experiment_by_name("default/index").experiment_id)
    with pytest.raises(JobError, match="was deleted"):
        track(job, folder)


def test_a_file_that_is_no_database_is_told_in_a_sentence(folder: Path) -> None:
    job = make_job()
    run(job, folder, NOW)
    database = own_place(folder / "work").database
    database.parent.mkdir()
    database.write_bytes(b"no database" * 100)
    with pytest.raises(TrackingUnavailableError, match="file is not a database"):
        track(job, folder)
    assert open_run(job, workdir=folder / "work").summary.run


def test_a_run_tells_mlflow_and_leaves_nothing_beside(folder: Path) -> None:
    here = folder / "here"
    here.mkdir()
    ended = presage("run", EXAMPLES / "quickstart.yaml", "--workdir", "../w", "-o", "json", cwd=here, **UNSAID)
    assert list(here.iterdir()) == []
    found = ended.json()["run"]
    assert all(line.startswith("time=") for line in ended.err.splitlines()), ended.err
    with mlflow_client(own_place(folder / "w").uri) as client:
        (told,) = told_runs(client, "default/quickstart")
        assert told.info.run_name == found
    again = presage("track", EXAMPLES / "quickstart.yaml", "--workdir", "../w", cwd=here, **UNSAID)
    assert found in again.out
    assert "champion" in again.out
    assert again.err == ""
    words = ("track", EXAMPLES / "quickstart.yaml", "--workdir", "../w", "-o", "json")
    assert presage(*words, cwd=here, **UNSAID).json()["runs"] == [
        {"run": found, "id": told.info.run_id, "version": 1, "aliases": ["champion"], "told": False}
    ]
    assert list(here.iterdir()) == []


def test_a_place_that_cannot_be_is_refused_before_the_run(tmp_path: Path) -> None:
    job = EXAMPLES / "quickstart.yaml"
    word = "mysql+pymysql://user:hunter2@host/db"
    ended = presage("run", job, "--workdir", tmp_path, "--tracking", word, code=2)
    assert "hunter2" not in ended.err + ended.out
    assert list(tmp_path.iterdir()) == []
    ended = presage("run", job, "--workdir", tmp_path, code=2, PRESAGE_TRACKING="", MLFLOW_TRACKING_URI="databricks")
    assert "MLFLOW_TRACKING_URI" in ended.err


def test_without_a_finished_run_there_is_nothing_to_tell(tmp_path: Path) -> None:
    ended = presage("track", EXAMPLES / "quickstart.yaml", "--workdir", tmp_path, **UNSAID)
    assert ended.out == ""
    assert "no finished run" in ended.err
    assert not (tmp_path / "mlflow").exists()
    ended = presage("track", EXAMPLES / "quickstart.yaml", "--workdir", tmp_path, "--tracking", "off", code=2)
    assert "--tracking" in ended.err
