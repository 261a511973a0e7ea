"""Relational databases as sources: real SQLite files, MariaDB and PostgreSQL."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from servers.sqlite import Sqlite
from source_case import asked

from presage.errors import DataError, JobError, PresageError, SourceUnavailableError
from presage.sources.registry import adapter
from presage.sources.rows import read_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

START = datetime(2024, 1, 1)
MINUTE = Frequency(1, "m")


def declare(database, **options) -> Source:
    secret = {} if isinstance(database, Sqlite) else {"secret_ref": {"name": "market"}}
    own = {name: options.pop(name) for name in ("time", "time_unit", "time_zone", "columns") if name in options}
    sql = {"uri": database.uri} | secret | options
    return Source.model_validate({"name": "btc", "sql": sql, "availability": {"lag": "0s"}} | own)


def read(source, tmp_path, **others):
    return list(adapter(source).read(source, asked(tmp_path, **others)))


def minutes(count, first=0) -> pl.DataFrame:
    times = [START + timedelta(minutes=first + place) for place in range(count)]
    return pl.DataFrame(
        {"id": range(first, first + count), "time": times, "close": [40000 + 0.5 * n for n in range(count)]}
    )


TYPES = {"id": "BIGINT", "time": "TIMESTAMP"}


def load(database, rows, types=TYPES, name="prices"):
    typed = dict(types)
    if "mysql" in database.uri and typed.get("time") == "TIMESTAMP":
        typed["time"] = "DATETIME(6)"
    database.load(name, rows, typed)


def test_a_large_table_comes_in_tables_of_bounded_size(database, tmp_path):
    load(database, minutes(100_001))
    tables = read(declare(database, table="prices"), tmp_path)
    assert [table.data.height for table in tables] == [50_000, 50_000, 1]
    assert [table.bookmark for table in tables] == ["", "", ""]
    assert pl.concat([table.data for table in tables])["id"].to_list() == list(range(100_001))


def test_a_query_keeps_its_order_and_its_colons_and_percent_signs(database, tmp_path):
    load(database, minutes(5))
    query = "SELECT id, time, close FROM prices WHERE '12:30:00 100%' <> ':x %s' ORDER BY id DESC -- newest first;"
    (table,) = read(declare(database, query=query), tmp_path)
    assert table.data["id"].to_list() == [4, 3, 2, 1, 0]


def test_an_incremental_read_goes_on_at_the_last_value(database, tmp_path):
    load(database, minutes(3))
    source = declare(database, table="prices", incremental_column="id")
    (first,) = read(source, tmp_path)
    assert json.loads(first.bookmark)["value"] == "2"
    assert read(source, tmp_path, bookmark=first.bookmark) == []
    # A second row of the last value, which a read behind that value would lose.
    database.run(
        "INSERT INTO prices VALUES (2, '2024-01-01 00:02:30', 7)",
        "INSERT INTO prices VALUES (3, '2024-01-01 00:03:00', 8)",
    )
    (second,) = read(source, tmp_path, bookmark=first.bookmark)
    assert sorted(second.data["close"].to_list()) == [7, 8, 40001]
    assert read(source, tmp_path, bookmark=second.bookmark) == []


@pytest.mark.parametrize("column", ["time", "note", "amount"])
def test_a_bookmark_is_a_time_a_text_or_a_decimal(database, tmp_path, column):
    rows = minutes(4).with_columns(pl.format("row-{}", "id").alias("note"), (pl.col("id") / 8).alias("amount"))
    load(database, rows, TYPES | {"note": "VARCHAR(20)", "amount": "NUMERIC(20, 3)"})
    source = declare(database, table="prices", incremental_column=column)
    (first,) = read(source, tmp_path)
    database.run("INSERT INTO prices VALUES (9, '2024-01-02 00:00:00.5', 7, 'row-9', 9.125)")
    (second,) = read(source, tmp_path, bookmark=first.bookmark)
    assert second.data["id"].to_list() == [3, 9]


def test_each_table_of_an_incremental_read_has_its_own_bookmark(database, tmp_path):
    load(database, minutes(60_000).sample(fraction=1.0, shuffle=True, seed=1))
    source = declare(database, table="prices", incremental_column="id")
    first, second = read(source, tmp_path)
    assert json.loads(first.bookmark)["value"] == "49999"
    (rest,) = read(source, tmp_path, bookmark=first.bookmark)
    assert rest.data["id"].to_list() == list(range(49_999, 60_000))
    assert rest.bookmark == second.bookmark


def test_a_query_is_read_incrementally_too(database, tmp_path):
    load(database, minutes(5))
    source = declare(database, query="SELECT * FROM prices WHERE id <> 1 -- without one\n;", incremental_column="id")
    (first,) = read(source, tmp_path)
    assert first.data["id"].to_list() == [0, 2, 3, 4]


def test_a_row_without_a_value_in_the_growing_column_is_refused(database, tmp_path):
    load(database, minutes(2))
    source = declare(database, table="prices", incremental_column="id")
    (first,) = read(source, tmp_path)
    database.run("INSERT INTO prices VALUES (NULL, '2024-01-02 00:00:00', 7)")
    with pytest.raises(DataError, match=r"column 'id': there is no value"):
        read(source, tmp_path, bookmark=first.bookmark)


def test_a_bookmark_of_something_else_is_refused(database, tmp_path):
    load(database, minutes(2))
    source = declare(database, table="prices", incremental_column="id")
    with pytest.raises(DataError, match="bookmark"):
        read(source, tmp_path, bookmark='"a1b2"')


def test_a_span_reads_only_what_is_around_it_and_keeps_the_bookmark(database, tmp_path):
    load(database, minutes(30 * 1440))
    source = declare(database, table="prices", incremental_column="id")
    start = datetime(2024, 1, 20, tzinfo=UTC)
    tables = read(source, tmp_path, start=start, end=start + timedelta(days=1), bookmark="", frequency=MINUTE)
    data = pl.concat([table.data for table in tables])
    # Texts are bounded by whole days.
    assert data.height == pytest.approx(5 * 1440, abs=1440 if isinstance(database, Sqlite) else 2)
    assert {table.bookmark for table in tables} == {""}
    times = data["time"].str.to_datetime() if isinstance(database, Sqlite) else data["time"]
    assert times.is_sorted()
    assert times.min() < datetime(2024, 1, 20) < datetime(2024, 1, 21) < times.max()


def test_a_span_of_epoch_milliseconds_is_bounded(database, tmp_path):
    rows = minutes(20 * 1440).with_columns(pl.col("time").dt.epoch("ms"))
    load(database, rows, {"id": "BIGINT", "time": "BIGINT"})
    source = declare(database, query="SELECT time, close FROM prices", time_unit="ms")
    start = datetime(2024, 1, 10, tzinfo=UTC)
    tables = read(source, tmp_path, start=start, end=start + timedelta(days=1), frequency=MINUTE)
    assert sum(table.data.height for table in tables) == pytest.approx(5 * 1440, abs=2)


def test_types_keep_their_meaning(database, tmp_path):
    zoned = "TIMESTAMPTZ" if "postgresql" in database.uri else "TIMESTAMP"
    # MariaDB shows a TIMESTAMP in the session's zone, and keeps it as a moment.
    moment = "2024-03-01 12:00:00" if "mysql" in database.uri else "2024-03-01 12:00:00+00:00"
    real = "DOUBLE" if "mysql" in database.uri else "DOUBLE PRECISION"
    naive = "DATETIME(6)" if "mysql" in database.uri else "TIMESTAMP"
    before = ["SET time_zone = '+00:00'"] if "mysql" in database.uri else []
    database.run(
        "DROP TABLE IF EXISTS kinds",
        f"CREATE TABLE kinds (d DATE, t {naive}, z {zoned} NULL, price NUMERIC(30, 10), n NUMERIC(20, 0), x {real}, "
        "word VARCHAR(30), yes BOOLEAN, missing INTEGER)",
        *before,
        f"INSERT INTO kinds VALUES ('2024-03-01', '2024-03-01 12:00:00.123456', '{moment}', 1234567890.1234567891, "
        "12, 1.5, '7.25', TRUE, NULL)",
    )
    (table,) = read(declare(database, table="kinds", time="d"), tmp_path)
    row = table.data.row(0, named=True)
    assert row["price"] == pytest.approx(1234567890.1234567891, rel=1e-15)
    assert (row["n"], row["x"], row["word"], bool(row["yes"]), row["missing"]) == (12, 1.5, "7.25", True, None)
    if not isinstance(database, Sqlite):
        assert row["d"] == date(2024, 3, 1)
        assert row["t"] == datetime(2024, 3, 1, 12, 0, 0, 123456)
        assert row["z"] == datetime(2024, 3, 1, 12, tzinfo=UTC)
        assert table.data["z"].dtype == pl.Datetime("us", "UTC")
    for time, zone, hour in (("t", "America/New_York", 17), ("z", "America/New_York", 12)):
        rows = read_rows(declare(database, table="kinds", time=time, time_zone=zone), asked(tmp_path, MINUTE)).rows
        assert rows["time"][0] == datetime(2024, 3, 1, hour, tzinfo=UTC)
        assert {"price", "n", "x", "word"} <= set(rows.columns)


def test_only_the_columns_that_a_job_names_are_read(database, tmp_path):
    load(database, minutes(3).with_columns(pl.lit("x").alias("note")), TYPES | {"note": "VARCHAR(9)"})
    (table,) = read(declare(database, table="prices", columns={"price": "close"}), tmp_path)
    assert table.data.columns == ["time", "close"]


def test_a_table_that_is_not_there_is_named_with_its_nearest(database, tmp_path):
    load(database, minutes(3))
    with pytest.raises(DataError, match=r"table 'price': there is no such table; did you mean 'prices'\?"):
        read(declare(database, table="price"), tmp_path)


def test_a_growing_column_that_is_not_there_is_named(database, tmp_path):
    load(database, minutes(3))
    with pytest.raises(DataError, match=r"no column 'Id'; did you mean 'id'\?"):
        read(declare(database, table="prices", incremental_column="Id"), tmp_path)


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM prices",
        "INSERT INTO prices VALUES (1, NULL, 2)",
        "SELECT 1; DROP TABLE prices",
        "/* SELECT */ DROP TABLE prices",
        "SELECT * FROM prices INTO OUTFILE '/tmp/prices'",
        "PRAGMA table_info(prices)",
    ],
)
def test_a_query_that_is_no_select_is_refused(database, tmp_path, query):
    load(database, minutes(3))
    with pytest.raises(JobError, match="not one SELECT"):
        read(declare(database, query=query), tmp_path)
    assert database.run("SELECT count(*) FROM prices")[0][0] == 3


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_select_that_writes_is_refused_by_the_session(request, kind, tmp_path, monkeypatch):
    server = request.getfixturevalue(f"{kind}_server")
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", server.password)
    load(server, minutes(3))
    if kind == "mariadb":
        server.run(
            "DROP FUNCTION IF EXISTS wipe",
            "CREATE FUNCTION wipe() RETURNS INT BEGIN DELETE FROM prices; RETURN 1; END",
        )
    else:
        server.run(
            "CREATE OR REPLACE FUNCTION wipe() RETURNS int AS 'DELETE FROM prices RETURNING 1' LANGUAGE sql VOLATILE"
        )
    with pytest.raises(DataError) as raised:
        read(declare(server, query="SELECT wipe() AS close, '2024-01-01' AS time"), tmp_path)
    assert "Write a SELECT that only reads." in str(raised.value)
    assert server.run("SELECT count(*) FROM prices")[0][0] == 3


def test_a_with_that_deletes_is_refused(postgresql_server, tmp_path, monkeypatch):
    monkeypatch.setenv("MARKET_USERNAME", postgresql_server.user)
    monkeypatch.setenv("MARKET_PASSWORD", postgresql_server.password)
    load(postgresql_server, minutes(3))
    query = "WITH gone AS (DELETE FROM prices RETURNING *) SELECT * FROM gone"
    with pytest.raises(DataError):
        read(declare(postgresql_server, query=query), tmp_path)
    assert postgresql_server.run("SELECT count(*) FROM prices")[0][0] == 3


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
@pytest.mark.parametrize("wrong", ["USERNAME", "PASSWORD"])
def test_wrong_credentials_are_refused_and_not_shown(request, kind, wrong, tmp_path, monkeypatch):
    server = request.getfixturevalue(f"{kind}_server")
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", server.password)
    monkeypatch.setenv(f"MARKET_{wrong}", "very-wrong-thing")
    with pytest.raises(JobError) as raised:
        read(declare(server, table="prices"), tmp_path)
    said = str(raised.value)
    assert "refuses the credentials of secret 'market'" in said
    for hidden in (server.password, "very-wrong-thing"):
        assert hidden not in said


def test_credentials_that_are_missing_are_asked_for(mariadb_server, tmp_path):
    with pytest.raises(JobError, match="MARKET_"):
        read(declare(mariadb_server, table="prices"), tmp_path)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mysql+pymysql://bob:hunter2@127.0.0.1/market", "holds credentials"),
        ("postgresql://127.0.0.1/market?password=hunter2", "option 'password' is not allowed"),
        ("postgresql://127.0.0.1/market?host=hunter2.example", "option 'host' is not allowed"),
        ("mysql://127.0.0.1/market?read_default_file=/etc/hunter2", "option 'read_default_file' is not allowed"),
        ("oracle://127.0.0.1/hunter2", "no kind of database"),
        ("postgresql://127.0.0.1", "names no database"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_an_address_that_could_lead_elsewhere_is_refused(uri, words, tmp_path):
    source = Source.model_validate(
        {"name": "btc", "sql": {"uri": uri, "table": "prices"}, "availability": {"lag": "0s"}}
    )
    with pytest.raises(JobError, match=words) as raised:
        read(source, tmp_path)
    assert "hunter2" not in str(raised.value).replace("oracle://127.0.0.1/hunter2", "")


def test_a_database_that_is_not_there_is_named(database, tmp_path):
    source = declare(database, table="prices")
    wrong = source.model_copy(update={"sql": source.sql.model_copy(update={"uri": f"{database.uri}x"})})
    with pytest.raises(DataError, match=r"no such file|Unknown database|does not exist"):
        read(wrong, tmp_path)


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "postgresql"])
def test_a_server_that_is_down_is_asked_a_few_times(scheme, tmp_path):
    waits = []
    source = Source.model_validate(
        {
            "name": "btc",
            "sql": {"uri": f"{scheme}://127.0.0.1:1/market", "table": "prices"},
            "availability": {"lag": "0s"},
        }
    )
    with pytest.raises(SourceUnavailableError, match="5 times"):
        read(source, tmp_path, sleep=waits.append)
    assert len(waits) == 4


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_connection_that_ends_in_the_middle_is_told_and_the_bookmark_goes_on(request, kind, tmp_path, monkeypatch):
    server = request.getfixturevalue(f"{kind}_server")
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", server.password)
    load(server, minutes(1).with_columns(pl.lit("").alias("note")), TYPES | {"note": "VARCHAR(400)"})
    numbers = "seq FROM seq_1_to_99999" if kind == "mariadb" else "seq FROM generate_series(1, 99999) seq"
    # More than what the network holds by itself.
    server.run(f"INSERT INTO prices SELECT seq, '2024-01-01', seq, repeat('x', 400) {numbers.removeprefix('seq ')}")
    source = declare(server, table="prices", incremental_column="id")
    tables = adapter(source).read(source, asked(tmp_path))
    first = next(tables)
    if kind == "mariadb":
        for (number,) in server.run(
            "SELECT id FROM information_schema.processlist WHERE info LIKE '%prices%' AND info NOT LIKE '%processlist%'"
        ):
            server.run(f"KILL {number}")
    else:
        server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE '%FETCH%' AND pid <> pg_backend_pid()"
        )
    with pytest.raises(SourceUnavailableError, match="breaks off"):
        list(tables)
    rest = read(source, tmp_path, bookmark=first.bookmark)
    ids = pl.concat([first.data, *(table.data for table in rest)])["id"].unique().sort()
    assert ids.to_list() == list(range(100_000))


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_query_that_takes_too_long_is_ended(request, kind, tmp_path, monkeypatch):
    server = request.getfixturevalue(f"{kind}_server")
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", server.password)
    monkeypatch.setattr("presage.sources.database._ANSWER_SECONDS", 1)
    sleep = "sleep(9)" if kind == "mariadb" else "pg_sleep(9)"
    with pytest.raises(SourceUnavailableError, match=r"timed out|timeout"):
        read(declare(server, query=f"SELECT '2024-01-01' AS time, 1 AS close, {sleep} AS nothing"), tmp_path)


def test_a_read_that_is_left_early_leaves_no_session(database, tmp_path):
    load(database, minutes(60_000))
    source = declare(database, table="prices")
    tables = adapter(source).read(source, asked(tmp_path))
    next(tables)
    tables.close()
    load(database, minutes(3))  # nothing holds the table


def test_a_cell_that_looks_like_a_formula_is_named_as_no_number(database, tmp_path):
    cells = ["1.5", "=1+1", "2.5"]
    load(database, minutes(3).with_columns(pl.Series("close", cells)), TYPES | {"close": "VARCHAR(20)"})
    with pytest.raises(DataError, match=r"row 2, column 'close': '=1\+1' is no number"):
        read_rows(declare(database, table="prices", columns={"close": "close"}), asked(tmp_path, MINUTE))


def test_a_huge_cell_is_cut_in_messages_and_bounds_the_table(database, tmp_path):
    huge = "9" * 6_000_000 + "x"
    rows = minutes(2_500).with_columns(
        pl.when(pl.col("id") < 12).then(pl.lit(huge)).otherwise(pl.lit("1")).alias("close")
    )
    load(database, rows, TYPES | {"close": "LONGTEXT" if "mysql" in database.uri else "TEXT"})
    source = declare(database, table="prices", columns={"close": "close"})
    assert [table.data.height for table in read(source, tmp_path)] == [1_000, 1_500]
    with pytest.raises(DataError) as raised:
        read_rows(source, asked(tmp_path, MINUTE))
    assert len(str(raised.value)) < 600


def test_text_of_another_encoding_is_told_sqlite(tmp_path):
    database = Sqlite(tmp_path / "market.db")
    with closing(database.connect()) as connection:
        connection.execute("CREATE TABLE prices (time TEXT, close TEXT)")
        connection.execute("INSERT INTO prices VALUES ('2024-01-01', CAST(x'636166e9' AS TEXT))")
        connection.commit()
    with pytest.raises(DataError, match="UTF-8"):
        read(declare(database, table="prices"), tmp_path)


def test_text_of_another_encoding_is_told_postgresql(postgresql_server, tmp_path, monkeypatch):
    monkeypatch.setenv("MARKET_USERNAME", postgresql_server.user)
    monkeypatch.setenv("MARKET_PASSWORD", postgresql_server.password)
    postgresql_server.run(
        "DROP DATABASE IF EXISTS old",
        "CREATE DATABASE old ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    with closing(postgresql_server.connect("old")) as connection:
        connection.execute("CREATE TABLE prices (time DATE, close TEXT)")
        connection.execute(rb"INSERT INTO prices VALUES ('2024-01-01', E'caf\xe9')")
        connection.commit()
    source = declare(postgresql_server, table="prices")
    old = source.sql.model_copy(update={"uri": postgresql_server.uri.replace("market", "old")})
    with pytest.raises(DataError, match=r"UTF-8|encoding"):
        read(source.model_copy(update={"sql": old}), tmp_path)


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "market.db").write_text("time,close\n" * 500)
    with pytest.raises(DataError, match="not a database"):
        read(declare(Sqlite(tmp_path / "market.db"), table="prices"), tmp_path)


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "postgresql"])
def test_a_server_that_hangs_up_at_once_is_told(scheme, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def hang_up() -> None:
            while not ended.is_set():
                connection, _ = listener.accept()
                connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        source = Source.model_validate(
            {
                "name": "btc",
                "sql": {"uri": f"{scheme}://127.0.0.1:{port}/market", "table": "prices"},
                "availability": {"lag": "0s"},
            }
        )
        try:
            with pytest.raises(PresageError) as raised:
                read(source, tmp_path)
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(10)
    assert isinstance(raised.value, SourceUnavailableError)
