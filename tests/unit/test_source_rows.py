"""How a table's cells become rows: numbers, times, publication, what is missing and what cannot be true."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from source_case import asked

from presage.errors import DataError
from presage.frame import KNOWN_AT, SERIES, TIME, TIMESTAMP, value_columns
from presage.sources.contract import Part, Table
from presage.sources.periods import period_ends, period_starts
from presage.sources.rows import SourceRows, read_rows, to_rows
from presage.spec.base import parse_frequency
from presage.spec.periods import period_end, period_start
from presage.spec.sources import Source

HEADER = "Date,Open,High,Low,Close"


def declare(**fields: object) -> Source:
    defaults = {"name": "btc", "time": "Date", "availability": {"lag": "0s"}, "file": {"uri": "prices.csv"}}
    return Source.model_validate(defaults | fields)


def read(data: dict[str, list[object]], frequency: str = "1d", **fields: object) -> SourceRows:
    """Rows of a table that stands in `prices.csv` with one header line."""
    frame = pl.DataFrame(data, strict=False)
    table = Table(frame, (Part("prices.csv", frame.height, 2),))
    return to_rows(declare(**fields), table, frequency=parse_frequency(frequency))


def refusal(data: dict[str, list[object]], frequency: str = "1d", **fields: object) -> str:
    with pytest.raises(DataError) as raised:
        read(data, frequency, **fields)
    assert raised.value.remedy
    return str(raised.value)


def clock(text: str) -> datetime:
    return datetime.fromisoformat(text)


def at(text: str) -> datetime:
    return clock(text).replace(tzinfo=UTC)


# Times


@pytest.mark.parametrize(
    ("cell", "fields", "start"),
    [
        ("2020-03-01", {}, "2020-03-01T00:00"),
        ("2020-03", {}, "2020-03-01T00:00"),
        ("2020-03-01T12:34", {}, "2020-03-01T12:34"),
        ("2020-03-01 12:34:56", {}, "2020-03-01T12:34"),
        ("2020-03-01T12:34:56.789012", {}, "2020-03-01T12:34"),
        ("2020-03-01T12:34:56Z", {"timeZone": "Asia/Tokyo"}, "2020-03-01T12:34"),
        ("2020-03-01 12:34:56+01:00", {}, "2020-03-01T11:34"),
        ("2020-03-01 12:34:56 -0500", {}, "2020-03-01T17:34"),
        ("2020-03-01 12:34:56 UTC", {}, "2020-03-01T12:34"),
        (" 2020-03-01 12:34 ", {"timeZone": "Asia/Tokyo"}, "2020-03-01T03:34"),
        ("3/1/2020", {"timeFormat": "%m/%d/%Y"}, "2020-03-01T00:00"),
        ("Mar 2020", {"timeFormat": "%b %Y"}, "2020-03-01T00:00"),
        ("2020-03-01 03-PM", {"timeFormat": "%Y-%m-%d %I-%p"}, "2020-03-01T15:00"),
        ("01.03.2020 12:34", {"timeFormat": "%d.%m.%Y %H:%M", "timeZone": "Europe/Berlin"}, "2020-03-01T11:34"),
        ("01.03.2020 12:34 +0200", {"timeFormat": "%d.%m.%Y %H:%M %z"}, "2020-03-01T10:34"),
        ("20200301", {"timeFormat": "%Y%m%d"}, "2020-03-01T00:00"),
        (20200301, {"timeFormat": "%Y%m%d"}, "2020-03-01T00:00"),
        (1583066040, {"timeUnit": "s"}, "2020-03-01T12:34"),
        ("1583066040", {"timeUnit": "s"}, "2020-03-01T12:34"),
        ("1583066040.5", {"timeUnit": "s"}, "2020-03-01T12:34"),
        (1583066040000, {"timeUnit": "ms"}, "2020-03-01T12:34"),
        (1583066040000000, {"timeUnit": "us"}, "2020-03-01T12:34"),
        (1583066040000000000, {"timeUnit": "ns"}, "2020-03-01T12:34"),
        (1583066040.0, {"timeUnit": "s"}, "2020-03-01T12:34"),
        (date(2020, 3, 1), {}, "2020-03-01T00:00"),
        (date(2020, 3, 1), {"timeZone": "America/New_York"}, "2020-03-01T05:00"),
        (clock("2020-03-01T12:34"), {"timeZone": "America/New_York"}, "2020-03-01T17:34"),
        (at("2020-03-01T12:34"), {"timeZone": "America/New_York"}, "2020-03-01T12:34"),
    ],
)
def test_a_time_becomes_the_start_of_its_minute_in_utc(cell, fields, start):
    rows = read({"Date": [cell], "Close": [1.0]}, "1m", **fields).rows
    assert rows[TIME].to_list() == [at(start)]
    assert rows[TIME].dtype == TIMESTAMP
    # The seconds of a time within its minute put off the end of the row's own minute.
    assert timedelta(minutes=1) <= rows[KNOWN_AT][0] - at(start) < timedelta(minutes=2)


@pytest.mark.parametrize(
    ("cell", "label", "frequency", "zone", "period"),
    [
        ("2020-03-05T14:59", "PeriodStart", "1h", "UTC", ("2020-03-05T14:00", "2020-03-05T15:59")),
        ("2020-03-05T15:00", "PeriodEnd", "1h", "UTC", ("2020-03-05T14:00", "2020-03-05T15:00")),
        ("2020-03-05T14:30", "PeriodEnd", "1h", "UTC", ("2020-03-05T14:00", "2020-03-05T15:00")),
        ("2020-03-05", "PeriodEnd", "1h", "UTC", ("2020-03-04T23:00", "2020-03-05T00:00")),
        ("2020-03-05", "PeriodEnd", "1d", "UTC", ("2020-03-05T00:00", "2020-03-06T00:00")),
        ("2020-03-05T00:00", "PeriodEnd", "1d", "UTC", ("2020-03-04T00:00", "2020-03-05T00:00")),
        ("2020-03-05T16:00", "PeriodEnd", "1d", "UTC", ("2020-03-05T00:00", "2020-03-06T00:00")),
        ("2020-03-31", "PeriodEnd", "1mo", "UTC", ("2020-03-01T00:00", "2020-04-01T00:00")),
        ("2020-03-31", "PeriodEnd", "3mo", "UTC", ("2020-01-01T00:00", "2020-04-01T00:00")),
        ("2020-03-08", "PeriodEnd", "1w", "UTC", ("2020-03-02T00:00", "2020-03-09T00:00")),
        ("2020-03-29", "PeriodStart", "1d", "Europe/Berlin", ("2020-03-28T23:00", "2020-03-29T22:00")),
        ("2020-11-01T01:30", "PeriodStart", "1h", "America/New_York", ("2020-11-01T05:00", "2020-11-01T06:30")),
    ],
)
def test_a_label_names_a_period(cell, label, frequency, zone, period):
    rows = read({"Date": [cell], "Close": [1.0]}, frequency, timeLabel=label, timeZone=zone).rows
    assert rows.select(TIME, KNOWN_AT).row(0) == (at(period[0]), at(period[1]))


def test_dates_and_times_of_day_may_stand_in_one_column():
    rows = read({"Date": ["2020-03-01", "2020-03-02 00:00", "2020-03-03T00:00:00.0"], "Close": [1.0, 2.0, 3.0]}).rows
    assert rows[TIME].dt.date().to_list() == [date(2020, 3, 1), date(2020, 3, 2), date(2020, 3, 3)]


@pytest.mark.parametrize(
    ("cells", "fields", "words"),
    [
        (
            ["2020-03-01T00:00", "2020-03-02T00:00", "2020-03-03T00:00Z"],
            {},
            ["line 4", "'2020-03-03T00:00Z' has an offset", "`timeZone`"],
        ),
        (
            ["2020-03-01T00:00+01:00", "2020-03-02", "2020-03-03"],
            {},
            ["line 3", "'2020-03-02' has no offset", "have one"],
        ),
        (
            ["2021-03-28T01:30", "2021-03-28T02:30"],
            {"timeZone": "Europe/Berlin"},
            ["line 3", "2021-03-28 02:30:00 does not exist in Europe/Berlin", "`timeZone`"],
        ),
        (["2020-03-01", "yesterday"], {}, ["line 3", "'yesterday' is no time in ISO 8601", "`timeFormat`"]),
        (["2020-03-01", "2020-02-30"], {}, ["line 3", "'2020-02-30' is no time"]),
        (["2020-03-01", None], {}, ["line 3", "the row has no time"]),
        (["3/1/2020", "13/1/2020"], {"timeFormat": "%m/%d/%Y"}, ["line 3", "'13/1/2020'", "`timeFormat` says"]),
        (["1583066040000"], {}, ["line 2", "is a number", "`timeUnit`"]),
        ([1583066040000], {}, ["column 'Date'", "holds numbers", "`timeUnit`"]),
        ([1583066040000], {"timeUnit": "s"}, ["line 2", "1583066040000 is no time", "in s since", "`timeUnit` says"]),
        ([True], {}, ["Boolean, which is no time"]),
        (["2020-03-01 12:00 EST"], {"timeFormat": "%Y-%m-%d %H:%M %Z"}, ["%Z", "`timeZone`"]),
        (["2020-03-01"], {"timeZone": "Europe/Atlantis"}, ["no time zone 'Europe/Atlantis'", "IANA"]),
        ([date(9999, 1, 1)], {}, ["9999", "is no time"]),
    ],
)
def test_times_that_cannot_be_read_are_refused_with_their_row(cells, fields, words):
    message = refusal({"Date": cells, "Close": [1.0] * len(cells)}, "1h", **fields)
    for word in ["source 'btc'", *words]:
        assert word in message


def test_a_day_without_a_midnight_begins_with_its_first_moment():
    # In Beirut the clock went forward at midnight that day, so it began at 01:00.
    rows = read({"Date": ["2020-03-29"], "Close": [1.0]}, timeZone="Asia/Beirut").rows
    assert rows[TIME].to_list() == [at("2020-03-28T22:00")]


def test_the_frequency_of_a_source_goes_before_that_of_the_job():
    table = Table(pl.DataFrame({"Date": ["2020-03-01"], "Close": [1.0]}), (Part("prices.csv", 1, 2),))
    monthly = to_rows(declare(frequency="1mo"), table, frequency=parse_frequency("1d"))
    assert monthly.rows.select(TIME, KNOWN_AT).row(0) == (at("2020-03-01"), at("2020-04-01"))


def test_an_hour_that_the_clock_shows_twice_is_the_earlier_one():
    rows = read({"Date": ["2021-10-31T02:30"], "Close": [1.0]}, "30m", timeZone="Europe/Berlin").rows
    assert rows[TIME].to_list() == [at("2021-10-31T00:30")]


@given(
    moment=st.datetimes(clock("1900-01-01"), clock("2100-01-01"), timezones=st.just(UTC)),
    frequency=st.sampled_from(["1m", "7m", "90m", "1h", "5h", "1d", "3d", "1w", "2w", "1mo", "3mo", "5mo"]),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"]),
)
def test_periods_of_a_column_are_those_of_each_moment(moment, frequency, zone):
    period = parse_frequency(frequency)
    column = pl.Series([moment, None, moment + timedelta(hours=1)], dtype=TIMESTAMP)
    starts = period_starts(column, period, zone)
    ends = period_ends(starts, period, zone)
    expected = [None if one is None else period_start(one, period, zone) for one in column]
    assert starts.to_list() == expected
    assert ends.to_list() == [None if one is None else period_end(one, period, zone) for one in expected]


# When rows were known


def test_the_lag_is_counted_from_the_end_of_the_period():
    rows = read({"Date": ["2020-02"], "Close": [1.0]}, "1mo", availability={"lag": "15d"}).rows
    assert rows[KNOWN_AT].to_list() == [at("2020-03-16")]


def test_a_time_of_publication_takes_the_place_of_the_lag():
    rows = read(
        {"Date": ["2020-01", "2020-02"], "out": ["2020-02-14T13:30", "2020-03-13T12:30"], "Close": [1.0, 2.0]},
        "1mo",
        availability={"lag": "30d", "column": "out"},
    ).rows
    assert rows[KNOWN_AT].to_list() == [at("2020-02-14T13:30"), at("2020-03-13T12:30")]
    assert value_columns(rows) == ["Close"]


def test_a_date_of_publication_counts_as_the_end_of_that_day():
    rows = read(
        {"Date": ["2020-01", "2020-02"], "out": ["2020-02-14", "2020-03-13T12:30"], "Close": [1.0, 2.0]},
        "1mo",
        availability={"lag": "0s", "column": "out"},
        timeZone="America/New_York",
    ).rows
    assert rows[KNOWN_AT].to_list() == [at("2020-02-15T05:00"), at("2020-03-13T16:30")]


def test_two_publications_of_one_period_are_two_rows():
    told = {"Date": ["2020-01", "2020-01"], "out": ["2020-03-14", "2020-02-14"], "Close": [2.0, 1.0]}
    read_back = read(told, "1mo", availability={"lag": "0s", "column": "out"})
    assert read_back.duplicates == 0
    assert read_back.rows["Close"].to_list() == [1.0, 2.0]


def test_a_publication_before_the_end_of_its_period_is_refused():
    told = {"Date": ["2020-01", "2020-02"], "out": ["2020-02-14", "2020-02-14"], "Close": [1.0, 2.0]}
    message = refusal(told, "1mo", availability={"lag": "0s", "column": "out"})
    for word in ("source 'btc'", "line 3", "'out'", "2020-02-15T00:00Z", "2020-03-01T00:00Z", "`timeLabel`"):
        assert word in message


def test_a_missing_publication_is_a_row_that_cannot_be_true():
    told = {"Date": ["2020-01", "2020-02"], "out": ["2020-02-14", None], "Close": [1.0, 2.0]}
    availability = {"lag": "0s", "column": "out"}
    assert "line 3, column 'out': the row has no time" in refusal(told, "1mo", availability=availability)
    assert read(told, "1mo", availability=availability, invalidRows="Drop").dropped == 1


# Numbers and columns


def test_without_a_column_map_what_is_mostly_numbers_is_kept_under_its_name():
    rows = read(
        {
            "Date": ["2020-03-01", "2020-03-02", "2020-03-03"],
            "Symbol": ["BTC", "BTC", "1"],
            "Close": ["1", " 2.5 ", "-3e2"],
            "Trades": [5, None, 7],
            "Empty": [None, None, None],
            "": [0, 1, 2],
            "When": [date(2020, 3, 1)] * 3,
        }
    ).rows
    assert value_columns(rows) == ["Close", "Trades", "Empty"]
    assert rows["Close"].to_list() == [1.0, 2.5, -300.0]
    assert rows["Trades"].to_list() == [5.0, None, 7.0]


def test_a_series_column_tells_series_apart():
    rows = read({"Date": ["2020-03-01", "2020-03-01"], "ticker": ["B", "A"], "Close": [2.0, 1.0]}, series="ticker").rows
    assert rows[SERIES].to_list() == ["A", "B"]
    assert rows["Close"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("data", "fields", "words"),
    [
        ({"Name": ["a"]}, {}, ["no column holds numbers", "`columns`"]),
        ({"Name": ["a"], "filled": [1.0]}, {}, ["cannot be called 'filled'", "filled_value"]),
        ({"Close": [1.0]}, {"columns": {"known_at": "Close"}}, ["cannot be called 'known_at'"]),
        ({"Close": [date(2020, 1, 1)]}, {"columns": {"Close": "Close"}}, ["'Close' holds Date", "`columns`"]),
        ({"Close": [1.0], "ticker": [None]}, {"series": "ticker"}, ["line 2", "'ticker'", "names no series"]),
    ],
)
def test_columns_that_cannot_be_used_are_refused(data, fields, words):
    message = refusal({"Date": ["2020-03-01"]} | data, **fields)
    for word in ["source 'btc'", *words]:
        assert word in message


# What is missing


def test_a_row_without_a_value_is_left_out_and_not_counted():
    told = {
        "Date": ["2020-03-01", "2020-03-02", "2020-03-03", None, "Source: an exchange"],
        "Open": ["1", "", None, None, None],
        "Close": ["1", " ", "nan", None, None],
    }
    read_back = read(told)
    assert read_back.rows[TIME].to_list() == [at("2020-03-01")]
    assert (read_back.duplicates, read_back.dropped) == (0, 0)


def test_single_missing_cells_are_null():
    rows = read({"Date": ["2020-03-01", "2020-03-02"], "Open": [1.0, float("nan")], "Close": ["", "2"]}).rows
    assert rows["Open"].to_list() == [1.0, None]
    assert rows["Close"].to_list() == [None, 2.0]


@pytest.mark.parametrize(("cells", "words"), [([], "there are no rows"), ([None, None], "no row has a value")])
def test_a_source_without_values_is_refused(cells, words):
    data = {"Date": ["2020-03-01", "2020-03-02"][: len(cells)], "Close": pl.Series(cells, dtype=pl.Float64)}
    message = refusal(data)
    assert "source 'btc', prices.csv" in message
    assert words in message


# What cannot be true


BROKEN = [
    ("Close", "n/k", "'n/k' is no number"),
    ("Close", "1,234.5", "'1,234.5' is no number"),
    ("Close", "inf", "'inf' is infinite"),
    ("Open", "-Infinity", "'-Infinity' is infinite"),
    ("High", "1e999", "'1e999' is infinite"),
    ("High", "8.5", "High 8.5 is below Low 9"),
    ("Open", "12.5", "Open 12.5 is above High 12"),
    ("Open", "8.5", "Open 8.5 is below Low 9"),
    ("Close", "12.5", "Close 12.5 is above High 12"),
    ("Close", "8.5", "Close 8.5 is below Low 9"),
    ("Date", "soon", "'soon' is no time"),
]


def days(count: int) -> dict[str, list[object]]:
    dates = [(date(2020, 3, 1) + timedelta(days=day)).isoformat() for day in range(count)]
    prices = {"Open": "10", "High": "12", "Low": "9", "Close": "11"}
    return {"Date": dates} | {name: [price] * count for name, price in prices.items()}


@pytest.mark.parametrize(("column", "cell", "words"), BROKEN)
def test_a_row_that_cannot_be_true_is_refused_by_default(column, cell, words):
    told = days(6)
    told[column][3] = cell
    message = refusal(told)
    assert message.startswith("source 'btc', prices.csv, line 5, column ")
    assert words in message
    assert "invalidRows: Drop" in message
    assert "cannot be true either" not in message


@pytest.mark.parametrize(("column", "cell", "words"), BROKEN)
def test_a_row_that_cannot_be_true_can_be_dropped_and_is_counted(column, cell, words):
    told = days(6)
    told[column][3] = cell
    read_back = read(told, invalidRows="Drop")
    assert (read_back.dropped, read_back.duplicates) == (1, 0)
    assert_frame_equal(read_back.rows, read({name: cells[:3] + cells[4:] for name, cells in days(6).items()}).rows)


def test_the_first_of_several_bad_rows_is_named_and_the_others_are_counted():
    told = days(9)
    told["Close"][7] = "x"
    told["High"][2] = "inf"
    told["Low"][5] = told["Open"][5] = "-inf"
    assert "line 4, column 'High': 'inf' is infinite. 2 more rows of 9 cannot be true either." in refusal(told)
    assert read(told, invalidRows="Drop").dropped == 3


def test_names_of_prices_are_told_in_any_case_and_after_renaming():
    told = days(2)
    told["High"][1] = "9.5"
    renamed = {"HIGH": "High", "low": "Low", "oPen": "Open"}
    assert "column 'Open': Open 10 is above High 9.5" in refusal(told, columns=renamed)
    assert read(told, columns={"top": "High", "Open": "Open"}).dropped == 0


def test_rounding_does_not_break_the_order_of_prices():
    told = days(2)
    told["Close"][1] = "12.000000001"
    assert read(told).dropped == 0
    told["Close"][1] = "12.0000001"
    assert "above High" in refusal(told)


def test_negative_prices_can_be_true():
    told = {"Date": ["2020-04-20"], "Open": [17.73], "High": [17.85], "Low": [-40.32], "Close": [-37.63]}
    assert read(told).rows["Close"].to_list() == [-37.63]


def test_dropping_every_row_is_refused():
    told = days(3)
    told["Close"] = ["inf"] * 3
    message = refusal(told, invalidRows="Drop")
    assert "2 more rows of 3" in message
    assert "No row would be left" in message


# Duplicates


def test_of_rows_with_one_key_the_last_of_the_source_is_kept():
    told = {"Date": ["2020-03-02", "2020-03-01", "2020-03-02", "2020-03-02"], "Close": [1.0, 5.0, 2.0, None]}
    read_back = read(told)
    assert read_back.duplicates == 1
    assert read_back.rows["Close"].to_list() == [5.0, 2.0]


def test_a_source_given_twice_over_counts_its_duplicates():
    told = days(200)
    twice = {name: cells * 2 for name, cells in told.items()}
    read_back = read(twice)
    assert read_back.duplicates == 200
    assert_frame_equal(read_back.rows, read(told).rows)


def test_rows_finer_than_declared_are_refused():
    minutes = [at("2020-03-01") + timedelta(minutes=minute) for minute in range(3000)]
    told = {"Date": minutes, "Close": [1.0] * 3000}
    message = refusal(told, "1d")
    assert "3000 times fall into 3 periods" in message
    assert "`frequency`" in message
    assert read(told, "1m").rows.height == 3000


def test_series_that_nothing_tells_apart_are_refused():
    told = days(50)
    panel = {name: cells * 3 for name, cells in told.items()} | {"Volume": list(range(150))}
    message = refusal(panel)
    assert "150 rows that differ have only 50 times" in message
    assert "`series`" in message


# Places


def test_a_line_is_counted_right_below_cells_with_line_breaks(tmp_path):
    (tmp_path / "prices.csv").write_text(
        'banner\n\nDate,note,Close\n2020-03-01,"two\nlines",1\n2020-03-02,,x\n2020-03-03,,3\n'
    )
    with pytest.raises(DataError, match=r"line 6, column 'Close': 'x' is no number"):
        read_rows(declare(file={"uri": "prices.csv", "skipRows": 1}), asked(tmp_path, parse_frequency("1d")))


# Real data


def test_kraken_has_a_banner_and_its_newest_row_first(shared_data):
    kraken = declare(file={"uri": "kraken_daily/Kraken_BTCUSD_d.csv", "skipRows": 1})
    read_back = read_rows(kraken, asked(shared_data, parse_frequency("1d")))
    assert (read_back.rows.height, read_back.duplicates, read_back.dropped) == (2191, 0, 0)
    assert value_columns(read_back.rows) == ["Open", "High", "Low", "Close", "Volume BTC", "Volume USD"]
    assert read_back.rows.select(TIME, "Open", "Close").row(-1) == (at("2019-10-17"), 8000.0, 8030.3)
    assert read_back.rows[TIME].is_sorted()


def test_bitfinex_has_close_before_high_and_counts_milliseconds(shared_data):
    bitfinex = declare(
        file={"uri": "bitfinex_1m/bitfinex_BTCUSD_1m_2015*.csv.gz"},
        time="timestamp_ms",
        timeUnit="ms",
        columns={"open": "open", "high": "high", "low": "low", "close": "close"},
    )
    read_back = read_rows(bitfinex, asked(shared_data, parse_frequency("1m")))
    assert (read_back.rows.height, read_back.duplicates, read_back.dropped) == (366710, 0, 0)
    with gzip.open(shared_data / "bitfinex_1m" / "bitfinex_BTCUSD_1m_2015.csv.gz", "rt") as lines:
        first = next(csv.DictReader(lines))
    assert read_back.rows.row(0, named=True) == {
        "series": "btc",
        "time": datetime.fromtimestamp(int(first["timestamp_ms"]) / 1000, UTC),
        "known_at": datetime.fromtimestamp(int(first["timestamp_ms"]) / 1000 + 60, UTC),
        **{name: float(first[name]) for name in ("open", "high", "low", "close")},
    }


def test_the_blank_days_of_eth_become_gaps(shared_data):
    eth = declare(file={"uri": "yahoo_macro_daily/garve_ETH-USD.csv.gz"})
    read_back = read_rows(eth, asked(shared_data, parse_frequency("1d")))
    assert (read_back.rows.height, read_back.dropped) == (2298, 0)
    steps = read_back.rows[TIME].diff().drop_nulls()
    assert (steps > timedelta(days=1)).sum() > 0
    assert int(steps.sum() / timedelta(days=1)) + 1 == 2302


def test_the_blanks_of_fred_are_no_rows(shared_data):
    fred = declare(file={"uri": "fred_macro/DGS10_to2023.csv.gz"}, time="date", availability={"lag": "1d"})
    rows = read_rows(fred, asked(shared_data, parse_frequency("1d"))).rows
    with gzip.open(shared_data / "fred_macro" / "DGS10_to2023.csv.gz", "rt") as lines:
        told = [row for row in csv.DictReader(lines) if row["value"]]
    assert rows["value"].to_list() == [float(row["value"]) for row in told]
    assert rows[TIME].dt.date().to_list() == [date.fromisoformat(row["date"]) for row in told]


def test_the_47_broken_rows_of_the_vix_are_named_or_dropped(shared_data):
    vix = declare(name="vix", file={"uri": "vix_cboe/vix-daily_to2023.csv.gz"}, time="DATE")
    with gzip.open(shared_data / "vix_cboe" / "vix-daily_to2023.csv.gz", "rt") as lines:
        told = [
            {name: cell if name == "DATE" else float(cell) for name, cell in row.items()}
            for row in csv.DictReader(lines)
        ]
    broken = [
        line
        for line, row in enumerate(told, start=2)
        if not (row["LOW"] <= row["OPEN"] <= row["HIGH"] and row["LOW"] <= row["CLOSE"] <= row["HIGH"])
    ]
    assert len(broken) == 47
    with pytest.raises(DataError) as raised:
        read_rows(vix, asked(shared_data, parse_frequency("1d")))
    assert f"source 'vix', vix_cboe/vix-daily_to2023.csv.gz, line {broken[0]}, column 'OPEN'" in str(raised.value)
    assert "46 more rows" in str(raised.value)
    drop = vix.model_copy(update={"invalid_rows": "Drop"})
    read_back = read_rows(drop, asked(shared_data, parse_frequency("1d")))
    assert (read_back.dropped, read_back.rows.height) == (47, len(told) - 47)


def test_a_panel_of_stocks_has_a_series_a_ticker(shared_data):
    stocks = declare(
        file={"uri": "sp500_stocks_5yr/sp500_stocks_5yr.csv.gz"}, time="date", series="Name", invalidRows="Drop"
    )
    read_back = read_rows(stocks, asked(shared_data, parse_frequency("1d")))
    assert read_back.rows[SERIES].n_unique() == 134
    assert read_back.dropped == 1
    with pytest.raises(DataError, match="`series`"):
        read_rows(stocks.model_copy(update={"series": None}), asked(shared_data, parse_frequency("1d")))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("close", "Close"), "the columns 'close' and 'Close' differ in case only"),
        (("Known_At",), "a value column cannot be called 'Known_At'"),
        (("a\0b",), "zero character"),
    ],
)
def test_names_that_a_table_cannot_keep_are_refused(names: tuple[str, ...], words: str) -> None:
    assert words in refusal({"Date": ["2020-01-01"], **{name: [1.0] for name in names}})


# Rows that are not what their frequency says


@pytest.mark.parametrize(
    ("cell", "frequency", "fields", "start", "known"),
    [
        ("2020-03-02T22:00Z", "1d", {}, "2020-03-02T00:00", "2020-03-03T22:00"),
        ("2020-03-07", "1w", {}, "2020-03-02T00:00", "2020-03-14T00:00"),
        ("2020-03-08", "1w", {"availability": {"lag": "1d"}}, "2020-03-02T00:00", "2020-03-16T00:00"),
        ("2020-03-02T10:30", "1h", {}, "2020-03-02T10:00", "2020-03-02T11:30"),
        ("2020-01-31", "1mo", {}, "2020-01-01T00:00", "2020-02-29T00:00"),
        ("2020-03-07T17:00", "1d", {"timeZone": "America/New_York"}, "2020-03-07T05:00", "2020-03-08T21:00"),
        ("2020-03-07T02:30", "1d", {"timeZone": "America/New_York"}, "2020-03-07T05:00", "2020-03-08T07:30"),
        ("2020-10-31T01:30", "1d", {"timeZone": "America/New_York"}, "2020-10-31T04:00", "2020-11-01T06:30"),
        ("2020-03-02", "1d", {}, "2020-03-02T00:00", "2020-03-03T00:00"),
        ("2020-03-02", "1w", {}, "2020-03-02T00:00", "2020-03-09T00:00"),
        ("2020-03-01", "1mo", {}, "2020-03-01T00:00", "2020-04-01T00:00"),
        ("2020-03-07", "1w", {"timeLabel": "PeriodEnd"}, "2020-03-02T00:00", "2020-03-09T00:00"),
        ("2020-03-02T22:00Z", "1d", {"timeLabel": "PeriodEnd"}, "2020-03-02T00:00", "2020-03-03T00:00"),
    ],
)
def test_no_row_is_known_before_its_own_period_has_ended(cell, frequency, fields, start, known):
    rows = read({"Date": [cell], "Close": [1.0]}, frequency, **fields).rows
    assert rows.row(0)[1:3] == (at(start), at(known))


def test_a_publication_within_the_rows_own_period_is_refused():
    data = {"Date": ["2020-03-07"], "Close": [1.0], "out": ["2020-03-10"]}
    assert "before its period ends at 2020-03-14T00:00Z" in refusal(
        data, "1w", availability={"lag": "0s", "column": "out"}
    )


def test_of_rows_within_one_period_the_last_is_kept_whatever_their_own_ends():
    read_twice = read({"Date": ["2020-03-02T10:00", "2020-03-02T11:00"], "Close": [1.0, 2.0]})
    assert read_twice.duplicates == 1
    assert read_twice.rows.select(KNOWN_AT, "Close").rows() == [(at("2020-03-03T11:00"), 2.0)]


def every(step: str, count: int) -> dict[str, list[object]]:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    moments = pl.select(pl.lit(first).dt.offset_by(pl.format(step, pl.int_range(count)))).to_series()
    return {"Date": moments.to_list(), "Close": [1.0] * count}


@pytest.mark.parametrize(
    ("step", "frequency", "words", "likely"),
    [
        ("{}mo", "1d", "its rows are about 31 days apart, but its frequency is the job's, 1d", "such as 1mo"),
        ("{}w", "1d", "about 7 days apart", "such as 1w"),
        ("{}q", "1mo", "about 91 days apart", "such as 3mo"),
        ("{}d", "1h", "about 1 day apart", "such as 1d"),
        ("{}h", "1m", "about 1 hour apart", "such as 1h"),
    ],
)
def test_rows_rarer_than_the_frequency_of_the_job_are_refused(step, frequency, words, likely):
    with pytest.raises(DataError) as raised:
        read(every(step, 30), frequency)
    assert words in str(raised.value)
    assert likely in str(raised.value.remedy)
    data = pl.DataFrame(every(step, 30))
    declared = declare(frequency=frequency)
    rows = to_rows(declared, Table(data, (Part("prices.csv", 30, 2),)), frequency=parse_frequency(frequency)).rows
    assert rows.height == 30
    assert read(every(step, 9), frequency).rows.height == 9


def test_weekends_are_no_sign_of_rarer_rows():
    days = pl.date_range(date(2020, 1, 1), date(2020, 3, 31), eager=True)
    weekdays = days.filter(days.dt.weekday() < 6).to_list()
    assert read({"Date": weekdays, "Close": [1.0] * len(weekdays)}).rows.height == len(weekdays)


def test_several_offsets_are_named_where_times_fall_together():
    days = [f"2020-{month:02}-{day:02}" for month in range(1, 7) for day in range(1, 29)]
    dates = [f"{day}T00:00{'Z' if row % 2 else '+02:00'}" for row, day in enumerate(days)]
    with pytest.raises(DataError, match=r"several offsets from UTC: \+02:00, Z") as raised:
        read({"Date": dates, "Close": list(range(len(dates)))})
    assert "`timeZone`" in str(raised.value.remedy)


def test_the_two_offsets_of_one_zone_are_fine():
    dates = ["2020-03-28T00:00+01:00", "2020-03-29T00:00+01:00", "2020-03-30T00:00+02:00"]
    assert read({"Date": dates, "Close": [1.0, 2.0, 3.0]}, timeZone="Europe/Berlin").rows.height == 3


# Columns and cells without a number


@pytest.mark.parametrize("empty", [[None, None], ["", " "]])
def test_an_empty_column_beside_numbers_is_kept_without_values(empty):
    rows = read({"Date": ["2020-01-01", "2020-01-02"], "Close": empty, "Open": [1.0, None], "filled": empty}).rows
    assert rows.select("Close", "Open").rows() == [(None, 1.0)]
    assert rows.schema["Close"] == pl.Float64
    assert "filled" not in rows.columns


def test_cells_that_only_look_like_numbers_are_quoted_with_their_line():
    message = refusal({"Date": ["2020-01-01"] * 2, "Close": ["", "$101.288"], "Change": ["5%", "6%"]})
    assert "no column holds numbers" in message
    assert "line 3, column 'Close': '$101.288' is no number" in message
    assert "line 2, column 'Change': '5%' is no number" in message


def test_a_long_cell_is_cut_in_messages():
    cell = "x" * 1_000_000
    columns = {"Close": "Close"}
    assert f"'{'x' * 60}…' is no number" in refusal({"Date": ["2020-01-01"], "Close": [cell]}, columns=columns)
    assert f"'{'x' * 60}…' is no time" in refusal({"Date": ["2020-01-01", cell], "Close": [1.0, 2.0]})


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_a_number_too_large_to_reckon_with_is_refused_or_dropped(value):
    data: dict[str, list[object]] = {"Date": ["2020-01-01", "2020-01-02"], "Close": [1.0, value]}
    assert f"line 3, column 'Close': {value!r} is beyond 1e+38" in refusal(data)
    assert read(data, invalidRows="Drop").dropped == 1
