"""Sinks: real SQLite files, MariaDB, PostgreSQL, folders and an S3 server, and what goes wrong with them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import yaml
from commands import EXAMPLES, presage
from conftest import lacking
from polars.testing import assert_frame_equal
from s3.gateway import BUCKET, KEY, SECRET, Gateway
from servers.mariadb import MariaDb, mariadb, mariadb_programs
from servers.postgresql import PostgreSql
from servers.sqlite import Sqlite

from presage.errors import DataError, JobError, PresageError, StorageError
from presage.frame import TIMESTAMP
from presage.spec.job import PredictionJob
from presage.steps.sink import write_sinks

START = datetime(2024, 1, 1, tzinfo=UTC)


def job(*sinks) -> PredictionJob:
    document = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    document["metadata"]["name"] = "daily"
    document["spec"]["sources"] = document["spec"]["sources"][:1]
    document["spec"]["features"] = [{"lag": {"columns": ["sp500.range_volatility"], "steps": [1]}}]
    document["spec"]["sinks"] = list(sinks)
    return PredictionJob.model_validate(document)


def sql(database, data="bars", **fields):
    secret = {} if isinstance(database, Sqlite) else {"secret_ref": {"name": "market"}}
    return {"name": data, "data": data, "sql": {"uri": database.uri} | secret} | fields


def bars(count, first=0, **columns) -> pl.DataFrame:
    times = pl.Series([START + timedelta(minutes=first + place) for place in range(count)], dtype=TIMESTAMP)
    values = {"close": [first + place + 0.25 for place in range(count)], "filled": [False] * count} | columns
    return pl.DataFrame({"series": ["BTC"] * count, "time": times, "known_at": times + timedelta(minutes=1)} | values)


def write(sinks, tmp_path, sleep: Callable[[float], None] = lambda _: None, **results):
    given = {data: partial(dict, sp500=rows) for data, rows in results.items()}
    write_sinks(job(*sinks), given, base=tmp_path, sleep=sleep)


@pytest.fixture
def clean(database):
    """The database without the tables of an earlier test."""
    for name in ("daily_bars", "daily_raw", "daily_frames", "daily_forecasts"):
        database.run(f"DROP TABLE IF EXISTS {name}")
    return database


def closes(database, where="1 = 1"):
    return [row[0] for row in database.run(f"SELECT close FROM daily_bars WHERE {where} ORDER BY time")]


def test_rows_are_added_replaced_and_kept_by_key(clean, tmp_path):
    write([sql(clean)], tmp_path, bars=bars(3))
    write([sql(clean)], tmp_path, bars=bars(3))
    assert closes(clean) == [0.25, 1.25, 2.25]
    write([sql(clean)], tmp_path, bars=bars(2, first=2, close=[9.0, None]))
    assert closes(clean) == [0.25, 1.25, 9.0, None]


def test_a_bar_that_was_made_up_is_gone_once_the_real_one_is_there(clean, tmp_path):
    # Two bars are far enough apart to be asked for one after the other.
    made_up = (pl.col("close") == 2.25) | (pl.col("close") == 6_001.25)
    late = pl.when(made_up).then(pl.col("known_at") + timedelta(hours=1)).otherwise("known_at").alias("known_at")
    real = bars(7_000)
    other = bars(4).with_columns(late, series=pl.lit("btc"))
    write([sql(clean)], tmp_path, bars=pl.concat([real.with_columns(late, filled=made_up), other]))
    assert len(closes(clean, "filled")) == 2
    write([sql(clean)], tmp_path, bars=real.head(4).tail(1))
    assert len(closes(clean)) == 7_004
    write([sql(clean)], tmp_path, bars=real)
    assert len(closes(clean, "filled")) == 0
    assert closes(clean, "series = 'BTC'") == real["close"].to_list()
    assert closes(clean, "series = 'btc'") == other["close"].to_list()


def test_all_vintages_of_a_bar_stay(clean, tmp_path):
    revised = bars(2, close=[7.5, 8.5]).with_columns(pl.col("known_at") + timedelta(days=1))
    for _ in range(2):
        write([sql(clean)], tmp_path, bars=pl.concat([bars(2), revised]))
    assert sorted(closes(clean)) == [0.25, 1.25, 7.5, 8.5]
    write([sql(clean)], tmp_path, bars=revised.head(1))
    assert sorted(closes(clean)) == [1.25, 7.5, 8.5]


def test_every_kind_of_data_has_its_own_key(clean, tmp_path):
    rows = bars(2)
    issued = rows.select("series", pl.lit(START).alias("issued_at"), pl.col("time").alias("target_time"))
    issued = issued.with_columns(pl.lit(1.5).alias("mean"), pl.lit("ridge").alias("model"), pl.lit("r1").alias("run"))
    results = {
        "raw": rows.drop("filled").with_columns(pl.lit(START).cast(TIMESTAMP).alias("ingested_at")),
        "bars": rows,
        "frames": rows.drop("filled").rename({"close": "level"}),
        "forecasts": issued,
    }
    for _ in range(2):
        write([sql(clean, data) for data in results], tmp_path, **results)
    assert [clean.run(f"SELECT count(*) FROM daily_{data}")[0][0] for data in results] == [2, 2, 2, 2]


def test_times_are_kept_to_the_microsecond_in_utc(clean, tmp_path):
    late = bars(1).with_columns(known_at=pl.lit(datetime(2024, 1, 1, 0, 1, 0, 123457, tzinfo=UTC)).cast(TIMESTAMP))
    write([sql(clean)], tmp_path, bars=late)
    told = str(clean.run("SELECT known_at FROM daily_bars")[0][0])
    assert told.removesuffix("+00:00") == "2024-01-01 00:01:00.123457"


def test_series_that_differ_in_case_stay_apart(clean, tmp_path):
    write([sql(clean)], tmp_path, bars=pl.concat([bars(1), bars(1).with_columns(series=pl.lit("btc"))]))
    assert sorted(row[0] for row in clean.run("SELECT series FROM daily_bars")) == ["BTC", "btc"]


def test_text_is_kept_as_it_is(clean, tmp_path):
    odd = ["=1+1", "'; DROP TABLE daily_bars; --", "naïve 株 🚀 100% :x"]
    times = bars(3).with_columns(series=pl.Series(odd), note=pl.Series(["x" * 2_000_000, None, "%s"]))
    write([sql(clean)], tmp_path, bars=times)
    found = dict(clean.run("SELECT series, note FROM daily_bars"))
    assert found == dict(zip(odd, times["note"], strict=True))


def test_columns_that_appear_later_are_added(clean, tmp_path):
    write([sql(clean)], tmp_path, bars=bars(2))
    write([sql(clean)], tmp_path, bars=bars(1, first=2, volume=[7.5], **{"Change %": [0.5]}))
    assert [row[0] for row in clean.run("SELECT volume FROM daily_bars ORDER BY time")] == [None, None, 7.5]
    write([sql(clean)], tmp_path, bars=bars(1, first=3))
    assert len(closes(clean)) == 4


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("close VARCHAR(20), filled BOOLEAN, PRIMARY KEY (series, time, known_at)", "'close' of table 'daily_bars'"),
        (
            "close {real}, filled BOOLEAN, PRIMARY KEY (series, time)",
            "primary key of table 'daily_bars' is series, time",
        ),
        ("close {real}, filled BOOLEAN", "not there, not series, time, known_at"),
    ],
)
def test_a_table_of_another_kind_is_left_as_it_is(clean, tmp_path, definition, words):
    mysql = "mysql" in clean.uri
    time = "DATETIME(6)" if mysql else "TIMESTAMP" if isinstance(clean, Sqlite) else "TIMESTAMPTZ"
    real = "DOUBLE" if mysql else "DOUBLE PRECISION"
    clean.run(
        f"CREATE TABLE daily_bars (series VARCHAR(99) NOT NULL, time {time} NOT NULL, known_at {time} NOT NULL, "
        f"{definition.format(real=real)})"
    )
    with pytest.raises(DataError, match=words):
        write([sql(clean)], tmp_path, bars=bars(2))
    assert closes(clean) == []


def test_prophets_shape_in_a_table(clean, tmp_path):
    column = job().spec.target.column
    write([sql(clean, layout="DsYSymbol")], tmp_path, bars=bars(2).rename({"close": column}))
    rows = clean.run("SELECT ds, y, symbol FROM daily_bars ORDER BY ds")
    assert [(str(ds)[:19], y, symbol) for ds, y, symbol in rows] == [
        ("2024-01-01 00:00:00", 0.25, "BTC"),
        ("2024-01-01 00:01:00", 1.25, "BTC"),
    ]


def raw(count, ingested_at, first=0) -> pl.DataFrame:
    return (
        bars(count, first=first).drop("filled").with_columns(pl.lit(ingested_at).cast(TIMESTAMP).alias("ingested_at"))
    )


def test_raw_rows_that_are_there_are_not_written_again(clean, tmp_path):
    first = raw(3, START)
    write([sql(clean, "raw")], tmp_path, raw=first)
    # Were the rows written again, they would have their own values.
    clean.run("UPDATE daily_raw SET close = -1")
    later = pl.concat([first, raw(2, START + timedelta(hours=1), first=3)])
    write([sql(clean, "raw")], tmp_path, raw=later)
    assert sorted(row[0] for row in clean.run("SELECT close FROM daily_raw")) == [-1, -1, -1, 3.25, 4.25]


def test_raw_rows_that_are_missing_below_the_newest_are_written(clean, tmp_path):
    write([sql(clean, "raw")], tmp_path, raw=raw(3, START + timedelta(hours=1)))
    backfilled = pl.concat([raw(2, START, first=10), raw(3, START + timedelta(hours=1))])
    write([sql(clean, "raw")], tmp_path, raw=backfilled)
    assert clean.run("SELECT count(*) FROM daily_raw")[0][0] == 5


def test_two_writers_of_the_same_rows_both_succeed(clean, tmp_path):
    failures = []

    def run(offset: float) -> None:
        rows = bars(3_000).with_columns(pl.col("close") + offset).sample(fraction=1.0, shuffle=True, seed=int(offset))
        try:
            for _ in range(3):
                write([sql(clean)], tmp_path, sleep=time.sleep, bars=rows)
        except PresageError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(offset,)) for offset in (100.0, 200.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    found = closes(clean)
    assert len(found) == 3_000
    # Each write is one transaction: the rows are all of one writer.
    assert {close - place for place, close in enumerate(found)} in ({100.25}, {200.25})


def test_a_value_that_the_database_refuses_leaves_all_as_it_was(clean, tmp_path):
    write([sql(clean)], tmp_path, bars=bars(3))
    if isinstance(clean, Sqlite):
        clean.run(
            "CREATE TRIGGER small BEFORE INSERT ON daily_bars WHEN NEW.close >= 6000 "
            "BEGIN SELECT RAISE(ABORT, 'too large'); END"
        )
    else:
        clean.run("ALTER TABLE daily_bars ADD CONSTRAINT small CHECK (close < 6000)")
    with pytest.raises(DataError):
        write([sql(clean)], tmp_path, bars=bars(7_000).with_columns(pl.col("close") + 0.5))
    assert closes(clean) == [0.25, 1.25, 2.25]


servers = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
"""For tests of what SQLite, which has no sessions, cannot do."""


@servers
def test_a_writer_that_is_killed_in_the_middle_leaves_nothing_half_written(clean, tmp_path):
    write([sql(clean)], tmp_path, bars=bars(1))
    program = f"""
        import sys; sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parent)]!r}
        from pathlib import Path
        from types import SimpleNamespace
        from test_sinks import bars, sql, write
        server = SimpleNamespace(uri={clean.uri!r})
        write([sql(server)], Path(), bars=bars(8_000))
    """
    with closing(clean.connect()) as other, closing(other.cursor()) as cursor:
        # The writer has to wait for this row, its last one, with all others written.
        cursor.execute(
            "INSERT INTO daily_bars (series, time, known_at, close) "
            "VALUES ('BTC', '2024-01-06 13:19:00', '2024-01-06 13:20:00', -1)"
        )
        writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=os.environ)
        try:
            wait_for(lambda: waits(clean), writer)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait(30)
        other.rollback()
    wait_for(lambda: not waits(clean) and closes(clean) == [0.25])
    write([sql(clean)], tmp_path, bars=bars(8_000))
    assert len(closes(clean)) == 8_000


def waits(server: MariaDb | PostgreSql) -> bool:
    if isinstance(server, MariaDb):
        return bool(server.run("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"))
    return bool(server.run("SELECT 1 FROM pg_locks WHERE NOT granted"))


def wait_for(true: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        # MariaDB tells of its transactions anew only when nobody has asked for a tenth of a second.
        time.sleep(0.2)


@servers
def test_a_connection_that_ends_in_the_middle_is_tried_again(clean, tmp_path):
    write([sql(clean)], tmp_path, bars=bars(1))
    pauses = []
    with closing(clean.connect()) as other, closing(other.cursor()) as cursor:
        cursor.execute(
            "INSERT INTO daily_bars (series, time, known_at, close) "
            "VALUES ('BTC', '2024-01-06 13:19:00', '2024-01-06 13:20:00', -1)"
        )

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.rollback()

        writer = threading.Thread(target=lambda: write([sql(clean)], tmp_path, sleep=pause, bars=bars(8_000)))
        writer.start()
        wait_for(lambda: waits(clean))
        if isinstance(clean, MariaDb):
            for (number,) in clean.run(
                "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
            ):
                clean.run(f"KILL {number}")
        else:
            clean.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        writer.join(60)
    assert len(pauses) == 1
    assert len(closes(clean)) == 8_000


def test_a_server_that_stops_is_told_and_the_next_run_writes_all(tmp_path, monkeypatch):
    if mariadb_programs() is None:
        lacking("no MariaDB server; tests/system-packages.sh installs it")
    folder = tmp_path / "server"
    folder.mkdir()
    with mariadb(folder) as server:
        monkeypatch.setenv("MARKET_USERNAME", server.user)
        monkeypatch.setenv("MARKET_PASSWORD", server.password)
        write([sql(server)], tmp_path, bars=bars(2))
        server.process.kill()
        server.process.wait(30)
        pauses = []
        files = {"name": "files", "data": "bars", "files": {"uri": "out"}}
        with pytest.raises(StorageError, match="5 times") as raised:
            write([sql(server), files], tmp_path, sleep=pauses.append, bars=bars(4))
    assert len(pauses) == 4
    assert raised.value.retry
    assert server.password not in str(raised.value)
    # The other sink was written all the same.
    assert pl.read_parquet(tmp_path / "out" / "daily_bars.parquet").height == 4


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_wrong_credentials_are_refused_and_not_shown(request, kind, tmp_path, monkeypatch):
    server = request.getfixturevalue(f"{kind}_server")
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", "very-wrong-thing")
    with pytest.raises(JobError, match="refuses the credentials of secret 'market'") as raised:
        write([sql(server)], tmp_path, bars=bars(2))
    assert "very-wrong-thing" not in str(raised.value)


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_user_who_may_only_read_is_told_so(request, kind, tmp_path, monkeypatch):
    server = request.getfixturevalue(f"{kind}_server")
    server.run("DROP TABLE IF EXISTS daily_bars")
    if kind == "mariadb":
        server.run(
            "CREATE OR REPLACE USER reader@'127.0.0.1' IDENTIFIED BY 'reading'",
            "GRANT SELECT ON market.* TO reader@'127.0.0.1'",
        )
    else:
        server.run("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 'reading'")
    monkeypatch.setenv("MARKET_USERNAME", "reader")
    monkeypatch.setenv("MARKET_PASSWORD", "reading")
    with pytest.raises(JobError, match="Grant the user"):
        write([sql(server)], tmp_path, bars=bars(2))


def test_data_that_no_sink_wants_is_not_read(tmp_path):
    def unwanted():
        raise AssertionError

    sink = {"name": "files", "data": "bars", "files": {"uri": "out"}}
    write_sinks(job(sink), {"raw": unwanted, "bars": lambda: {"sp500": bars(1)}}, base=tmp_path)
    assert (tmp_path / "out" / "daily_bars.parquet").exists()


def test_files_are_put_in_the_place_of_older_ones(tmp_path):
    sink = {"name": "files", "data": "bars", "files": {"uri": (tmp_path / "a b").as_uri()}}
    write([sink], tmp_path, bars=bars(5))
    write([sink], tmp_path, bars=bars(2))
    assert_frame_equal(pl.read_parquet(tmp_path / "a b" / "daily_bars.parquet"), bars(2))
    assert [path.name for path in (tmp_path / "a b").iterdir()] == ["daily_bars.parquet"]


def test_equal_rows_make_equal_files(tmp_path):
    for name in ("one", "two"):
        sink = {"name": "files", "data": "bars", "files": {"uri": name}}
        write([sink], tmp_path, bars=bars(50).sample(fraction=1.0, shuffle=True, seed=len(name)))
    contents = {(tmp_path / name / "daily_bars.parquet").read_bytes() for name in ("one", "two")}
    assert len(contents) == 1


@pytest.fixture
def bucket(store, monkeypatch) -> Gateway:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("LAKE_AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("LAKE_AWS_SECRET_ACCESS_KEY", SECRET)
    return store


def to_bucket(uri=f"s3://{BUCKET}/market/out/"):
    return {"name": "files", "data": "bars", "files": {"uri": uri, "secret_ref": {"name": "lake"}}}


def test_files_in_a_bucket_are_put_whole(bucket, tmp_path):
    write([to_bucket()], tmp_path, bars=bars(5))
    write([to_bucket()], tmp_path, bars=bars(2))
    assert_frame_equal(pl.read_parquet(bucket.folder / "market" / "out" / "daily_bars.parquet"), bars(2))


def test_a_bucket_that_is_not_there_is_named(bucket, tmp_path):
    with pytest.raises(JobError, match="no such bucket"):
        write([to_bucket("s3://nowhere/out")], tmp_path, bars=bars(2))


def test_keys_that_a_store_refuses_are_not_shown(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("LAKE_AWS_SECRET_ACCESS_KEY", "very-wrong-thing")
    with pytest.raises(JobError, match="refuses access") as raised:
        write([to_bucket()], tmp_path, bars=bars(2))
    assert "very-wrong-thing" not in str(raised.value)


def test_a_store_that_is_down_is_told(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageError, match="does not answer"):
        write([to_bucket()], tmp_path, bars=bars(2))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(PresageError, match="cannot write"):
        write([{"name": "files", "data": "bars", "files": {"uri": "out/sub"}}], tmp_path, bars=bars(2))


def test_a_run_writes_its_results_to_the_sinks_of_its_job_and_a_repeat_changes_nothing(tmp_path: Path) -> None:
    document = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    document["spec"] |= {
        "models": [{"name": "ridge"}],
        "evaluation": {"folds": 2},
        "sinks": [
            {"name": "forecasts", "sql": {"uri": "sqlite:///desk.db"}},
            {"name": "prophet", "data": "bars", "layout": "DsYSymbol", "sql": {"uri": "sqlite:///desk.db"}},
            {"name": "frames", "data": "frames", "files": {"uri": "out"}},
        ],
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    words = ("run", "job.yaml", "--as-of", "2019-02-01")
    presage(*words, cwd=tmp_path)
    written = dumped(tmp_path / "desk.db")
    assert any("INSERT INTO" in line and "quickstart_forecasts" in line for line in written)
    with closing(sqlite3.connect(tmp_path / "desk.db")) as connection:
        first = connection.execute("SELECT ds, y, symbol FROM quickstart_bars ORDER BY ds LIMIT 1").fetchone()
    assert first[0].startswith("1999-01-04")
    assert first[2] == "sp500"
    assert pl.read_parquet(tmp_path / "out" / "quickstart_frames.parquet").height > 5000
    presage(*words, cwd=tmp_path)
    assert dumped(tmp_path / "desk.db") == written


def dumped(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())
