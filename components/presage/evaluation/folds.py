"""The folds of a walk-forward back-test: which rows train, and which block of later rows is forecast."""

from __future__ import annotations

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import Fold
from presage.evaluation.intervals import MINIMUM_RESIDUALS
from presage.frame import Frame
from presage.spec.evaluation import Evaluation

_LEAST_TRAINING = 10


def make_folds(frame: Frame, evaluation: Evaluation) -> tuple[Fold, ...]:
    """Return the folds in order of time: number 0, which only calibrates intervals, then those that are scored.

    The usable rows go from the first origin that has a level to the last whose outcomes are all known. The blocks are
    consecutive and end with the last usable row. The block of number 0 is never too short for its residuals to give
    every later origin its quantiles: it has at least 19 + horizon rows.

    - `test_size` given: each block has as many rows.
    - else the rows behind the first training window (`train_size`, by default half of the usable rows) and the embargo
      are divided evenly, and number 0 takes the remainder.

    An Expanding window trains on all usable rows before the embargo, so that a `train_size` beside a `test_size` is
    the least it must hold; a Rolling one on the newest `train_size`.

    Raises:
        DataError: There are too few usable rows.
    """
    begun = np.flatnonzero(np.isfinite(frame.level))
    complete = np.flatnonzero(np.isfinite(frame.target_level).all(axis=1))
    first = int(begun[0]) if len(begun) else 0
    stop = int(complete[-1]) + 1 if len(complete) else 0
    training, calibration, block = _sizes(frame, evaluation, rows=max(0, stop - first))

    folds = []
    for number in range(evaluation.folds + 1):
        test_stop = stop - (evaluation.folds - number) * block
        test_start = test_stop - (block if number else calibration)
        train_stop = test_start - evaluation.embargo
        train_start = train_stop - training if evaluation.window == "Rolling" else first
        cutoff = frame.origin[train_stop - 1]
        folds.append(Fold(number, train_start, train_stop, test_start, test_stop, cutoff))
    return tuple(folds)


def _sizes(frame: Frame, evaluation: Evaluation, *, rows: int) -> tuple[int, int, int]:
    """Return the rows of the least training window, of the calibration block and of each scored block."""
    folds, embargo = evaluation.folds, evaluation.embargo
    least_calibration = MINIMUM_RESIDUALS + frame.horizon - 1
    if evaluation.test_size is not None:
        block = evaluation.test_size
        calibration = least_calibration = max(block, least_calibration)
        training = evaluation.train_size or _LEAST_TRAINING + frame.horizon
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
            f"Series {frame.series!r} has {rows} usable rows and {folds} folds need {needed}: "
            f"{needed - beside} to train on, {embargo} of embargo, {least_calibration} to calibrate the intervals and "
            f"{block} in each fold.",
            "Ask for fewer folds (spec.evaluation.folds), a smaller trainSize or testSize, or give more data.",
        )
    return training, calibration, block
