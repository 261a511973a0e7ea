"""How often the gate errs: promotions without skill, refusals of skill, and the trap of a baseline off the level.

    python benchmarks/gate_error_rates.py

Four parts, all seeded:

- size: losses with the same expectation as the benchmark's and dependent in time. The test of superior predictive
  ability, at 5 %, must reject in a share of them that is inside the binomial 99 % band around 5 %.
- walks: random walks from bars to verdict (features, walk-forward, intervals, gate). The promotions must not be more
  than the 99 % quantile of the binomial distribution at 5 %.
- power: series whose next change is explained to a stated R-squared by a feature that is known. At least 80 % must be
  promoted.
- trap: on random walks the mean change has a smaller error than the newest change, always. A gate with that baseline
  would promote it each time; this is why baselines stand on the level. Shown, not tested.

Exit code 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats
from scipy.signal import lfilter

from presage.bars import FILLED, Bars
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Verdict
from presage.evaluation.significance import superiority
from presage.evaluation.walk_forward import back_test
from presage.features.build import build_frames
from presage.features.config import FeatureConfig
from presage.frame import TIMESTAMP, FloatArray, Panel
from presage.spec.base import Frequency
from presage.spec.job import PredictionJobSpec
from presage.tasks import single_threaded

SIGNIFICANCE = 0.05
POWER = 0.8
CONFIDENCE = 0.99
R_SQUARED = 0.05


@dataclass(frozen=True)
class Dependence:
    """Losses to simulate: an autoregression with this slope, of forecasts that overlap for `horizon` - 1 bars."""

    name: str
    origins: int
    candidates: int
    slope: float
    horizon: int
    advantage: float = 0.0


SIZES = (
    Dependence("independent", origins=500, candidates=5, slope=0.0, horizon=1),
    Dependence("autoregression 0.4", origins=500, candidates=5, slope=0.4, horizon=1),
    Dependence("horizon 5", origins=1000, candidates=5, slope=0.0, horizon=5),
    Dependence("one candidate, 0.3", origins=500, candidates=1, slope=0.3, horizon=1),
)


@dataclass(frozen=True)
class Outcome:
    """One line of the table: how many of so many, and between which counts they had to be."""

    name: str
    count: int
    trials: int
    least: int
    most: int
    seconds: float

    @property
    def kept(self) -> bool:
        return self.least <= self.count <= self.most

    def __str__(self) -> str:
        share, least, most = (100 * value / self.trials for value in (self.count, self.least, self.most))
        verdict = "kept" if self.kept else "BROKEN"
        return (
            f"{self.name:<46}{self.count:>5} of {self.trials:<5}{share:6.1f} %   "
            f"{least:5.1f} to {most:5.1f} %   {verdict:<6}{self.seconds:5.0f} s"
        )


def simulated_losses(dependence: Dependence, generator: np.random.Generator) -> FloatArray:
    """Return (n, k) losses less the benchmark's: mean -advantage, half of the variance common, scales from 1 to 3."""
    count, width = dependence.origins, dependence.candidates
    length = count + 100 + dependence.horizon - 1
    shocks = generator.standard_normal((length, width)) + generator.standard_normal((length, 1))
    # A forecast of h steps averages the losses at 1 to h steps, so that it adds up each shock's weight over the steps.
    overlap = np.arange(dependence.horizon, 0, -1) / dependence.horizon
    series = lfilter(overlap, [1, -dependence.slope], shocks, axis=0)[-count:]
    return np.asarray(series * np.linspace(1, 3, width) - dependence.advantage, dtype=np.float64)


def rejections(dependence: Dependence, trials: int, seed: int) -> int:
    """Return how often the test finds a superior candidate where there is none."""
    found = 0
    for trial in range(trials):
        losses = simulated_losses(dependence, np.random.default_rng((seed, trial)))
        test = superiority(
            np.zeros(dependence.origins),
            {str(place): column for place, column in enumerate(losses.T)},
            significance=SIGNIFICANCE,
            replications=199,  # (count + 1) / 200 meets 5 % exactly
            horizon=dependence.horizon,
            seed=trial,
        )
        found += test is not None and bool(test.superior)
    return found


def walk_job() -> PredictionJobSpec:
    """Return a job on the change of a series, with cheap models."""
    return _job([{"difference": {"columns": ["walk.value"], "periods": [1, 2, 5]}}], train=400, test=100, folds=5)


def planted_job() -> PredictionJobSpec:
    """Return a job on a series whose next change depends on a known signal; 1,000 origins are scored."""
    return _job([{"lag": {"columns": ["walk.signal"], "steps": [1]}}], train=500, test=200, folds=5)


def random_walk(seed: int) -> Bars:
    """Return 1,010 bars of a random walk, with a signal that means nothing."""
    return _bars(1010, 0.0, seed)


def planted_walk(seed: int, r_squared: float) -> Bars:
    """Return 1,710 bars of a walk whose next change has this share of its variance in the signal."""
    return _bars(1710, r_squared, seed)


def verdict_of(bars: Bars, spec: PredictionJobSpec) -> Verdict:
    """Return the gate's verdict on a series, from its bars on."""
    frame = build_frames(spec, {bars.source: bars})[0]
    scorecard, _ = judge(
        back_test(Panel.of([frame]), spec, season=1, engine=InProcess()),
        spec,
        procedure="benchmark",
        history=(),
        incumbent=None,
        sources=(),
        config=FeatureConfig(frame.feature_names, (), {}),
        unit="",
        season=1,
    )
    return scorecard.verdict


class InProcess:
    """Runs tasks one after the other, here."""

    def map(self, function: Callable, tasks: Sequence) -> tuple:
        return tuple(function(task) for task in tasks)


def trap(trials: int, seed: int) -> tuple[int, int]:
    """Return how often the mean change has a smaller error than the newest change, and than no change."""
    beats_newest, beats_zero = 0, 0
    for trial in range(trials):
        change = np.random.default_rng((seed, trial)).standard_normal(1000)
        train, test = change[:500], change[500:]
        error = np.abs(test - train.mean()).mean()
        beats_newest += error < np.abs(test - change[499:-1]).mean()
        beats_zero += error < np.abs(test).mean()
    return beats_newest, beats_zero


def measure_size(trials: int, seed: int) -> list[Outcome]:
    """Return how often the test rejects a true null hypothesis, under each dependence."""
    edges = stats.binom.interval(CONFIDENCE, trials, SIGNIFICANCE)
    outcomes = []
    for dependence in SIZES:
        start = time.perf_counter()
        count = rejections(dependence, trials, seed)
        seconds = time.perf_counter() - start
        outcomes.append(Outcome(f"size: {dependence.name}", count, trials, int(edges[0]), int(edges[1]), seconds))
    return outcomes


def measure_walks(trials: int, seed: int) -> Outcome:
    """Return how many random walks are promoted."""
    start = time.perf_counter()
    spec = walk_job()
    count = sum(verdict_of(random_walk(seed + trial), spec).promoted for trial in range(trials))
    most = int(stats.binom.ppf(CONFIDENCE, trials, SIGNIFICANCE))
    return Outcome("walks: random walks promoted", count, trials, 0, most, time.perf_counter() - start)


def measure_power(trials: int, seed: int, r_squared: float) -> Outcome:
    """Return how many series with a planted R-squared are promoted."""
    start = time.perf_counter()
    spec = planted_job()
    count = sum(verdict_of(planted_walk(seed + trial, r_squared), spec).promoted for trial in range(trials))
    least = int(np.ceil(POWER * trials))
    name = f"power: R-squared {100 * r_squared:g} %, 1,000 origins, promoted"
    return Outcome(name, count, trials, least, trials, time.perf_counter() - start)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000, help="loss-level simulations a dependence")
    parser.add_argument("--walks", type=int, default=200, help="random walks, and series of the trap")
    parser.add_argument("--planted", type=int, default=80, help="series with a planted R-squared")
    parser.add_argument("--r-squared", type=float, default=R_SQUARED, help="share of the next change's variance")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with single_threaded():
        print(f"{'':<46}{'found':>13} {'share':>8}   {'bound':>16}")
        outcomes = []
        for measured in (
            lambda: measure_size(given.simulations, given.seed),
            lambda: [measure_walks(given.walks, given.seed)],
            lambda: [measure_power(given.planted, given.seed, given.r_squared)],
        ):
            found = measured()
            outcomes += found
            for outcome in found:
                print(outcome, flush=True)
        newest, zero = trap(given.walks, given.seed)
    print(
        f"trap: on {given.walks} random walks the mean change has a smaller error than the newest change in {newest}, "
        f"and than no change in {zero}"
    )
    return 0 if all(outcome.kept for outcome in outcomes) else 1


def _job(features: list, *, train: int, test: int, folds: int) -> PredictionJobSpec:
    return PredictionJobSpec.model_validate(
        {
            "frequency": "1d",
            "calendar": "Continuous",
            "target": {"source": "walk", "column": "value", "transform": "Difference"},
            "sources": [{"name": "walk", "availability": {"lag": "0s"}, "file": {"uri": "walk.csv"}}],
            "features": features,
            "selection": {"method": "None"},
            "models": [{"name": "ridge"}],
            "evaluation": {"folds": folds, "trainSize": train, "testSize": test, "metric": "MAE"},
            "promotion": {"significance": SIGNIFICANCE, "power": POWER},
        }
    )


def _bars(count: int, r_squared: float, seed: int) -> Bars:
    signal, noise = np.random.default_rng(seed).standard_normal((2, count))
    change = np.sqrt(r_squared) * np.concatenate(([0.0], signal[:-1])) + np.sqrt(1 - r_squared) * noise
    start = np.datetime64("2015-01-01", "us") + np.arange(count) * np.timedelta64(1, "D")
    rows = pl.DataFrame(
        {
            "series": ["walk"] * count,
            "time": pl.Series(start).dt.replace_time_zone("UTC").cast(TIMESTAMP),
            "known_at": pl.Series(start + np.timedelta64(1, "D")).dt.replace_time_zone("UTC").cast(TIMESTAMP),
            "value": 1000 + np.cumsum(change),
            "signal": signal,
            FILLED: [False] * count,
        }
    )
    return Bars("walk", Frequency(1, "d"), "Continuous", "UTC", rows, (), 0)


if __name__ == "__main__":
    sys.exit(main())
