"""The lake filled from many tables: bounded chunks, bookmarks, kills, holes, and the seam of batch and late rows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from doubles.exchange import Answer, ExchangeDouble, bitfinex_rows, exchange_double
from ingest_case import SMALL, exchange_job, file_job, milliseconds, table_job, utc

from presage.errors import DataError, SourceUnavailableError
from presage.frame import SERIES, TIME
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.spec.sources import Source
from presage.steps.ingest import Ingested, ingest

SINCE = "2018-01-30"
START, END = utc(SINCE), utc("2018-02-03")


@pytest.fixture(scope="module")
def candles(shared_data) -> list:
    return bitfinex_rows(shared_data, "BTCUSD", milliseconds(START), milliseconds(END))


@pytest.fixture
def exchange(candles) -> Iterator[ExchangeDouble]:
    with exchange_double({("BTCUSD", "1m"): candles}) as double:
        double.clock = END.timestamp()
        yield double


def stand_at(exchange: ExchangeDouble, moment: datetime) -> None:
    exchange.clock = moment.timestamp()
    exchange.now = milliseconds(moment) - 1


def held(lake: Lake, ingested: Ingested) -> pl.DataFrame:
    return lake.read(ingested.tables["btc"])


def run(job: PredictionJob, root: Path, now: datetime = END, chunk_bytes: int = SMALL, base: Path = Path()) -> Ingested:
    return ingest(job, Lake(str(root)), base=base, now=now, chunk_bytes=chunk_bytes, sleep=lambda _: None)


def test_one_read_and_many_small_ones_give_the_same_lake(tmp_path, exchange, candles):
    job = exchange_job(exchange, SINCE, "1m")
    whole = run(job, tmp_path / "whole", chunk_bytes=1 << 30)
    for hours in (7, 8, 30, 31, 72):
        stand_at(exchange, START + timedelta(hours=hours))
        run(job, tmp_path / "parts", now=START + timedelta(hours=hours))
    stand_at(exchange, END)
    parts = run(job, tmp_path / "parts")
    assert parts.tables["btc"].digest == whole.tables["btc"].digest
    assert parts.tables["btc"].rows == len(candles)
    assert parts.bars["btc"].rows.equals(whole.bars["btc"].rows)
    rows = held(Lake(str(tmp_path / "parts")), parts)
    assert not rows.select(SERIES, TIME).is_duplicated().any()
    assert rows[TIME].dt.timestamp("ms").to_list() == [row[0] for row in candles]


def test_a_source_that_has_nothing_new_uses_what_the_lake_holds(tmp_path, exchange):
    job = exchange_job(exchange, SINCE, "1m")
    first = run(job, tmp_path)
    asked = len(exchange.asked)
    again = run(job, tmp_path)
    assert again.tables == first.tables
    assert again.bars["btc"].rows.equals(first.bars["btc"].rows)
    assert len(exchange.asked) - asked <= 2


def test_a_source_that_never_gave_anything_is_an_error(tmp_path, exchange):
    exchange.rows[("BTCUSD", "1m")] = []
    with pytest.raises(DataError, match="source 'btc'"):
        run(exchange_job(exchange, SINCE, "1m"), tmp_path)
    assert Lake(str(tmp_path)).tables() == ()


def test_a_read_that_breaks_off_goes_on_behind_what_was_kept(tmp_path, exchange, candles):
    exchange.page = 500
    job = exchange_job(exchange, SINCE, "1m")
    whole = run(job, tmp_path / "whole")
    many = len(exchange.asked)
    exchange.asked.clear()
    refused = Answer(403, b'["error",10100,"apikey: invalid"]')
    exchange.faults.extend([*[None] * (many - 2), *[refused] * 20])
    with pytest.raises((DataError, SourceUnavailableError)):
        run(job, tmp_path / "broken")
    exchange.faults.clear()
    exchange.asked.clear()
    resumed = run(job, tmp_path / "broken")
    assert resumed.tables["btc"].digest == whole.tables["btc"].digest


def without(candles: list, start: str, end: str) -> list:
    left, right = milliseconds(utc(start)), milliseconds(utc(end))
    return [row for row in candles if not left <= row[0] < right]


def test_a_hole_of_the_last_days_is_asked_for_again_and_an_older_one_is_left(tmp_path, exchange, candles):
    exchange.rows[("BTCUSD", "1m")] = without(candles, "2018-01-31T03:00", "2018-01-31T09:00")
    job = exchange_job(exchange, SINCE, "1m")
    early = run(job, tmp_path / "parts", now=END - timedelta(hours=2))
    assert sum(gap.periods for gap in early.bars["btc"].gaps) == 6
    exchange.rows[("BTCUSD", "1m")] = candles
    exchange.asked.clear()
    filled = run(job, tmp_path / "parts")
    whole = run(job, tmp_path / "whole")
    assert filled.bars["btc"].gaps == ()
    assert filled.bars["btc"].rows.equals(whole.bars["btc"].rows)
    assert filled.tables["btc"].digest == whole.tables["btc"].digest
    exchange.rows[("BTCUSD", "1m")] = without(candles, "2018-01-31T03:00", "2018-01-31T09:00")
    run(job, tmp_path / "old", now=END)
    exchange.rows[("BTCUSD", "1m")] = candles
    late = run(job, tmp_path / "old", now=END + timedelta(days=40))
    assert sum(gap.periods for gap in late.bars["btc"].gaps) == 6


def test_batch_and_late_rows_meet_without_a_hole_or_a_repeated_row(tmp_path, shared_data):
    source = shared_data / "bitfinex_1m" / "bitfinex_BTCUSD_1m_2018.csv.gz"
    rows = pl.read_csv(source).head(60_000)
    seam = 43_000  # in the last day of January
    batch, late = rows.head(seam), rows.slice(seam - 700).sample(fraction=1.0, shuffle=True, seed=3)
    folder = tmp_path / "files"
    folder.mkdir()
    batch.write_csv(folder / "1.csv")
    job = file_job("files/*.csv", frequency="1h")
    first = run(job, tmp_path / "parts", now=utc("2018-01-31"), base=tmp_path)
    late.write_csv(folder / "2.csv")
    second = run(job, tmp_path / "parts", now=utc("2018-03-01"), base=tmp_path)
    assert (first.tables["btc"].rows, second.tables["btc"].rows) == (seam, rows.height)
    rows.write_csv(folder / "1.csv")
    (folder / "2.csv").unlink()
    whole = run(job, tmp_path / "whole", now=utc("2018-03-01"), base=tmp_path)
    assert second.tables["btc"].digest == whole.tables["btc"].digest
    assert second.bars["btc"].rows.equals(whole.bars["btc"].rows)
    found = held(Lake(str(tmp_path / "parts")), second)
    assert found[TIME].dt.timestamp("ms").equals(rows["timestamp_ms"].alias(TIME))


@pytest.mark.parametrize("frequency", ["1h", "1d"])
def test_of_rows_that_stand_in_two_chunks_of_a_read_the_later_counts_as_in_one(tmp_path, shared_data, frequency):
    source = shared_data / "bitfinex_1m" / "bitfinex_BTCUSD_1m_2018.csv.gz"
    rows = pl.read_csv(source).head(50_000)
    other = rows.slice(43_000, 3000).with_columns(pl.col("volume") + 1)
    back = rows.slice(44_000, 500)
    folder = tmp_path / "files"
    folder.mkdir()
    for number, part in enumerate((rows, other, back)):
        part.write_csv(folder / f"{number}.csv")
    job = file_job("files/*.csv", frequency=frequency)
    now = utc("2018-03-01")
    whole = run(job, tmp_path / "whole", now=now, base=tmp_path, chunk_bytes=1 << 30)
    chunks = run(job, tmp_path / "chunks", now=now, base=tmp_path)
    assert chunks.tables["btc"].digest == whole.tables["btc"].digest
    assert chunks.tables["btc"].rows == rows.height
    assert chunks.bars["btc"].rows.equals(whole.bars["btc"].rows)
    again = run(job, tmp_path / "chunks", now=now + timedelta(days=1), base=tmp_path)
    assert again.tables["btc"].rows == rows.height


def test_one_bad_source_leaves_the_lake_as_it_was(tmp_path, exchange, shared_data):
    job = exchange_job(exchange, SINCE, "1m")
    broken = {
        "name": "other",
        "file": {"uri": "none.csv"},
        "availability": {"lag": "0s"},
    }
    sources = (*job.spec.sources, Source.model_validate(broken))
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"sources": sources})})
    with pytest.raises(DataError, match="source 'other'"):
        run(job, tmp_path, base=tmp_path)
    assert Lake(str(tmp_path)).tables() == ()


INGEST = """
import sys
from datetime import datetime
from pathlib import Path
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.ingest import ingest

class TellingLake(Lake):
    def merge(self, *rows, **how):
        merged = super().merge(*rows, **how)
        print(merged.rows, flush=True)
        if merged.rows > 20000:
            sys.stdin.readline()
        return merged

job = PredictionJob.model_validate_json(sys.argv[1])
ingest(job, TellingLake(sys.argv[2]), base=Path(), now=datetime.fromisoformat(sys.argv[3]), chunk_bytes=1)
"""


def test_a_read_that_is_killed_goes_on_behind_the_last_chunk_that_was_kept(tmp_path, shared_data):
    start, end = utc("2018-01-01"), utc("2018-02-15")
    rows = bitfinex_rows(shared_data, "BTCUSD", milliseconds(start), milliseconds(end))
    with exchange_double({("BTCUSD", "1m"): rows}) as double:
        double.clock = end.timestamp()
        job = exchange_job(double, "2018-01-01", "1m")
        process = subprocess.Popen(
            [sys.executable, "-c", INGEST, job.model_dump_json(by_alias=True), str(tmp_path / "l"), end.isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        kept: list[int] = []
        while not kept or kept[-1] <= 20000:
            kept.append(int(process.stdout.readline()))
        process.kill()
        process.communicate()
        double.asked.clear()
        resumed = run(job, tmp_path / "l", now=end)
        firsts = [asked.start for asked in double.asked if asked.start is not None]
        whole = run(job, tmp_path / "whole", now=end)
    lake = Lake(str(tmp_path / "l"))
    assert min(firsts) == held(lake, resumed).sort(TIME)[TIME][kept[-1] - 1].timestamp() * 1000 + 60_000
    assert resumed.tables["btc"].rows == len(rows)
    assert resumed.tables["btc"].digest == whole.tables["btc"].digest


def grown(tmp_path: Path, column: str) -> tuple[PredictionJob, Path]:
    """Return a job on a growing table of a database, and the database, whose last rows have another column."""
    database = tmp_path / "rows.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE rows (time TEXT, close REAL)")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", [(f"2024-01-{day:02d}", day) for day in range(1, 21)])
    job = table_job(f"sqlite:///{database}")
    run(job, tmp_path / "lake", now=utc("2024-01-21"))
    with sqlite3.connect(database) as connection:
        connection.execute(f"ALTER TABLE rows ADD COLUMN {column} REAL")
        connection.executemany("INSERT INTO rows VALUES (?, ?, 1)", [(f"2024-01-{day}", day) for day in range(21, 26)])
    return job, database


def test_a_growing_source_whose_columns_change_is_refused_by_their_names(tmp_path):
    job, _ = grown(tmp_path, "volume")
    before = Lake(str(tmp_path / "lake")).tables()
    with pytest.raises(DataError, match="its columns are not those of the rows before: 'volume' came"):
        run(job, tmp_path / "lake", now=utc("2024-01-26"))
    assert Lake(str(tmp_path / "lake")).tables() == before


def test_a_source_that_was_told_which_columns_to_keep_begins_anew(tmp_path):
    job, _ = grown(tmp_path, "volume")
    source = job.spec.sources[0].model_copy(update={"columns": {"close": "close"}})
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"sources": (source,)})})
    assert run(job, tmp_path / "lake", now=utc("2024-01-26")).tables["btc"].rows == 25


@pytest.mark.parametrize("note", [None, "pending"])
def test_new_rows_without_a_number_are_not_an_error(tmp_path, note):
    job, database = grown(tmp_path, "note")
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM rows WHERE time > '2024-01-20'")
        connection.execute("INSERT INTO rows VALUES ('2024-01-21', NULL, ?)", (note,))
    read = run(job, tmp_path / "lake", now=utc("2024-01-26"))
    assert read.tables["btc"].rows == 20


def test_rows_of_another_length_begin_anew(tmp_path):
    database = tmp_path / "rows.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE rows (time TEXT, close REAL)")
        rows = [(f"2024-01-{day:02d}T{hour:02d}:00:00", day) for day in range(1, 21) for hour in range(24)]
        connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
    daily = table_job(f"sqlite:///{database}")
    hourly = daily.model_copy(update={"spec": daily.spec.model_copy(update={"frequency": "1h"})})
    assert run(hourly, tmp_path / "lake", now=utc("2024-01-21")).bars["btc"].rows.height == 480
    with pytest.raises(DataError, match="its rows are finer"):
        run(daily, tmp_path / "lake", now=utc("2024-01-21"))
