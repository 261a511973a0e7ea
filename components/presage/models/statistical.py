"""Forecasters that read the history of the target alone, and whose few numbers fit into one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from presage.frame import FloatArray, Frame, IntArray
from presage.models.contract import Task
from presage.models.state import STATE, State, expect_files, read_state


class StateForecaster(State, ABC):
    """A forecaster that is its own state."""

    horizon: Annotated[int, Field(ge=1)]
    """Steps ahead."""

    @property
    def steps(self) -> IntArray:
        """(h,) the steps ahead: 1, 2, ..."""
        return np.arange(1, self.horizon + 1)

    @abstractmethod
    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; see `presage.models.contract.Forecaster`."""

    def importance(self) -> Mapping[str, float]:
        """Return nothing: no feature is used."""
        return {}

    def dump(self) -> Mapping[str, bytes]:
        """Return the state as the one file."""
        return {STATE: self.to_bytes()}


class StatisticalForecaster(StateForecaster):
    """A forecaster that reads the levels in their order, and nothing else."""

    @abstractmethod
    def forecast(self, level: FloatArray, rows: IntArray) -> FloatArray:
        """Return (r, h) levels.

        Args:
            level: (n,) levels up to the last of `rows`; NaN at gaps.
            rows: (r,) places of the origins, ascending, at least one; what is said for a gap does not matter.
        """

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) levels; see `presage.models.contract.Forecaster`."""
        if len(rows) == 0:
            return np.empty((0, self.horizon))
        level = frame.level[: rows[-1] + 1]
        gap = np.isnan(level[rows])[:, np.newaxis]
        return np.where(gap, np.nan, self.forecast(level, rows))


@dataclass(frozen=True)
class StatisticalTrainer:
    """Fits one kind of statistical forecaster.

    Attributes:
        kind: Type of the forecaster.
        learn: Learns it from a frame as it stood at the cut-off.
    """

    kind: type[StateForecaster]
    learn: Callable[[Frame, Task], StateForecaster]

    def fit(self, frame: Frame, task: Task) -> StateForecaster:
        """Fit on a frame as it stood at the cut-off; see `presage.models.contract.Trainer`."""
        return self.learn(frame, task)

    def load(self, files: Mapping[str, bytes]) -> StateForecaster:
        """Return the forecaster that `dump` wrote; raises LakeError for files that are none of its own."""
        forecaster = read_state(files, self.kind)
        expect_files(files, (STATE,))
        return forecaster
