"""Reports to show: the S&P 500's daily prices, forecasts simple enough to check by eye, and the real judgement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl
from arch.data import sp500

from presage.bars import Bars, Gap
from presage.evaluation.backtest import BackTest, Fold, Forecasts
from presage.evaluation.conditions import conditions
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard, SourceSummary
from presage.features.config import Dropped, FeatureConfig
from presage.frame import Frame, Panel
from presage.report.data import IssuedForecast, Report
from presage.spec.base import Frequency
from presage.spec.job import PredictionJobSpec

PROBABILITIES = np.array([0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975])
FOLDS = 12
BASELINES = ("naive", "drift", "window_mean")
DAY = np.timedelta64(1, "D")
CONFIG = FeatureConfig(
    kept=("last", "mean_5", "mean_22"),
    dropped=(Dropped("lag(range_volatility, 1)", "It correlates 1.00 with last, which ranks higher."),),
    importance={"last": 0.2, "mean_5": 0.5, "mean_22": 0.3},
)


@dataclass(frozen=True)
class Prices:
    """Daily bars as arrays: start of each in UTC, and its prices by column."""

    time: np.ndarray
    columns: Mapping[str, np.ndarray]

    def target(self, column: str) -> np.ndarray:
        if column != "range_volatility":
            return self.columns[column]
        # Parkinson (1980), The Journal of Business 53(1), p. 63; in percent a day.
        return 100 * np.log(self.columns["High"] / self.columns["Low"]) / np.sqrt(4 * np.log(2))


def sp500_prices(bars: int = 2600) -> Prices:
    table = sp500.load().tail(bars)
    # A day in New York starts at 5 o'clock UTC in winter; summer time is of no matter here.
    time = table.index.to_numpy().astype("datetime64[us]") + np.timedelta64(5, "h")
    return Prices(time, {name: table[name].to_numpy(dtype=float) for name in ("Open", "High", "Low", "Close")})


def volatility_report(horizon: int = 1, metric: str = "MAE") -> Report:
    """Range volatility by HAR features: promoted."""
    return make_report("range_volatility", "percent", "sp500-volatility", horizon, metric)


def price_report(horizon: int = 5, metric: str = "MAE") -> Report:
    """The closing price by the same features: refused, so that a baseline is served."""
    return make_report("Close", "index points", "sp500-price", horizon, metric)


def make_report(column: str, unit: str, job: str, horizon: int, metric: str) -> Report:
    prices = sp500_prices()
    frame = _frame(prices.time, prices.target(column), horizon)
    everywhere, back_test = _back_test(frame)
    scorecard = _judged(back_test, column, unit, metric)
    champion = scorecard.verdict.champion
    spread = back_test.forecasts[champion].quantiles[-1] - back_test.forecasts[champion].mean[-1][:, None]
    missing = datetime(2012, 10, 29, 5, tzinfo=UTC)
    return Report(
        job=job,
        namespace="default",
        run="20190101T093000Z-3f2a9c1e",
        digest="sha256:" + "3f2a9c1e" * 8,
        created_at=datetime(2019, 1, 1, 9, 30, tzinfo=UTC),
        scorecard=scorecard,
        conditions=conditions(scorecard),
        back_test=back_test,
        bars=Bars(
            source="sp500",
            frequency=Frequency(1, "d"),
            calendar="Weekdays",
            time_zone="America/New_York",
            rows=_rows(prices),
            gaps=(Gap("sp500", missing, missing, 2, 0),),
            duplicates=3,
        ),
        forecasts=(
            IssuedForecast(
                series="sp500",
                issued_at=_utc(frame.origin[-1]),
                target_time=frame.target_time[-1],
                mean=everywhere[champion][-1],
                probabilities=PROBABILITIES,
                quantiles=everywhere[champion][-1][:, None] + spread,
            ),
        ),
        config=CONFIG,
    )


def renamed(report: Report, old: str, new: str) -> Report:
    """Return the report with one of its contenders under another name."""
    escaped = [json.dumps(part)[1:-1] for part in (old, new)]
    forecasts = {
        name.replace(old, new): replace(one, name=name.replace(old, new))
        for name, one in report.back_test.forecasts.items()
    }
    return replace(
        report,
        scorecard=Scorecard.model_validate_json(report.scorecard.model_dump_json().replace(*escaped)),
        back_test=replace(report.back_test, forecasts=forecasts),
    )


def _rows(prices: Prices) -> pl.DataFrame:
    return pl.DataFrame({"time": prices.time, **prices.columns}).select(
        pl.lit("sp500").alias("series"),
        pl.col("time").dt.replace_time_zone("UTC"),
        (pl.col("time") + pl.duration(days=1)).dt.replace_time_zone("UTC").alias("known_at"),
        *prices.columns,
        pl.lit(value=False).alias("filled"),
    )


def _frame(time: np.ndarray, level: np.ndarray, horizon: int) -> Frame:
    count = len(level)
    ahead = np.arange(count)[:, None] + np.arange(1, horizon + 1)
    known = ahead < count
    place = np.minimum(ahead, count - 1)
    means = (np.convolve(level, np.ones(size) / size)[:count] for size in (5, 22))
    return Frame(
        series="sp500",
        time=time,
        origin=time + DAY,
        level=level,
        features=np.column_stack([level, *means]),
        feature_names=CONFIG.kept,
        target_time=np.where(known, time[place], time[-1] + (ahead - count + 1) * DAY),
        target_level=np.where(known, level[place], np.nan),
        target_known_at=np.where(known, time[place] + DAY, np.datetime64("NaT", "us")),
    )


def _back_test(frame: Frame) -> tuple[Mapping[str, np.ndarray], BackTest]:
    count, steps = len(frame), np.arange(1, frame.horizon + 1)
    edges = np.linspace(count // 2, count - frame.horizon, FOLDS + 2).astype(int)
    folds = tuple(
        Fold(number, 22, int(start), int(start), int(stop), frame.origin[start - 1])
        for number, (start, stop) in enumerate(pairwise(edges))
    )
    rows = np.arange(edges[0], edges[-1])
    fold = np.concatenate([np.full(one.test_stop - one.test_start, one.number) for one in folds])
    trend = (frame.level - frame.level[0]) / np.maximum(np.arange(count), 1)
    everywhere = {
        "naive": np.repeat(frame.level[:, None], frame.horizon, axis=1),
        "drift": frame.level[:, None] + trend[:, None] * steps,
        "window_mean": np.repeat(frame.features[:, 2:], frame.horizon, axis=1),
        "ridge": _regressed(frame, folds),
    }
    forecasts = {
        name: Forecasts(
            name=name,
            baseline=name in BASELINES,
            mean=mean[rows],
            quantiles=_quantiles(frame, mean, rows),
            importance={} if name in BASELINES else {"last": 0.15, "mean_5": 0.5, "mean_22": 0.35},
        )
        for name, mean in everywhere.items()
    }
    return everywhere, BackTest(Panel.of([frame]), folds, rows, fold, fold >= 1, PROBABILITIES, forecasts, {})


def _regressed(frame: Frame, folds: tuple[Fold, ...]) -> np.ndarray:
    design = np.column_stack([np.ones(len(frame)), frame.features])
    forecast = np.repeat(frame.level[:, None], frame.horizon, axis=1)
    for fold in folds:
        part = slice(fold.train_start, fold.train_stop - frame.horizon)
        weights = np.linalg.lstsq(design[part], frame.target_level[part], rcond=None)[0]
        forecast[fold.test_start :] = design[fold.test_start :] @ weights
    return forecast


def _quantiles(frame: Frame, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
    residual = frame.target_level - mean
    known = [residual[row - frame.horizon - 500 : row - frame.horizon + 1] for row in rows]
    return np.stack(
        [(mean[row] + np.quantile(one, PROBABILITIES, axis=0)).T for row, one in zip(rows, known, strict=True)]
    )


def _judged(back_test: BackTest, column: str, unit: str, metric: str) -> Scorecard:
    frame = back_test.frame
    spec = PredictionJobSpec.model_validate(
        {
            "frequency": "1d",
            "target": {"source": "sp500", "column": column, "horizon": frame.horizon},
            "sources": [{"name": "sp500", "dataset": {"name": "arch/sp500"}, "availability": {"lag": "0s"}}],
            "evaluation": {"metric": metric},
            "promotion": {"replications": 200},
        }
    )
    span = {"rows": len(frame), "start": _utc(frame.time[0]), "end": _utc(frame.time[-1])}
    digest = "sha256:" + "a1b2c3d4" * 8
    shares = {"units": {"Close": "index points"}, "digest": digest}
    first = {"gaps": 2, "filled": 0, "duplicates": 3, "dropped": 0, "lag": "0s", "revised": False, **shares}
    second = {"gaps": 4, "filled": 4, "duplicates": 0, "dropped": 1, "lag": "15m", "revised": True, "digest": digest}
    scorecard, _ = judge(
        back_test,
        spec,
        procedure="sha256:" + "0" * 64,
        history=(),
        incumbent=None,
        sources=(SourceSummary(name="sp500", **span, **first), SourceSummary(name="vix", **span, **second)),
        config=CONFIG,
        unit=unit,
        season=5,
    )
    return scorecard


def _utc(time: np.datetime64) -> datetime:
    return time.astype("datetime64[us]").item().replace(tzinfo=UTC)
