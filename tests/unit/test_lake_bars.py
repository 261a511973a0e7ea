"""Bars that are made month by month are those that are made of all rows at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from lake_rows import minutes_of_2016

from presage.bars import build_bars
from presage.bars.stream import build_bars_of_parts
from presage.errors import DataError
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.plans import split_by_month
from presage.spec.base import parse_frequency
from presage.spec.sources import Source

NOW = datetime(2016, 12, 20, 7, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def minutes(shared_data) -> pl.DataFrame:
    """Real one-minute rows of two markets of 2016, whose April and May lack, and some of them revised."""
    rows = minutes_of_2016(shared_data)
    revised = rows.sample(3000, seed=1).with_columns(pl.col(KNOWN_AT) + timedelta(hours=30), pl.col("high") * 1.01)
    early = rows.sample(200, seed=2).with_columns(pl.col(KNOWN_AT) + timedelta(days=40), pl.col("close") * 0.99)
    return pl.concat([rows, revised, early]).unique(KEY, keep="first").filter(pl.col(KNOWN_AT) <= NOW).sort(KEY)


def source(zone: str = "UTC", **others: object) -> Source:
    return Source.model_validate(
        {
            "name": "x",
            "file": {"uri": "x.csv"},
            "frequency": "1m",
            "availability": {"lag": "10m"},
            "timeZone": zone,
            "fill": {"method": "Forward", "limit": 2},
            **others,
        }
    )


def parts(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return [part for _, part in reversed(split_by_month(rows))]


@pytest.mark.parametrize(
    ("frequency", "zone"),
    [("1d", "UTC"), ("1d", "America/New_York"), ("1w", "UTC"), ("1mo", "Asia/Tokyo"), ("2mo", "UTC"), ("7h", "UTC")],
)
def test_months_give_the_bars_of_the_whole(minutes, frequency, zone):
    how = {"frequency": parse_frequency(frequency), "calendar": "Auto", "now": NOW, "duplicates": 3}
    whole = build_bars(source(zone), minutes, **how)
    made = build_bars_of_parts(source(zone), parts(minutes), **how)
    assert made.rows.equals(whole.rows)
    assert (made.gaps, made.calendar, made.frequency) == (whole.gaps, whole.calendar, whole.frequency)
    assert (made.source, made.duplicates, made.time_zone) == (whole.source, 3, zone)


def test_rows_that_are_bars_are_taken_as_they_are(minutes):
    few = minutes.filter(pl.col(TIME) >= datetime(2016, 11, 25, tzinfo=UTC))
    how = {"frequency": parse_frequency("1m"), "calendar": "Auto", "now": NOW}
    assert build_bars_of_parts(source(), parts(few), **how).rows.equals(build_bars(source(), few, **how).rows)


def test_a_row_that_is_known_late_does_not_close_a_bar_early_or_late(minutes):
    # The first row behind a seam is known a week late, the one behind it in time: that one closes the month's last day.
    october = minutes.filter(pl.col(TIME).dt.month() == 10)
    rows = october.filter(pl.col(SERIES) == "BTCUSD").unique((SERIES, TIME), keep="first").sort(KEY)
    november = datetime(2016, 11, 1, tzinfo=UTC)
    behind = rows.head(2).with_columns(
        pl.Series(TIME, [november, november + timedelta(minutes=1)], dtype=TIMESTAMP),
        pl.Series(KNOWN_AT, [november + timedelta(days=7), november + timedelta(minutes=2)], dtype=TIMESTAMP),
    )
    rows = pl.concat([rows, behind])
    how = {"frequency": parse_frequency("1d"), "calendar": "Auto", "now": NOW}
    made = build_bars_of_parts(source(), parts(rows), **how).rows
    assert made.equals(build_bars(source(), rows, **how).rows)
    assert made[KNOWN_AT].max() == november + timedelta(minutes=10)


def test_without_a_closed_bar_there_is_an_error(minutes):
    how = {"frequency": parse_frequency("1d"), "calendar": "Auto", "now": NOW}
    with pytest.raises(DataError, match="none makes a closed bar"):
        build_bars_of_parts(source(), [minutes.clear()], **how)
    with pytest.raises(DataError, match="none makes a closed bar"):
        build_bars_of_parts(source(), parts(minutes.head(5)), **how)
    with pytest.raises(DataError, match="aggregation names the column 'none'"):
        build_bars_of_parts(source(aggregation={"none": "sum"}), parts(minutes), **how)
