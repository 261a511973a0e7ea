"""A panel of real stocks through the commands: late starters, one that ends, one that cannot be learnt."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from commands import Ended, presage
from stock_case import stock_job, stocks

from presage.models.bundle import read_bundle
from presage_serving.directory import ModelDirectory
from presage_serving.metrics import Metrics

# BHGE is listed from July 2017, WLTW from January 2016; AMZN is cut off, and of AAL there are 20 days.
NAMES = ("AAL", "AAPL", "AMZN", "BHGE", "JWN", "WLTW")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A folder with the job and a few of the stocks."""
    folder = tmp_path_factory.mktemp("stocks")
    rows = stocks(shared_data, NAMES)
    ended = (pl.col("Name") == "AMZN") & (pl.col("date") >= "2017-06-01")
    short = (pl.col("Name") == "AAL") & (pl.col("date") >= "2013-03-09")
    rows.filter(~ended & ~short).write_csv(folder / "stocks.csv")
    (folder / "stocks.yaml").write_text(stock_job("stocks.csv", "ridge", "theta", "mean_combination", folds=4))
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> Ended:
    return presage("run", folder / "stocks.yaml", "--workdir", folder / "w", "--workers", "1", "-o", "json")


def run_directory(folder: Path, ran: Ended) -> Path:
    return folder / "w" / "runs" / "default.stocks" / ran.json()["run"]


def test_a_panel_is_judged_by_date_with_a_score_of_each_series(ran: Ended) -> None:
    card = ran.json()["scorecard"]
    found = {one["name"]: one for one in card["series"]}
    assert list(found) == ["AAPL", "AMZN", "BHGE", "JWN", "WLTW"]
    assert card["evidence"]["origins"] == max(one["origins"] for one in found.values())
    assert 0 < found["BHGE"]["origins"] < found["AMZN"]["origins"] < found["AAPL"]["origins"]
    assert all(0.7 < one["coverage"] <= 1 for one in found.values())
    assert any(caveat.startswith("1 series was left out, such as AAL: target") for caveat in card["caveats"])


def test_two_workers_find_the_same_digest(folder: Path, ran: Ended) -> None:
    words = ("run", folder / "stocks.yaml", "--workdir", folder / "other", "--workers", "2", "-o", "json")
    assert presage(*words).json()["digest"] == ran.json()["digest"]


def test_every_series_that_goes_on_is_forecast(folder: Path, ran: Ended) -> None:
    directory = run_directory(folder, ran)
    issued = json.loads((directory / "forecast.json").read_text())
    assert "steps" not in issued
    assert [one["series"] for one in issued["panel"]] == ["AAPL", "BHGE", "JWN", "WLTW"]
    assert all(one["issued_at"] == "2018-02-08T05:00:00Z" for one in issued["panel"])
    assert all(len(one["steps"][0]["quantiles"]) == 9 for one in issued["panel"])
    bundle, files = read_bundle(directory / "bundle")
    assert bundle.version == "v3"
    assert [series.name for series in bundle.panel] == ["AAPL", "AMZN", "BHGE", "JWN", "WLTW"]
    if ran.json()["scorecard"]["champion"]["name"] == "mean_combination":
        assert "member/ridge/step_1.json" in files
        assert "series/1/member/theta/forecaster.json" in files
    model = ModelDirectory(directory, Metrics())
    model.refresh()
    assert list(model.served.by_series) == ["AAPL", "BHGE", "JWN", "WLTW"]
    assert model.served.by_series["JWN"].means[0] == issued["panel"][2]["steps"][0]["mean"]


def test_the_forecast_command_issues_all_series(folder: Path, ran: Ended) -> None:
    assert ran.code == 0
    table = folder / "next.parquet"
    done = presage("forecast", folder / "stocks.yaml", "--workdir", folder / "w", "--out", table)
    assert "4 series, issued at 2018-02-08" in done.out
    assert pl.read_parquet(table)["series"].to_list() == ["AAPL", "BHGE", "JWN", "WLTW"]
    assert {"issued_at", "target_time", "mean", "q0.05", "q0.95"} <= set(pl.read_parquet(table).columns)


def test_the_report_searches_the_series(folder: Path, ran: Ended) -> None:
    directory = run_directory(folder, ran)
    page = (directory / "report.html").read_text()
    assert page.count('type="search"') == 2
    assert "Of the 5 series AAPL is drawn" in page
    predictions = pl.read_csv(directory / "predictions.csv")
    assert predictions["series"].unique().sort().to_list() == ["AAPL", "AMZN", "BHGE", "JWN", "WLTW"]
    shown = presage("report", folder / "stocks.yaml", "--workdir", folder / "w")
    assert "best first" in shown.out
    assert "dates with scored origins" in shown.out


def test_a_past_period_is_judged_and_nothing_is_kept_of_it(folder: Path) -> None:
    words = ("backtest", folder / "stocks.yaml", "--start", "2016-01-04", "--end", "2016-12-30")
    workdir = folder / "past"
    found = presage(*words, "--workdir", workdir, "-o", "json").json()
    card = found["scorecard"]
    assert card["start"] == "2016-01-04T05:00:00Z"
    assert card["end"] == "2016-12-30T05:00:00Z"
    assert card["folds"] == 4
    assert {one["name"]: one["origins"] for one in card["series"]}["BHGE"] == 0
    assert presage(*words, "--workdir", workdir, "-o", "json").json()["digest"] == found["digest"]
    assert found["scorecard"]["tried"] == 3
    assert not (workdir / "champions").exists()
    assert not (workdir / "lake" / "trials").exists()
    assert not list((workdir / "runs" / "default.stocks").glob("2*"))
    table = presage(*words, "--workdir", workdir)
    assert "stocks, 2016-01-04 to 2016-12-30" in table.out


@pytest.mark.parametrize(
    ("start", "end", "code", "said"),
    [
        ("2013-03-01", "2013-12-31", 5, "usable dates before 2013-03-01"),
        ("2019-01-01", "2019-12-31", 5, "there are 0 dates"),
        ("2016-12-31", "2016-01-01", 2, "before its start"),
    ],
)
def test_a_period_that_cannot_be_judged_is_refused(folder: Path, start: str, end: str, code: int, said: str) -> None:
    words = ("backtest", folder / "stocks.yaml", "--workdir", folder / "past", "--start", start, "--end", end)
    assert said in presage(*words, code=code).err
