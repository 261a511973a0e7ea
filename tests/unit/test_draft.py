"""`presage init`: what a table suggests for a job, and what it does not."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from arch.data import sp500, vix
from commands import presage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_case import asked

from presage.draft.job import draft_job
from presage.draft.table import least_rows
from presage.draft.target import guess_transform, lag_one_autocorrelation
from presage.draft.yaml_text import line, scalar
from presage.errors import DataError
from presage.sources.rows import read_rows
from presage.spec.base import parse_frequency
from presage.spec.document import read_document
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage.spec.sources import Source
from presage.steps.run import run_job

GOLDEN = Path(__file__).parents[1] / "golden" / "init"
REAL = {
    "kraken-banner-newest-first": "kraken_daily/Kraken_BTCUSD_d.csv",
    "vix-broken-rows": "vix_cboe/vix-daily_to2023.csv.gz",
    "bitfinex-milliseconds": "bitfinex_1m/bitfinex_ETHUSD_1m_2016.csv.gz",
    "gdp-quarterly": "fred_macro/GDPC1_to2023.csv.gz",
    "coinmetrics-many-columns": "coinmetrics_community/coinmetrics_btc.csv.gz",
    "stocks-of-many-series": "sp500_stocks_5yr/sp500_stocks_5yr.csv.gz",
    "taxi-rows-of-their-own": "chicago_taxi/data.csv.gz",
}
DAYS = pl.date_range(date(2015, 1, 1), date(2016, 12, 31), "1d", eager=True)
HOURS = pl.datetime_range(date(2020, 1, 1), date(2020, 1, 31), "1h", eager=True)
SECONDS = pl.datetime_range(date(2020, 1, 1), date(2020, 1, 2), "10s", eager=True)
MONTHS = pl.date_range(date(2000, 1, 1), date(2015, 12, 1), "1mo", eager=True)
PRICES = np.round(sp500.load()["Close"].to_numpy(), 2)


def cells(times: Sequence[date], form: str | Callable[[date], str]) -> list[str]:
    return [form(time) if callable(form) else time.strftime(form) for time in times]


def table(times: Sequence[str], *, header: str = "Date,Close", between: str = ",") -> str:
    lines = [f"{time}{between}{price}" for time, price in zip(times, PRICES, strict=False)]
    return "\n".join([header.replace(",", between), *lines]) + "\n"


def draft(folder: Path, text: str, name: str = "prices.csv") -> tuple[str, PredictionJob]:
    (folder / name).write_text(text, encoding="utf-8")
    drafted = draft_job(folder / name, relative_to=folder)
    return drafted, parse_job(drafted, "draft")


def source_of(folder: Path, text: str, name: str = "prices.csv") -> Source:
    return draft(folder, text, name)[1].spec.sources[0]


def comment(text: str, field: str) -> str:
    """What is said of a field, beside or above it."""
    lines = text.splitlines()
    place = next(place for place, content in enumerate(lines) if content.strip().startswith(f"{field}:"))
    _, mark, beside = lines[place].partition("  # ")
    return beside if mark else lines[place - 1].strip().removeprefix("# ")


def orders(days: pl.Series) -> str:
    """A table of orders, now few and now many a day: each a row of its own."""
    random = np.random.default_rng(5)
    lines = ["number,date,goods,weight,kept,cents,note,shop,total"]
    for day in days:
        for _ in range(random.integers(0, 8)):
            goods, weight = random.choice(["books", "tools", "food"]), random.integers(1, 60) / 10
            total = round(3 + 2 * weight + 5 * (goods == "tools") + random.normal(), 2)
            kept, note = int(random.random() < 0.1 * weight), f"to {random.integers(10**9)}"
            lines.append(f"{len(lines)},{day},{goods},{weight},{kept},{total * 100:.0f},{note},main,{total}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("golden", REAL)
def test_the_draft_for_a_real_table_is_word_for_word(golden: str, shared_data: Path) -> None:
    path = shared_data / REAL[golden]
    text = draft_job(path, relative_to=path.parent)
    expected = GOLDEN / f"{golden}.yaml"
    if os.environ.get("PRESAGE_UPDATE_GOLDEN") == "1":
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40


def test_the_goldens_are_those_of_the_real_tables() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(REAL)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("yahoo_macro_daily/SPY_to2023.csv.gz", "1d Close LogChange"),
        ("fred_macro/CPIAUCSL_to2023.csv.gz", "1mo value LogChange"),
        ("fred_macro/ICSA_to2023.csv.gz", "1w value Level"),
        ("fred_macro/T10Y2Y_to2023.csv.gz", "1d value Difference"),
        ("eia_oil/wti-daily_to2023.csv.gz", "1d Price Difference"),
        ("eia_oil/brent-daily_to2023.csv.gz", "1d Price LogChange"),
    ],
)
def test_real_tables_are_told_apart(path: str, expected: str, shared_data: Path, tmp_path: Path) -> None:
    job = parse_job(draft_job(shared_data / path, relative_to=tmp_path), path)
    assert f"{job.spec.frequency} {job.spec.target.column} {job.spec.target.transform}" == expected
    assert job.spec.sources[0].file.uri == str((shared_data / path).resolve())


def test_a_drafted_job_runs_as_it_is(tmp_path: Path) -> None:
    sp500.load().iloc[:700].to_csv(tmp_path / "S&P 500 (daily).csv")
    (tmp_path / "jobs").mkdir()
    written = presage("init", tmp_path / "S&P 500 (daily).csv", "--out", tmp_path / "job.yaml")
    assert written.out == ""
    presage("validate", tmp_path / "job.yaml")
    ran = presage("run", tmp_path / "job.yaml", "--workdir", tmp_path / "work", "-o", "json").json()
    assert ran["scorecard"]["target"] == "s_p_500_daily.Close"
    assert ran["scorecard"]["transform"] == "LogChange"
    assert ran["scorecard"]["sources"][0]["rows"] == 700
    assert presage("init", "S&P 500 (daily).csv", cwd=tmp_path).out == (tmp_path / "job.yaml").read_text()
    elsewhere = presage("init", tmp_path / "S&P 500 (daily).csv", "--out", tmp_path / "jobs" / "job.yaml", cwd=tmp_path)
    assert str(tmp_path / "jobs" / "job.yaml") in elsewhere.err
    job = parse_job((tmp_path / "jobs" / "job.yaml").read_text(), "job")
    assert job.spec.sources[0].file.uri == str(tmp_path / "S&P 500 (daily).csv")


def test_a_table_that_cannot_be_drafted_ends_in_the_exit_code_of_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\nx,y\n")
    ended = presage("init", tmp_path / "a.csv", "--out", tmp_path / "job.yaml", code=5)
    assert "no column reads as times" in ended.err
    assert not (tmp_path / "job.yaml").exists()


@pytest.mark.parametrize(
    ("frequency", "step"),
    [("1d", "1d"), ("1w", "1w"), ("1mo", "1mo"), ("3mo", "3mo"), ("12mo", "1y"), ("1h", "1h"), ("1m", "1m")],
)
def test_the_shortest_table_that_is_drafted_runs_and_a_shorter_one_is_refused(
    frequency: str, step: str, tmp_path: Path
) -> None:
    least = least_rows(parse_frequency(frequency))
    times = pl.datetime_range(date(1900, 1, 4), date(2024, 1, 1), step, eager=True)[:least]
    text = table(cells(times.to_list(), "%Y-%m-%dT%H:%M:%S"))
    _, job = draft(tmp_path, text)
    assert job.spec.frequency == frequency
    done = run_job(
        job,
        base=tmp_path,
        workdir=tmp_path / "work",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        sources={},
        workers=1,
        progress=lambda _step, _done, _total: None,
    )
    assert done.summary.scorecard.sources[0].rows == least
    with pytest.raises(DataError, match=f"{least - 1} values, and a job needs {least}"):
        draft(tmp_path, "".join(text.splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize("between", [",", ";", "\t", "|"])
def test_the_character_between_cells_is_found(between: str, tmp_path: Path) -> None:
    source = source_of(tmp_path, table(cells(DAYS, "%Y-%m-%d"), between=between))
    assert source.file.delimiter == between


@pytest.mark.parametrize(
    ("banner", "lines"),
    [
        ("Created on 10-17-2019,https://example.org\n", 1),
        ("All prices in USD\n\nDownloaded: today, by me, for you\n", 3),
        ("Prices,of everything\n", 1),
        ("", 0),
    ],
    ids=["of two cells", "of three lines", "of as many cells as the table", "none"],
)
def test_the_lines_above_the_header_are_skipped(banner: str, lines: int, tmp_path: Path) -> None:
    text, job = draft(tmp_path, banner + table(cells(DAYS, "%Y-%m-%d")))
    assert job.spec.sources[0].file.skip_rows == lines
    if lines:
        assert banner.splitlines()[0] in comment(text, "file")


def test_a_mistake_in_the_first_rows_does_not_make_a_header_of_a_row(tmp_path: Path) -> None:
    text = table(cells(DAYS, "%Y-%m-%d")).replace("2015-01-03", "tomorrow")
    source = source_of(tmp_path, text)
    assert source.file.skip_rows == 0
    assert source.time == "Date"


@pytest.mark.parametrize(
    ("form", "times", "expected"),
    [
        ("%Y-%m-%d", DAYS, None),
        ("%Y-%m-%dT%H:%M:%SZ", HOURS, None),
        ("%Y-%m-%d %H:%M", HOURS, None),
        ("%Y-%m", MONTHS, None),
        ("%m/%d/%Y", DAYS, "%m/%d/%Y"),
        ("%d/%m/%Y", DAYS, "%d/%m/%Y"),
        ("%d.%m.%Y", DAYS, "%d.%m.%Y"),
        ("%m-%d-%Y", DAYS, "%m-%d-%Y"),
        ("%Y/%m/%d", DAYS, "%Y/%m/%d"),
        ("%m/%d/%y", DAYS, "%m/%d/%y"),
        ("%d/%m/%y", DAYS, "%d/%m/%y"),
        ("%d-%b-%Y", DAYS, "%d-%b-%Y"),
        ("%d-%b-%y", DAYS, "%d-%b-%y"),
        ('"%b %d, %Y"', DAYS, "%b %d, %Y"),
        ('"%B %d, %Y"', DAYS, "%B %d, %Y"),
        ("%b %Y", MONTHS, "%b %Y"),
        ("%Y%m%d", DAYS, "%Y%m%d"),
        ("%Y%m", MONTHS, "%Y%m"),
        ("%d.%m.%Y %H:%M", HOURS, "%d.%m.%Y %H:%M"),
        ("%m/%d/%Y %I:%M:%S %p", HOURS, "%m/%d/%Y %I:%M:%S %p"),
    ],
)
def test_how_times_are_written_is_found(form: str, times: pl.Series, expected: str | None, tmp_path: Path) -> None:
    text, job = draft(tmp_path, table(cells(times, form)))
    source = job.spec.sources[0]
    assert (source.time_format, source.time_unit) == (expected, None)
    rows = read_rows(source, asked(tmp_path, parse_frequency(job.spec.frequency))).rows
    assert rows["time"].dt.replace_time_zone(None).to_list() == times.cast(pl.Datetime("us")).to_list()
    if expected and "%m" in expected[:6] and "%d" in expected[:6] and expected[:2] != "%Y":
        assert "cannot be read the other way" in comment(text, "timeFormat")


@pytest.mark.parametrize("order", ["%d/%m/%Y", "%m/%d/%Y"])
def test_an_order_of_day_and_month_that_nothing_rules_out_is_told_by_even_steps(order: str, tmp_path: Path) -> None:
    text, job = draft(tmp_path, table(cells(MONTHS, order)))
    assert job.spec.sources[0].time_format == order
    assert job.spec.frequency == "1mo"
    assert comment(text, "timeFormat").startswith("CHECK")


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_unit_of_numbers_is_told_by_their_size(unit: str, per_second: int, kind: str, tmp_path: Path) -> None:
    epochs = DAYS.cast(pl.Datetime("us")).dt.epoch("s") * per_second
    data = pl.DataFrame(
        {"open_time": epochs, "volume": 1_500_000_000 + DAYS.to_physical(), "close": PRICES[: len(DAYS)]}
    )
    path = tmp_path / f"candles.{kind}"
    data.write_csv(path) if kind == "csv" else data.write_parquet(path)
    text = draft_job(path, relative_to=tmp_path)
    source = parse_job(text, "draft").spec.sources[0]
    assert (source.time, source.time_unit, source.time_format) == ("open_time", unit, None)
    assert "2015-01-01" in comment(text, "timeUnit")


@pytest.mark.parametrize(
    ("zone", "kind"),
    [
        ("America/New_York", "text"),
        ("Asia/Tokyo", "text"),
        ("Asia/Kathmandu", "text"),
        ("Europe/London", "parquet"),
        ("Australia/Sydney", "parquet"),
    ],
)
def test_days_are_those_of_the_zone_that_the_times_tell(zone: str, kind: str, tmp_path: Path) -> None:
    midnights = DAYS.cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    data = pl.DataFrame({"Date": midnights, "Close": PRICES[: len(DAYS)]})
    path = tmp_path / ("days.csv" if kind == "text" else "days.parquet")
    if kind == "text":
        data.with_columns(pl.col("Date").dt.strftime("%Y-%m-%d %H:%M:%S%:z")).write_csv(path)
    else:
        data.write_parquet(path)
    job = parse_job(draft_job(path, relative_to=tmp_path), "draft")
    assert job.spec.sources[0].time_zone == zone
    rows = read_rows(job.spec.sources[0], asked(tmp_path, parse_frequency(job.spec.frequency))).rows
    assert rows["time"].to_list() == midnights.dt.convert_time_zone("UTC").to_list()


def test_a_zone_that_nothing_tells_is_called_a_guess(tmp_path: Path) -> None:
    text, job = draft(tmp_path, table(cells(DAYS, "%Y-%m-%d")))
    assert job.spec.sources[0].time_zone == "UTC"
    assert "guess" in comment(text, "timeZone")


def test_the_lag_is_marked_as_what_no_table_tells(tmp_path: Path) -> None:
    text, job = draft(tmp_path, table(cells(DAYS, "%Y-%m-%d")))
    assert job.spec.sources[0].availability.lag == "0s"
    above = text[: text.index("availability:")]
    assert "CHECK" in above
    assert "future" in above


@pytest.mark.parametrize(
    ("step", "frequency"),
    [
        ("1m", "1m"),
        ("5m", "5m"),
        ("90m", "90m"),
        ("4h", "4h"),
        ("1d", "1d"),
        ("3d", "3d"),
        ("1w", "1w"),
        ("2w", "2w"),
        ("1mo", "1mo"),
        ("1q", "3mo"),
        ("6mo", "6mo"),
        ("1y", "12mo"),
    ],
)
def test_the_frequency_is_that_of_the_median_step(step: str, frequency: str, tmp_path: Path) -> None:
    times = pl.datetime_range(date(1901, 1, 7), date(2020, 1, 1), step, eager=True)[:110]
    kept = times.filter(pl.Series(range(len(times))) % 11 != 5)
    text, job = draft(tmp_path, table(cells(kept, "%Y-%m-%dT%H:%M:%S")))
    assert job.spec.frequency == frequency
    assert "median step" in comment(text, "frequency")
    assert (job.spec.sources[0].frequency == frequency) == parse_frequency(frequency).intraday


def test_rows_with_many_gaps_have_the_frequency_that_keeps_them_apart(tmp_path: Path) -> None:
    minutes = np.sort(np.random.default_rng(5).choice(40_000, 4_000, replace=False))
    times = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=int(minute)) for minute in minutes]
    assert draft(tmp_path, table(cells(times, "%Y-%m-%d %H:%M")))[1].spec.frequency == "1m"


def test_weekends_are_counted(tmp_path: Path) -> None:
    weekdays = DAYS.filter(DAYS.dt.weekday() < 6)
    text, _ = draft(tmp_path, table(cells(weekdays, "%Y-%m-%d")))
    assert comment(text, "frequency") == "522 times, median step 1 day, none on a weekend"
    text, _ = draft(tmp_path, table(cells(DAYS, "%Y-%m-%d")))
    assert comment(text, "frequency") == "731 times, median step 1 day, 209 on a weekend"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Open", "Close", "Adj Close", "Volume"], "Close"),
        (["Adj Close", "Volume"], "Adj Close"),
        (["4. close", "5. volume"], "4. close"),
        (["PriceUSD", "TxCnt"], "PriceUSD"),
        (["Open Price", "Close Price"], "Close Price"),
        (["y", "x"], "y"),
        (["value", "PRICE"], "PRICE"),
        (["a", "b", "c"], "c"),
    ],
)
def test_the_target_is_told_by_its_name_or_else_the_last_number(
    columns: list[str], expected: str, tmp_path: Path
) -> None:
    data = pl.DataFrame({"Date": DAYS, "Symbol": ["BTC"] * len(DAYS)})
    data = data.with_columns(pl.Series(name, PRICES[place : place + len(DAYS)]) for place, name in enumerate(columns))
    data.write_csv(tmp_path / "a.csv")
    text = draft_job(tmp_path / "a.csv", relative_to=tmp_path)
    assert parse_job(text, "draft").spec.target.column == expected
    assert ("CHECK" in comment(text, "column")) == (expected == "c")
    assert "Symbol" not in comment(text, "column")


def test_a_column_that_never_changes_or_hardly_has_values_is_no_target(tmp_path: Path) -> None:
    few = [1.5 if place % 50 == 0 else None for place in range(len(DAYS))]
    data = pl.DataFrame({"Date": DAYS, "Close": few, "Price": 7.0, "yield": PRICES[: len(DAYS)]})
    data.write_csv(tmp_path / "a.csv")
    job = parse_job(draft_job(tmp_path / "a.csv", relative_to=tmp_path), "draft")
    assert job.spec.target.column == "yield"


def test_a_price_is_learnt_as_its_change_and_a_volatility_as_its_level() -> None:
    price, volatility = sp500.load()["Close"].to_numpy(), vix.load()["vix"].dropna().to_numpy()
    transform, why = guess_transform(price)
    assert transform == "LogChange"
    assert "0.9995 >= 0.99" in why
    transform, why = guess_transform(volatility)
    assert transform == "Level"
    assert f"{lag_one_autocorrelation(volatility):.4f} < " in why
    assert guess_transform(price - price.mean())[0] == "Difference"


@pytest.mark.parametrize("length", [64, 100, 250, 1000, 4000])
def test_a_random_walk_is_seen_to_wander_at_every_length_and_quick_reversion_is_not(length: int) -> None:
    random = np.random.default_rng(length)
    shocks = random.normal(size=(200, length))
    walks = [guess_transform(100 + walk)[0] for walk in np.cumsum(shocks, axis=1) / 100]
    # The bound is the 5 % point: 95 % of walks wander, and 89 % is four standard errors of 200 below that.
    assert np.mean([transform == "LogChange" for transform in walks]) > 0.89
    noise = [guess_transform(100 + levels)[0] for levels in shocks]
    assert noise == ["Level"] * 200


def test_autocorrelation_is_that_of_neighbours() -> None:
    assert lag_one_autocorrelation(np.array([1.0, 2.0, 1.0, 2.0, 1.0])) == pytest.approx(-1)
    assert lag_one_autocorrelation(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1)
    assert lag_one_autocorrelation(np.array([1.0, 1.0, 1.0, 5.0])) == 0
    assert lag_one_autocorrelation(np.array([1e300, -1e300, 1e300, -1e300])) == pytest.approx(-1)


def test_features_follow_the_transform_and_the_columns(tmp_path: Path) -> None:
    frame = sp500.load().iloc[:300].reset_index()
    frame.to_csv(tmp_path / "a.csv", index=False)
    features = parse_job(draft_job(tmp_path / "a.csv", relative_to=tmp_path), "draft").spec.features
    assert [feature.kind for feature in features] == ["log_change", "range_volatility"]
    frame[["Date", "High", "Close"]].to_csv(tmp_path / "b.csv", index=False)
    features = parse_job(draft_job(tmp_path / "b.csv", relative_to=tmp_path), "draft").spec.features
    assert [feature.kind for feature in features] == ["log_change"]
    noise = pl.DataFrame({"Date": DAYS, "y": np.random.default_rng(1).normal(size=len(DAYS))})
    noise.write_csv(tmp_path / "c.csv")
    features = parse_job(draft_job(tmp_path / "c.csv", relative_to=tmp_path), "draft").spec.features
    assert [feature.kind for feature in features] == ["lag", "rolling"]


def test_rows_are_dropped_only_where_they_have_to_be_and_it_is_said_how_many(tmp_path: Path) -> None:
    good = table(cells(DAYS, "%Y-%m-%d"))
    text, job = draft(tmp_path, good)
    assert job.spec.sources[0].invalid_rows == "Reject"
    assert "invalidRows" not in text
    text, job = draft(tmp_path, good.replace("2015-03-01,", "2015-03-01,x").replace("2015-05-01", "soon"))
    assert job.spec.sources[0].invalid_rows == "Drop"
    assert comment(text, "invalidRows").startswith("2 rows cannot be true, such as prices.csv, line 61, column 'Close'")


def test_repeated_times_are_counted_and_the_last_one_is_said_to_hold(tmp_path: Path) -> None:
    good = table(cells(DAYS, "%Y-%m-%d"))
    text, _ = draft(tmp_path, good + "".join(good.splitlines(keepends=True)[5:10]) + "2015-03-01,77\n")
    assert "6 rows repeat a time, and the last counts" in comment(text, "time")


def test_a_column_that_the_lake_cannot_hold_is_left_out_and_named(tmp_path: Path) -> None:
    lines = table(cells(DAYS, lambda day: f"{day},{day:%H}.5,{day.day}"), header="Date,Time,close,Close")
    text, job = draft(tmp_path, lines)
    source = job.spec.sources[0]
    assert source.columns == {"close": "close"}
    assert "'Time'" in comment(text, "columns")
    rows = read_rows(source, asked(tmp_path, parse_frequency("1d"))).rows
    assert rows.columns == ["series", "time", "known_at", "close"]


NO_TIME = "no column reads as times"
GOOD = cells(DAYS, "%Y-%m-%d")
PANEL = "Date,Ticker,Close\n" + "".join(f"{day},{name},{day:%d}\n" for day in DAYS for name in ("AAPL", "MSFT", "IBM"))
TWO_KEYS = "Date,Exchange,Coin,Close\n" + "".join(
    f"{day},{exchange},{coin},{day:%d}\n" for day in DAYS for exchange in ("a", "b") for coin in ("BTC", "ETH")
)
ORDERS = orders(DAYS)
TRADES = "time,price,amount,side\n" + "".join(
    f"{time:%Y-%m-%dT%H:%M:%S},{100 + row % 7},{row % 5},{'buy' if row % 3 else 'sell'}\n"
    for row, time in enumerate(SECONDS.sample(900, with_replacement=True, seed=1).sort())
)
REVISIONS = "date,value,published_date\n" + "".join(
    f"{month},{100 + row + revision / 7},{month + timedelta(days=40 + 31 * revision)}\n"
    for row, month in enumerate(MONTHS)
    for revision in range(row % 9)
)
REFUSED: dict[str, tuple[str, list[str]]] = {
    "an empty file": ("", ["empty", "again"]),
    "a header alone": ("Date,Close\n", ["no rows below the header", "history"]),
    "no header": (table(GOOD).partition("\n")[2], ["no header", "'2015-01-01'", "names of the columns"]),
    "no column of times": ("Name,Close\nx,1\ny,2\n", [NO_TIME, "'Name' (such as 'x')", "ISO 8601"]),
    "times in words": ("Date,Close\nQ1 2020,1\nQ2 2020,2\n", [NO_TIME, "Q1 2020", "2020-01-31"]),
    "times without a name": (table(GOOD, header=",Close"), ["column of times is called ''", "such as Date"]),
    "times with and without an offset": (table([*GOOD, "2017-01-01T00:00Z"]), ["line 733", "offset"]),
    "a date and a clock": (
        table(cells(HOURS, "%Y-%m-%d,%H:%M"), header="Date,Clock,Close"), ["'Date' and 'Clock'", "Join them"]
    ),
    "a year and a quarter": (
        "year,quarter,Close\n" + "".join(f"{day.year},{(day.month + 2) // 3}.0,{day.month}\n" for day in MONTHS[::3]),
        ["'year' and 'quarter'", "Join them"],
    ),
    "no column of numbers": ("Date,Note\n2020-01-01,a\n2020-01-02,b\n", ["no column holds numbers", "with a point"]),
    "numbers with a comma": (table(GOOD, between=";").replace(".", ","), ["no column holds numbers", "1234.5"]),
    "a nameless column of numbers": (table(GOOD, header="Date,"), ["no column holds numbers", "1 without a name"]),
    "an endless name": (table(GOOD, header="Date," + "x" * 129), ["no column holds numbers", "128 characters"]),
    "series that two columns tell apart": (
        TWO_KEYS, ["'Exchange' and 'Coin' together", "4 series apart", "Join them into one column"]
    ),
    "short series": (PANEL.partition("2015-01-22")[0], ["more than 21 values of any series", "64", "longer history"]),
    "few rows that stand for themselves": (
        "\n".join(ORDERS.splitlines()[:50]), ["'total' has 49 values", "64", "longer history"]
    ),
    "trades": (TRADES, ["bars of 1m have room for", "even bars"]),
    "revisions": (REVISIONS, ["rows that differ have only", "availability.column"]),
    "rows that contradict each other": (table([*GOOD, *GOOD]), ["differ", "731 times"]),
    "a constant": ("Date,Close\n" + "".join(f"{day},5\n" for day in GOOD), ["Close never changes", "predict"]),
    "too few rows": (table(GOOD[:20]), ["more than 20 values", "64", "longer history"]),
    "one row": (table(GOOD[:1]), ["two different times", "many rows"]),
    "one time": (table(GOOD[:1] * 50), ["two different times", "many rows"]),
    "rows every ten seconds": (
        table(cells(SECONDS, "%Y-%m-%dT%H:%M:%S")),
        ["10 seconds", "room for", "a minute long at least"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_table_that_no_job_can_be_made_of_is_refused_with_what_to_do(
    text: str, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        draft(tmp_path, text)
    for word in ("prices", *words):
        assert word in str(caught.value)
    assert caught.value.remedy


def test_a_file_that_cannot_be_read_is_refused_as_a_run_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(table(GOOD).encode())[:-500])
    (tmp_path / "no.parquet").write_text(table(GOOD))
    (tmp_path / "latin.csv").write_bytes(table(GOOD, header="Date,Prix fermé").encode("latin-1"))
    for name, word in (
        ("cut.csv.gz", "cut off"),
        ("no.parquet", "no Parquet"),
        ("latin.csv", "UTF-8"),
        ("missing.csv", "no such file"),
        (".", "folder"),
    ):
        with pytest.raises(DataError, match=word):
            draft_job(tmp_path / name, relative_to=tmp_path)


@pytest.mark.parametrize(
    ("header", "names", "column"),
    [
        ("Date,Close,Ticker", ["IBM", "AAPL", "MSFT"], "Ticker"),
        ("ds,y,unique_id", ["IBM", "AAPL", "MSFT"], "unique_id"),
        ("Date,Close,store", ["7", "8", "11"], "store"),
        ("Date,Close,Wertpapier", ["Öl", "Gas", "Kohle"], "Wertpapier"),
        ("Date,Close,Sector,Symbol", ["IT,IBM", "IT,AAPL", "Cars,GM"], "Symbol"),
        ("Date,Close,Kind,Where", ["x,Rome", "x,Paris", "x,Oslo"], "Where"),
    ],
)
def test_the_column_that_tells_series_apart_is_found_by_name_and_content(
    header: str, names: list[str], column: str, tmp_path: Path
) -> None:
    rows = (
        f"{day},{10 + place + PRICES[row]:.2f},{name}"
        for row, day in enumerate(GOOD)
        for place, name in enumerate(names)
    )
    text, job = draft(tmp_path, "\n".join([header, *rows]) + "\n")
    assert job.spec.sources[0].series == column
    assert f"tells {len(names)} series apart" in comment(text, "series")
    assert [model.name for model in job.spec.models] == ["ridge", "xgboost"]
    assert f"of {len(names)} of {len(names)} series wander" in comment(text, "transform")


def test_series_that_follow_one_another_are_told_by_a_name_that_leaves_no_doubt(tmp_path: Path) -> None:
    halves = [
        f"{day},{price},{'ETH' if row < 400 else 'BTC'}"
        for row, (day, price) in enumerate(zip(GOOD, PRICES, strict=False))
    ]
    assert source_of(tmp_path, "\n".join(["Date,Close,symbol", *halves]) + "\n").series == "symbol"
    assert source_of(tmp_path, "\n".join(["Date,Close,Note", *halves]) + "\n").series is None


def test_a_text_that_parts_a_few_repeated_rows_is_no_series(tmp_path: Path) -> None:
    rows = [
        f"{day},{price},{'a' if row % 2 else 'b'}" for row, (day, price) in enumerate(zip(GOOD, PRICES, strict=False))
    ]
    corrected = [
        f"{day},{price + 1},{'b' if row % 2 else 'a'}"
        for row, (day, price) in enumerate(zip(GOOD[:40], PRICES, strict=False))
    ]
    text, job = draft(tmp_path, "\n".join(["Date,Close,Note", *rows, *corrected]) + "\n")
    assert job.spec.sources[0].series is None
    assert "40 rows repeat a time, and the last counts" in comment(text, "time")


def test_a_drafted_panel_runs_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    stocks = pl.read_csv((shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz").read_bytes())
    some = stocks.filter(pl.col("Name").is_in(["AAL", "AAPL", "MSFT"]), pl.col("date") < "2014-06-01")
    some.write_csv(tmp_path / "stocks.csv")
    presage("init", tmp_path / "stocks.csv", "--out", tmp_path / "job.yaml")
    card = presage("run", tmp_path / "job.yaml", "--workdir", tmp_path / "work", "-o", "json").json()["scorecard"]
    assert {one["name"] for one in card["series"]} == set(some["Name"])
    assert {"ridge", "xgboost"} < {one["name"] for one in card["contenders"]}
    assert card["sources"][0]["rows"] == some.height


def test_a_drafted_regression_runs_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    written = tmp_path / "job.yaml"
    presage("init", shared_data / "chicago_taxi" / "data.csv.gz", "--out", written)
    card = presage("run", written, "--workdir", tmp_path / "work", "-o", "json").json()["scorecard"]
    assert (card["task"], card["target"]) == ("Regression", "data.fare")
    assert card["verdict"]["reason"] == "BetterThanBaseline"


def test_rows_with_two_outcomes_make_a_classification_and_it_runs(tmp_path: Path) -> None:
    text, job = draft(tmp_path, ORDERS.replace("total", "returned_share").replace("kept", "label"))
    assert (job.spec.task, job.spec.target.column) == ("Classification", "label")
    assert job.spec.evaluation.metric == "LogLoss"
    assert "rows at" in comment(text, "task")
    (tmp_path / "job.yaml").write_text(text)
    presage("run", tmp_path / "job.yaml", "--workdir", tmp_path / "work")


def test_rows_of_uneven_times_with_categories_stand_for_themselves_even_where_no_two_share_a_time(
    tmp_path: Path,
) -> None:
    head, *rows = ORDERS.splitlines()
    minutes = np.random.default_rng(7).integers(1, 600, len(rows)).cumsum()
    times = [datetime(2020, 1, 1) + timedelta(minutes=int(one)) for one in minutes]
    lines = [row.replace(row.split(",")[1], f"{time:%Y-%m-%d %H:%M}") for row, time in zip(rows, times, strict=True)]
    _, job = draft(tmp_path, "\n".join([head, *lines]) + "\n")
    assert (job.spec.task, job.spec.target.column) == ("Regression", "total")
    calendar = job.spec.features[-1].calendar
    assert calendar is not None
    assert calendar.parts == ("hour", "day_of_week", "month")


def test_what_tells_the_target_or_names_the_row_is_no_feature(tmp_path: Path) -> None:
    text, job = draft(tmp_path, ORDERS)
    assert (job.spec.task, job.spec.target.column) == ("Regression", "total")
    listed = job.spec.features[0].columns
    assert listed is not None
    assert listed.columns == ("prices.goods", "prices.weight", "prices.kept")
    for words in (
        "as it may count the rows: number",
        "as it tells the target by itself: cents",
        "as hardly any two rows share one: note",
        "always the same or empty: shop",
    ):
        assert words in text
    assert "CHECK: take out what is not known before the target is" in text


def test_a_column_of_observations_that_the_lake_cannot_hold_is_left_out_and_named(tmp_path: Path) -> None:
    text, job = draft(tmp_path, ORDERS.replace("weight", "Series"))
    assert job.spec.sources[0].columns == {"goods": "goods", "Series_value": "Series", "kept": "kept", "total": "total"}
    assert "'Series'" in comment(text, "columns")


@pytest.mark.parametrize(
    ("file", "source", "job"),
    [
        ("BTC-USD.csv", "btc_usd", "btc-usd-close"),
        ("2020 prices.csv.gz", "table_2020_prices", "2020-prices-close"),
        ("Ünïcödé.csv", "unicode", "unicode-close"),
        ("数据.csv", "table", "close"),
        ("null.csv", "null", "null-close"),
        ("y.txt", "y", "y-close"),
        ("it's: {a} #1 [x].csv", "it_s_a_1_x", "it-s-a-1-x-close"),
        ("x" * 100 + ".csv", "x" * 63, "x" * 53),
        (".csv", "table", "close"),
        ("-- &*.csv", "table", "close"),
    ],
)
def test_names_are_made_of_the_name_of_the_file(file: str, source: str, job: str, tmp_path: Path) -> None:
    text = table(GOOD)
    (tmp_path / file).write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
    drafted = parse_job(draft_job(tmp_path / file, relative_to=tmp_path), file)
    assert (drafted.spec.sources[0].name, drafted.metadata.name) == (source, job)
    assert drafted.spec.sources[0].file.uri == file
    assert read_rows(drafted.spec.sources[0], asked(tmp_path, parse_frequency("1d"))).rows.height == len(DAYS)


ODD = [
    "y",
    "null",
    "~",
    "<<",
    "1e3",
    "0x1f",
    "2020",
    "yes",
    "a: b",
    "a #b",
    "- a",
    "?",
    "'",
    '"',
    "\\",
    "{",
    "%",
    "@",
    "*a",
]
KEPT = ["time", "Time", "series", "known_at", "Ingested_At", "filled", "Close", "close", "range_volatility"]
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
COLUMN = (
    st.one_of(st.text(LETTERS, max_size=128), st.sampled_from(ODD), st.sampled_from(KEPT))
    .map(str.strip)
    # A star, or what stands between ^ and $, names several columns: such a file is refused.
    .filter(lambda name: name not in ("", "*") and not (name.startswith("^") and name.endswith("$")))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=st.lists(COLUMN, min_size=2, max_size=5, unique=True), kind=st.sampled_from(["csv", "parquet"]))
def test_whatever_columns_are_called_the_draft_reads_back_and_finds_them(
    columns: list[str], kind: str, tmp_path: Path
) -> None:
    values = [PRICES[place * 7 : place * 7 + 70] for place in range(len(columns) - 1)]
    data = pl.DataFrame([DAYS[:70].alias(columns[0]), *map(pl.Series, columns[1:], values)])
    path = tmp_path / f"t.{kind}"
    data.write_csv(path, quote_style="always") if kind == "csv" else data.write_parquet(path)
    if kind == "csv":
        # polars does not read every header back as it wrote it, such as one of quotation marks.
        data = pl.read_csv(path).rename(str.strip)
    text = draft_job(path, relative_to=tmp_path)
    job = parse_job(text, "draft")
    source, target = job.spec.sources[0], job.spec.target.column
    assert len(text.splitlines()) < 40
    assert source.time == data.columns[0]
    found = source.columns.get(target, target)
    assert found in data.columns[1:]
    rows = read_rows(source, asked(tmp_path, parse_frequency(job.spec.frequency))).rows
    assert rows[target].to_list() == data[found].to_list()


@given(st.text())
def test_a_scalar_reads_back_as_itself_in_lists_and_in_mappings(text: str) -> None:
    document = read_document(f"block: {scalar(text)}\nlist: [{scalar(text)}, x]\nmapping: {{a: {scalar(text)}}}\n")
    assert document.problems == ()
    assert document.value == {"block": text, "list": [text, "x"], "mapping": {"a": text}}


@given(st.text(max_size=300))
def test_a_comment_never_ends_before_its_line_does(why: str) -> None:
    lines = line(4, "time: Date", why)
    assert len(lines) <= 2
    assert all(len(part) <= 120 and part.splitlines() == [part] for part in lines)
    assert [part.partition("#")[0].strip() for part in lines if not part.strip().startswith("#")] == ["time: Date"]
