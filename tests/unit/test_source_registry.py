"""Which adapter reads a source, and how `--source` puts another in its place."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
from source_case import asked

from presage.errors import DataError, JobError, MissingExtraError, NotSupportedError
from presage.sources.dataset import DATASETS
from presage.sources.registry import adapter, override
from presage.sources.rows import read_rows
from presage.spec.base import Frequency
from presage.spec.sources import SOURCE_KINDS, Source

DAY = Frequency(1, "d")
CWD = Path("/somewhere")

KINDS = {
    "dataset": {"name": "arch/sp500"},
    "file": {"uri": "a.csv"},
    "s3": {"uri": "s3://bucket/a.csv"},
    "sql": {"uri": "sqlite:///a.db", "table": "prices"},
    "http": {"url": "https://example.org/a.csv", "skipRows": 1, "delimiter": ";", "format": "CSV", "records": "/rows"},
    "exchange": {"name": "kraken", "symbols": ["BTC/USD"]},
    "kafka": {"uri": "kafka://host:9092", "topic": "prices"},
    "nats": {"uri": "nats://host:4222", "stream": "prices", "subject": "prices.>"},
    "clickhouse": {"uri": "clickhouse://host:9000/db", "table": "prices"},
}


def declare(kind: str, **fields: object) -> Source:
    return Source.model_validate({"name": "btc", "availability": {"lag": "1h"}, kind: KINDS[kind]} | fields)


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_every_kind_has_an_adapter_or_says_that_it_has_none(kind):
    if kind not in ("kafka", "nats"):
        assert callable(adapter(declare(kind)).read)
        return
    with pytest.raises(NotSupportedError) as raised:
        read_rows(declare(kind), asked(CWD))
    for word in ("source 'btc'", repr(kind), "dataset, file", "--source btc=FILE.csv"):
        assert word in str(raised.value)


@pytest.mark.parametrize("kind", SOURCE_KINDS)
@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("data/a.csv", {"file": {"uri": "/somewhere/data/a.csv"}}),
        ("/data/a.csv", {"file": {"uri": "/data/a.csv"}}),
        ("file:///data/a.csv", {"file": {"uri": "file:///data/a.csv"}}),
        ("dataset:arch/vix", {"dataset": {"name": "arch/vix"}}),
        ("s3://other/a.parquet", {"s3": {"uri": "s3://other/a.parquet"}}),
        ("http://example.org/b.csv", {"http": {"url": "http://example.org/b.csv"}}),
    ],
)
def test_a_source_is_replaced_by_what_the_uri_says(kind, uri, expected):
    told = declare(
        kind,
        time="Day",
        columns={"price": "Close"},
        availability={"lag": "2d"},
        timeZone="Asia/Tokyo",
        invalidRows="Drop",
    )
    replaced = override(told, uri, cwd=CWD)
    ((new, place),) = expected.items()
    assert replaced.kind == new
    assert [name for name in SOURCE_KINDS if getattr(replaced, name) is not None] == [new]
    assert getattr(replaced, new).model_dump().items() >= place.items()
    assert Source.model_validate(replaced.model_dump()) == replaced
    everything_else = set(Source.model_fields) - set(SOURCE_KINDS)
    assert replaced.model_dump(include=everything_else) == told.model_dump(include=everything_else)


def test_how_a_table_is_written_goes_along_with_a_replacement():
    replaced = override(declare("http"), "a.parquet", cwd=CWD)
    assert replaced.file is not None
    assert (replaced.file.skip_rows, replaced.file.delimiter, replaced.file.format) == (1, ";", "Auto")


@pytest.mark.parametrize(
    ("kind", "uri"),
    [
        ("sql", "mysql+pymysql://host/db"),
        ("sql", "postgresql+psycopg://host/db"),
        ("http", "https://example.org/other.json"),
        ("kafka", "kafka://other:9092"),
        ("nats", "nats://other:4222"),
        ("clickhouse", "chdb:///data"),
    ],
)
def test_what_a_kind_needs_beside_its_place_stays_within_the_kind(kind, uri):
    old = getattr(declare(kind), kind)
    field = "url" if kind == "http" else "uri"
    assert getattr(override(declare(kind), uri, cwd=CWD), kind) == old.model_copy(update={field: uri})


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("", JobError, ["--source btc=", "names no place"]),
        ("sqlite:///a.db", JobError, ["kind sql needs more", "exactly one of table", "job file"]),
        ("kafka://host:9092", JobError, ["kind kafka needs more", "topic"]),
        ("ftp://host/a.csv", NotSupportedError, ["source 'btc'", "'ftp://'", "file://", "s3://"]),
        ("gs://bucket/a.csv", NotSupportedError, ["'gs://'"]),
    ],
)
def test_a_replacement_that_names_no_source_is_refused(uri, error, words):
    with pytest.raises(error) as raised:
        override(declare("file"), uri, cwd=CWD)
    for word in words:
        assert word in str(raised.value)


def test_a_replaced_live_source_is_read_from_the_file(shared_data):
    told = declare("http", time="Date", columns={"Close": "Close"})
    told = told.model_copy(update={"http": told.http.model_copy(update={"delimiter": ","})})
    replaced = override(told, "kraken_daily/Kraken_BTCUSD_d.csv", cwd=shared_data)
    assert read_rows(replaced, asked(Path("/"))).rows.height == 2191


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("arch/sp500", 5031, ["Open", "High", "Low", "Close", "Adj Close", "Volume"]),
        ("arch/nasdaq", 5031, ["Open", "High", "Low", "Close", "Adj Close", "Volume"]),
        ("arch/vix", 1305 - 46, ["vix"]),
        ("arch/wti", 8611 - 290, ["DCOILWTICO"]),
        ("arch/core-cpi", 743, ["CPILFESL"]),
    ],
)
@pytest.mark.parametrize("time", ["time", "Date"])
def test_every_data_set_can_be_read_with_and_without_naming_its_time(name, rows, columns, time):
    frequency = Frequency(1, "mo") if name == "arch/core-cpi" else DAY
    read_back = read_rows(declare("dataset", dataset={"name": name}, time=time), asked(CWD, frequency))
    assert read_back.rows.height == rows
    assert read_back.rows.columns[3:] == columns
    assert (read_back.duplicates, read_back.dropped) == (0, 0)


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_is_read_as_its_package_reads_it(name):
    frequency = Frequency(1, "mo") if name == "arch/core-cpi" else DAY
    (given,) = adapter(declare("dataset", dataset={"name": name})).read(
        declare("dataset", dataset={"name": name}), asked(CWD, frequency)
    )
    package, folder = name.replace("-", "_").split("/")
    loaded = import_module(f"{package}.data.{folder}").load()
    assert given.data["Date"].to_list() == [day.date() for day in loaded.index]
    for column in loaded.columns:
        assert given.data[column].to_numpy().tobytes() == loaded[column].to_numpy().tobytes()


def test_an_unknown_data_set_is_refused_with_the_nearest_name():
    with pytest.raises(DataError) as raised:
        read_rows(declare("dataset", dataset={"name": "arch/spx500"}), asked(CWD))
    for word in ("source 'btc'", "'arch/spx500'", "did you mean 'arch/sp500'?", *DATASETS):
        assert word in str(raised.value)


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(MissingExtraError, match=r"source 'btc'.*package arch.*presage\[train\]"):
        read_rows(declare("dataset"), asked(CWD))
