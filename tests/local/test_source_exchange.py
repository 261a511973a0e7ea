"""Real one-minute candles through an exchange double: one read, many, and one that is killed give the same rows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from commands import ENVIRONMENT, presage
from doubles.exchange import DAY, Answer, ExchangeDouble, Row, bitfinex_rows, exchange_double
from polars.testing import assert_frame_equal
from source_case import asked

from presage.frame import SERIES, TIME
from presage.lake.tables import Lake
from presage.sources.candles import to_milliseconds
from presage.sources.exchange import read
from presage.sources.rows import read_rows, to_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

START = datetime(2016, 12, 30, tzinfo=UTC)
FIRST = to_milliseconds(START)
END = datetime(2017, 1, 5, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = Frequency(1, "m")
READER = """
import sys
from pathlib import Path
from datetime import datetime
from presage.sources import exchange
from presage.sources.contract import Request
from presage.spec.base import Frequency
from presage.spec.sources import Source

exchange._ROWS = 1000
source = Source.model_validate_json(sys.argv[1])
folder, end = Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])
for number, table in enumerate(exchange.read(source, Request(folder, Frequency(1, "m"), end, sleep=lambda _: None))):
    table.data.write_parquet(folder / f"{number}.parquet")
    (folder / "bookmark").write_text(table.bookmark)
    print(number, flush=True)
"""


@pytest.fixture(scope="module")
def candles(shared_data: Path) -> dict[tuple[str, str], list[Row]]:
    """Six days around a new year, with minutes without trades."""
    return {
        (market, "1m"): bitfinex_rows(shared_data, market, FIRST, FIRST + 7 * DAY) for market in ("BTCUSD", "ETHUSD")
    }


@pytest.fixture
def exchange(candles: dict[tuple[str, str], list[Row]]) -> Iterator[ExchangeDouble]:
    with exchange_double(candles) as double:
        double.page = 333
        yield double


def declare(exchange: ExchangeDouble) -> Source:
    place = {"name": "bitfinex", "symbols": ["BTC/USD", "ETH/USD"], "uri": exchange.url, "since": "2016-12-30"}
    return Source.model_validate({"name": "coins", "availability": {"lag": "0s"}, "exchange": place})


def test_the_rows_are_the_candles(exchange, candles, tmp_path):
    rows = read_rows(declare(exchange), asked(tmp_path, MINUTES, end=END)).rows
    for symbol, market in (("BTC/USD", "BTCUSD"), ("ETH/USD", "ETHUSD")):
        own = [candle for candle in candles[market, "1m"] if candle[0] < to_milliseconds(END)]
        read = rows.filter(pl.col(SERIES) == symbol)
        assert read[TIME].dt.epoch("ms").to_list() == [candle[0] for candle in own]
        assert read.select("open", "close", "high", "low", "volume").rows() == [tuple(candle[1:]) for candle in own]


def test_one_read_and_many_small_ones_give_the_same_lake(exchange, tmp_path, monkeypatch):
    source = declare(exchange)
    whole = read_rows(source, asked(tmp_path, MINUTES, end=END)).rows
    once = Lake(str(tmp_path / "once")).merge("coins", whole, ingested_at=NOW, monthly=True)
    monkeypatch.setattr("presage.sources.exchange._ROWS", 4000)
    lake, bookmark, version = Lake(str(tmp_path / "often")), "", None
    for end in (datetime(2016, 12, 31, 17, 3, 30, tzinfo=UTC), datetime(2017, 1, 2, tzinfo=UTC), END):
        for table in read(source, asked(tmp_path, MINUTES, end=end, bookmark=bookmark)):
            rows = to_rows(source, table, frequency=MINUTES).rows
            version = lake.merge("coins", rows, ingested_at=NOW, monthly=True)
            bookmark = table.bookmark
    assert version.digest == once.digest
    assert version.rows == once.rows


def test_a_read_that_is_killed_goes_on_where_it_was_kept(exchange, tmp_path):
    source = declare(exchange)
    whole = read_rows(source, asked(tmp_path, MINUTES, end=END)).rows
    release = Event()

    def hold(page: list[Row]) -> Answer:
        release.wait(60)
        return Answer(body=json.dumps(page).encode())

    exchange.faults.extend([None] * 11 + [hold] * 9)
    words = [sys.executable, "-c", READER, source.model_dump_json(by_alias=True), tmp_path, END.isoformat()]
    reader = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        for number in range(2):
            assert reader.stdout.readline().strip() == str(number)
    finally:
        reader.send_signal(signal.SIGKILL)
        reader.wait(30)
        reader.stdout.close()
        release.set()
    exchange.faults.clear()
    kept = [pl.read_parquet(file) for file in sorted(tmp_path.glob("*.parquet"))]
    bookmark = (tmp_path / "bookmark").read_text()
    rest = [table.data for table in read(source, asked(tmp_path, MINUTES, end=END, bookmark=bookmark))]
    assert 0 < sum(table.height for table in kept) < whole.height
    assert_frame_equal(
        pl.concat([*kept, *rest]).sort("symbol", "time").drop("symbol", "time"),
        whole.select("open", "high", "low", "close", "volume"),
    )


@pytest.mark.parametrize(
    ("changed", "code", "word"),
    [
        ({"symbols": ["BTC/USDX"]}, 5, "did you mean 'BTC/USD'"),
        ({"secretRef": {"name": "club"}}, 2, "CLUB_"),
    ],
    ids=["symbol", "secret"],
)
def test_a_job_of_an_exchange_that_cannot_be_read_says_why(exchange, tmp_path, changed, code, word):
    place = {"name": "bitfinex", "symbols": ["BTC/USD"], "uri": exchange.url, "since": "2016-12-30"} | changed
    job = {
        "apiVersion": "presage.dev/v1alpha1",
        "kind": "PredictionJob",
        "metadata": {"name": "coins"},
        "spec": {
            "frequency": "1m",
            "target": {"source": "coins", "column": "close"},
            "sources": [{"name": "coins", "availability": {"lag": "0s"}, "exchange": place}],
            "models": [{"name": "ridge"}],
        },
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    ended = presage("run", tmp_path / "job.yaml", "--workdir", tmp_path / "work", code=code)
    assert word in " ".join(ended.err.split())
