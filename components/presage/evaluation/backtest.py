"""What a walk-forward back-test is, as values: folds, and each contender's forecasts at every origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from presage.features.config import Dropped, FeatureConfig
from presage.frame import BoolArray, FloatArray, Frame, IntArray, Panel

__all__ = ["BackTest", "Dropped", "FeatureConfig", "Fold", "Forecasts"]


@dataclass(frozen=True)
class Fold:
    """One step of the walk: fit on what was known at the cut-off, forecast a block of later origins.

    Places are those of dates (`Panel.dates`), which all series share; those of one series are its frame's rows.

    Attributes:
        number: 0 for the fold that only calibrates intervals, then 1, 2, ... for those that are scored.
        train_start: First date of the training window.
        train_stop: Place behind the training window's last date.
        test_start: First date of the block.
        test_stop: Place behind the block's last date.
        cutoff: datetime64[us], UTC; the newest moment whose knowledge training may use: when the last training date was
            known of all series, but no later than the first origin of the block.
    """

    number: int
    train_start: int
    train_stop: int
    test_start: int
    test_stop: int
    cutoff: np.datetime64


@dataclass(frozen=True)
class Forecasts:
    """One contender's forecasts at the rows of a back-test; rows predicted from themselves have no axis of steps.

    Attributes:
        name: Name of the contender.
        baseline: Whether it is one of the baselines.
        mean: (r, h) or (r,) float64; expected level or value, or the probability of class 1.
        quantiles: (r, h, q) or (r, q) float64; level at each probability, non-decreasing in the last axis; NaN where
            there were not yet enough residuals to calibrate on. A Classification has none: (r, 0).
        importance: Mean importance of each feature over the scored folds; empty where there is none.
    """

    name: str
    baseline: bool
    mean: FloatArray
    quantiles: FloatArray
    importance: Mapping[str, float]

    def at(self, rows: BoolArray | slice) -> Forecasts:
        """Return the forecasts at some of the rows."""
        return replace(self, mean=self.mean[rows], quantiles=self.quantiles[rows])


@dataclass(frozen=True)
class BackTest:
    """Forecasts of all contenders at the same origins.

    Attributes:
        panel: All origins of the series.
        folds: The walk, the calibration fold first.
        rows: (r,) rows of the panel's `whole` that were forecast, ascending: one series after the other, and in each
            the calibration fold first.
        fold: (r,) number of the fold of each of them.
        scored: (r,) bool; whether the origin counts: a scored fold, no gap, all steps' outcomes known, and a mean
            and all quantiles from every contender. The same for every contender, so that losses are compared in pairs.
        probabilities: (q,) float64, ascending; the probabilities of the quantiles, with 0.5 among them.
        forecasts: By contender's name: baselines first, then candidates in the job's order.
        selections: What selection kept in each fold, by the fold's number.
    """

    panel: Panel
    folds: tuple[Fold, ...]
    rows: IntArray
    fold: IntArray
    scored: BoolArray
    probabilities: FloatArray
    forecasts: Mapping[str, Forecasts]
    selections: Mapping[int, FeatureConfig]

    @property
    def frame(self) -> Frame:
        """The frame that `rows` are places in: that of the series, or those of all series one after the other."""
        return self.panel.whole

    @property
    def series(self) -> IntArray:
        """(r,) place of each row's series among the panel's names."""
        return np.searchsorted(self.panel.bounds, self.rows, side="right") - 1

    def of(self, place: int) -> BackTest:
        """Return the part of one series, whose folds are still those of the panel's dates."""
        if len(self.panel) == 1:
            return self
        own = slice(*np.searchsorted(self.rows, self.panel.bounds[place : place + 2]).tolist())
        return replace(
            self,
            panel=Panel.of([self.panel.frames[place]]),
            rows=self.rows[own] - self.panel.bounds[place],
            fold=self.fold[own],
            scored=self.scored[own],
            forecasts={name: one.at(own) for name, one in self.forecasts.items()},
        )
