"""Serving from a bucket: a copy of a run's objects that follows them, and a store that may be down, wrong or damaged."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster.binaries import BuildError
from commands import ENVIRONMENT, content, presage
from conftest import lacking
from model_server import NAME, serving
from s3.gateway import BUCKET, KEY, SECRET, Gateway, gateway, gateway_binary

from presage.errors import JobError, LakeError, StorageError
from presage.models.bundle import MANIFEST, SIZE_AT_MOST, Bundle, write_bundle
from presage.spec.forecast import FORECAST, ForecastStep, ForecastSummary
from presage.steps.bucket import Bucket, BucketPlace, Stored
from presage_serving.directory import LARGEST_FORECAST, ModelDirectory
from presage_serving.fetcher import Fetcher
from presage_serving.metrics import Metrics

START = datetime(2026, 1, 5, tzinfo=UTC)
LATER = START + timedelta(days=1)
REFUSALS = "presage_server_directory_refusals_total"
PREDICT = f"/v1/models/{NAME}:predict"
QUESTION = '{"instances": [{}]}'
STATE = "bundle/trees/state.json"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A running S3 server."""
    try:
        with gateway(tmp_path_factory.mktemp("s3")) as running:
            yield running
    except BuildError as error:
        lacking(str(error))


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    """A run's place in the bucket, another one for each test."""
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').rstrip(']')}/runs/default.house/one"


@pytest.fixture
def objects(store: Gateway, uri: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The objects of that run: sound ones, and others that no server needs."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(BucketPlace.parse(uri))
    fill(bucket)
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
def directory(objects: Bucket, uri: str, copy: Path, metrics: Metrics) -> ModelDirectory:
    return ModelDirectory(copy, metrics, name=uri, update=Fetcher(objects, copy).fetch)


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


def fill(bucket: Bucket) -> None:
    for name in ("manifest.json", "summary.json", "predictions.csv", "forecast.json.old", "bundles/state.json"):
        put(bucket, name, b"another's")
    put(bucket, "report.html", b"<p>the report")
    for name, part in bundle_files().items():
        put(bucket, f"bundle/{name}", part)
    put(bucket, FORECAST, forecast())


def bundle_files() -> dict[str, bytes]:
    manifest = Bundle(
        job="house", namespace="default", spec_digest="sha256:0", model="naive", transform="Level", horizon=1, season=1,
        frequency="1d", train_start=START, train_end=START, created_at=START,
    )  # fmt: skip
    state = b"{}"
    folder = Path(os.environ["PYTEST_TMPDIR"])
    written = write_bundle(folder, manifest, {"trees/state.json": state})
    return {MANIFEST: written.model_dump_json().encode(), "trees/state.json": state}
