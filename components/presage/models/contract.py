"""The contract that every forecaster keeps; `tests/contract/test_forecasters.py` holds each one to it.

1. `fit` sees a frame as it stood at the cut-off, and nothing else. It is single-threaded, and the same frame and seed
   give the same bytes.
2. `predict` for row i reads `level[: i + 1]`, `features[: i + 1]` and `time[: i + 1]` of the frame, never a later row
   and never the `target_*` arrays.
3. Forecasts are levels of the target, whatever the transform that was learnt.
4. What is dumped is what is judged: a forecaster that is loaded from its files forecasts as the one that was fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from presage.frame import FloatArray, Frame, IntArray
from presage.spec.job import TransformName


@dataclass(frozen=True)
class Task:
    """What every forecaster of a job is told besides its own parameters.

    Attributes:
        transform: What is learnt: the level or a change of it.
        horizon: Steps ahead, at least 1.
        season: Bars in a season, at least 1.
        seed: Seed of everything random.
    """

    transform: TransformName
    horizon: int
    season: int
    seed: int


class Forecaster(Protocol):
    """A fitted forecaster: immutable, and its files hold all of it."""

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return the forecasts issued at some origins.

        Args:
            frame: Origins in time order; it may go on beyond `rows`, and what comes after a row is not read for it.
            rows: (r,) places of the origins in the frame, ascending.

        Returns:
            (r, h) float64: the expected level at each step ahead; NaN where the forecaster has none, such as at an
            origin whose bar is a gap.
        """
        ...

    def importance(self) -> Mapping[str, float]:
        """Return each feature's share of what was learnt, adding up to 1; empty where there are no features."""
        ...

    def dump(self) -> Mapping[str, bytes]:
        """Return the forecaster as files by name: data only, never code."""
        ...


class Trainer(Protocol):
    """Fits one kind of forecaster."""

    def fit(self, frame: Frame, task: Task) -> Forecaster:
        """Fit on a frame as it stood at the cut-off.

        Args:
            frame: Rows and outcomes known at the cut-off; unknown outcomes are NaN.
            task: What is learnt.

        Raises:
            DataError: The frame holds too few usable rows.
        """
        ...

    def load(self, files: Mapping[str, bytes]) -> Forecaster:
        """Return the forecaster that `dump` wrote; raises LakeError for files that are none of its own."""
        ...
