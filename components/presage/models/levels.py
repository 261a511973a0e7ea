"""The history that a statistical forecaster learns from: the known levels of one series, or their logarithms.

Gaps are passed over as if they were no bars.
"""

from __future__ import annotations

import numpy as np

from presage.errors import DataError
from presage.frame import BoolArray, FloatArray, Frame, IntArray
from presage.models.contract import Task
from presage.models.outcomes import LEAST_ROWS
from presage.models.statistical import StatisticalForecaster
from presage.spec.models import ModelName


class AnchoredForecaster(StatisticalForecaster):
    """A forecaster whose state is that before the first bar that was learnt, and runs on from there."""

    first: int
    """Start of that bar, in microseconds since 1970, UTC."""
    logarithm: bool
    """Whether logarithms of the levels are learnt."""

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; see `presage.models.contract.Forecaster`. Before the first bar there is none.

        Raises:
            DataError: The frame begins after the first bar.
        """
        if len(rows) == 0:
            return np.empty((0, self.horizon))
        time = frame.time[: rows[-1] + 1].astype("datetime64[us]")
        first = np.datetime64(self.first, "us")
        if time[0] > first:
            raise DataError(
                f"series {frame.series!r}: {self.name} learnt from the bar of {first} on, and the history now begins "
                f"with that of {time[0]}.",
                "Give the whole history, or run the job again.",
            )
        level = np.where(time < first, np.nan, frame.level[: rows[-1] + 1])
        gap = ~usable(level[rows], logarithm=self.logarithm)[:, np.newaxis]
        return np.where(gap, np.nan, self.forecast(level, rows))


def is_logarithmic(task: Task) -> bool:
    """Return whether logarithms are learnt: a LogChange of the level is a difference of them."""
    return task.transform == "LogChange"


def usable(level: FloatArray, *, logarithm: bool) -> BoolArray:
    """Return (n,) whether a level is known, and above 0 where its logarithm is taken."""
    return np.asarray(level > 0 if logarithm else ~np.isnan(level))


def learnt(level: FloatArray, *, logarithm: bool) -> FloatArray:
    """Return (m,) the usable ones of (n,) levels, or their logarithms."""
    known = level[usable(level, logarithm=logarithm)]
    return np.log(known) if logarithm else known


def first_bar(frame: Frame, task: Task) -> int:
    """Return the start of the first bar with a usable level, in microseconds since 1970, UTC."""
    time = frame.time[usable(frame.level, logarithm=is_logarithmic(task))].astype("datetime64[us]")
    return int(time[0].astype(np.int64))


def history(frame: Frame, task: Task, name: ModelName) -> FloatArray:
    """Return (m,) what a forecaster learns from a training window.

    Raises:
        DataError: There are fewer than 10 usable levels.
    """
    values = learnt(frame.level, logarithm=is_logarithmic(task))
    if len(values) < LEAST_ROWS:
        above = " above 0" if is_logarithmic(task) else ""
        raise DataError(
            f"series {frame.series!r}: {name} needs at least {LEAST_ROWS} levels{above} to learn from, and "
            f"{len(values)} of the {len(frame)} rows have one.",
            "Give more history or a larger trainSize.",
        )
    return values
