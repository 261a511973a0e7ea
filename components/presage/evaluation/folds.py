"""The folds of a walk-forward back-test: which rows train, and which block of later rows is forecast."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import Fold
from presage.evaluation.residuals import MINIMUM_RESIDUALS
from presage.frame import Panel
from presage.spec.evaluation import Evaluation

_LEAST_TRAINING = 10


@dataclass(frozen=True)
class Period:
    """A span of forecast origins, by the start of their bars.

    Attributes:
        start: The first moment, datetime64[us], UTC.
        end: The last moment, datetime64[us], UTC.
    """

    start: np.datetime64
    end: np.datetime64


def make_folds(panel: Panel, evaluation: Evaluation, period: Period | None = None) -> tuple[Fold, ...]:
    """Return the folds in order of time: number 0, which only calibrates intervals, then those that are scored.

    Folds are spans of dates, which all series share. The usable dates go from the first at which a series has a level
    to the last at which one has all its outcomes. The blocks are consecutive and end with the last usable date. The
    block of number 0 is never too short for its residuals to give every later origin of a series that is whole its
    quantiles: it has at least 19 + horizon dates.

    - `test_size` given: each block has as many dates.
    - else the dates behind the first training window (`train_size`, by default half of the usable dates) and the
      embargo are divided evenly, and number 0 takes the remainder.

    An Expanding window trains on all usable dates before the embargo, so that a `train_size` beside a `test_size` is
    the least it must hold; a Rolling one on the newest `train_size`.

    A period is divided alike, by `test_size` or into `folds`; number 0 lies before it and has as many dates as a block.

    Args:
        panel: All origins.
        evaluation: How the job is judged.
        period: Origins that are scored; default: the newest.

    Raises:
        DataError: There are too few usable dates.
    """
    whole = panel.whole
    begun = panel.date[np.isfinite(whole.level)]
    complete = panel.date[np.isfinite(whole.target_level).all(axis=1)]
    first = int(begun.min()) if len(begun) else 0
    stop = int(complete.max()) + 1 if len(complete) else 0
    if period is None:
        training, calibration, block = _sizes(panel, evaluation, rows=max(0, stop - first))
        edges = [stop - (evaluation.folds - number) * block for number in range(evaluation.folds + 1)]
    else:
        edges = _edges(panel, evaluation, period, stop)
        calibration = max(edges[1] - edges[0], _least_calibration(panel))
        training = evaluation.train_size or _LEAST_TRAINING + panel.whole.horizon
        _require_history(panel, period, found=edges[0] - first, needed=training + evaluation.embargo + calibration)
    folds = []
    for number, (test_start, test_stop) in enumerate(pairwise([edges[0] - calibration, *edges])):
        train_stop = test_start - evaluation.embargo
        train_start = train_stop - training if evaluation.window == "Rolling" else first
        cutoff = _cutoff(panel, train_stop, (test_start, test_stop))
        folds.append(Fold(number, train_start, train_stop, test_start, test_stop, cutoff))
    return tuple(folds)


def _cutoff(panel: Panel, train_stop: int, block: tuple[int, int]) -> np.datetime64:
    """Return when the last training date was known of all series, or the first origin of the block if that is earlier.

    A series that is published late must not hand what another series knows by then to that one's earlier forecasts.
    """
    tested = (panel.date >= block[0]) & (panel.date < block[1])
    return min(panel.issued[train_stop - 1], panel.whole.origin[tested].min())


def _edges(panel: Panel, evaluation: Evaluation, period: Period, stop: int) -> list[int]:
    """Return the first date of each block of a period, and behind them the date behind the last."""
    begin = int(np.searchsorted(panel.dates, period.start, side="left"))
    behind = min(stop, int(np.searchsorted(panel.dates, period.end, side="right")))
    blocks = evaluation.folds if evaluation.test_size is None else -(-(behind - begin) // evaluation.test_size)
    if behind - begin < max(blocks, 1):
        raise DataError(
            f"from {_day(period.start)} to {_day(period.end)} there are {max(0, behind - begin)} dates with known "
            f"outcomes, and {evaluation.folds} folds are asked for.",
            "Give a longer period inside the history, or fewer folds (spec.evaluation.folds).",
        )
    if evaluation.test_size is None:
        return [begin + (behind - begin) * number // blocks for number in range(blocks + 1)]
    return [*range(begin, behind, evaluation.test_size), behind]


def _require_history(panel: Panel, period: Period, *, found: int, needed: int) -> None:
    if found < needed:
        raise DataError(
            f"{_named(panel)} {found} usable dates before {_day(period.start)}, and {needed} are needed to train on "
            f"and to calibrate the intervals.",
            "Give a later --start, a smaller trainSize, or more history.",
        )


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]"))


def _least_calibration(panel: Panel) -> int:
    return MINIMUM_RESIDUALS + panel.whole.horizon - 1


def _named(panel: Panel) -> str:
    if len(panel) == 1:
        return f"Series {panel.names[0]!r} has"
    return f"The panel of {len(panel)} series has"


def _sizes(panel: Panel, evaluation: Evaluation, *, rows: int) -> tuple[int, int, int]:
    """Return the dates of the least training window, of the calibration block and of each scored block."""
    folds, embargo = evaluation.folds, evaluation.embargo
    least_calibration = _least_calibration(panel)
    if evaluation.test_size is not None:
        block = evaluation.test_size
        calibration = least_calibration = max(block, least_calibration)
        training = evaluation.train_size or _LEAST_TRAINING + panel.whole.horizon
        needed = training + embargo + calibration + folds * block
    else:
        training = evaluation.train_size or rows // 2
        behind = rows - training - embargo
        block = max(1, min(behind // (folds + 1), (behind - least_calibration) // folds))
        calibration = behind - folds * block
        least_behind = embargo + least_calibration + folds
        needed = evaluation.train_size + least_behind if evaluation.train_size else 2 * least_behind - 1
    if rows < needed:
        beside = embargo + least_calibration + folds * block
        raise DataError(
            f"{_named(panel)} {rows} usable rows and {folds} folds need {needed}: "
            f"{needed - beside} to train on, {embargo} of embargo, {least_calibration} to calibrate the intervals and "
            f"{block} in each fold.",
            "Ask for fewer folds (spec.evaluation.folds), a smaller trainSize or testSize, or give more data.",
        )
    return training, calibration, block
