"""What every adapter must do. A later one joins with one entry in OFFERS."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import polars as pl
import pytest
from cluster.binaries import BuildError
from conftest import lacking
from doubles.exchange import exchange_double
from doubles.web import documents
from polars.testing import assert_frame_equal
from s3.gateway import BUCKET, Gateway, gateway
from servers.chdb import load_chdb
from servers.mariadb import MariaDb
from servers.postgresql import PostgreSql
from source_case import asked

from presage.errors import DataError
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP, value_columns
from presage.sources.formats import join
from presage.sources.registry import adapter
from presage.sources.rows import read_rows, to_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

DAY = Frequency(1, "d")
SERVERS = ExitStack()
"""Holds the servers that offer tables."""


@pytest.fixture(scope="module", autouse=True)
def servers_end() -> Iterator[None]:
    yield
    SERVERS.close()


def sp500() -> pl.DataFrame:
    """The S&P 500's daily prices, as text such as a CSV holds."""
    loaded = import_module("arch.data.sp500").load()
    dates = pl.Series("Date", loaded.index.to_numpy()).cast(pl.Date)
    return pl.DataFrame([dates, *(pl.Series(name, loaded[name].to_numpy()) for name in loaded.columns)])


def declare(**kind: object) -> Source:
    return Source.model_validate({"name": "sp500", "time": "Date", "availability": {"lag": "0s"}} | kind)


def offer_csv(table: pl.DataFrame, folder: Path) -> Source:
    table.write_csv(folder / "prices.csv")
    return declare(file={"uri": "prices.csv"})


def offer_gzip(table: pl.DataFrame, folder: Path) -> Source:
    import gzip

    (folder / "prices.csv.gz").write_bytes(gzip.compress(table.write_csv().encode()))
    return declare(file={"uri": "prices.csv.gz"})


def offer_parquet(table: pl.DataFrame, folder: Path) -> Source:
    table.write_parquet(folder / "prices.parquet")
    return declare(file={"uri": "prices.parquet"})


def offer_many_files(table: pl.DataFrame, folder: Path) -> Source:
    for (year,), part in table.group_by(pl.col("Date").dt.year(), maintain_order=True):
        part.write_csv(folder / f"prices-{year}.csv")
    return declare(file={"uri": "prices-*.csv"})


def offer_dataset(table: pl.DataFrame, folder: Path) -> Source:
    return declare(dataset={"name": "arch/sp500"})


def offer_sqlite(table: pl.DataFrame, folder: Path) -> Source:
    with sqlite3.connect(folder / "prices.db") as connection:
        types = ", ".join(f'"{name}" {"TEXT" if name == "Date" else "REAL"}' for name in table.columns)
        connection.execute(f"CREATE TABLE prices ({types})")
        marks = ", ".join("?" * table.width)
        connection.executemany(
            f"INSERT INTO prices VALUES ({marks})", table.with_columns(pl.col("Date").cast(str)).rows()
        )
    connection.close()
    return declare(sql={"uri": "sqlite:///prices.db", "table": "prices"})


def offer_exchange(table: pl.DataFrame, folder: Path) -> Source:
    rows = table.select(
        pl.col("Date").cast(pl.Datetime("ms")).cast(pl.Int64), "Open", "Close", "High", "Low", "Volume"
    ).rows()
    exchange = SERVERS.enter_context(exchange_double({("SP500:USD", "1D"): rows}))
    place = {"name": "bitfinex", "symbols": ["SP500/USD"], "since": "1999-01-01", "uri": exchange.url}
    names = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Adj Close": "close", "Volume": "volume"}
    return declare(exchange=place, time="time", columns=names)


def offer_chdb(table: pl.DataFrame, folder: Path) -> Source:
    load_chdb(folder / "engine", "prices", table, {"Date": "Date32"})
    return declare(clickhouse={"uri": f"chdb://{folder / 'engine'}", "table": "prices"})


def offer_http_csv(table: pl.DataFrame, folder: Path) -> Source:
    served = SERVERS.enter_context(documents({"/prices.csv": table.write_csv().encode()}))
    return declare(http={"url": f"{served.url}/prices.csv"})


def offer_http_json(table: pl.DataFrame, folder: Path) -> Source:
    rows = table.with_columns(pl.col("Date").cast(pl.String)).to_dicts()
    served = SERVERS.enter_context(documents({"/prices": json.dumps({"data": {"rows": rows}}).encode()}))
    return declare(http={"url": f"{served.url}/prices", "records": "/data/rows"})


def offer_s3(name: str, content: bytes) -> Source:
    store = bucket_server()
    with closing(boto3.client("s3", endpoint_url=store.url)) as client:
        client.put_object(Bucket=BUCKET, Key=name, Body=content)
    return declare(s3={"uri": f"s3://{BUCKET}/{name}", "endpoint": store.url})


def offer_s3_csv(table: pl.DataFrame, folder: Path) -> Source:
    return offer_s3("prices.csv", table.write_csv().encode())


def offer_s3_parquet(table: pl.DataFrame, folder: Path) -> Source:
    table.write_parquet(folder / "prices.parquet")
    return offer_s3("prices.parquet", (folder / "prices.parquet").read_bytes())


@cache
def bucket_server() -> Gateway:
    """Start the S3 server, whose keys are in the environment until it ends."""
    try:
        store = SERVERS.enter_context(gateway(Path(SERVERS.enter_context(TemporaryDirectory()))))
    except BuildError as error:
        lacking(str(error))
    environment = SERVERS.enter_context(pytest.MonkeyPatch.context())
    environment.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in store.environment().items():
        environment.setenv(name, value)
    return store


OFFERS: dict[str, Callable[[pl.DataFrame, Path], Source]] = {
    "csv": offer_csv,
    "gzip": offer_gzip,
    "parquet": offer_parquet,
    "many files": offer_many_files,
    "dataset": offer_dataset,
    "sqlite": offer_sqlite,
    "chdb": offer_chdb,
    "exchange double": offer_exchange,
    "http csv": offer_http_csv,
    "http json": offer_http_json,
    "s3 csv": offer_s3_csv,
    "s3 parquet": offer_s3_parquet,
}
"""Puts a table where the adapter finds it, and declares the source."""


def own(source: Source, column: str) -> str:
    """Return the name that a source itself has for a column of the table."""
    return source.time if column == "Date" else source.columns.get(column, column)


def offer_mariadb(table: pl.DataFrame, server: MariaDb) -> Source:
    server.load("sp500", table, {"Date": "DATE", "Close": "DECIMAL(20, 6)"})
    return declare(sql={"uri": server.uri, "table": "sp500", "secret_ref": {"name": "market"}})


def offer_postgresql(table: pl.DataFrame, server: PostgreSql) -> Source:
    server.load("sp500", table, {"Date": "DATE", "Close": "NUMERIC(20, 6)"})
    return declare(sql={"uri": server.uri, "query": "SELECT * FROM sp500", "secret_ref": {"name": "market"}})


SERVED: dict[str, tuple[str, Callable[[pl.DataFrame, Any], Source]]] = {
    "mariadb": ("mariadb_server", offer_mariadb),
    "postgresql": ("postgresql_server", offer_postgresql),
}
"""As OFFERS, by a server: a fixture's name, and what puts the table there."""


@pytest.fixture(params=[*OFFERS, *SERVED])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    if request.param in OFFERS:
        return OFFERS[request.param](sp500(), tmp_path)
    name, offer = SERVED[request.param]
    server = request.getfixturevalue(name)
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", server.password)
    return offer(sp500(), server)


def test_rows_keep_the_contract_of_the_frame(source, tmp_path):
    rows = read_rows(source, asked(tmp_path, DAY)).rows
    assert rows.columns == [*KEY, "Open", "High", "Low", "Close", "Adj Close", "Volume"]
    assert rows.dtypes == [pl.String, TIMESTAMP, TIMESTAMP, *[pl.Float64] * 6]
    assert rows.select(KEY).null_count().sum_horizontal().item() == 0
    assert rows.select(pl.col(value_columns(rows)).is_finite().all()).row(0) == (True,) * 6
    symbols = source.exchange.symbols if source.exchange else ["sp500"]
    assert rows[SERIES].unique().to_list() == [*symbols]


def test_rows_are_sorted_and_their_keys_unique(source, tmp_path):
    keys = read_rows(source, asked(tmp_path, DAY)).rows.select(KEY)
    assert keys.height == 5031
    assert_frame_equal(keys, keys.unique().sort(KEY))


def test_every_adapter_gives_the_same_rows(source, tmp_path):
    own = sp500()
    read = read_rows(source, asked(tmp_path, DAY))
    assert read.duplicates == 0
    assert read.dropped == 0
    assert read.rows[TIME].dt.date().to_list() == own["Date"].to_list()
    assert_frame_equal(read.rows.drop(KEY), own.drop("Date").cast(pl.Float64))


def test_reading_twice_gives_equal_rows(source, tmp_path):
    first = read_rows(source, asked(tmp_path, DAY))
    assert_frame_equal(first.rows, read_rows(source, asked(tmp_path, DAY)).rows)


@pytest.mark.parametrize(("zone", "hours"), [("UTC", {24}), ("America/New_York", {23, 24, 25})])
def test_a_row_is_known_a_lag_after_the_end_of_its_day(source, tmp_path, zone, hours):
    if source.exchange and zone != "UTC":
        pytest.skip("the days of an exchange are UTC's, and its rows moments in place of dates")
    late = source.model_copy(
        update={"availability": source.availability.model_copy(update={"lag": "2d"}), "time_zone": zone}
    )
    rows = read_rows(late, asked(tmp_path, DAY)).rows
    lengths = (rows[KNOWN_AT] - rows[TIME] - timedelta(days=2)).unique()
    assert {length.total_seconds() / 3600 for length in lengths} <= hours
    local = rows[TIME].dt.convert_time_zone(zone)
    assert local.dt.time().unique().to_list() == [local[0].time().min]
    assert local.dt.date().to_list() == sp500()["Date"].to_list()


def test_the_order_of_the_source_does_not_matter(source, tmp_path):
    table = join(list(adapter(source).read(source, asked(tmp_path))), source)
    shuffled = replace(table, data=table.data.sample(fraction=1.0, shuffle=True, seed=7))
    assert not shuffled.data.equals(table.data)
    assert_frame_equal(to_rows(source, shuffled, frequency=DAY).rows, to_rows(source, table, frequency=DAY).rows)


def test_every_row_of_the_table_has_a_place(source, tmp_path):
    table = join(list(adapter(source).read(source, asked(tmp_path))), source)
    assert sum(part.rows for part in table.parts) == table.data.height
    places = [table.where(row) for row in (0, 1, table.data.height - 1)]
    assert len(set(places)) == 3
    with pytest.raises(IndexError):
        table.where(table.data.height)


def test_columns_are_renamed_and_the_others_left_out(source, tmp_path):
    mapped = source.model_copy(update={"columns": {"traded": own(source, "Volume"), "price": own(source, "Close")}})
    rows = read_rows(mapped, asked(tmp_path, DAY)).rows
    assert value_columns(rows) == ["traded", "price"]
    assert rows["price"].to_list() == sp500()["Close"].to_list()


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"columns": {"price": "Closing"}}, ("'Closing'", "`columns`", "{Adj Close}")),
        ({"columns": {"price": "CLOSE"}}, ("'CLOSE'", "did you mean '{Close}'?", "`columns`")),
        ({"time": "Day"}, ("'Day'", "`time`", "It has: {Date}, ")),
        ({"series": "Symbol"}, ("'Symbol'", "`series`")),
    ],
)
def test_a_missing_column_is_named_with_its_source_and_field(source, tmp_path, update, words):
    with pytest.raises(DataError) as raised:
        read_rows(source.model_copy(update=update), asked(tmp_path, DAY))
    names = {column: own(source, column) for column in sp500().columns}
    for word in ("source 'sp500'", "no column", *words):
        assert word.format_map(names) in str(raised.value)
