"""The cloud function: bars of an exchange (a double) kept in a real S3 store, where a source reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
import yaml
from commands import EXAMPLES, ROOT, presage
from doubles.exchange import DAY, MINUTE, Answer, ExchangeDouble, Row, bitfinex_rows, exchange_double
from polars.testing import assert_frame_equal
from s3.gateway import BUCKET, Gateway
from source_case import asked

from presage.errors import DataError, JobError, PresageError, SourceUnavailableError, StorageError
from presage.sources.candles import to_milliseconds
from presage.sources.rows import read_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

FUNCTION = ROOT / "functions" / "exchange_bars"
DAYS = to_milliseconds(datetime(2017, 12, 16, tzinfo=UTC))
NOON = datetime(2017, 12, 17, 12, 0, 30, tzinfo=UTC)
MINUTES = Frequency(1, "m")
KEYS = [f"bars/{market}/2017/12/{day}.csv" for market in ("BTC-USD", "ETH-USD") for day in (16, 17)]


def module(name: str) -> ModuleType:
    spec = spec_from_file_location(f"exchange_bars_{name}", FUNCTION / f"{name}.py")
    loaded = module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


HANDLER = module("handler")
Settings = HANDLER.Settings


@pytest.fixture(scope="module")
def candles(shared_data: Path) -> dict[tuple[str, str], list]:
    """Three real days of one-minute candles, those of the rise of December 2017."""
    return {(market, "1m"): bitfinex_rows(shared_data, market, DAYS, DAYS + 3 * DAY) for market in ("BTCUSD", "ETHUSD")}


@pytest.fixture
def exchange(candles: dict[tuple[str, str], list]) -> Iterator[ExchangeDouble]:
    with exchange_double(candles) as double:
        yield double


@pytest.fixture
def environment(store: Gateway, exchange: ExchangeDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the function is told; the bucket is empty."""
    told = {
        "BARS_EXCHANGE": "bitfinex",
        "BARS_SYMBOLS": "BTC/USD,ETH/USD",
        "BARS_TARGET": f"s3://{BUCKET}/bars",
        "BARS_URI": exchange.url,
    }
    for name, value in {**told, **store.environment()}.items():
        monkeypatch.setenv(name, value)
    with closing(HANDLER._store()) as client:
        yield told
        remove(client, *objects(store))


Run = Callable[..., dict[str, list[str]]]


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Calls the function at a moment; waits take no time."""
    return lambda now=NOON, **changed: HANDLER.run(
        replace(Settings.parse(environment), **changed), now, sleep=lambda _: None
    )


def objects(store: Gateway) -> dict[str, bytes]:
    """All objects of the bucket by key."""
    return {
        path.relative_to(store.folder).as_posix(): path.read_bytes() for path in sorted(store.folder.rglob("*.csv"))
    }


def remove(client: Any, *keys: str) -> None:
    for key in keys:
        client.delete_object(Bucket=BUCKET, Key=key)


def test_the_handler_writes_an_object_a_market_and_day(environment, store, candles):
    answer = HANDLER.handler({"time": "2017-12-17T12:00:30Z"}, None)
    assert answer == {"written": KEYS, "unchanged": []}
    assert json.loads(json.dumps(answer)) == answer
    held = objects(store)
    assert sorted(held) == KEYS
    table = pl.read_csv(held[KEYS[0]])
    assert table.columns == ["time", "symbol", "open", "high", "low", "close", "volume"]
    day = [row for row in candles["BTCUSD", "1m"] if row[0] < DAYS + DAY]
    assert table["close"].to_list() == [row[2] for row in day]
    assert held[KEYS[1]].splitlines()[-1].startswith(b"2017-12-17T11:59:00Z,BTC/USD,")


def test_a_repeat_writes_nothing(run, store):
    first = run()
    held = objects(store)
    assert run() == {"written": [], "unchanged": first["written"]}
    assert objects(store) == held


def test_objects_that_are_gone_come_back_the_same(run, store):
    run()
    held = objects(store)
    with closing(HANDLER._store()) as client:
        remove(client, KEYS[2])
    assert run()["written"] == [KEYS[2]]
    assert objects(store) == held


def test_many_calls_leave_what_one_does(run, store):
    for hour in (1, 5, 9):
        run(NOON.replace(hour=hour))
    run()
    held = objects(store)
    with closing(HANDLER._store()) as client:
        remove(client, *held)
    run()
    assert objects(store) == held


def test_an_exchange_that_gives_less_takes_nothing_away(run, store, exchange):
    run()
    held = objects(store)
    exchange.newest = 30
    exchange.now = to_milliseconds(NOON)
    assert run()["written"] == []
    assert objects(store) == held


def test_a_corrected_bar_takes_the_place_of_the_old_one(run, store, exchange):
    run()
    start, open_, _, high, low, volume = exchange.rows["BTCUSD", "1m"][7]
    exchange.rows["BTCUSD", "1m"][7] = [start, open_, low, high, low, volume]
    before = objects(store)[KEYS[0]].splitlines()
    assert run()["written"] == [KEYS[0]]
    after = objects(store)[KEYS[0]].splitlines()
    assert [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [8]


def test_the_source_of_the_bucket_gives_the_rows_of_the_exchange(run, exchange, tmp_path):
    run()
    lag = {"availability": {"lag": "0s"}, "frequency": "1m"}
    values = {name: name for name in ("open", "high", "low", "close", "volume")}
    place = {"name": "bitfinex", "symbols": ["BTC/USD", "ETH/USD"], "since": "2017-12-16", "uri": exchange.url}
    direct = Source.model_validate({"name": "bars", "exchange": place, **lag})
    kept = Source.model_validate(
        {"name": "bars", "s3": {"uri": f"s3://{BUCKET}/bars/*/*/*/*.csv"}, "series": "symbol", "columns": values, **lag}
    )
    asked_for = asked(tmp_path, MINUTES, end=NOON)
    assert_frame_equal(read_rows(kept, asked_for).rows, read_rows(direct, asked_for).rows)


def test_a_write_on_top_of_what_others_wrote_meanwhile_keeps_both(environment, store):
    def bar(minute: int) -> dict[str, tuple[str, ...]]:
        time = f"2017-12-16T00:{minute:02}:00Z"
        return {time: (time, "BTC/USD", "1.0", "1.0", "1.0", "1.0", "1.0")}

    with closing(HANDLER._store()) as mine, closing(HANDLER._store()) as other:
        HANDLER._merge(mine, BUCKET, KEYS[0], bar(1))
        pending = [bar(2), bar(3)]

        def meanwhile(**_: object) -> None:
            if pending:
                HANDLER._merge(other, BUCKET, KEYS[0], pending.pop())

        mine.meta.events.register("before-call.s3.PutObject", meanwhile)
        assert HANDLER._merge(mine, BUCKET, KEYS[0], bar(4))
    assert [line[:16] for line in objects(store)[KEYS[0]].decode().splitlines()[1:]] == [
        f"2017-12-16T00:0{minute}" for minute in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,2\n", b"PAR1\0\xff", b"time,symbol,open,high,low,close,volume\n1,2\n", b"\n"],
    ids=["table", "binary", "cut", "blank"],
)
def test_an_object_of_others_is_left_as_it_is(run, store, content):
    with closing(HANDLER._store()) as client:
        client.put_object(Bucket=BUCKET, Key=KEYS[0], Body=content)
    with pytest.raises(DataError, match="holds something else"):
        run()
    assert objects(store) == {KEYS[0]: content}


def test_an_exchange_that_fails_leaves_all_objects_whole(run, store, exchange):
    exchange.page = 400
    run(NOON.replace(hour=3))
    held = objects(store)
    exchange.faults.extend([None, None, *[Answer(503)] * 5])
    with pytest.raises(SourceUnavailableError, match="bitfinex does not answer"):
        run()
    changed = objects(store)
    assert {key for key in held if changed[key] != held[key]} <= {KEYS[1]}
    assert all(content.endswith(b"\n") for content in changed.values())
    exchange.faults.clear()
    run()
    assert [len(content.splitlines()) for content in objects(store).values()] == [1441, 721, 1441, 721]


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("BARS_EXCHANGE", None, "BARS_EXCHANGE is not set"),
        ("BARS_SYMBOLS", " , ", "BARS_SYMBOLS"),
        ("BARS_TARGET", "", "BARS_TARGET is not set"),
        ("BARS_TARGET", "https://bucket/prefix", "s3://bucket/prefix"),
        ("BARS_TARGET", "s3://key:value@bucket", "s3://bucket/prefix"),
        ("BARS_TIMEFRAME", "soon", "'soon'"),
        ("BARS_TIMEFRAME", "1d", "shorter than the day"),
        ("BARS_DAYS", "0", "'0'"),
        ("BARS_DAYS", "many", "'many'"),
        ("BARS_URI", "http://api.example.org", "no TLS"),
        ("BARS_EXCHANGE", "bitfinx", "did you mean 'bitfinex'"),
        ("BARS_SYMBOLS", "BTC/USDT", "did you mean 'BTC/USD'"),
    ],
)
def test_a_wrong_setting_is_named(environment, store, monkeypatch, name, value, word):
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(PresageError) as raised:
        HANDLER.handler({"time": "2017-12-17T12:00:30Z"}, None)
    assert word in str(raised.value)
    assert "value" not in str(raised.value)
    assert raised.value.remedy
    assert objects(store) == {}


@pytest.mark.parametrize("time", ["noon", 7], ids=["word", "number"])
def test_an_event_without_a_readable_time_is_refused(environment, time):
    with pytest.raises(JobError, match="ISO 8601"):
        HANDLER.handler({"time": time}, None)


def test_a_bucket_that_is_not_there_is_named(run):
    with pytest.raises(JobError, match="no bucket 'nowhere'"):
        run(bucket="nowhere")


def test_a_store_that_is_down_is_told(run, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="cannot be asked"):
        run()


def test_wrong_keys_are_told_and_not_shown(run, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the keys that it has read
    with pytest.raises(StorageError, match="SignatureDoesNotMatch") as raised:
        run()
    assert "not-the-secret" not in str(raised.value)


def test_the_package_needs_no_more_of_presage_than_it_holds(tmp_path):
    package = module("package")
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    package.write_package(first)
    package.write_package(second)
    assert first.read_bytes() == second.read_bytes()
    words = (
        "import sys; sys.path.insert(0, sys.argv[1]); import handler, presage.errors;"
        "handler.connect('kraken', 'kraken', sleep=None); print(presage.errors.__file__); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", words, first], capture_output=True, text=True, check=True)
    place, modules = done.stdout.splitlines()
    assert place.startswith(str(first))
    loaded = set(modules.split())
    assert {"ccxt", "boto3"} <= loaded
    assert not loaded & {"pydantic", "polars", "pandas", "numpy"}


def test_hourly_bars_are_kept_too(run, exchange, store):
    hours = [[DAYS + place * 60 * MINUTE, 1.0, 1.0, 2.0, 0.5, 3.0] for place in range(72)]
    exchange.rows["BTCUSD", "1h"] = hours
    hour = HANDLER.Timeframe.parse("1h")
    assert run(timeframe=hour, symbols=("BTC/USD",), prefix="")["written"] == [
        "BTC-USD/2017/12/16.csv",
        "BTC-USD/2017/12/17.csv",
    ]
    assert len(objects(store)["BTC-USD/2017/12/17.csv"].splitlines()) == 13


def test_the_example_runs_on_candles_of_the_exchange_and_bars_of_the_bucket(
    run, store, shared_data, exchange, tmp_path
):
    start, ends = (
        datetime(2018, 10, 1, tzinfo=UTC),
        [datetime(2018, 11, 1, tzinfo=UTC), datetime(2018, 12, 1, tzinfo=UTC)],
    )
    exchange.rows["ETHUSD", "1m"] = bitfinex_rows(
        shared_data, "ETHUSD", to_milliseconds(start), to_milliseconds(ends[-1])
    )
    for end in ends:
        run(end, symbols=("ETH/USD",), days=32)
    exchange.rows["BTCUSD", "1D"] = daily(shared_data, "BTCUSD", range(2015, 2019))
    job = yaml.safe_load((EXAMPLES / "crypto-exchange.yaml").read_text(encoding="utf-8"))
    btc, eth = job["spec"]["sources"]
    btc["exchange"]["uri"] = exchange.url
    eth["s3"] = {"uri": f"s3://{BUCKET}/bars/ETH-USD/*/*/*.csv", "endpoint": store.url}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    ended = presage(
        "run",
        tmp_path / "job.yaml",
        "--workdir",
        tmp_path,
        "--as-of",
        "2018-12-01",
        "-o",
        "json",
        **store.environment(),
    )
    card = ended.json()["scorecard"]
    assert {source["name"]: source["rows"] for source in card["sources"]} == {"btc": 1333, "eth_minutes": 61}
    assert card["verdict"]["reason"] in ("BetterThanBaseline", "NotBetterThanBaseline", "InsufficientEvidence")


def daily(shared_data: Path, market: str, years: range) -> list[Row]:
    """Days made of the real one-minute candles, as Bitfinex has them."""
    minutes = pl.concat(
        [pl.read_csv(shared_data / "bitfinex_1m" / f"bitfinex_{market}_1m_{year}.csv.gz") for year in years]
    ).sort("timestamp_ms")
    days = minutes.group_by(pl.col("timestamp_ms") // DAY * DAY, maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("close").last(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("volume").sum(),
    )
    return days.rows()
