"""The other examples: an honest refusal, and jobs whose live services are replayed from real files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from commands import EXAMPLES, Ended, presage
from source_case import SEEDS


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return presage("run", EXAMPLES / "sp500-return.yaml", "--workdir", tmp_path_factory.mktemp("w"), "-o", "json")


def replay(name: str, shared_data: Path, workdir: Path) -> Ended:
    words = [word for source, file in SEEDS[name].items() for word in ("--source", f"{source}={shared_data / file}")]
    return presage("run", EXAMPLES / f"{name}.yaml", "--workdir", workdir, "-o", "json", *words)


def coverage_of_champion(ended: Ended) -> dict[float, dict[str, float]]:
    card = ended.json()["scorecard"]
    champion = next(one for one in card["contenders"] if one["name"] == card["champion"]["name"])
    return {one["level"]: one for one in champion["coverage"]}


def test_the_return_is_refused_in_numbers_and_the_best_baseline_is_served(refused: Ended) -> None:
    card = refused.json()["scorecard"]
    promoted = next(condition for condition in refused.json()["conditions"] if condition["type"] == "Promoted")
    assert promoted["status"] == "False"
    assert promoted["reason"] == "NotBetterThanBaseline"
    assert any(character.isdigit() for character in promoted["message"])
    assert card["champion"]["name"] == card["baseline"]["name"]
    assert card["test"]["p_value"] > 0.05
    serving = next(condition for condition in refused.json()["conditions"] if condition["type"] == "Serving")
    assert (serving["status"], serving["reason"]) == ("True", "BaselineServed")


def test_the_intervals_of_the_refused_job_hold_too(refused: Ended) -> None:
    levels = coverage_of_champion(refused)
    for level in (0.8, 0.95):
        assert levels[level]["lower"] <= levels[level]["coverage"] <= levels[level]["upper"], levels[level]


def test_require_promotion_ends_with_3_and_still_tells_what_was_found(tmp_path: Path) -> None:
    ended = presage(
        "run", EXAMPLES / "sp500-return.yaml", "--workdir", tmp_path, "--require-promotion", "-o", "json", code=3
    )
    assert ended.json()["scorecard"]["verdict"]["promoted"] is False


def test_btc_daily_runs_on_real_price_chain_and_rate_series(shared_data: Path, tmp_path: Path) -> None:
    ended = replay("btc-daily", shared_data, tmp_path)
    card = ended.json()["scorecard"]
    assert card["horizon"] == 7
    assert {source["name"]: source["gaps"] > 0 for source in card["sources"]}["btc"], "Kraken's 13-day hole is listed"
    levels = coverage_of_champion(ended)
    for level in (0.8, 0.95):
        assert levels[level]["lower"] <= levels[level]["coverage"] <= levels[level]["upper"], levels[level]
    # A random walk's own MAPE over a week is what any claim about BTC has to be held against.
    naive = next(one for one in card["contenders"] if one["name"] == "naive")
    assert 2 < naive["steps"][0]["metrics"]["mape"] < naive["steps"][6]["metrics"]["mape"] < 12


def test_btc_monthly_has_too_few_months_for_a_verdict_and_says_so(shared_data: Path, tmp_path: Path) -> None:
    card = replay("btc-monthly", shared_data, tmp_path).json()["scorecard"]
    assert card["verdict"]["reason"] == "InsufficientEvidence"
    assert card["evidence"]["effective"] < card["evidence"]["required"]
    assert card["champion"]["name"] == card["baseline"]["name"]
    assert any("revised" in caveat for caveat in card["caveats"])
    assert {"random_forest", "hist_gradient_boosting", "lightgbm"} <= {one["name"] for one in card["contenders"]}


@pytest.fixture(scope="module")
def candles(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real one-minute candles as Parquet by year and month, under the exchange adapter's names of columns."""
    folder = tmp_path_factory.mktemp("candles")
    for file in sorted((shared_data / "bitfinex_1m").glob("bitfinex_*_1m_201[78].csv.gz")):
        pair = file.name.split("_")[1]
        time = pl.from_epoch("timestamp_ms", time_unit="ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
        rows = pl.read_csv(file.read_bytes()).select(
            time.alias("time"),
            pl.lit(f"{pair[:3]}/{pair[3:]}").alias("symbol"),
            *("open", "high", "low", "close", "volume"),
        )
        for (month,), part in rows.group_by(pl.col("time").dt.truncate("1mo").alias("month"), maintain_order=True):
            place = folder / f"year={month:%Y}" / f"month={month:%m}"
            place.mkdir(parents=True, exist_ok=True)
            # Some rows come twice, as they do where an export is repeated.
            pl.concat([part, part.head(100)]).write_parquet(place / f"{pair}.parquet")
    return folder


def test_crypto_daily_makes_days_of_minutes_and_holds_prophet_against_no_model_at_all(
    candles: Path, tmp_path: Path
) -> None:
    words = ("--source", f"candles={candles}/**/*.parquet", "--as-of", "2019-01-01", "-o", "json")
    card = presage("run", EXAMPLES / "crypto-daily.yaml", "--workdir", tmp_path, *words).json()["scorecard"]
    (source,) = card["sources"]
    assert source["rows"] == 2 * 730
    assert {one["name"] for one in card["series"]} == {"BTC/USD", "ETH/USD"}
    assert not card["verdict"]["promoted"]
    contenders = {one["name"]: one for one in card["contenders"]}
    by_day = [step["metrics"]["mape"] for step in contenders["naive"]["steps"]]
    assert by_day == sorted(by_day)
    assert contenders["prophet"]["metrics"]["mape"] > contenders["naive"]["metrics"]["mape"]


def test_stock_panel_learns_volatility_from_more_than_a_hundred_stocks(shared_data: Path, tmp_path: Path) -> None:
    stocks = shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz"
    words = ("--source", f"stocks={stocks}", "--as-of", "2018-02-10", "-o", "json")
    found = presage("run", EXAMPLES / "stock-panel.yaml", "--workdir", tmp_path, *words)
    card = found.json()["scorecard"]
    assert len(card["series"]) > 100
    assert card["verdict"]["reason"] == "BetterThanBaseline"
    assert coverage_of_champion(found)[0.9]["lower"] <= coverage_of_champion(found)[0.9]["coverage"]
