"""Sinks of jobs over rows: rows and predictions in real databases, in files, and brought up to date by later runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from row_job_case import NOW, WAITING, make_job, run, trips
from servers.sqlite import Sqlite

from presage.errors import JobError, StorageError
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.issue import issue_forecast

LATER = NOW + timedelta(hours=1)


def sinks(database) -> list[dict[str, object]]:
    secret = {} if isinstance(database, Sqlite) else {"secret_ref": {"name": "market"}}
    return [{"name": data, "data": data, "sql": {"uri": database.uri} | secret} for data in ("raw", "forecasts")]


def put(folder: Path, table: pl.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    table.write_csv(folder / "trips.csv")
    return folder


def forecast(
    job: PredictionJob, folder: Path, workdir: Path, now: datetime = LATER, sources: Mapping[str, str] | None = None
) -> None:
    places = sources or {}
    issue_forecast(job, base=folder, workdir=workdir, now=now, sources=places, out=None, progress=lambda *_: None)


@pytest.fixture
def clean(database):
    for name in ("trips_raw", "trips_forecasts"):
        database.run(f"DROP TABLE IF EXISTS {name}")
    return database


def count(database, table: str, where: str = "1 = 1") -> int:
    return database.run(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]


def test_rows_and_predictions_are_kept_by_key_and_an_outcome_takes_its_place(clean, tmp_path):
    job, workdir = make_job(sinks=sinks(clean)), tmp_path / "work"
    folder = put(tmp_path / "in", trips())
    for _ in range(2):
        run(job, folder, workdir=workdir)
    total = len(trips())
    assert (count(clean, "trips_raw"), count(clean, "trips_raw", "price IS NULL")) == (total, WAITING)
    assert count(clean, "trips_forecasts") == WAITING
    before = sorted(tuple(row) for row in clean.run("SELECT * FROM trips_forecasts"))

    put(folder, trips(waiting=2))
    forecast(job, folder, workdir)
    assert (count(clean, "trips_raw"), count(clean, "trips_raw", "price IS NULL")) == (total, 2)
    known_at = clean.run("SELECT max(known_at) FROM trips_raw WHERE price IS NOT NULL")[0][0]
    assert str(known_at)[:16] == f"{LATER:%Y-%m-%d %H:%M}", "an outcome that came late was not known before"
    assert sorted(tuple(row) for row in clean.run("SELECT * FROM trips_forecasts")) == before


def test_rows_of_another_place_change_none_of_the_jobs_and_their_predictions_are_kept(clean, tmp_path):
    job, workdir, folder = make_job(sinks=sinks(clean)), tmp_path / "work", put(tmp_path / "in", trips())
    run(job, folder, workdir=workdir)
    before = sorted(clean.run("SELECT * FROM trips_raw"), key=str)
    other = put(tmp_path / "other", trips().tail(30).with_columns(price=None)) / "trips.csv"
    forecast(job, folder, workdir, sources={"trips": str(other)})
    assert sorted(clean.run("SELECT * FROM trips_raw"), key=str) == before, "their outcomes are unknown there alone"
    assert count(clean, "trips_forecasts") == 30


def test_a_probability_is_kept_and_text_is_kept_as_it_is(clean, tmp_path):
    odd = ["=1+1", "'; DROP TABLE trips_raw; --", "naïve 株 🚀 100% :x"]
    shop = pl.Series((odd * len(trips()))[: len(trips())])
    folder = put(tmp_path / "in", trips().with_columns(shop=shop))
    run(make_job("Classification", sinks=sinks(clean)), folder, workdir=tmp_path / "work")
    probabilities = [row[0] for row in clean.run("SELECT probability FROM trips_forecasts")]
    assert len(probabilities) == WAITING
    assert all(0 < one < 1 for one in probabilities)
    assert {row[0] for row in clean.run("SELECT DISTINCT shop FROM trips_raw")} == set(odd)


def test_files_hold_what_the_lake_holds(tmp_path):
    out = [{"name": data, "data": data, "files": {"uri": "out"}} for data in ("raw", "forecasts")]
    folder = put(tmp_path / "in", trips())
    run(make_job(sinks=out), folder, workdir=tmp_path / "work")
    rows = pl.read_parquet(folder / "out" / "trips_raw.parquet")
    assert rows["row"].is_unique().all()
    assert_frame_equal(rows.select("price").sort("price"), trips().select("price").sort("price"))
    lake = Lake(str(tmp_path / "work" / "lake"))
    version = lake.current("predictions/default.trips")
    assert version is not None
    wanted = lake.read(version)
    found = pl.read_parquet(folder / "out" / "trips_forecasts.parquet")
    assert_frame_equal(found.sort("row"), wanted.sort("row"), check_column_order=False)


def test_where_no_row_is_open_the_table_of_predictions_is_empty(clean, tmp_path):
    folder = put(tmp_path / "in", trips(waiting=0))
    run(make_job(sinks=sinks(clean)), folder, workdir=tmp_path / "work")
    assert count(clean, "trips_forecasts") == 0
    assert count(clean, "trips_raw") == len(trips())


def test_a_sink_that_is_down_keeps_no_run_from_being_kept_and_is_caught_up_with(tmp_path):
    folder, workdir = put(tmp_path / "in", trips()), tmp_path / "work"
    database = Sqlite(tmp_path / "gone" / "market.db")
    job = make_job(sinks=sinks(database))
    with pytest.raises((JobError, StorageError), match="sink 'raw'"):
        run(job, folder, workdir=workdir)
    assert [path.name for path in (workdir / "champions").iterdir()] == ["default.trips.json"]
    database.path.parent.mkdir()
    forecast(job, folder, workdir, now=datetime(2020, 4, 29, 23, tzinfo=UTC))
    assert count(database, "trips_forecasts") == WAITING
