"""Reads of a bucket and of HTTP servers that are killed: nothing that was kept is got again, and nothing is doubled."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import boto3
import polars as pl
import pytest
import yaml
from commands import ENVIRONMENT, presage, start
from doubles.exchange import bitfinex_rows
from doubles.web import Asked, Reply, site
from ingest_case import SMALL, file_job, milliseconds, utc
from s3.gateway import BUCKET, KEY, SECRET, Gateway
from servers.web import listening

from presage.lake.tables import Lake, TableVersion
from presage.spec.job import PredictionJob
from presage.spec.sources import Source
from presage.steps.ingest import ingest

START, END = utc("2018-01-20"), utc("2018-02-10")
COLUMNS = ("timestamp_ms", "open", "close", "high", "low", "volume")
KEYS = {"STORE_AWS_ACCESS_KEY_ID": KEY, "STORE_AWS_SECRET_ACCESS_KEY": SECRET}
PARTS = 7
INGEST = """
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.ingest import ingest


class DyingLake(Lake):
    left = int(sys.argv[4])

    def merge(self, *rows, **how):
        merged = super().merge(*rows, **how)
        DyingLake.left -= 1
        if not DyingLake.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return merged


job = PredictionJob.model_validate_json(sys.argv[1])
ingest(job, DyingLake(sys.argv[2]), base=Path(), now=datetime.fromisoformat(sys.argv[3]), chunk_bytes=1)
"""


class CountingLake(Lake):
    """A lake that counts its merges, of which each chunk is one."""

    merges = 0

    def merge(self, *rows, **how) -> TableVersion:
        self.merges += 1
        return super().merge(*rows, **how)


class Gate:
    """What requests go through, until it is closed; `waiting` is set once one waits for it to open again."""

    def __init__(self) -> None:
        self.waiting = Event()
        self._open = Event()
        self._passing: int | None = None

    def close_after(self, requests: int) -> None:
        self._passing = requests

    def open(self) -> None:
        self._passing = None
        self._open.set()

    def let_through(self) -> None:
        if self._passing is not None:
            self._passing -= 1
            if self._passing < 0:
                self.waiting.set()
                self._open.wait(60)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


@contextmanager
def gated(target: str, gate: Gate) -> Iterator[str]:
    """Run a server that hands requests through a gate to another one; give its address."""
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.let_through()
            with closing(http.client.HTTPConnection(host, timeout=60)) as server:
                server.request("GET", self.path, headers=dict(self.headers.items()))
                answer = server.getresponse()
                content = answer.read()
            self.send_response_only(answer.status)
            for name in ("Content-Type", "ETag", "Last-Modified"):
                if answer.headers[name]:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with listening(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def rows(shared_data) -> pl.DataFrame:
    found = bitfinex_rows(shared_data, "BTCUSD", milliseconds(START), milliseconds(END))
    return pl.DataFrame(found, schema=list(COLUMNS), orient="row")


@pytest.fixture
def changed() -> list[str]:
    """The names of the documents that were sent whole."""
    return []


def job_of(**source: object) -> PredictionJob:
    declared = {"name": "btc", "frequency": "1m", "availability": {"lag": "0s"}, "timeUnit": "ms"} | source
    job = file_job("none.csv", "1h")
    sources = (Source.model_validate(declared),)
    return job.model_copy(update={"spec": job.spec.model_copy(update={"sources": sources})})


def parts(rows: pl.DataFrame) -> dict[str, str]:
    """Return the rows as CSV in some parts, each with the last hours of the one before."""
    size = rows.height // PARTS
    overlap = 200
    return {
        f"{number}.csv": rows.slice(max(0, number * size - overlap), size + overlap + PARTS).write_csv()
        for number in range(PARTS)
    }


@pytest.fixture
def objects(store: Gateway, rows: pl.DataFrame, gate: Gate) -> Iterator[PredictionJob]:
    client = boto3.client(
        "s3", endpoint_url=store.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    with closing(client):
        for name, text in parts(rows).items():
            client.put_object(Bucket=BUCKET, Key=f"rows/{name}", Body=text.encode())
    with gated(store.url, gate) as url:
        place = {"uri": f"s3://{BUCKET}/rows/*.csv", "endpoint": url, "secretRef": {"name": "store"}}
        yield job_of(s3=place, time="timestamp_ms")


@pytest.fixture
def documents(rows: pl.DataFrame, changed: list[str], gate: Gate) -> Iterator[PredictionJob]:
    texts = {f"/{name}": text.encode() for name, text in parts(rows).items()}

    def answer(asked: Asked) -> Reply:
        gate.let_through()
        tag = f'"{asked.path}"'
        if asked.headers.get("if-none-match") == tag:
            return Reply(status=304, headers={"ETag": tag})
        changed.append(asked.path)
        return Reply(texts[asked.path], headers={"Content-Type": "text/csv", "ETag": tag})

    with site(answer) as running:
        symbols = [name.removesuffix(".csv") for name in parts(rows)]
        yield job_of(http={"url": f"{running.url}/{{symbol}}.csv", "symbols": symbols}, time="timestamp_ms")


@pytest.fixture
def spans(rows: pl.DataFrame, gate: Gate) -> Iterator[PredictionJob]:
    def answer(asked: Asked) -> Reply:
        gate.let_through()
        first, last = int(asked.query["from"]), int(asked.query["to"])
        found = rows.filter(pl.col("timestamp_ms").is_between(first, last))
        return Reply(json.dumps({"candles": found.rows()}).encode(), headers={"Content-Type": "application/json"})

    with site(answer) as running:
        address = f"{running.url}/candles?from={{start:ms}}&to={{end:ms}}"
        place = {"url": address, "records": "/candles", "since": f"{START:%Y-%m-%d}", "span": "3d"}
        yield job_of(http=place, time="0", columns={"open": "1", "close": "2", "high": "3", "low": "4", "volume": "5"})


def read(job: PredictionJob, root: Path, now: datetime = END) -> tuple[TableVersion, int]:
    """Return what a lake holds after a read, and the chunks that it took."""
    lake = CountingLake(str(root))
    done = ingest(job, lake, base=Path(), now=now, chunk_bytes=SMALL, sleep=lambda _: None)
    return done.tables["btc"], lake.merges


@pytest.mark.parametrize("kind", ["objects", "documents", "spans"])
def test_a_read_that_is_killed_after_any_chunk_goes_on_behind_it(kind, tmp_path, request, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    job = request.getfixturevalue(kind)
    whole, chunks = read(job, tmp_path / "whole")
    assert chunks >= PARTS
    for kept in (1, chunks // 2, chunks - 1):
        root = tmp_path / str(kept)
        words = [sys.executable, "-c", INGEST, job.model_dump_json(by_alias=True), root, END.isoformat(), str(kept)]
        killed = subprocess.run([*map(str, words)], env=ENVIRONMENT | KEYS, check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        resumed, rest = read(job, root)
        # A read by spans goes on a row before the last one, so that its spans begin elsewhere.
        assert rest - (chunks - kept) in ({0, 1} if kind == "spans" else {0})
        assert (resumed.rows, resumed.digest) == (whole.rows, whole.digest)
        again, _ = read(job, root, END + timedelta(minutes=5))
        assert (again.rows, again.digest) == (whole.rows, whole.digest)


def test_a_document_that_was_kept_before_a_kill_is_not_sent_again(tmp_path, documents, changed):
    words = [sys.executable, "-c", INGEST, documents.model_dump_json(by_alias=True), tmp_path, END.isoformat(), "3"]
    subprocess.run([*map(str, words)], env=ENVIRONMENT, check=False, timeout=120)
    # The one behind the chunk that was kept may be under way already.
    assert changed[:3] == ["/0.csv", "/1.csv", "/2.csv"]
    changed.clear()
    read(documents, tmp_path)
    assert changed == ["/3.csv", "/4.csv", "/5.csv", "/6.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["objects", "documents"])
def test_a_run_that_is_killed_while_it_reads_is_made_whole_by_the_next_one(kind, tmp_path, request, gate):
    job = request.getfixturevalue(kind)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job.model_dump(mode="json", by_alias=True, exclude_none=True)))
    words = ("run", file, "--as-of", f"{END:%Y-%m-%dT%H:%M:%S}", "-o", "json", "--workdir")
    whole = presage(*words, tmp_path / "whole", **KEYS).json()
    gate.close_after(3)
    killed = start(*words, tmp_path / "killed", **KEYS)
    assert gate.waiting.wait(60), killed.communicate()
    killed.kill()
    killed.communicate()
    gate.open()
    assert not list((tmp_path / "killed").glob("runs/*/*/manifest.json"))
    again = presage(*words, tmp_path / "killed", **KEYS).json()
    assert again["digest"] == whole["digest"]
    assert raw(tmp_path / "killed") == raw(tmp_path / "whole")


def raw(workdir: Path) -> list[TableVersion | None]:
    """Return what the raw tables of a work directory hold."""
    lake = Lake(str(workdir / "lake"))
    return [lake.current(name) for name in lake.tables() if name.startswith("raw/")]
