"""How fast a hundred series are walked forward, beside mlforecast's cross-validation, on one processor each.

    python benchmarks/walk_forward.py [--quick] [--series N] [--repeats N]

The series are closing prices of S&P 500 stocks, their days renumbered so that no date is missing. Both make the same
features of them (eight lags and three rolling means), fit the same ridge regression on all series every 20 days, and
forecast each next day of the newest thousand. The fit is ours for both, so that the forecasts must be equal, to a
relative 1e-6: a sum may be added up in another order. Ours also fits the baselines that every job is judged against,
calibrates intervals at every origin, and marks what is scored.

`whole` is from the rows in memory to all forecasts; `without fits` leaves out the seconds inside the regression's fit.
Each measurement is a process of its own, the two take turns, and each figure is the median. Exit code 1 if a bound is
broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
from bounds import bound

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("PRESAGE_SHARED_DATA", ROOT.parent / "shared" / "data"))
SERIES = 100
REPEATS = 3
FOLDS = 50
FOLD_DAYS = 20
LAGS = (1, 2, 3, 4, 5, 10, 15, 22)
WINDOWS = (5, 10, 22)
ALPHA = 1.0
FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
TOLERANCE = 1e-6

WITHOUT_FITS = 3.0
WHOLE = 1.0


@dataclass(frozen=True)
class Turn:
    """One measurement: seconds of the wall and the processor, those inside fits, and how many fits there were."""

    wall: float
    cpu: float
    fitting: float
    fits: int

    @property
    def without_fits(self) -> float:
        return self.wall - self.fitting


class Fits:
    """Counts and times fits."""

    def __init__(self) -> None:
        self.seconds, self.count = 0.0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began
        self.count += 1


def read_stocks(count: int) -> pl.DataFrame:
    """Return series, day (from 0) and close of the stocks with the longest history, all of the same days."""
    files = sorted((SHARED_DATA / "sp500_stocks_5yr").glob("*.csv.gz"))
    rows = pl.concat([pl.read_csv(file, columns=["date", "close", "Name"], null_values=["NaN"]) for file in files])
    rows = rows.drop_nulls().unique(["Name", "date"], keep="last").sort("Name", "date")
    longest = rows.group_by("Name").len().filter(pl.col("len") == pl.col("len").max())["Name"].sort().head(count)
    if longest.len() < count:
        raise SystemExit(f"only {longest.len()} stocks have a whole history")
    kept = rows.filter(pl.col("Name").is_in(longest.implode()))
    return kept.select(
        pl.col("Name").alias("series"),
        pl.int_range(pl.len()).over("Name").alias("day"),
        pl.col("close").cast(pl.Float64),
    )


def presage_walk(rows: pl.DataFrame, fits: Fits) -> tuple[Turn, pl.DataFrame]:
    from presage.bars import build_bars  # noqa: PLC0415
    from presage.engine import LocalEngine  # noqa: PLC0415
    from presage.evaluation.walk_forward import back_test  # noqa: PLC0415
    from presage.models.ridge import RidgeEstimator  # noqa: PLC0415
    from presage.spec.base import Frequency  # noqa: PLC0415
    from presage.spec.job import PredictionJob  # noqa: PLC0415
    from presage.steps.select import build_panel  # noqa: PLC0415

    fit = RidgeEstimator.fit

    def timed(estimator: RidgeEstimator, features: np.ndarray, outcome: np.ndarray, seed: int) -> object:
        with fits.running():
            return fit(estimator, features, outcome, seed)

    RidgeEstimator.fit = timed  # type: ignore[method-assign]  # here only, to leave its seconds out
    job = PredictionJob.model_validate(
        {
            "apiVersion": "presage.dev/v1alpha1",
            "kind": "PredictionJob",
            "metadata": {"name": "walk"},
            "spec": {
                "frequency": "1d",
                "target": {"source": "stocks", "column": "close", "transform": "Level"},
                "sources": [{"name": "stocks", "file": {"uri": "x.csv"}, "availability": {"lag": "0s"}}],
                "features": [
                    {"lag": {"columns": ["stocks.close"], "steps": LAGS}},
                    {"rolling": {"columns": ["stocks.close"], "windows": WINDOWS, "statistics": ["mean"]}},
                ],
                "selection": {"method": "None"},
                "models": [{"name": "ridge", "parameters": {"alpha": ALPHA}}],
                "evaluation": {"folds": FOLDS, "testSize": FOLD_DAYS},
            },
        }
    )
    day = pl.lit(FIRST_DAY) + pl.duration(days=pl.col("day"))
    given = rows.select(
        "series", day.dt.cast_time_unit("us").alias("time"), (day + timedelta(days=1)).alias("known_at"), "close"
    ).with_columns(pl.col("time", "known_at").cast(pl.Datetime("us", "UTC")))
    began, used = time.perf_counter(), time.process_time()
    bars = build_bars(
        job.spec.sources[0],
        given,
        frequency=Frequency(1, "d"),
        calendar="Continuous",
        now=datetime(2100, 1, 1, tzinfo=UTC),
    )
    built = build_panel(job, {"stocks": bars})
    tested = back_test(built.panel, job.spec, season=7, engine=LocalEngine(1))
    turn = Turn(time.perf_counter() - began, time.process_time() - used, fits.seconds, fits.count)
    names = np.array(built.panel.names)[tested.series]
    origin = (tested.frame.time[tested.rows] - np.datetime64(FIRST_DAY.replace(tzinfo=None))) // np.timedelta64(1, "D")
    return turn, pl.DataFrame(
        {
            "series": names,
            "origin": origin.astype(np.int64),
            "forecast": tested.forecasts["ridge"].mean[:, 0],
            "fold": tested.fold,
        }
    ).filter(pl.col("fold") > 0).drop("fold")


def mlforecast_walk(rows: pl.DataFrame, fits: Fits) -> tuple[Turn, pl.DataFrame]:
    from mlforecast import MLForecast  # noqa: PLC0415
    from mlforecast.lag_transforms import RollingMean  # noqa: PLC0415
    from sklearn.base import BaseEstimator  # noqa: PLC0415

    from presage.models.ridge import RidgeEstimator  # noqa: PLC0415

    class Ridge(BaseEstimator):
        def fit(self, features: np.ndarray, outcome: np.ndarray) -> Ridge:
            with fits.running():
                # A series' first day has no day before it, and so is no row that ours learns from.
                known = ~np.isnan(features[:, 0])
                self.fitted_ = RidgeEstimator(alpha=ALPHA).fit(features[known], outcome[known], 0)
            return self

        def predict(self, features: np.ndarray) -> np.ndarray:
            return self.fitted_.predict(np.ascontiguousarray(features))

    last = rows["day"].max()
    windows = FOLDS * FOLD_DAYS + 1
    given = rows.select(pl.col("series").alias("unique_id"), pl.col("day").alias("ds"), pl.col("close").alias("y"))
    peer = MLForecast(
        models={"ridge": Ridge()},
        freq=1,
        lags=list(LAGS),
        lag_transforms={1: [RollingMean(window) for window in WINDOWS]},
        num_threads=1,
    )
    began, used = time.perf_counter(), time.process_time()
    found = peer.cross_validation(
        given,
        n_windows=windows,
        h=1,
        step_size=1,
        refit=FOLD_DAYS,
        static_features=[],
        dropna=False,
        keep_last_n=max(*LAGS, *WINDOWS),
        as_numpy=True,
        validate_data=False,
    )
    turn = Turn(time.perf_counter() - began, time.process_time() - used, fits.seconds, fits.count)
    assert found["ds"].max() == last
    return turn, found.select(
        pl.col("unique_id").alias("series"), pl.col("cutoff").alias("origin"), pl.col("ridge").alias("forecast")
    )


CONTESTANTS: Mapping[str, Callable[[pl.DataFrame, Fits], tuple[Turn, pl.DataFrame]]] = {
    "presage": presage_walk,
    "mlforecast": mlforecast_walk,
}


def refuse_other_forecasts(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[int, float]:
    """Return how many forecasts were compared and by how much they differ at most, relatively.

    Ours fits on what was known a day before a block's first origin, theirs on what that origin knew: of each block the
    first origin of one and the last of the other have no twin with the same fit.
    """
    first = ours["origin"].min()
    pairs = ours.join(theirs, on=["series", "origin"], suffix="_theirs").filter(
        (pl.col("origin") - first) % FOLD_DAYS != FOLD_DAYS - 1
    )
    apart = ((pairs["forecast"] - pairs["forecast_theirs"]) / pairs["forecast_theirs"]).abs().max()
    return pairs.height, apart


def measure(name: str, series: int, folder: Path) -> tuple[Turn, pl.DataFrame]:
    result = folder / f"{name}.parquet"
    command = [sys.executable, __file__, "--contestant", name, "--series", str(series), "--result", str(result)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Turn(**json.loads(told.splitlines()[-1])), pl.read_parquet(result)


def compete(series: int, repeats: int) -> int:
    turns: dict[str, list[Turn]] = {name: [] for name in CONTESTANTS}
    made: dict[str, pl.DataFrame] = {}
    with tempfile.TemporaryDirectory(prefix="presage-walk-") as name:
        for _ in range(repeats):
            for contestant in CONTESTANTS:
                turn, made[contestant] = measure(contestant, series, Path(name))
                turns[contestant].append(turn)
    print(f"{'':12}{'whole s':>10}{'CPU s':>10}{'fits':>6}{'fitting s':>11}{'without fits s':>16}")
    for contestant, measured in turns.items():
        middle = {key: median(getattr(turn, key) for turn in measured) for key in ("wall", "cpu", "fitting")}
        rest = median(turn.without_fits for turn in measured)
        print(
            f"{contestant:12}{middle['wall']:10.2f}{middle['cpu']:10.2f}{measured[0].fits:6d}"
            f"{middle['fitting']:11.2f}{rest:16.2f}"
        )
    compared, apart = refuse_other_forecasts(made["presage"], made["mlforecast"])
    kept = [
        bound(f"{compared:,} forecasts compared: largest relative difference", apart, at_most=TOLERANCE),
        bound("times faster without fits", _ratio(turns, lambda turn: turn.without_fits), at_least=WITHOUT_FITS),
        bound("times faster as a whole", _ratio(turns, lambda turn: turn.wall), at_least=WHOLE),
    ]
    return 0 if all(kept) else 1


def _ratio(turns: Mapping[str, list[Turn]], figure: Callable[[Turn], float]) -> float:
    return median(map(figure, turns["mlforecast"])) / median(map(figure, turns["presage"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 series, once")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant is None:
        return compete(20, 1) if given.quick else compete(given.series, given.repeats)
    turn, forecasts = CONTESTANTS[given.contestant](read_stocks(given.series), Fits())
    forecasts.write_parquet(given.result)
    print(json.dumps(asdict(turn)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
