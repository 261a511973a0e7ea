"""MLflow's own server on a real MariaDB, its artefacts in a real S3 store, reached through a proxy that fails."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from commands import PRESAGE, presage, start
from s3.gateway import BUCKET, Gateway
from servers.mariadb import MariaDb
from servers.mlflow import MlflowServer, Proxy, kill, mlflow_server, proxy
from servers.ports import free_port
from tracking_case import files_of, give, make_job, mlflow_client, place_of, run, told_runs

from presage.errors import JobError, TrackingUnavailableError
from presage.models.bundle import read_bundle
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.records import DoneRun
from presage.steps.run_record import FILES
from presage.steps.track import track_runs
from presage.tracking.place import parse_place

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUESTS_AT_MOST = 80


@dataclass(frozen=True)
class Site:
    """What a server stands on."""

    folder: Path
    database: str
    environment: dict[str, str]

    def serve(self) -> AbstractContextManager[MlflowServer]:
        """A server, started and stopped."""
        return mlflow_server(self.folder, self.database, f"s3://{BUCKET}/mlflow", self.environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mariadb_server: MariaDb, store: Gateway) -> Site:
    mariadb_server.run("CREATE DATABASE IF NOT EXISTS mlflow CHARACTER SET utf8mb4")
    user = f"{mariadb_server.user}:{quote(mariadb_server.password, safe='')}"
    database = f"mysql+pymysql://{user}@127.0.0.1:{mariadb_server.port}/mlflow"
    environment = store.environment() | {"MLFLOW_S3_ENDPOINT_URL": store.url}
    return Site(tmp_path_factory.mktemp("mlflow"), database, environment)


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[MlflowServer]:
    with site.serve() as running:
        yield running


@pytest.fixture
def before(server: MlflowServer) -> Iterator[Proxy]:
    with proxy(server.url) as state:
        yield state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of all jobs."""
    folder = tmp_path_factory.mktemp("jobs")
    give(folder)
    return folder


def ran(name: str, folder: Path, now: datetime = NOW) -> tuple[PredictionJob, DoneRun]:
    """A job of that name and a run of it."""
    job = make_job(name)
    return job, run(job, folder, now)


def attached(directory: Path) -> dict[str, bytes]:
    parts = [directory / name for name in FILES]
    paths = [path for part in parts for path in ([part] if part.is_file() else sorted(part.rglob("*")))]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths if path.is_file()}


def check_whole(url: str, job: PredictionJob, done: DoneRun, place: Path) -> None:
    """Require that MLflow has one run of an experiment, all of it, and one version that is the champion."""
    name = job.metadata.name
    with mlflow_client(url) as client:
        (told,) = told_runs(client, f"default/{name}")
        assert told.info.status == "FINISHED"
        assert told.info.run_name == done.summary.run
        assert told.data.tags["presage.tracked"] == "true"
        ridge = done.summary.scorecard.contender("ridge")
        assert told.data.metrics["ridge.mae"] == ridge.metrics.mae
        points = client.get_metric_history(told.info.run_id, "ridge.fold_loss")
        assert sorted((point.step, point.value) for point in points) == [(one.fold, one.loss) for one in ridge.folds]
        assert told.data.params["ridge.alpha"] == "1.0"
        assert [one.dataset.name for one in told.inputs.dataset_inputs] == ["index"]
        assert files_of(client, told.info.run_id, place) == attached(done.directory)
        (version,) = client.search_model_versions(f"name = 'default.{name}'")
        assert (version.run_id, version.source) == (told.info.run_id, f"{told.info.artifact_uri}/bundle")
        model = client.get_registered_model(f"default.{name}")
        assert model.aliases == {"champion": version.version}


def test_a_run_is_told_whole_and_its_files_lie_in_the_bucket(
    server: MlflowServer, folder: Path, store: Gateway, tmp_path: Path
) -> None:
    job, done = ran("whole", folder)
    tracked = track_runs(job, place_of(folder), parse_place(server.url))
    check_whole(server.url, job, done, tmp_path)
    (told,) = tracked.runs
    (found,) = (store.folder / "mlflow").glob(f"*/{told.id}/artifacts")
    assert (found / "report.html").read_bytes() == (done.directory / "report.html").read_bytes()
    track_runs(job, place_of(folder), parse_place(server.url))
    check_whole(server.url, job, done, tmp_path)


def test_a_registered_bundle_is_downloaded_by_its_alias_and_read(
    server: MlflowServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, done = ran("bundle", folder)
    track_runs(job, place_of(folder), parse_place(server.url))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    with mlflow_client(server.url):
        from mlflow.artifacts import download_artifacts

        place = download_artifacts("models:/default.bundle@champion", dst_path=str(tmp_path))
    assert read_bundle(Path(place)) == read_bundle(done.directory / "bundle")


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_whatever_is_lost_of_telling_a_run_is_told_next_time_and_never_twice(
    before: Proxy, server: MlflowServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    job, done = ran(f"lost-{lost}", folder)

    def is_told(requests: int) -> bool:
        before.cut(requests, lost)
        try:
            track_runs(job, place_of(folder), parse_place(before.url))
        except TrackingUnavailableError:
            return False
        return True

    needed = next(requests for requests in range(REQUESTS_AT_MOST) if is_told(requests))
    assert needed > 10
    check_whole(server.url, job, done, tmp_path)


def test_a_command_that_is_killed_while_it_tells_is_gone_on_with(
    before: Proxy, server: MlflowServer, folder: Path, tmp_path: Path
) -> None:
    job, done = ran("killed", folder)
    file = write(job, folder)
    for number in (6, 11):
        before.hold = number
        before.cut(None)
        before.held.clear()
        before.release.clear()
        process = start("track", file, "--workdir", folder / "work", "--tracking", before.url)
        assert before.held.wait(60)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        before.hold = None
        before.release.set()
    presage("track", file, "--workdir", folder / "work", "--tracking", server.url)
    check_whole(server.url, job, done, tmp_path)


def write(job: PredictionJob, folder: Path) -> Path:
    file = folder / f"{job.metadata.name}.json"
    file.write_text(job.model_dump_json(by_alias=True, exclude_none=True))
    return file


def test_a_server_that_is_killed_costs_neither_the_run_nor_the_record_of_it(
    folder: Path, tmp_path: Path, server: MlflowServer, site: Site
) -> None:
    """It is one of two over the same database and bucket; the other is told then."""
    job = make_job("outage")
    file, outcome = write(job, folder), tmp_path / "outcome.json"
    with site.serve() as running, proxy(running.url) as before:
        before.hold = 10
        process = subprocess.Popen(
            [PRESAGE, "run", file, "--workdir", folder / "work", "--tracking", before.url, "--outcome", outcome],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert before.held.wait(120)
        kill(running)
        before.release.set()
        _, words = process.communicate(timeout=120)
    assert process.returncode == 0, words
    assert "Traceback" not in words
    assert 'event="run not tracked"' in words
    assert "the runs are kept" in words
    told = RunOutcome.model_validate_json(outcome.read_bytes())
    assert told.failure is None
    assert told.run is not None
    assert presage("report", file, "--workdir", folder / "work", "-o", "json").json()["run"] == told.run
    ended = presage("track", file, "--workdir", folder / "work", "--tracking", server.url, "-o", "json")
    assert [(one["run"], one["told"]) for one in ended.json()["runs"]] == [(told.run, True)]
    with mlflow_client(server.url) as client:
        (kept,) = told_runs(client, "default/outage")
        assert kept.data.tags["presage.tracked"] == "true"


def test_a_server_that_is_not_there_is_told_in_a_sentence(folder: Path) -> None:
    job, _ = ran("nobody", folder)
    begun = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}"
    ended = presage("track", write(job, folder), "--workdir", folder / "work", "--tracking", url, code=7)
    assert f"MLflow at {url} cannot be told: Connection refused" in ended.err
    assert time.monotonic() - begun < 60


def test_credentials_open_the_server_and_are_never_shown(
    before: Proxy, server: MlflowServer, folder: Path, tmp_path: Path
) -> None:
    job, done = ran("guarded", folder)
    file, place = write(job, folder), ("--workdir", folder / "work")
    before.user = "ada:hunter2/%"
    host = urlsplit(before.url).netloc
    wrong = presage("track", file, *place, "--tracking", f"http://ada:hunter3@{host}", code=2)
    assert "hunter3" not in wrong.err + wrong.out
    assert "does not let this user in" in wrong.err
    without = presage("track", file, *place, "--tracking", before.url, code=2)
    assert "MLFLOW_TRACKING_USERNAME" in without.err
    named = presage("track", file, *place, "--tracking", f"http://ada:{quote('hunter2/%', safe='')}@{host}")
    assert "hunter2" not in named.err + named.out
    assert before.url in named.out
    variables = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "hunter2/%"}
    again = presage("track", file, *place, **variables, PRESAGE_TRACKING="", MLFLOW_TRACKING_URI=before.url)
    assert "before" in again.out
    check_whole(server.url, job, done, tmp_path)


def test_what_is_no_mlflow_is_refused(store: Gateway, folder: Path) -> None:
    job, _ = ran("stranger", folder)
    with pytest.raises(JobError, match="the runs are kept"):
        track_runs(job, place_of(folder), parse_place(f"{store.url}/nothing"))


def test_runs_of_a_bucket_are_told_with_the_files_that_its_copy_lacks(
    server: MlflowServer, folder: Path, store: Gateway, tmp_path: Path
) -> None:
    """A run that MLflow was not told of is told later, from a copy that has neither its report nor its scorecard."""
    file = write(make_job("bucket"), folder)
    workdir = f"s3://{BUCKET}/lake"
    unsaid = {"PRESAGE_TRACKING": "", "MLFLOW_TRACKING_URI": ""}
    quiet = presage("run", file, "--workdir", workdir, "-o", "json", **store.environment(), **unsaid)
    assert "tracked" not in quiet.err
    write(make_job("bucket", seed=1), folder)
    words = ("--workdir", workdir, "--tracking", server.url, "-o", "json")
    second = presage("run", file, *words, **store.environment())
    assert second.err.count("run tracked") == 2
    runs = store.folder / "lake" / "runs" / "default.bucket"
    with mlflow_client(server.url) as client:
        told = told_runs(client, "default/bucket")
        assert [one.info.run_name for one in told] == [quiet.json()["run"], second.json()["run"]]
        for number, one in enumerate(told):
            files = files_of(client, one.info.run_id, tmp_path / str(number))
            assert files == attached(runs / one.info.run_name)
            assert "report.html" in files
    assert timedelta(0) < timedelta(milliseconds=told[0].info.end_time - told[0].info.start_time) < timedelta(hours=1)
