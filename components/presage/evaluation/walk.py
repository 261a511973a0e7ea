"""A contender's forecasts over all blocks of a back-test, and the walks of combinations, which are made of others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from presage.evaluation.backtest import Fold
from presage.evaluation.blocks import Blocks
from presage.evaluation.contenders import Contender
from presage.frame import FloatArray, Frame, IntArray
from presage.models.combination import combine, weigh


@dataclass(frozen=True)
class Walk:
    """A contender's forecasts over all blocks, as a forecaster that has already said all it will.

    Attributes:
        mean: (r, h) forecasts at the rows of the walk.
        shares: Each feature's share, averaged over the scored folds.
    """

    mean: FloatArray
    shares: Mapping[str, float]

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:  # noqa: ARG002  # the contract's arguments
        """Return the forecasts, whatever the rows."""
        return self.mean

    def importance(self) -> Mapping[str, float]:
        """Return each feature's share."""
        return self.shares

    def dump(self) -> Mapping[str, bytes]:
        """Return nothing: a walk is never exported."""
        return {}


def combined(blocks: Blocks, contender: Contender, members: Mapping[str, Walk]) -> Walk:
    """Return a combination's walk; each series weighs by its own errors."""
    walks = []
    for place, frame in enumerate(blocks.panel.frames):
        own = blocks.own(place)
        parts = {name: Walk(member.mean[own], member.shares) for name, member in members.items()}
        spans = [blocks.span(place, (fold,)) for fold in blocks.folds]
        walks.append(_of_one_series(frame, contender, folds=blocks.folds, spans=spans, members=parts))
    shares = mean_shares([walk.shares for walk in walks], blocks.panel.whole.feature_names)
    return Walk(np.concatenate([walk.mean for walk in walks]), shares)


def _of_one_series(
    frame: Frame,
    contender: Contender,
    *,
    folds: Sequence[Fold],
    spans: Sequence[tuple[int, int]],
    members: Mapping[str, Walk],
) -> Walk:
    """Return the walk of one series; in each fold it weighs by the errors of earlier blocks that its cut-off knew."""
    rows = np.arange(spans[0][0], spans[-1][1])
    means = []
    for fold, (start, stop) in zip(folds, spans, strict=True):
        past = rows[rows < start]
        own = slice(start - spans[0][0], stop - spans[0][0])
        weights = None
        if contender.weights_window is not None:
            known = frame.target_known_at[past] <= fold.cutoff  # NaT compares as False
            outcome = np.where(known, frame.target_level[past], np.nan)
            forecasts = {name: member.mean[: len(past)] for name, member in members.items()}
            weights = weigh(forecasts, outcome, frame.origin[past], contender.weights_window)
        block = {name: Walk(member.mean[own], member.shares) for name, member in members.items()}
        made = combine(block, contender.model.name, weights)
        means.append(made.predict(frame, rows[own]))
    return Walk(np.concatenate(means), made.importance())


def mean_shares(shares: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Return the mean share of each feature over the fits that have shares, in the order of the names."""
    held = [share for share in shares if share]
    means = {name: sum(share.get(name, 0.0) for share in held) / len(held) for name in names} if held else {}
    return {name: mean for name, mean in means.items() if any(name in share for share in held)}
