"""Serving from a bucket: a copy of a run that follows its objects, from a store that may be down, wrong or damaged."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from commands import ENVIRONMENT, content, presage
from model_server import NAME, PATIENCE, serving
from s3.gateway import BUCKET, Gateway, gateway
from servers.ports import free_port
from servers.web import listening

from presage.errors import LakeError
from presage.models.bundle import MANIFEST, SIZE_AT_MOST, Bundle, write_bundle
from presage.spec.forecast import FORECAST, ForecastStep, ForecastSummary
from presage.steps.bucket import Bucket, BucketPlace
from presage_serving.directory import LARGEST_FORECAST, ModelDirectory
from presage_serving.fetcher import Fetcher
from presage_serving.metrics import Metrics

START = datetime(2026, 1, 5, tzinfo=UTC)
LATER = START + timedelta(days=1)
REFUSALS = "presage_server_directory_refusals_total"
PREDICT = f"/v1/models/{NAME}:predict"
QUESTION = '{"instances": [{}]}'
RUN = f"s3://{BUCKET}/lake/runs/default.house/one"
STATE = "bundle/trees/state.json"
NEEDED = {f"bundle/{MANIFEST}", STATE, FORECAST, "report.html"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's directory: what a server needs, and what it does not."""
    directory = tmp_path / "run"
    manifest = Bundle(
        version="v1", job="house", namespace="default", spec_digest="sha256:0", model="naive", transform="Level",
        horizon=1, season=1, frequency="1d", train_start=START, train_end=START, created_at=START,
    )  # fmt: skip
    write_bundle(directory / "bundle", manifest, {"trees/state.json": b"{}"})
    (directory / "bundles").mkdir()
    for name in ("manifest.json", "predictions.csv", "forecast.json.old", "bundles/state.json"):
        (directory / name).write_text("not for servers")
    (directory / "report.html").write_text("<p>the report")
    (directory / FORECAST).write_bytes(forecast())
    return directory


@pytest.fixture
def objects(reached: Gateway, run: Path, request: pytest.FixtureRequest) -> Bucket:
    """The same as objects, below a prefix of the test's own."""
    bucket = Bucket(BucketPlace.parse(f"s3://{BUCKET}/{request.node.name}/one"))
    fill(bucket, run)
    return bucket


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    path.mkdir()
    return path


@pytest.fixture
def directory(objects: Bucket, copy: Path, metrics: Metrics) -> ModelDirectory:
    return directory_of(objects, copy, metrics)


def directory_of(bucket: Bucket, copy: Path, metrics: Metrics) -> ModelDirectory:
    return ModelDirectory(copy, metrics, name=str(bucket.place), update=Fetcher(bucket, copy).fetch)


def forecast(**fields: object) -> bytes:
    steps = (ForecastStep(target_time=START, mean=0.5, quantiles={"q0.1": 0, "q0.9": 1}),)
    given = {
        "job": "house", "namespace": "default", "series": "price", "run": "one", "model": "naive", "promoted": False,
        "issued_at": START, "steps": steps,
    }  # fmt: skip
    return ForecastSummary.model_validate(given | fields).model_dump_json().encode()


def put(bucket: Bucket, name: str, content: bytes) -> None:
    """Write an object on top of what is there."""
    held = bucket.read(name)
    assert bucket.write(name, content, over=None if held is None else held[1])


def fill(bucket: Bucket, directory: Path) -> None:
    for name, held in content(directory).items():
        put(bucket, name, held)


def refusals(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value(REFUSALS)


def files(directory: Path) -> dict[str, int]:
    """Files by name, with the number that changes when one is written anew."""
    return {name: (directory / name).stat().st_ino for name in content(directory)}


def test_what_a_server_needs_of_a_run_is_fetched_and_served(directory: ModelDirectory, run: Path) -> None:
    directory.refresh()
    assert directory.served is not None
    assert directory.served.issued_at == START
    wanted = {name: held for name, held in content(run).items() if name in NEEDED}
    assert content(directory.path) == wanted


def test_a_newer_forecast_is_served_and_nothing_else_is_fetched_again(
    directory: ModelDirectory, objects: Bucket, metrics: Metrics
) -> None:
    directory.refresh()
    before = files(directory.path)
    directory.refresh()
    assert files(directory.path) == before
    put(objects, FORECAST, forecast(issued_at=LATER))
    directory.refresh()
    assert directory.served is not None
    assert directory.served.issued_at == LATER
    assert {name for name, number in files(directory.path).items() if number != before[name]} == {FORECAST}
    assert refusals(metrics) == 0


def test_a_damaged_bundle_is_not_served_until_it_is_mended(
    directory: ModelDirectory, objects: Bucket, metrics: Metrics
) -> None:
    put(objects, STATE, b"[]")
    for _ in range(2):
        directory.refresh()
    assert directory.served is None
    assert f"the content of trees/state.json in the bundle {objects.place}/bundle is not what" in directory.fault
    assert refusals(metrics) == 1
    put(objects, STATE, b"{}")
    directory.refresh()
    assert directory.served is not None
    assert directory.fault == ""


def test_an_object_too_many_keeps_a_bundle_from_being_served_until_it_is_gone(
    directory: ModelDirectory, objects: Bucket
) -> None:
    put(objects, "bundle/..more", b"")
    directory.refresh()
    assert directory.served is None
    assert "bundle holds ..more, which its manifest does not name" in directory.fault
    objects.delete("bundle/..more")
    directory.refresh()
    assert directory.served is not None


def test_a_run_that_is_not_there_yet_is_served_once_it_is(
    reached: Gateway, run: Path, copy: Path, metrics: Metrics
) -> None:
    bucket = Bucket(BucketPlace.parse(f"s3://{BUCKET}/not-yet"))
    directory = directory_of(bucket, copy, metrics)
    directory.refresh()
    assert directory.fault.startswith(f"the bundle s3://{BUCKET}/not-yet/bundle cannot be read")
    fill(bucket, run)
    directory.refresh()
    assert directory.served is not None


def test_a_run_that_is_deleted_leaves_its_last_forecast_in_place(
    directory: ModelDirectory, objects: Bucket, metrics: Metrics
) -> None:
    directory.refresh()
    for name in NEEDED:
        objects.delete(name)
    for _ in range(2):
        directory.refresh()
    assert directory.served is not None
    assert directory.fault.startswith(f"{objects.place}/{FORECAST} cannot be read")
    assert content(directory.path) == {}
    assert refusals(metrics) == 1


def test_a_forecast_that_is_too_large_is_not_even_fetched(directory: ModelDirectory, objects: Bucket) -> None:
    directory.refresh()
    before = files(directory.path)
    put(objects, FORECAST, b" " * (LARGEST_FORECAST + 1))
    directory.refresh()
    assert f"{objects.place}/{FORECAST} is larger than the {LARGEST_FORECAST} bytes" in directory.fault
    assert files(directory.path) == before
    put(objects, FORECAST, forecast(issued_at=LATER))
    directory.refresh()
    assert directory.served is not None
    assert directory.served.issued_at == LATER


def test_a_store_that_refuses_leaves_the_last_forecast_and_is_counted_each_time_it_begins_to(
    objects: Bucket, copy: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers credentials
    good, wrong = Fetcher(objects, copy), Fetcher(Bucket(objects.place), copy)
    now = good

    def update() -> None:
        now.fetch()

    directory = ModelDirectory(copy, metrics, name=str(objects.place), update=update)
    directory.refresh()
    served = directory.served
    assert served is not None
    for times in (1, 2):
        now = wrong
        for _ in range(2):
            directory.refresh()
        assert f"refuses access to {objects.place}: SignatureDoesNotMatch" in directory.fault
        assert directory.served is served
        assert refusals(metrics) == times
        now = good
        directory.refresh()
        assert directory.fault == ""
        assert directory.served == served
        served = directory.served


@contextmanager
def store_double(listed: dict[str, int]) -> Iterator[tuple[str, list[str]]]:
    """Run a store that lists keys by size which the real server cannot hold; give its address and what was asked."""
    asked: list[str] = []
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-05T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;1&quot;</ETag><Size>{size}</Size></Contents>"
        for key, size in listed.items()
    )
    answer = (
        f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>'.encode()
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with listening(Handler) as url:
        yield url, asked


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ({"one/bundle/../../evil": 1}, "the key 'bundle/../../evil' in s3://lakes/one names no file of a bundle"),
        ({"one/bundle//etc/evil": 1}, "the key 'bundle//etc/evil' in"),
        ({"one/bundle/./evil": 1}, "the key 'bundle/./evil' in"),
        ({"one/bundle/a": SIZE_AT_MOST, "one/report.html": 1}, f"the {SIZE_AT_MOST + 1} bytes in s3://lakes/one are"),
    ],
    ids=["parents", "empty", "itself", "too much"],
)
def test_keys_that_lead_out_of_the_copy_and_too_much_are_refused_before_anything_is_fetched(
    listed: dict[str, int], sentence: str, reached: Gateway, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store_double(listed) as (url, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(LakeError) as refused:
            Fetcher(Bucket(BucketPlace.parse("s3://lakes/one")), copy).fetch()
    assert sentence in str(refused.value)
    assert len(asked) == 1
    assert list(copy.parent.rglob("evil")) == []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gateway], None]:
    """Lead the commands that the test starts, and the test itself, to a store."""

    def tell(store: Gateway) -> None:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
            monkeypatch.setitem(ENVIRONMENT, name, value)

    return tell


class Switch:
    """A store that is started and stopped at one address, over one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running = ExitStack()

    def on(self) -> Gateway:
        """Start it."""
        return self._running.enter_context(gateway(self._folder, self._port))

    def off(self) -> None:
        """Stop it."""
        self._running.close()


@pytest.fixture
def switch(store: Gateway, tmp_path: Path) -> Iterator[Switch]:  # where one server runs, another can
    made = Switch(tmp_path / "store")
    yield made
    made.off()


@pytest.mark.slow
def test_a_server_waits_for_its_store_and_goes_on_without_it(
    switch: Switch, run: Path, tmp_path: Path, told: Callable[[Gateway], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(switch.on())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(scratch))
    objects = Bucket(BucketPlace.parse(RUN))
    fill(objects, run)
    switch.off()

    with serving(RUN, ready=False) as server:
        assert "does not answer" in server.wait_for('"model directory refused"')
        assert server.get("/healthz").status_code == 200
        assert server.get("/readyz").status_code == 503
        assert "does not answer" in server.get("/readyz").json()["error"]

        switch.on()
        server.wait_for('"model ready"')
        before = server.post(PREDICT, QUESTION).json()
        assert server.get("/report").text == "<p>the report"
        counted = server.metric(REFUSALS)

        switch.off()
        assert "does not answer" in server.wait_for('"model directory refused"')
        assert server.get("/readyz").json() == {"ready": True}
        assert server.post(PREDICT, QUESTION).json() == before
        assert server.metric(REFUSALS) == counted + 1

        switch.on()
        put(objects, FORECAST, forecast(issued_at=LATER))
        server.wait_for('"forecast replaced"')
        prediction = server.post(PREDICT, QUESTION).json()["predictions"][0]
        assert prediction["issued_at"] == f"{LATER:%FT%TZ}"
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_a_store_that_never_answers_keeps_the_server_neither_from_answering_nor_from_ending(
    told: Callable[[Gateway], None],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        told(Gateway(f"http://127.0.0.1:{silent.getsockname()[1]}", Path()))
        with serving(RUN, ready=False) as server:
            connection, _ = silent.accept()
            with connection:
                assert server.get("/healthz").status_code == 200
                assert server.get("/readyz").json()["error"] == "The model directory is being read."
                server.process.terminate()
                assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("s3://lakes/../any", "Write s3://bucket/prefix"),
        ("s3://user:hunter22@lakes/any", "address holds credentials"),
        ("gs://lakes/any", "Give a directory or s3://bucket/prefix as --model-dir"),
    ],
    ids=["prefix", "credentials", "scheme"],
)
def test_what_names_no_model_directory_ends_the_server_with_a_sentence(
    location: str, said: str, tmp_path: Path
) -> None:
    ended = presage("serve", "--model-name", NAME, "--model-dir", location, code=2)
    assert said in ended.err
    assert "hunter22" not in ended.err


def test_a_server_without_the_extra_for_buckets_names_it(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('No module named boto3', name='boto3')\n")
    ended = presage("serve", "--model-name", NAME, "--model-dir", RUN, code=2, PYTHONPATH=str(tmp_path))
    assert "pip install 'presage[s3]'" in ended.err
