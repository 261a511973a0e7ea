"""The folds of a walk-forward back-test of rows: blocks in the order of time, of whole periods of the job's frequency.

A period is never parted between two folds: rows of one day are judged by one fit, and none of them trains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from presage.errors import DataError
from presage.evaluation.folds import Period
from presage.frame import IntArray, TimeArray
from presage.sources.periods import period_starts
from presage.spec.base import parse_frequency
from presage.spec.evaluation import Evaluation
from presage.spec.job import PredictionJobSpec
from presage.tabular.observations import Observations

LEAST_CALIBRATION = 20
_LEAST_TRAINING = 10


@dataclass(frozen=True)
class RowFold:
    """One step of the walk: fit on what was known at the cut-off, predict a block of later rows.

    Attributes:
        number: 0 for the fold that only calibrates intervals, then 1, 2, ... for those that are scored.
        training: (m,) places of the rows to learn from, ascending; the outcome of each was known at the cut-off.
        test_start: First row of the block.
        test_stop: Row behind the block's last.
        cutoff: datetime64[us], UTC: the time of the last row before the embargo.
    """

    number: int
    training: IntArray
    test_start: int
    test_stop: int
    cutoff: np.datetime64


def periods_of(time: TimeArray, spec: PredictionJobSpec) -> TimeArray:
    """Return (n,) datetime64[us], UTC: the start of the period of the job's frequency that each time falls into."""
    moments = pl.Series(time.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    zone = spec.source(spec.target.source).time_zone
    starts = period_starts(moments, parse_frequency(spec.frequency), zone)
    return starts.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")


def make_row_folds(settled: Observations, spec: PredictionJobSpec, period: Period | None = None) -> tuple[RowFold, ...]:
    """Return the folds in the order of time: number 0, which only calibrates intervals, then those that are scored.

    Sizes are `evaluation`'s, in rows: `test_size` a block, else what is behind the first training window (`train_size`,
    by default half of the rows) and the embargo, divided evenly, of which number 0 takes the remainder. A block then
    starts with the first row of the period that it would start in. An Expanding window trains on all rows before the
    embargo, a Rolling one on the newest `train_size`; of both only on rows whose outcome was known at the cut-off.

    A span of time is divided alike, by `test_size` or into `folds`; number 0 lies before it and has as many rows as a
    block. Of the span are the rows whose period of the frequency starts in it.

    Args:
        settled: Rows whose outcome is known now.
        spec: The job.
        period: The span that is scored; default: the newest rows.

    Raises:
        DataError: There are too few rows, or a block would hold no whole period.
    """
    evaluation, periods = spec.evaluation, periods_of(settled.time, spec)
    rolling = evaluation.train_size if evaluation.window == "Rolling" else None
    if period is None:
        calibration, block = _sizes(evaluation, len(settled))
        stops = [len(settled) - place * block for place in range(evaluation.folds, -1, -1)]
    else:
        stops = _stops(periods, evaluation, period)
        calibration = max(stops[1] - stops[0], LEAST_CALIBRATION)
        _require_history(evaluation, period, found=stops[0], calibration=calibration)
    edges = [stops[0] - calibration, *stops]
    starts = [int(np.searchsorted(periods, periods[edge])) for edge in edges[:-1]] + [stops[-1]]
    folds = []
    for number, (start, stop) in enumerate(pairwise(starts)):
        last = start - evaluation.embargo
        rows = np.arange(max(0, last - rolling) if rolling else 0, max(0, last))
        cutoff = settled.time[last - 1] if last > 0 else settled.time[0]
        training = rows[settled.known_at[rows] <= cutoff]
        least = LEAST_CALIBRATION if number == 0 else 1
        if stop - start < least or len(training) < _LEAST_TRAINING:
            raise DataError(
                f"source {spec.target.source!r}: fold {number} has {len(training)} rows to learn from and "
                f"{stop - start} to predict, in whole periods of {spec.frequency}; it needs {_LEAST_TRAINING} and "
                f"{least}.",
                _remedy(of_span=period is not None, learns=len(training) >= _LEAST_TRAINING),
            )
        folds.append(RowFold(number, training, start, stop, cutoff))
    return tuple(folds)


def _stops(periods: TimeArray, evaluation: Evaluation, period: Period) -> list[int]:
    """Return the first row of each block of a span, and behind them the row behind the last."""
    begin = int(np.searchsorted(periods, period.start, side="left"))
    behind = max(begin, int(np.searchsorted(periods, period.end, side="right")))
    size = evaluation.test_size
    blocks = evaluation.folds if size is None else -(-(behind - begin) // size)
    if behind - begin < max(blocks, 1):
        raise DataError(
            f"from {_day(period.start)} to {_day(period.end)} there are {behind - begin} rows with a known outcome, "
            f"and {evaluation.folds} folds are asked for.",
            "Give a longer period inside the history (--start, --end), or fewer folds (spec.evaluation.folds).",
        )
    if size is None:
        return [begin + (behind - begin) * number // blocks for number in range(blocks + 1)]
    return [*range(begin, behind, size), behind]


def _require_history(evaluation: Evaluation, period: Period, *, found: int, calibration: int) -> None:
    needed = (evaluation.train_size or _LEAST_TRAINING) + evaluation.embargo + calibration
    if found < needed:
        raise DataError(
            f"there are {found} rows with a known outcome before {_day(period.start)}, and {needed} are needed to "
            f"train on and to calibrate the intervals.",
            "Give a later --start, a smaller trainSize, or more history.",
        )


def _remedy(*, of_span: bool, learns: bool) -> str:
    """Return what helps a fold that is too small; `learns` where only the rows that it is to predict are too few."""
    if not of_span:
        return (
            "Ask for fewer folds (spec.evaluation.folds), a smaller trainSize or embargo or a finer frequency, or give "
            "more rows."
        )
    if learns:
        return "Give a longer period (--start, --end), fewer folds (spec.evaluation.folds) or a larger testSize."
    return "Give a later --start, a smaller trainSize or embargo, or more history."


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]"))


def _sizes(evaluation: Evaluation, rows: int) -> tuple[int, int]:
    """Return the rows of the calibration block and of each scored block."""
    folds, embargo = evaluation.folds, evaluation.embargo
    if evaluation.test_size is not None:
        block = evaluation.test_size
        calibration = max(block, LEAST_CALIBRATION)
        needed = (evaluation.train_size or _LEAST_TRAINING) + embargo + calibration + folds * block
    else:
        training = evaluation.train_size or rows // 2
        behind = rows - training - embargo
        block = max(1, min(behind // (folds + 1), (behind - LEAST_CALIBRATION) // folds))
        calibration = behind - folds * block
        beside = embargo + LEAST_CALIBRATION + folds
        needed = evaluation.train_size + beside if evaluation.train_size else 2 * beside
    if rows < needed:
        raise DataError(
            f"there are {rows} rows with a known outcome and {folds} folds need {needed}.",
            "Ask for fewer folds (spec.evaluation.folds), a smaller trainSize or testSize, or give more rows.",
        )
    return calibration, block
