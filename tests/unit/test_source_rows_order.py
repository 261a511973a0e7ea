"""Which row of a key is kept and in which order, by a grid of periods and by sorting: both as a plain model says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from presage.frame import KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.sources.contract import Part, Table
from presage.sources.duplicates import last_of_each_key
from presage.sources.periods import period_starts
from presage.sources.rows import SourceRows, to_rows
from presage.spec.base import Frequency
from presage.spec.periods import period_start
from presage.spec.sources import Source

MINUTE = timedelta(minutes=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["b", "a", "ä", "B", "ab", "a b"])
MINUTES = st.lists(st.integers(0, 12), min_size=1, max_size=40)


def times(minutes: list[int], extra: timedelta = timedelta(0)) -> pl.Series:
    return pl.Series(TIME, [START + minute * MINUTE + extra * (minute % 3 == 1) for minute in minutes], dtype=TIMESTAMP)


def plain_model(key: pl.DataFrame, places: list[int]) -> list[int]:
    names = key.with_columns(pl.col(pl.Enum).cast(pl.String)).rows()
    last = {(*(part.encode() if isinstance(part, str) else part for part in names[place]),): place for place in places}
    return [last[row] for row in sorted(last)]


@settings(deadline=None)
@given(
    minutes=MINUTES,
    data=st.data(),
    named=st.booleans(),
    extra=st.sampled_from([timedelta(0), timedelta(seconds=1)]),
    published=st.booleans(),
    some=st.booleans(),
)
def test_the_last_row_of_each_key_is_the_one_of_a_plain_model(minutes, data, named, extra, published, some):
    count = len(minutes)
    columns = [times(minutes, extra)]
    if named:
        names = data.draw(st.lists(NAMES, min_size=count, max_size=count))
        columns.insert(0, pl.Series(SERIES, names, dtype=pl.Enum(sorted(set(names), key=str.encode))))
    if published:
        later = data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
        columns.append(times(later).alias(KNOWN_AT))
    kept = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1))) if some else list(range(count))
    key = pl.DataFrame(columns)
    order = last_of_each_key(key, pl.Series(kept, dtype=pl.get_index_type()) if some else None, MINUTE)
    assert order.to_list() == plain_model(key, kept)


def test_times_that_are_few_and_far_apart_are_sorted_like_others():
    key = pl.DataFrame([times([50_000_000, 3, 3, 50_000_000, 7])])
    assert last_of_each_key(key, None, MINUTE).to_list() == [2, 4, 3]


def test_the_last_of_many_rows_is_kept_across_blocks_of_the_grid():
    minutes = [place * 7919 % 90_001 for place in range(200_000)]
    key = pl.DataFrame([times(minutes)])
    assert last_of_each_key(key, None, MINUTE).to_list() == plain_model(key, list(range(len(minutes))))


@pytest.mark.parametrize(
    "length", [Frequency(1, "m"), Frequency(7, "m"), Frequency(1, "h"), Frequency(5, "h")], ids=str
)
@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "America/New_York", "Asia/Kathmandu"])
def test_periods_of_the_day_are_those_of_each_moment_in_utc_and_elsewhere(length, zone):
    moments = [datetime(1969, 12, 30, tzinfo=UTC) + place * timedelta(minutes=613, seconds=7) for place in range(60)]
    starts = period_starts(pl.Series([*moments, None], dtype=TIMESTAMP), length, zone)
    assert starts.to_list() == [*(period_start(moment, length, zone) for moment in moments), None]


def minutes_of(folder, symbol: str) -> pl.DataFrame:
    read = pl.read_csv(folder / "bitfinex_1m" / f"bitfinex_{symbol}_1m_2018.csv.gz", n_rows=20_000)
    return read.select(pl.lit(symbol).alias("symbol"), pl.all().cast(pl.Float64).name.keep()).with_columns(
        pl.col("timestamp_ms").cast(pl.Int64)
    )


def rows_of(data: pl.DataFrame, **fields: object) -> SourceRows:
    source = Source.model_validate(
        {
            "name": "bitfinex",
            "time": "timestamp_ms",
            "timeUnit": "ms",
            "series": "symbol",
            "frequency": "1m",
            "availability": {"lag": "90s"},
            "file": {"uri": "x.parquet"},
        }
        | fields
    )
    return to_rows(source, Table(data, (Part("x.parquet", data.height),)), frequency=Frequency(1, "d"))


def test_shuffled_real_minutes_with_earlier_versions_of_some_are_put_into_order(shared_data):
    real = pl.concat([minutes_of(shared_data, symbol) for symbol in ("ETHUSD", "BTCUSD")])
    earlier = real.gather_every(20).with_columns(pl.col("volume") / 2)
    mixed = pl.concat([earlier.sample(fraction=1.0, shuffle=True, seed=1), real.sample(fraction=1.0, shuffle=True)])
    read = rows_of(mixed)
    assert read.duplicates == earlier.height
    ordered = real.sort("symbol", "timestamp_ms")
    assert read.rows[SERIES].to_list() == ordered["symbol"].to_list()
    assert read.rows[TIME].dt.epoch("ms").to_list() == ordered["timestamp_ms"].to_list()
    assert (read.rows[KNOWN_AT] - read.rows[TIME]).unique().to_list() == [timedelta(seconds=150)]
    assert_frame_equal(read.rows.drop(SERIES, TIME, KNOWN_AT), ordered.drop("symbol", "timestamp_ms"))


def test_a_row_off_the_grid_and_a_zone_off_utc_change_no_other_row(shared_data):
    real = minutes_of(shared_data, "BTCUSD")
    plain = rows_of(real).rows
    odd = real.head(1).with_columns(pl.col("timestamp_ms") - 86_400_000 + 500)
    assert_frame_equal(rows_of(pl.concat([real, odd])).rows.tail(-1), plain)
    assert_frame_equal(rows_of(real, timeZone="America/New_York").rows, plain)


def test_a_table_that_is_given_is_left_as_it_was(shared_data):
    real = minutes_of(shared_data, "BTCUSD").with_columns(pl.col("symbol").cast(pl.Categorical))
    before = real.clone()
    rows_of(real)
    assert_frame_equal(real, before)
