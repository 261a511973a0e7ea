"""Bars: real minutes made into longer bars, days that are not 24 hours long, gaps, fill and revisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import arch.data.sp500
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presage.bars import FILLED, Bars, build_bars
from presage.bars.aggregate import combine
from presage.bars.periods import periods_between
from presage.errors import DataError
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.spec.base import parse_frequency
from presage.spec.periods import period_end, period_start
from presage.spec.sources import Source

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


def source(*, lag: str = "0s", **fields) -> Source:
    return Source.model_validate({"name": "x", "availability": {"lag": lag}, "file": {"uri": "x.csv"}, **fields})


def bars_of(rows: pl.DataFrame, length: str, *, now: datetime = NOW, calendar: str = "Auto", **fields) -> Bars:
    return build_bars(source(**fields), rows, frequency=parse_frequency(length), calendar=calendar, now=now)


def table(*rows: tuple, series: str = "x") -> pl.DataFrame:
    """Make rows of (time, known_at, value)."""
    schema = {SERIES: pl.String, TIME: TIMESTAMP, KNOWN_AT: TIMESTAMP, "value": pl.Float64}
    return pl.DataFrame([(series, *row) for row in rows], schema=schema, orient="row")


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, number, hour, tzinfo=UTC)


def days(*numbers: int) -> pl.DataFrame:
    """Make daily rows of January 2024, known at the end of the day; the value is the number."""
    return table(*((day(number), day(number) + timedelta(days=1), float(number)) for number in numbers))


def regular(start: datetime, count: int, step: timedelta) -> pl.DataFrame:
    times = pl.datetime_range(start, start + step * (count - 1), step, time_unit="us", eager=True)
    return pl.DataFrame({SERIES: "x", TIME: times, KNOWN_AT: times + step, "count": 1.0})


@pytest.fixture(scope="session")
def minutes(shared_data: Path) -> dict[str, pl.DataFrame]:
    """Real one-minute candles of Bitfinex, by year."""
    made = {}
    for year in ("2016", "2018"):
        raw = pl.read_csv(shared_data / "bitfinex_1m" / f"bitfinex_BTCUSD_1m_{year}.csv.gz")
        time = pl.from_epoch("timestamp_ms", time_unit="ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
        values = raw.select(pl.exclude("timestamp_ms").cast(pl.Float64))
        frame = raw.select(pl.lit("x").alias(SERIES), time.alias(TIME)).hstack(values)
        made[year] = frame.with_columns((pl.col(TIME) + timedelta(minutes=1)).alias(KNOWN_AT))
    return made


def pandas_resample(rows: pl.DataFrame, rule: str) -> pd.DataFrame:
    plain = pd.DataFrame(rows.drop(SERIES, KNOWN_AT).to_dict(as_series=False)).set_index(TIME)
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return plain.resample(rule).agg(rules).dropna(subset="close")


@pytest.mark.parametrize(
    ("frequency", "rule"), [("5m", "5min"), ("1h", "1h"), ("1d", "1D"), ("1w", "W-MON"), ("1mo", "MS")]
)
def test_real_minutes_make_the_bars_that_pandas_makes(minutes, frequency, rule):
    made = bars_of(minutes["2018"], frequency, frequency="1m")
    if frequency == "1w":
        plain = pandas_resample(minutes["2018"], "7D")  # 2018-01-01 was a Monday
        plain = plain[plain.index < "2018-12-31"]  # the last week goes on into the next year
    else:
        plain = pandas_resample(minutes["2018"], rule)
    assert made.rows[TIME].to_list() == [moment.to_pydatetime() for moment in plain.index]
    for column in ("open", "high", "low", "close"):
        assert np.array_equal(made.rows[column].to_numpy(), plain[column].to_numpy())
    np.testing.assert_allclose(made.rows["volume"].to_numpy(), plain["volume"].to_numpy(), rtol=1e-12)
    ends = [period_end(start, parse_frequency(frequency), "UTC") for start in made.rows[TIME].to_list()]
    row_ends = minutes["2018"][KNOWN_AT]
    reached = row_ends.gather(row_ends.search_sorted(pl.Series(ends, dtype=TIMESTAMP)))
    assert made.rows[KNOWN_AT].to_list() == reached.to_list()  # the end, or the first minute after it that was traded
    assert made.rows.columns == [*KEY, "open", "close", "high", "low", "volume", FILLED]


def test_the_known_holes_of_real_minutes_are_listed(minutes):
    made = bars_of(minutes["2016"], "1d", frequency="1m")
    present = set(made.rows[TIME].dt.date().to_list())
    holes = {(gap.start.date().isoformat(), gap.end.date().isoformat(), gap.periods) for gap in made.gaps}
    # The exchange stood still after the theft of 2 August 2016; April and May were never fetched.
    assert ("2016-08-03", "2016-08-09", 7) in holes
    first, last = min(present), max(present)
    assert sum(gap.periods for gap in made.gaps) == (last - first).days + 1 - len(present)
    assert all(gap.filled == 0 for gap in made.gaps)
    assert not made.rows[FILLED].any()


def test_minutes_that_nobody_traded_in_are_gaps_of_minutes(minutes):
    part = minutes["2018"].head(20_000)
    made = bars_of(part, "1m")
    times = part[TIME].to_list()
    jumps = [(a, b) for a, b in pairwise(times) if b - a > timedelta(minutes=1)]
    assert [(gap.start, gap.end) for gap in made.gaps] == [
        (a + timedelta(minutes=1), b - timedelta(minutes=1)) for a, b in jumps
    ]
    assert [gap.periods for gap in made.gaps] == [(b - a) // timedelta(minutes=1) - 1 for a, b in jumps]
    assert made.rows.drop(FILLED).equals(part.select(made.rows.drop(FILLED).columns))


@pytest.mark.parametrize(
    ("rows_until", "now", "last"),
    [
        ("2018-06-15 12:34", "2018-06-15 12:35", "2018-06-14"),
        ("2018-06-15 12:34", "2018-07-01 00:00", "2018-06-14"),
        ("2018-06-16 00:05", "2018-06-16 00:00", "2018-06-15"),
        ("2018-06-16 00:05", "2018-06-15 23:59", "2018-06-14"),
    ],
    ids=["today", "the data stop in the middle of a day", "exactly at midnight", "a minute before midnight"],
)
def test_the_unclosed_last_day_is_left_out(minutes, rows_until, now, last):
    rows = minutes["2018"].filter(pl.col(TIME) < datetime.fromisoformat(rows_until).replace(tzinfo=UTC))
    made = bars_of(rows, "1d", now=datetime.fromisoformat(now).replace(tzinfo=UTC), frequency="1m")
    assert made.rows[TIME].max().date().isoformat() == last


def test_a_bar_waits_for_the_lag_of_its_source(minutes):
    rows = minutes["2018"].head(3000).with_columns(pl.col(KNOWN_AT) + timedelta(hours=2))
    made = bars_of(rows, "1d", frequency="1m", lag="2h")
    assert made.rows[KNOWN_AT].to_list() == [datetime(2018, 1, n, 2, tzinfo=UTC) for n in (2, 3)]
    early = bars_of(rows, "1d", frequency="1m", lag="2h", now=datetime(2018, 1, 3, 1, 59, tzinfo=UTC))
    assert early.rows.height == 1


@pytest.mark.parametrize(("first", "hours"), [("2018-03-10", [24, 23, 24]), ("2018-11-03", [24, 25, 24])])
def test_days_in_new_york_have_23_or_25_hours_when_the_clock_changes(first, hours):
    start = datetime.fromisoformat(first).replace(tzinfo=NEW_YORK).astimezone(UTC)
    rows = regular(start, sum(hours), timedelta(hours=1))
    made = bars_of(rows, "1d", frequency="1h", timeZone="America/New_York", aggregation={"count": "sum"})
    assert made.rows["count"].to_list() == hours
    assert [moment.astimezone(NEW_YORK).hour for moment in made.rows[TIME].to_list()] == [0, 0, 0]
    assert made.gaps == ()


def test_a_day_that_begins_at_one_in_the_morning_is_a_day():
    zone = ZoneInfo("America/Sao_Paulo")  # 15 October 2017 had no midnight
    start = datetime(2017, 10, 13, tzinfo=zone).astimezone(UTC)
    rows = regular(start, 24 * 5 - 1, timedelta(hours=1))
    made = bars_of(rows, "1d", frequency="1h", timeZone="America/Sao_Paulo", aggregation={"count": "sum"})
    assert made.rows["count"].to_list() == [24, 24, 23, 24, 24]
    assert made.gaps == ()


def test_the_last_bar_of_a_day_ends_with_the_day():
    start = datetime(2018, 3, 11, tzinfo=NEW_YORK).astimezone(UTC)  # 23 hours long
    made = bars_of(
        regular(start, 47, timedelta(hours=1)),
        "4h",
        frequency="1h",
        timeZone="America/New_York",
        aggregation={"count": "sum"},
    )
    assert made.rows["count"].to_list() == [4, 4, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4]
    assert made.rows[KNOWN_AT].to_list()[:-1] == made.rows[TIME].to_list()[1:]
    assert made.gaps == ()


FREQUENCIES = ["1m", "7m", "1h", "4h", "12h", "1d", "3d", "1w", "2w", "1mo", "3mo"]
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


@given(
    st.sampled_from(FREQUENCIES),
    st.sampled_from(ZONES),
    st.lists(st.integers(0, 600 * 86400), min_size=1, max_size=20),
)
def test_whole_columns_of_times_fall_into_the_same_periods_as_single_times(frequency, zone, seconds):
    moments = [datetime(2018, 1, 1, tzinfo=UTC) + timedelta(seconds=number) for number in sorted(seconds)]
    parsed = parse_frequency(frequency)
    periods = periods_between(moments[0], moments[-1], parsed, zone)
    numbers = periods.number(np.array([moment.replace(tzinfo=None) for moment in moments], dtype="datetime64[us]"))
    starts = [start.replace(tzinfo=UTC) for start in periods.start(numbers).tolist()]
    ends = [end.replace(tzinfo=UTC) for end in periods.end(numbers).tolist()]
    assert starts == [period_start(moment, parsed, zone) for moment in moments]
    midnights = [
        period_end(period_start(moment, parse_frequency("1d"), zone), parse_frequency("1d"), zone) for moment in moments
    ]
    clock = parsed.unit in ("m", "h")
    expected = [period_end(start, parsed, zone) for start in starts]
    assert ends == [min(pair) if clock else pair[0] for pair in zip(expected, midnights, strict=True)]
    following = periods.number(periods.end(numbers[:1])) if ends[0] <= moments[-1] else numbers[:1] + 1
    assert following.tolist() == [int(numbers[0]) + 1]


@pytest.mark.parametrize("how", ["first", "last", "min", "max", "mean", "sum"])
def test_each_aggregation_skips_nulls_like_polars_does(how):
    generator = np.random.default_rng(0)
    values = np.where(generator.random(600) < 0.4, np.nan, generator.integers(0, 50, 600).astype(float))
    values[100:103] = np.nan
    starts = np.sort(np.append(generator.choice(np.arange(1, 600), 80, replace=False), [0, 100, 103]))
    starts = np.unique(starts)
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, 600)))
    column = pl.col("value").drop_nulls()
    expression = {"first": column.first(), "last": column.last()}.get(how, getattr(column, how)())
    expected = (
        pl.DataFrame({"group": group, "value": values})
        .with_columns(pl.col("value").fill_nan(None))
        .group_by("group", maintain_order=True)
        .agg(pl.when(pl.col("value").count() > 0).then(expression))["value"]
    )
    found = pl.Series(combine(values, starts, how)).fill_nan(None)
    assert found.null_count() > 0
    assert found.to_list() == expected.to_list()


def test_columns_find_their_aggregation_in_any_case_and_the_source_overrides_it():
    values = {"OPEN": [1, 2], "High": [1, 2], "low": [1, 2], "Volume": [1, 2], "rate": [1, 2], "flow": [1, 2]}
    rows = regular(day(1), 2, timedelta(hours=12)).drop("count")
    rows = rows.with_columns(pl.Series(name, column, dtype=pl.Float64) for name, column in values.items())
    made = bars_of(rows, "1d", frequency="12h", aggregation={"flow": "mean"}).rows
    assert made.select(*values).row(0) == (1, 2, 1, 3, 2, 1.5)


def test_an_aggregation_of_an_unknown_column_is_refused():
    with pytest.raises(DataError, match=r"Source x: aggregation names the column 'flow'.*Name one of value"):
        bars_of(days(1, 2), "1d", aggregation={"flow": "mean"})


def test_rows_that_are_coarser_than_the_job_stay_as_they_are():
    rows = table(*((datetime(2024, m, 1, tzinfo=UTC), datetime(2024, m + 2, 15, tzinfo=UTC), 1.0) for m in (1, 2, 4)))
    made = bars_of(rows, "1d", frequency="1mo", lag="15d", calendar="Weekdays")
    assert str(made.frequency) == "1mo"
    assert made.calendar == "Continuous"
    assert made.rows.drop(FILLED).equals(rows)
    assert [(gap.start.month, gap.periods) for gap in made.gaps] == [(3, 1)]


def test_the_sessions_of_the_sp500_are_weekdays_without_a_gap():
    plain = arch.data.sp500.load()
    times = pl.Series([moment.to_pydatetime().replace(tzinfo=UTC) for moment in plain.index], dtype=TIMESTAMP)
    rows = pl.DataFrame(
        {SERIES: "x", TIME: times, KNOWN_AT: times + timedelta(days=1), "Close": plain["Close"].to_list()}
    )
    made = bars_of(rows, "1d")
    assert made.calendar == "Weekdays"
    assert made.gaps == ()  # although the exchange was closed from 11 to 14 September 2001
    september = pl.col(TIME).is_between(datetime(2001, 9, 10, tzinfo=UTC), datetime(2001, 9, 14, tzinfo=UTC))
    (gap,) = bars_of(rows.filter(~september), "1d").gaps
    assert (gap.start.day, gap.end.day, gap.periods) == (10, 14, 5)
    assert len(bars_of(rows, "1d", calendar="Continuous").gaps) > 900


@pytest.mark.parametrize(
    ("present", "calendar", "chosen", "gaps"),
    [
        ((1, 2, 3, 4, 5, 8), "Auto", "Weekdays", []),
        ((1, 2, 3, 4, 5, 6, 8), "Auto", "Continuous", [(7, 7, 1)]),
        ((1, 2, 8, 9), "Auto", "Weekdays", []),
        ((1, 9, 10), "Auto", "Weekdays", [(2, 8, 5)]),
        ((1, 15), "Weekdays", "Weekdays", [(2, 12, 9)]),
        ((4, 5, 6, 7, 8), "Weekdays", "Weekdays", []),
        ((1, 2, 5), "Continuous", "Continuous", [(3, 4, 2)]),
        ((1, 3, 6, 10), "Continuous", "Continuous", [(2, 2, 1), (4, 5, 2), (7, 9, 3)]),
    ],
)
def test_gaps_depend_on_the_calendar(present, calendar, chosen, gaps):
    made = bars_of(days(*present), "1d", calendar=calendar)
    assert made.calendar == chosen
    assert [(gap.start.day, gap.end.day, gap.periods) for gap in made.gaps] == gaps


def test_weekdays_leave_the_bars_of_a_weekend_out_when_the_job_says_so():
    made = bars_of(days(4, 5, 6, 7, 8), "1d", calendar="Weekdays")
    assert made.rows["value"].to_list() == [4, 5, 8]


@pytest.mark.parametrize(
    ("present", "limit", "values", "filled"),
    [
        ((1, 2, 5), 1, [1, 2, 2, 5], [1]),
        ((1, 2, 5), 2, [1, 2, 2, 2, 5], [2]),
        ((1, 2, 5), 9, [1, 2, 2, 2, 5], [2]),
        ((1, 3, 6), 1, [1, 1, 3, 3, 6], [1, 1]),
    ],
)
def test_forward_fill_is_bounded_marked_and_known_with_the_bar_behind_the_gap(present, limit, values, filled):
    rows = days(*present).with_columns(pl.col(KNOWN_AT) + timedelta(hours=6))
    fill = {"method": "Forward", "limit": limit}
    made = bars_of(rows, "1d", lag="6h", calendar="Continuous", fill=fill)
    assert made.rows["value"].to_list() == values
    assert [gap.filled for gap in made.gaps] == filled
    assert made.rows.filter(FILLED).height == sum(filled)
    behind = [next(number for number in present if number >= time.day) for time in made.rows[TIME].to_list()]
    assert made.rows[KNOWN_AT].to_list() == [day(number) + timedelta(days=1, hours=6) for number in behind]


def test_a_filled_bar_repeats_what_was_known_of_the_bar_before():
    rows = table((day(1), day(2), 1.0), (day(1), day(3, 1), 1.5), (day(4), day(5), 4.0))
    fill = {"method": "Forward", "limit": 2}
    made = bars_of(rows, "1d", calendar="Continuous", fill=fill).rows.filter(FILLED)
    assert made[TIME].to_list() == [day(2), day(3)]
    assert made["value"].to_list() == [1.5, 1.5]  # both are known with the 4th, after the revision
    assert made[KNOWN_AT].to_list() == [day(5), day(5)]


def test_a_weekend_is_not_filled():
    made = bars_of(days(5, 8), "1d", calendar="Weekdays", fill={"method": "Forward", "limit": 5})
    assert made.rows["value"].to_list() == [5, 8]


def test_each_series_of_a_panel_has_its_own_gaps_and_its_own_last_bar():
    step = timedelta(hours=6)
    a = regular(day(1), 12, step)
    b = regular(day(1), 5, step).with_columns(pl.lit("b").alias(SERIES))
    b = pl.concat([b, regular(day(4), 4, step).with_columns(pl.lit("b").alias(SERIES))])
    made = bars_of(pl.concat([b, a]), "1d", calendar="Continuous", frequency="6h", aggregation={"count": "sum"})
    assert made.rows.select(SERIES, "count").rows() == [("b", 4), ("b", 1), ("b", 4), ("x", 4), ("x", 4), ("x", 4)]
    assert [(gap.series, gap.start, gap.periods) for gap in made.gaps] == [("b", day(3), 1)]
    shorter = bars_of(pl.concat([b.head(7), a]), "1d", frequency="6h")
    assert shorter.rows.filter(pl.col(SERIES) == "b")[TIME].to_list() == [day(1), day(2)]


def test_a_revised_row_adds_a_vintage_of_its_bar():
    noon, evening = day(1, 12), day(5, 9)
    rows = table((day(1), noon, 1.0), (noon, day(2), 2.0), (day(1), evening, 10.0), (day(2), day(2, 12), 3.0))
    made = bars_of(rows, "1d", frequency="12h", aggregation={"value": "sum"}).rows
    assert made.select(TIME, KNOWN_AT, "value").rows() == [(day(1), day(2), 3.0), (day(1), evening, 12.0)]


def test_a_row_that_is_published_late_delays_its_bar():
    rows = table((day(1), day(1, 12), 1.0), (day(1, 12), day(9), 2.0), (day(2), day(2, 12), 3.0))
    made = bars_of(rows, "1d", frequency="12h", aggregation={"value": "sum"}).rows
    assert made.select(KNOWN_AT, "value").rows() == [(day(9), 3.0)]
    with pytest.raises(DataError, match="none makes a closed bar of 1d by 2024-01-08"):
        bars_of(rows, "1d", frequency="12h", now=day(8))


def test_a_revision_before_the_bar_is_closed_is_in_its_first_vintage():
    rows = table((day(1), day(1, 12), 1.0), (day(1), day(1, 14), 5.0), (day(1, 12), day(2), 2.0))
    made = bars_of(rows, "1d", frequency="12h", aggregation={"value": "sum"}).rows
    assert made.select(KNOWN_AT, "value").rows() == [(day(2), 7.0)]


vintages = st.dictionaries(
    st.tuples(st.integers(0, 11), st.integers(0, 12)), st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=25
)


@given(vintages, st.sampled_from(["first", "last", "min", "max", "sum"]), st.integers(0, 30))
def test_bars_of_revised_rows_say_what_a_plain_model_says(vintages, how, hours):
    """Rows of 6 hours, published some multiples of 3 hours after their end, make daily bars."""
    known = sorted(
        (day(1) + timedelta(hours=6 * place), day(1) + timedelta(hours=6 * (place + 1) + 3 * delay), value)
        for (place, delay), value in vintages.items()
    )
    now = day(1) + timedelta(hours=6 * 12 + hours)
    rows = table(*((time, known_at, value) for time, known_at, value in known))
    reached = max((time + timedelta(hours=6) for time, known_at, _ in known if known_at <= now), default=day(1))
    expected = []
    for start in (day(1), day(2), day(3)):
        end = start + timedelta(days=1)
        inside = [row for row in known if start <= row[0] < end]
        if not inside or end > min(reached, now):
            continue
        first = {time: min(k for t, k, _ in inside if t == time) for time, _, _ in inside}
        opened = {time: min(k for t, k, _ in known if t == time) for time, _, _ in known}
        reaching = [moment for time, moment in opened.items() if time + timedelta(hours=6) >= end]
        closed = max(end, *first.values(), min(reaching))
        for moment in sorted({max(closed, known_at) for _, known_at, _ in inside}):
            newest = {time: value for time, known_at, value in inside if known_at <= moment}
            values = [newest[time] for time in sorted(newest) if newest[time] is not None]
            combined = {"first": lambda v: v[0], "last": lambda v: v[-1], "min": min, "max": max, "sum": sum}[how]
            expected.append((start, moment, combined(values) if values else None))
    expected = [row for row in expected if row[1] <= now]
    if not expected:
        with pytest.raises(DataError, match="none makes a closed bar"):
            bars_of(rows, "1d", frequency="6h", now=now, aggregation={"value": how}, calendar="Continuous")
        return
    made = bars_of(rows, "1d", frequency="6h", now=now, aggregation={"value": how}, calendar="Continuous").rows
    assert made.select(TIME, KNOWN_AT, "value").rows() == expected


@given(st.integers(5, 400), st.sets(st.integers(1, 499), max_size=200), st.integers(0, 3))
def test_bars_as_known_at_a_moment_are_those_that_were_made_at_it(hours, holes, limit):
    rows = regular(day(1), 500, timedelta(hours=1)).with_columns(pl.col(KNOWN_AT) + timedelta(hours=1))
    rows = rows.with_columns(pl.int_range(pl.len()).cast(pl.Float64).alias("value"))
    rows = rows.filter(~pl.int_range(pl.len()).is_in(sorted(holes)))
    moment = day(1) + timedelta(hours=24 + hours)
    fill = {"method": "Forward", "limit": limit} if limit else {}
    how = {"frequency": "1h", "lag": "1h", "calendar": "Continuous", "fill": fill}
    then = rows.filter(pl.col(KNOWN_AT) <= moment)
    for length in ("1h", "4h", "1d"):
        full = bars_of(rows, length, **how).rows.filter(pl.col(KNOWN_AT) <= moment)
        if full.height:
            assert bars_of(then, length, **how, now=moment).rows.equals(full)


def test_a_source_without_a_closed_bar_is_an_error_that_says_so():
    with pytest.raises(DataError, match=r"Source x: of 1 rows none makes a closed bar of 1d by 2024-01-01T12"):
        bars_of(days(1), "1d", now=day(1, 12))
    with pytest.raises(DataError, match="of 0 rows"):
        bars_of(days(1).clear(), "1d")
