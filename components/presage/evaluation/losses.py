"""What contenders lost at the same origins: all that the gate looks at, besides coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from presage.evaluation.metrics import displayed
from presage.evaluation.scorecard import FoldMetrics
from presage.frame import FloatArray, IntArray, TimeArray, moment
from presage.spec.evaluation import Metric


@dataclass(frozen=True)
class Losses:
    """One loss an origin of each contender, for the same origins.

    Attributes:
        metric: What the losses are.
        time: (d,) datetime64[us], UTC, ascending; start of each origin's bar or period.
        origin: (d,) datetime64[us], UTC, ascending; what tells the origins apart from run to run.
        fold: (d,) number of the fold.
        by_contender: (d,) finite losses of each contender, baselines first.
        baselines: Names of the baselines.
        horizon: Neighbouring origins whose losses share outcomes, at least 1.
    """

    metric: Metric
    time: TimeArray
    origin: TimeArray
    fold: IntArray
    by_contender: Mapping[str, FloatArray]
    baselines: tuple[str, ...]
    horizon: int

    @property
    def best_baseline(self) -> str:
        """The baseline with the smallest mean loss; of equal ones, the first."""
        return min(self.baselines, key=lambda name: float(self.by_contender[name].mean()))

    def shown(self, name: str) -> float:
        """Return a contender's loss over all origins as it is displayed."""
        return displayed(self.metric, self.by_contender[name])

    def skill(self, name: str) -> float | None:
        """Return a contender's skill against the best baseline over all origins."""
        return skill(self.shown(name), self.shown(self.best_baseline))

    def folds(self, name: str) -> tuple[FoldMetrics, ...]:
        """Return what a contender lost in each scored fold."""
        own, benchmark = self.by_contender[name], self.by_contender[self.best_baseline]
        found = []
        for number in np.unique(self.fold):
            there = self.fold == number
            loss = displayed(self.metric, own[there])
            found.append(
                FoldMetrics(
                    fold=int(number),
                    start=moment(self.time[there][0]),
                    end=moment(self.time[there][-1]),
                    origins=int(there.sum()),
                    loss=loss,
                    skill=skill(loss, displayed(self.metric, benchmark[there])),
                )
            )
        return tuple(found)


def skill(loss: float, benchmark: float) -> float | None:
    """Return 1 - loss / benchmark; None where the benchmark loses nothing."""
    return 1 - loss / benchmark if benchmark > 0 else None
