"""Where the blocks of a walk lie in each series of a panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from presage.evaluation.backtest import Fold
from presage.frame import FloatArray, Frame, IntArray, Panel


class Blocks:
    """Where the folds' blocks lie in each series, and in the rows of the walk: one series after the other."""

    def __init__(self, panel: Panel, folds: Sequence[Fold]) -> None:
        self.panel = panel
        self.folds = folds
        ends = [folds[0].test_start, *(fold.test_stop for fold in folds)]
        edges = [[panel.span(place, 0, end)[1] for end in ends] for place in range(len(panel))]
        self._edges = np.array(edges, dtype=np.intp)  # (k, f + 1): rows of the series' own frame
        lengths = self._edges[:, -1] - self._edges[:, 0]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])

    @property
    def rows(self) -> IntArray:
        """(r,) rows of the panel that are forecast."""
        bounds = zip(self.panel.bounds[:-1], self._edges.tolist(), strict=True)
        return np.concatenate([np.arange(first + edges[0], first + edges[-1]) for first, edges in bounds])

    @property
    def numbers(self) -> IntArray:
        """(r,) number of the fold of each."""
        every = [fold.number for fold in self.folds]
        return np.concatenate([np.repeat(every, np.diff(edges)) for edges in self._edges])

    def training(self, fold: Fold) -> tuple[Frame, ...]:
        """Return each series' rows of the training window, with what became known later still in them."""
        return tuple(
            frame.rows(*self.panel.span(place, fold.train_start, fold.train_stop))
            for place, frame in enumerate(self.panel.frames)
        )

    def span(self, place: int, run: Sequence[Fold]) -> tuple[int, int]:
        """Return the first row, and the row behind the last, of some folds' blocks in a row, in a series' own frame."""
        return int(self._edges[place, run[0].number]), int(self._edges[place, run[-1].number + 1])

    def places(self, place: int, run: Sequence[Fold]) -> slice:
        """Return where the forecasts of the blocks of folds in a row of a series lie among the rows of the walk."""
        first, behind = (self._starts[place] - self._edges[place, 0] + edge for edge in self.span(place, run))
        return slice(int(first), int(behind))

    def own(self, place: int) -> slice:
        """Return where the forecasts of a series lie among the rows of the walk."""
        return slice(int(self._starts[place]), int(self._starts[place + 1]))

    def issued(self, mean: FloatArray) -> list[tuple[Frame, IntArray, FloatArray]]:
        """Return each series' frame, the rows of it that were forecast, and the forecasts, (r, h)."""
        return [
            (frame, np.arange(self._edges[place, 0], self._edges[place, -1]), mean[self.own(place)])
            for place, frame in enumerate(self.panel.frames)
        ]
