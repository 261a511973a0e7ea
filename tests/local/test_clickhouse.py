"""ClickHouse as a source: the real engine in this process, and a double of a server in front of it."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from clickhouse_connect import get_client
from doubles.clickhouse import PASSWORD, USER, clickhouse_double
from servers.chdb import load_chdb, run_chdb
from source_case import asked

from presage.errors import DataError, JobError, SourceUnavailableError
from presage.sources.registry import adapter
from presage.sources.rows import read_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

MINUTE = Frequency(1, "m")
TYPES = {"id": "UInt64", "time": "DateTime('UTC')"}


def declare(uri, **options) -> Source:
    own = {name: options.pop(name) for name in ("time", "time_unit", "columns") if name in options}
    return Source.model_validate(
        {"name": "btc", "clickhouse": {"uri": uri} | options, "availability": {"lag": "0s"}} | own
    )


def read(source, tmp_path, **others):
    return list(adapter(source).read(source, asked(tmp_path, **others)))


def minutes(count) -> pl.DataFrame:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=place) for place in range(count)]
    return pl.DataFrame({"id": range(count), "time": times, "close": [40000 + 0.5 * n for n in range(count)]})


@pytest.fixture
def engine(tmp_path):
    load_chdb(tmp_path / "engine", "prices", minutes(3), TYPES)
    return tmp_path / "engine"


@pytest.fixture
def double(engine, monkeypatch):
    monkeypatch.setenv("MARKET_USERNAME", USER)
    monkeypatch.setenv("MARKET_PASSWORD", PASSWORD)
    with clickhouse_double(engine) as running:
        yield running


def served(double, **options) -> Source:
    return declare(double.uri, secret_ref={"name": "market"}, **options)


def test_a_large_table_comes_in_tables_of_bounded_size(engine, tmp_path):
    run_chdb(engine, "INSERT INTO prices SELECT number + 3, '2024-01-02', number FROM numbers(120000)")
    tables = read(declare(f"chdb://{engine}", table="prices"), tmp_path)
    assert sum(table.data.height for table in tables) == 120_003
    # ClickHouse itself has up to 65,536 rows in a block.
    assert max(table.data.height for table in tables) < 50_000 + 65_537


def test_types_keep_their_meaning(engine, tmp_path):
    run_chdb(
        engine,
        "CREATE TABLE kinds (d Date, t DateTime64(6, 'America/New_York'), price Decimal(38, 10), n UInt64, "
        "word LowCardinality(String), yes Bool, missing Nullable(Float64), kind Enum('spot' = 1)) "
        "ENGINE = MergeTree ORDER BY d",
        "INSERT INTO kinds VALUES ('2024-03-01', '2024-03-01 12:00:00.123456', 1234567890.1234567891, "
        "18446744073709551615, '7.25', true, NULL, 'spot')",
    )
    (table,) = read(declare(f"chdb://{engine}", table="kinds", time="t"), tmp_path)
    row = table.data.row(0, named=True)
    assert row["t"] == datetime(2024, 3, 1, 17, 0, 0, 123456, tzinfo=UTC)
    assert row["price"] == pytest.approx(1234567890.1234567891, rel=1e-15)
    assert row["n"] == pytest.approx(2**64)
    assert (row["word"], row["yes"], row["missing"], row["kind"]) == ("7.25", True, None, "spot")
    rows = read_rows(declare(f"chdb://{engine}", table="kinds", time="d"), asked(tmp_path)).rows
    assert rows["time"][0] == datetime(2024, 3, 1, tzinfo=UTC)
    assert rows["word"][0] == 7.25


@pytest.mark.parametrize("column", ["id", "time", "note", "amount"])
def test_an_incremental_read_goes_on_at_the_last_value(tmp_path, column):
    rows = minutes(3).with_columns(pl.format("it's \\ {}", "id").alias("note"), (pl.col("id") / 8).alias("amount"))
    load_chdb(tmp_path / "engine", "prices", rows, TYPES | {"note": "String", "amount": "Decimal(18, 3)"})
    source = declare(f"chdb://{tmp_path / 'engine'}", table="prices", incremental_column=column)
    (first,) = read(source, tmp_path)
    assert json.loads(first.bookmark)["rows"] == 1
    assert read(source, tmp_path, bookmark=first.bookmark) == []
    run_chdb(
        tmp_path / "engine",
        r"INSERT INTO prices VALUES (2, '2024-01-01 00:02:00', 7, 'it\'s \\ 2', 0.25), "
        r"(3, '2024-01-01 00:03:00', 8, 'it\'s \\ 3', 0.375)",
    )
    (second,) = read(source, tmp_path, bookmark=first.bookmark)
    assert sorted(second.data["close"].to_list()) == [7, 8, 40001]


def test_a_span_reads_only_what_is_around_it(tmp_path):
    load_chdb(tmp_path / "engine", "prices", minutes(20 * 1440), TYPES)
    source = declare(f"chdb://{tmp_path / 'engine'}", query="SELECT time, close FROM prices WHERE 'a%b' LIKE 'a%'")
    start = datetime(2024, 1, 10, tzinfo=UTC)
    tables = read(source, tmp_path, start=start, end=start + timedelta(days=1), frequency=MINUTE)
    data = pl.concat([table.data for table in tables])
    assert data.height == pytest.approx(5 * 1440, abs=2)
    assert data["time"].is_sorted()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "nope"}, "Correct the name"),
        ({"table": "nope.prices"}, "Correct the name"),
        ({"table": "prices", "incremental_column": "Id"}, "did you mean 'id'"),
        ({"query": "SELECT nope FROM prices"}, "Correct the name"),
        ({"query": "SELECT * FROM prices WHERE throwIf(id = 2, 'a planned fault')"}, "a planned fault"),
    ],
)
def test_what_is_not_there_is_named(engine, tmp_path, options, words):
    with pytest.raises(DataError) as raised:
        read(declare(f"chdb://{engine}", **options), tmp_path)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("query", ["DROP TABLE prices", "INSERT INTO prices VALUES (9, 0, 0)", "SELECT 1; SELECT 2"])
def test_a_query_that_is_no_select_is_refused(engine, tmp_path, query):
    with pytest.raises(JobError, match="not one SELECT"):
        read(declare(f"chdb://{engine}", query=query), tmp_path)


def test_a_session_may_only_read(engine, tmp_path):
    query = "SELECT * FROM prices SETTINGS readonly = 0"
    with pytest.raises(DataError, match="readonly"):
        read(declare(f"chdb://{engine}", query=query), tmp_path)


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("chdb:///there/is/none", DataError, "no such directory"),
        ("chdb://relative", JobError, "no address of ClickHouse"),
        ("clickhouse://bob:hunter2@127.0.0.1/market", JobError, "holds credentials"),
        ("clickhouse://127.0.0.1:99999/market", JobError, "no port"),
        ("clickhouse://127.0.0.1/market?password=hunter2", JobError, "no address of ClickHouse"),
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path, uri, error, words):
    with pytest.raises(error, match=words) as raised:
        read(declare(uri, table="prices"), tmp_path)
    assert "hunter2" not in str(raised.value)


def test_a_directory_is_free_again_when_a_read_is_left_early(engine, tmp_path):
    run_chdb(engine, "INSERT INTO prices SELECT number + 3, '2024-01-02', number FROM numbers(120000)")
    source = declare(f"chdb://{engine}", table="prices")
    tables = adapter(source).read(source, asked(tmp_path))
    next(tables)
    tables.close()
    load_chdb(tmp_path / "other", "prices", minutes(3), TYPES)


def test_an_engine_that_is_in_use_is_told(engine, tmp_path):
    waits = []
    with (
        closing(get_client(interface="chdb", path=str(tmp_path / "other"))),
        pytest.raises(SourceUnavailableError, match="Let one process at a time") as raised,
    ):
        read(declare(f"chdb://{engine}", table="prices"), tmp_path, sleep=waits.append)
    assert len(waits) == 4
    assert len(str(raised.value)) < 700


def test_a_server_double_gives_the_same_rows(double, tmp_path):
    (table,) = read(served(double, table="prices"), tmp_path)
    assert table.data.select("id", "close").rows() == minutes(3).select("id", "close").rows()
    assert table.data["time"].to_list() == minutes(3)["time"].to_list()


def test_a_server_double_that_refuses_the_credentials_is_told(double, tmp_path, monkeypatch):
    monkeypatch.setenv("MARKET_PASSWORD", "very-wrong-thing")
    with pytest.raises(JobError, match="refuses the credentials") as raised:
        read(served(double, table="prices"), tmp_path)
    assert "very-wrong-thing" not in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_a_server_double_that_breaks_off_is_told(double, tmp_path):
    source = served(double, query="SELECT number AS close, toDate('2024-01-01') AS time FROM numbers(200000)")
    tables = adapter(source).read(source, asked(tmp_path))
    double.cut_after = 500_000
    with pytest.raises(SourceUnavailableError, match="breaks off"):
        list(tables)


def test_a_server_that_is_down_is_asked_a_few_times(tmp_path):
    waits = []
    with pytest.raises(SourceUnavailableError, match="5 times"):
        read(declare("clickhouse://127.0.0.1:1/market", table="prices"), tmp_path, sleep=waits.append)
    assert len(waits) == 4
