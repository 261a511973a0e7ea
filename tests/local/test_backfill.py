"""`presage backfill`: the same lake as a run's, holes filled, spans read again, and a kill that costs a month."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
import yaml
from commands import ENVIRONMENT, presage, start
from doubles.exchange import Answer, ExchangeDouble, bitfinex_rows, exchange_double
from ingest_case import SMALL, exchange_job, file_job, milliseconds, utc
from s3.gateway import BUCKET, Gateway
from s3.proxy import proxy

from presage.errors import DataError, JobError, SourceUnavailableError, StorageError
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.backfill import Backfill, FilledSource, backfill
from presage.steps.bucket import Bucket, BucketPlace
from presage.steps.ingest import ingest
from presage.steps.mirror import work_in

SINCE = "2018-01-20"
START, END = utc(SINCE), utc("2018-03-10")
HOURS = ("BTCUSD", "1h")
HOLE = utc("2018-01-30T03:00"), utc("2018-02-02T09:00")
REFUSED = Answer(403, b'["error",10100,"apikey: invalid"]')
RETRIES = 20


@pytest.fixture(scope="module")
def candles(shared_data) -> list:
    """The first minute of each hour, as the candle of that hour."""
    rows = bitfinex_rows(shared_data, "BTCUSD", milliseconds(START), milliseconds(END))
    return [row for row in rows if row[0] % 3_600_000 == 0]


@pytest.fixture
def exchange(candles) -> Iterator[ExchangeDouble]:
    with exchange_double({HOURS: candles}) as double:
        double.clock = END.timestamp()
        yield double


def with_a_hole(candles: list) -> list:
    left, right = (milliseconds(moment) for moment in HOLE)
    return [row for row in candles if not left <= row[0] < right]


def fill(job: PredictionJob, root: Path, **how: object) -> Backfill:
    given = {"base": Path(), "now": END, "names": [], "sources": {}, "start": None, "end": None}
    given |= {"progress": lambda *_: None, "chunk_bytes": SMALL, "sleep": lambda _: None}
    return backfill(job, workdir=root, **{**given, **how})


def run(job: PredictionJob, root: Path, now: datetime = END) -> str:
    lake = Lake(str(root / "lake"))
    return ingest(job, lake, base=Path(), now=now, sleep=lambda _: None).tables["btc"].digest


def test_a_backfill_and_a_run_on_an_empty_lake_give_the_same(tmp_path, exchange, candles):
    job = exchange_job(exchange, SINCE)
    filled = fill(job, tmp_path / "filled").sources[0]
    assert filled.digest == run(job, tmp_path / "run")
    assert (filled.before, filled.rows, filled.missing) == (0, len(candles), 0)
    assert (filled.start, filled.end) == (START, END - timedelta(hours=1))


def test_a_hole_that_a_run_leaves_is_filled_month_by_month(tmp_path, exchange, candles):
    job = exchange_job(exchange, SINCE)
    exchange.rows[HOURS] = with_a_hole(candles)
    run(job, tmp_path / "holey")
    exchange.rows[HOURS] = candles
    run(job, tmp_path / "holey")
    steps = []
    filled = fill(job, tmp_path / "holey", progress=lambda *step: steps.append(step)).sources[0]
    assert (filled.spans, filled.missing, filled.rows) == (2, 0, len(candles))
    assert filled.rows - filled.before == len(candles) - len(with_a_hole(candles))
    assert [step for step in steps if "filling" in step[0]] == [("filling btc", done, 2) for done in range(3)]
    assert filled.digest == run(job, tmp_path / "whole")
    again = fill(job, tmp_path / "holey").sources[0]
    assert (again.spans, again.before, again.digest) == (0, filled.rows, filled.digest)


def test_a_named_span_is_read_again_and_goes_on_where_it_broke_off(tmp_path, exchange, candles):
    job = exchange_job(exchange, SINCE)
    other = [[*row[:5], row[5] + 1] for row in candles]
    for name in ("broken", "counted"):
        run(job, tmp_path / name)
    exchange.rows[HOURS] = other
    exchange.asked.clear()
    fill(job, tmp_path / "counted", start=START)
    february = milliseconds(utc("2018-02-01"))
    before = next(place for place, asked in enumerate(exchange.asked) if asked.start == february)
    exchange.faults.extend([*[None] * before, *[REFUSED] * RETRIES])
    with pytest.raises((DataError, SourceUnavailableError)):
        fill(job, tmp_path / "broken", start=START)
    exchange.faults.clear()
    filled = fill(job, tmp_path / "broken", start=START).sources[0]
    assert filled.spans == 2  # January was kept
    assert filled.rows == 2 * len(candles)  # each hour has a vintage more
    assert filled.digest == fill(job, tmp_path / "counted").sources[0].digest
    assert list((tmp_path / "broken" / "backfills" / "default.btc").iterdir()) == []


def test_a_source_without_spans_is_read_as_in_a_run(tmp_path, shared_data):
    job = file_job(str(shared_data / "bitfinex_1m" / "bitfinex_ETHUSD_1m_2016.csv.gz"))
    filled = fill(job, tmp_path / "filled").sources[0]
    assert (filled.spans, filled.rows) == (None, 85_818)
    assert filled.digest == run(job, tmp_path / "run")


def test_wrong_words_are_explained(tmp_path, exchange):
    job = exchange_job(exchange, SINCE)
    with pytest.raises(JobError, match=r"no source of that name\. Did you mean 'btc'"):
        fill(job, tmp_path, names=["btcc"])
    with pytest.raises(JobError, match="ends at 2018-03-10 00:00, before it starts"):
        fill(job, tmp_path, start=END)
    assert not (tmp_path / "lake").exists()


def written(job: PredictionJob, folder: Path) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job.model_dump(mode="json", by_alias=True, exclude_none=True)))
    return path


def test_the_command_tells_what_it_filled(tmp_path, exchange, candles):
    job = exchange_job(exchange, SINCE)
    exchange.rows[HOURS] = with_a_hole(candles)
    fill(job, tmp_path / "w")
    exchange.rows[HOURS] = candles
    words = ("backfill", written(job, tmp_path), "--workdir", tmp_path / "w", "--as-of", f"{END:%Y-%m-%d}")
    done = presage(*words, "--source", "btc")
    head, row = done.out.splitlines()
    assert head.split() == ["Source", "Added", "Rows", "Spans", "Missing", "First", "bar", "Last", "bar"]
    assert row.split()[:5] == ["btc", "78", f"{len(candles):,}", "2", "0"]
    assert done.err.count("span kept") == 2


def test_a_backfill_that_is_killed_goes_on_behind_what_was_kept(tmp_path, exchange, candles):
    job = exchange_job(exchange, SINCE)
    words = ("backfill", written(job, tmp_path), "--workdir", tmp_path / "w", "--as-of", f"{END:%Y-%m-%d}")
    words += ("--start", SINCE, "-o", "json")
    process = start(*words)
    assert process.stderr is not None
    for line in process.stderr:
        if "span kept" in line:
            break
    process.kill()
    process.communicate()
    done = presage(*words).json()["sources"][0]
    assert done["spans"] < 3
    assert done["rows"] == len(candles)
    assert done["digest"] == run(job, tmp_path / "whole")


FILL = """
import sys
from datetime import datetime
from pathlib import Path

from presage.spec.load import load_job
from presage.steps.backfill import backfill
from presage.steps.mirror import work_in

file, workdir, now, start = sys.argv[1:]
job = load_job(Path(file))
with work_in(workdir, job) as place:
    done = backfill(
        job,
        base=Path(),
        workdir=place.directory,
        now=datetime.fromisoformat(now),
        names=[],
        sources={},
        start=datetime.fromisoformat(start),
        end=None,
        progress=lambda *_: None,
        on_kept=place.keep,
    )
print(done.model_dump_json())
"""
LOCK = "runs/default.btc/.lock"


def fill_bucket(job: PredictionJob, folder: Path, prefix: str, store: Gateway, url: str = "") -> subprocess.Popen[str]:
    """Start to read all of a job's span into a bucket in a process of its own."""
    words = [written(job, folder), f"s3://{BUCKET}/{prefix}", END.isoformat(), START.isoformat()]
    return subprocess.Popen(
        [sys.executable, "-c", FILL, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | store.environment(url or None),
    )


def ended(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)["sources"][0]


@contextmanager
def held_at(exchange: ExchangeDouble, number: int) -> Iterator[Event]:
    """Let the exchange keep its caller waiting from a request on; give what is set once one waits."""
    held, release = Event(), Event()

    def hold(page: list) -> Answer:
        held.set()
        release.wait(120)
        return Answer(body=json.dumps(page).encode())

    exchange.faults.extend([*[None] * number, *[hold] * RETRIES])
    try:
        yield held
    finally:
        release.set()
        exchange.faults.clear()


@pytest.mark.slow
def test_a_backfill_of_a_bucket_that_is_killed_goes_on_behind_what_was_kept(tmp_path, exchange, candles, reached):
    job = exchange_job(exchange, SINCE)
    whole = fill(job, tmp_path / "whole", start=START).sources[0]
    asked = [asked.start for asked in exchange.asked]
    february = len(asked) - 1 - asked[::-1].index(milliseconds(utc("2018-02-01")))
    folder = reached.folder / "killed"
    with held_at(exchange, february) as held:
        process = fill_bucket(job, tmp_path, "killed", reached)
        assert held.wait(60)
        process.kill()
        process.communicate()
    assert json.loads((folder / "backfills/default.btc/btc.json").read_bytes())["until"] == "2018-02-01T00:00:00Z"
    (raw,) = Lake(str(folder / "lake")).tables()
    assert Lake(str(folder / "lake")).current(raw).rows == len(candles)
    with closing(Bucket(BucketPlace.parse(f"s3://{BUCKET}/killed"))) as bucket:
        bucket.delete(LOCK)  # the next call would wait until nobody has renewed it for long
    exchange.asked.clear()
    filled = ended(fill_bucket(job, tmp_path, "killed", reached))
    assert filled["spans"] == 2  # January was kept
    assert min(one.start for one in exchange.asked if one.start is not None) >= milliseconds(utc("2018-02-01"))
    assert (filled["rows"], filled["digest"]) == (whole.rows, whole.digest)
    assert not list((folder / "backfills").glob("*/*"))


@pytest.mark.slow
def test_no_interruption_of_what_a_backfill_sends_to_a_bucket_loses_what_was_sent(
    tmp_path, exchange, reached, monkeypatch
):
    first = utc("2018-02-26")
    job = exchange_job(exchange, f"{first:%Y-%m-%d}")
    whole = fill(job, tmp_path / "whole", start=first).sources[0]

    def send(prefix: str) -> FilledSource:
        with work_in(f"s3://{BUCKET}/{prefix}", job) as place:
            return fill(job, place.directory, start=first, on_kept=place.keep).sources[0]

    number, refused = 0, True
    with proxy(reached.url) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        while refused:
            lake = Lake(str(reached.folder / f"cut-{number}" / "lake"))
            between.refuse_after(number)
            try:
                send(f"cut-{number}")
                refused = False
            except StorageError:
                pass
            between.refuse_after(None)
            for table in lake.tables():
                lake.read(lake.current(table))
            done = send(f"cut-{number}")
            assert (done.rows, done.digest) == (whole.rows, whole.digest)
            number += 1
    assert number > 4


def test_a_backfill_of_a_bucket_that_another_took_over_ends_and_overwrites_nothing(tmp_path, exchange, reached):
    job = exchange_job(exchange, SINCE)
    with held_at(exchange, 0) as held:
        process = fill_bucket(job, tmp_path, "taken", reached)
        assert held.wait(60)
        with closing(Bucket(BucketPlace.parse(f"s3://{BUCKET}/taken"))) as bucket:
            # Its holder may renew it in between.
            while bucket.write(LOCK, b"another's", over=bucket.read(LOCK)[1]) is None:
                pass
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "another run of default.btc took over" in err
    assert not (reached.folder / "taken" / "lake").exists()
