"""Prediction intervals: quantiles around a forecast that correct themselves as outcomes become known.

For each step ahead and each probability p, the quantile issued at an origin is an order statistic of the newest
residuals whose outcomes were known at that origin, taken at an adapted level instead of p itself (adaptive conformal
inference: Gibbs & Candes, Advances in Neural Information Processing Systems 34, 2021, equation 2). With y the outcome
and q the quantile that was issued for it, the level moves once y is known:

    level <- level + learning_rate / k * (p - 1[y <= q]),  kept in [0, 1]

Outcomes of later steps k become known later, so their feedback comes later too; and as k of them in a row overlap, so
that one shock is heard k times, each counts for 1 / k.

Each series of a panel has quantiles of its own, from its own residuals alone: a calm series says nothing of how far a
wild one may go, and one that has just begun is forecast without an interval until 20 of its residuals are known.

A residual is outcome minus forecast in the space that is learnt (`to_change`), over the scale at its origin, as markets
have quiet and wild times: the exponentially weighted mean absolute residual, one step ahead, of what was known there.
One step ahead for all steps, because that is the newest news there is. Quantiles are mapped back with `to_level`, which
is monotone.

At level x of n residuals the order statistic is number ceil((n + 1) x) for p above one half, the finite-sample rule of
split conformal prediction (Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, Journal of the American Statistical
Association 113, 2018, section 2.2); floor((n + 1) x), its mirror image, below; and the mean of both at one half. Where
that number is below 1 or above n, theory asks for an infinite interval; here the outermost residual is moved outwards,
evenly up to half of its distance from the median at levels 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from presage.evaluation.residuals import MINIMUM_RESIDUALS, Known, Lanes, residuals
from presage.frame import BoolArray, FloatArray, Frame, IntArray, to_change, to_level
from presage.spec.evaluation import Intervals
from presage.spec.job import TransformName

__all__ = [
    "MINIMUM_RESIDUALS",
    "IntervalState",
    "calibrate",
    "calibrate_all",
    "issue",
    "quantile_probabilities",
]

_STRETCH = 0.5
_CHUNK = 2**20
_LANES = 512


@dataclass(frozen=True)
class IntervalState:
    """What a live forecast needs to state its quantiles.

    Attributes:
        transform: The space in which offsets are added.
        probabilities: (q,) probabilities of the quantiles, ascending.
        offsets: (h, q) what to add to the forecast of each step, in the learnt space; empty where a step had too few
            known residuals.
    """

    transform: TransformName
    probabilities: tuple[float, ...]
    offsets: tuple[tuple[float, ...], ...]
    minimum: float | None = None


def quantile_probabilities(levels: Sequence[float]) -> FloatArray:
    """Return the probabilities at both ends of central intervals and one half, ascending, rounded to 12 decimals."""
    ends = [(1 + side * level) / 2 for level in levels for side in (-1, 1)]
    return np.array(sorted({round(end, 12) for end in [*ends, 0.5]}), dtype=np.float64)


def calibrate(
    frame: Frame,
    rows: IntArray,
    mean: FloatArray,
    *,
    transform: TransformName,
    probabilities: FloatArray,
    intervals: Intervals,
    minimum: float | None = None,
) -> tuple[FloatArray, IntervalState]:
    """Give every forecast its quantiles, from residuals known at its origin only.

    Args:
        frame: All origins, in the order in which they became known.
        rows: (r,) frame rows of the forecasts, ascending.
        mean: (r, h) float64; forecasts, as levels of the target; NaN where there is none.
        transform: The target's transform.
        probabilities: (q,) float64; ascending, such as `quantile_probabilities` gives.
        intervals: Window, in residuals, and learning rate.
        minimum: Level that no quantile falls below; None for no such bound.

    Returns:
        Quantiles as levels, (r, h, q) float64, non-decreasing in the last axis, NaN where fewer than 20 residuals were
        known or there is no forecast; and the state after everything that is known at the frame's last origin.
    """
    (quantiles,), (state,) = calibrate_all(
        [(frame, rows, mean)],
        transform=transform,
        probabilities=probabilities,
        intervals=intervals,
        minimum=minimum,
    )
    return quantiles, state


def calibrate_all(
    issued: Sequence[tuple[Frame, IntArray, FloatArray]],
    *,
    transform: TransformName,
    probabilities: FloatArray,
    intervals: Intervals,
    minimum: float | None = None,
) -> tuple[list[FloatArray], list[IntervalState]]:
    """Give every forecast of every series its quantiles, each from the residuals of its own series.

    Args:
        issued: For each series its frame, the (r,) rows and the (r, h) forecasts, as in `calibrate`.
        transform: The target's transform.
        probabilities: (q,) float64; ascending.
        intervals: Window, in residuals, and learning rate.
        minimum: Level that no quantile falls below; None for no such bound.

    Returns:
        For each series what `calibrate` returns.
    """
    quantiles, states = [], []
    together = max(1, _LANES // issued[0][2].shape[1])
    for start in range(0, len(issued), together):
        given = [residuals(*one, transform) for one in issued[start : start + together]]
        found = _offsets([one.known for one in given], probabilities, intervals)
        for one, offsets in zip(given, found, strict=True):
            level = one.level[:, :, np.newaxis]
            changed = to_level(transform, level, one.expected[:, :, np.newaxis] + offsets[:-1])
            quantiles.append(_bounded(changed, minimum))
            newest = offsets[-1]
            states.append(
                IntervalState(
                    transform=transform,
                    probabilities=tuple(probabilities.tolist()),
                    offsets=tuple(tuple(step) for step in newest.tolist()) if np.isfinite(newest).all() else (),
                    minimum=minimum,
                )
            )
    return quantiles, states


def issue(state: IntervalState, level: float, mean: FloatArray) -> FloatArray:
    """Return the quantiles of a new forecast.

    Args:
        state: What `calibrate` returned.
        level: Level at the origin.
        mean: (h,) float64; the forecast, as levels.

    Returns:
        (h, q) float64, as levels, non-decreasing in the last axis; NaN where the state has no offsets.
    """
    if not state.offsets:
        return np.full((len(mean), len(state.probabilities)), np.nan)
    origin = np.full((len(mean), 1), level, dtype=np.float64)
    expected = to_change(state.transform, origin, mean[:, np.newaxis])
    quantiles = to_level(state.transform, origin, expected + np.array(state.offsets, dtype=np.float64))
    return _bounded(quantiles, state.minimum)


def _bounded(quantiles: FloatArray, minimum: float | None) -> FloatArray:
    # The bound is never crossed by an outcome, so that coverage stays as it is.
    return quantiles if minimum is None else np.maximum(quantiles, minimum)


def _offsets(series: Sequence[Known], probabilities: FloatArray, intervals: Intervals) -> list[FloatArray]:
    """Return for each series what to add to each forecast, and to one at the end, (r + 1, h, q)."""
    lanes = Lanes.of(series)
    count_of_lanes, most = lanes.value.shape
    lane = np.arange(count_of_lanes)
    relative = lanes.value / lanes.scale[lanes.place, lane[:, np.newaxis]]
    rate = intervals.learning_rate / lanes.step[:, np.newaxis]
    width = min(intervals.window, most)
    before = np.full((count_of_lanes, width), np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, relative], axis=1), width, axis=1)

    issued = np.full((*lanes.count.shape, len(probabilities)), np.nan)
    adapted = np.tile(probabilities, (count_of_lanes, 1))
    learnt = np.zeros(count_of_lanes, dtype=np.intp)
    chunk = max(1, _CHUNK // (count_of_lanes * width))
    for start in range(0, len(issued), chunk):
        # Sorted a chunk at a time: a sort for each origin is slow, and all at once is too much memory.
        ordered = np.sort(windows[lane, lanes.count[start : start + chunk]], axis=-1)
        for place, sample in enumerate(ordered, start):
            count = lanes.count[place]
            while (fresh := learnt < count).any():
                newest = np.minimum(learnt, most - 1)
                outcome = relative[lane, newest, np.newaxis]
                quantile = issued[lanes.place[lane, newest], lane]
                correction = rate * (probabilities - (outcome <= quantile))
                heard = fresh[:, np.newaxis] & np.isfinite(quantile)
                adapted = np.clip(adapted + np.where(heard, correction, 0.0), 0.0, 1.0)
                learnt = learnt + fresh
            # The scale needs its own residuals.
            enough = np.minimum(count, count[lanes.first]) >= MINIMUM_RESIDUALS
            size = np.minimum(count, width)
            issued[place] = _quantiles(sample, size, adapted, probabilities, enough=enough)
    offsets = issued * lanes.scale[:, :, np.newaxis]
    horizon = count_of_lanes // len(series)
    return [offsets[: len(known.count), place * horizon : (place + 1) * horizon] for place, known in enumerate(series)]


def _quantiles(
    sample: FloatArray, size: IntArray, adapted: FloatArray, probabilities: FloatArray, *, enough: BoolArray
) -> FloatArray:
    """Return the order statistics at the adapted levels, (h, q), sorted so that they do not cross.

    Args:
        sample: (h, w) residuals, ascending; infinite behind the first `size`.
        size: (h,) how many there are.
        adapted: (h, q) adapted levels.
        probabilities: (q,) nominal probabilities, which tell on which side a quantile lies.
        enough: (h,) whether there are enough to issue quantiles.
    """
    most = np.maximum(size, 1)[:, np.newaxis]
    rank = (size[:, np.newaxis] + 1) * adapted
    # The tolerance keeps 0.95 * 20, which is not exactly 19 in binary, from rounding to the next rank.
    below, above = np.floor(rank + 1e-9), np.ceil(rank - 1e-9)
    lower = np.clip(np.where(probabilities > 0.5, above, below), 1, most).astype(np.intp) - 1
    upper = np.clip(np.where(probabilities < 0.5, below, above), 1, most).astype(np.intp) - 1
    value = (np.take_along_axis(sample, lower, axis=1) + np.take_along_axis(sample, upper, axis=1)) / 2
    first, last = sample[:, :1], np.take_along_axis(sample, most - 1, axis=1)
    median = np.take_along_axis(sample, (most - 1) // 2, axis=1)
    with np.errstate(invalid="ignore"):
        value = value + _STRETCH * np.clip(rank - most, 0, 1) * (last - median)
        value = value - _STRETCH * np.clip(1 - rank, 0, 1) * (median - first)
    return np.where(enough[:, np.newaxis], np.sort(value, axis=1), np.nan)
