"""What every adapter must do. A later one joins with one entry in OFFERS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from source_case import asked

from presage.errors import DataError
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP, value_columns
from presage.sources.contract import Table
from presage.sources.formats import join
from presage.sources.registry import adapter
from presage.sources.rows import read_rows, to_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

DAY = Frequency(1, "d")


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


OFFERS: dict[str, Callable[[pl.DataFrame, Path], Source]] = {
    "csv": offer_csv,
    "gzip": offer_gzip,
    "parquet": offer_parquet,
    "many files": offer_many_files,
    "dataset": offer_dataset,
}
"""Puts a table where the adapter finds it, and declares the source."""


@pytest.fixture(params=OFFERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return OFFERS[request.param](sp500(), tmp_path)


def test_rows_keep_the_contract_of_the_frame(source, tmp_path):
    rows = read_rows(source, asked(tmp_path, DAY)).rows
    assert rows.columns == [*KEY, "Open", "High", "Low", "Close", "Adj Close", "Volume"]
    assert rows.dtypes == [pl.String, TIMESTAMP, TIMESTAMP, *[pl.Float64] * 6]
    assert rows.select(KEY).null_count().sum_horizontal().item() == 0
    assert rows.select(pl.col(value_columns(rows)).is_finite().all()).row(0) == (True,) * 6
    assert rows[SERIES].unique().to_list() == ["sp500"]


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
    shuffled = Table(table.data.sample(fraction=1.0, shuffle=True, seed=7), table.parts, table.time)
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
    mapped = source.model_copy(update={"columns": {"traded": "Volume", "price": "Close"}})
    rows = read_rows(mapped, asked(tmp_path, DAY)).rows
    assert value_columns(rows) == ["traded", "price"]
    assert rows["price"].to_list() == sp500()["Close"].to_list()


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"columns": {"price": "Closing"}}, ("'Closing'", "`columns`", "Adj Close")),
        ({"columns": {"price": "close"}}, ("'close'", "did you mean 'Close'?", "`columns`")),
        ({"time": "Day"}, ("'Day'", "`time`", "It has: Date, Open")),
        ({"series": "Symbol"}, ("'Symbol'", "`series`")),
    ],
)
def test_a_missing_column_is_named_with_its_source_and_field(source, tmp_path, update, words):
    with pytest.raises(DataError) as raised:
        read_rows(source.model_copy(update=update), asked(tmp_path, DAY))
    for word in ("source 'sp500'", "no column", *words):
        assert word in str(raised.value)
