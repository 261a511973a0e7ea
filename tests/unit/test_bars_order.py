"""Bars of rows that come in any order, of several series at once, and where nobody needs to look at every row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from presage.bars import build_bars
from presage.bars.aggregate import combine
from presage.bars.periods import periods_between
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.spec.base import Frequency, parse_frequency
from presage.spec.sources import Source

NOW = datetime(2030, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
SOURCE = Source.model_validate(
    {"name": "x", "frequency": "1h", "availability": {"lag": "0s"}, "file": {"uri": "x.csv"}}
)
VINTAGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 80), st.integers(1, 40), st.floats(-1e3, 1e3) | st.none()),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[:3],
)


def rows_of(vintages: list[tuple[str, int, int, float | None]]) -> pl.DataFrame:
    made = [
        (name, START + timedelta(hours=hour), START + timedelta(hours=hour + later), value, value)
        for name, hour, later, value in vintages
    ]
    schema = {SERIES: pl.String, TIME: TIMESTAMP, KNOWN_AT: TIMESTAMP, "high": pl.Float64, "other": pl.Float64}
    return pl.DataFrame(made, schema=schema, orient="row")


def bars_of(rows: pl.DataFrame, length: str) -> pl.DataFrame:
    # A row far behind closes all bars before it.
    last = rows.group_by(SERIES).agg(pl.lit(START + timedelta(days=30)).alias(TIME)).sort(SERIES)
    last = last.with_columns(
        pl.col(TIME).cast(TIMESTAMP), (pl.col(TIME) + timedelta(hours=1)).cast(TIMESTAMP).alias(KNOWN_AT)
    )
    every = pl.concat([rows, last], how="diagonal")
    return build_bars(SOURCE, every, frequency=parse_frequency(length), calendar="Auto", now=NOW).rows


@settings(deadline=None)
@given(vintages=VINTAGES, data=st.data(), length=st.sampled_from(["1h", "5h", "1d", "1w"]))
def test_bars_do_not_depend_on_the_order_of_rows(vintages, data, length):
    rows = rows_of(vintages)
    ordered = bars_of(rows.sort(KEY), length)
    assert_frame_equal(bars_of(rows, length), ordered)
    shuffled = data.draw(st.permutations(range(rows.height)))
    assert_frame_equal(bars_of(rows[shuffled], length), ordered)


@settings(deadline=None)
@given(vintages=VINTAGES, length=st.sampled_from(["5h", "1d"]))
def test_the_bars_of_each_series_are_those_that_it_has_alone(vintages, length):
    rows = rows_of(vintages).sort(KEY)
    alone = [bars_of(part, length) for part in rows.partition_by(SERIES, maintain_order=True)]
    assert_frame_equal(bars_of(rows, length), pl.concat(alone))


@settings(deadline=None)
@given(
    minutes=st.lists(st.integers(0, 20_000), min_size=1, max_size=50).map(sorted),
    length=st.sampled_from(["7m", "1h", "1d", "3d", "1w", "1mo"]),
    zone=st.sampled_from(["UTC", "America/New_York"]),
)
def test_ascending_times_start_periods_where_their_numbers_change(minutes, length, zone):
    times = pl.Series([START + timedelta(minutes=minute) for minute in minutes], dtype=TIMESTAMP).to_numpy()
    periods = periods_between(START, START + timedelta(minutes=20_000), parse_frequency(length), zone)
    places, numbers = periods.starts(times)
    every = periods.number(times)
    assert places.tolist() == [place for place in range(len(times)) if place == 0 or every[place] != every[place - 1]]
    assert numbers.tolist() == every[places].tolist()


@pytest.mark.parametrize("length", ["1m", "7h", "1d", "3d", "1w", "2w", "1mo"])
@pytest.mark.parametrize("last", [START, START + timedelta(days=40), datetime(2025, 3, 1, tzinfo=UTC)], ids=str)
def test_the_periods_of_utc_are_those_of_a_zone_that_is_always_at_it(length, last):
    frequency: Frequency = parse_frequency(length)
    plain = periods_between(START + timedelta(hours=5), last + timedelta(hours=5), frequency, "UTC")
    other = periods_between(START + timedelta(hours=5), last + timedelta(hours=5), frequency, "Africa/Abidjan")
    assert plain.edges.dtype == other.edges.dtype
    assert plain.edges.tolist() == other.edges.tolist()
    assert plain.first.tolist() == other.first.tolist()


@pytest.mark.parametrize("how", ["first", "last", "min", "max", "mean", "sum"])
def test_values_without_a_hole_give_the_bits_that_they_give_beside_one(how):
    values = np.random.default_rng(3).normal(size=1_000)
    starts = np.array([0, 1, 4, 500, 990])
    beside = combine(np.append(values, np.nan), np.append(starts, 1_000), how)
    assert combine(values, starts, how).tobytes() == beside[:-1].tobytes()
