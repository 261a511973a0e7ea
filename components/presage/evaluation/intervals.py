"""Prediction intervals: quantiles around a forecast that correct themselves as outcomes become known.

For each step ahead and each probability p, the quantile issued at an origin is an order statistic of the newest
residuals whose outcomes were known at that origin, taken at an adapted level instead of p itself (adaptive conformal
inference: Gibbs & Candes, Advances in Neural Information Processing Systems 34, 2021, equation 2). With y the outcome
and q the quantile that was issued for it, the level moves once y is known:

    level <- level + learning_rate / k * (p - 1[y <= q]),  kept in [0, 1]

Outcomes of later steps k become known later, so their feedback comes later too; and as k of them in a row overlap, so
that one shock is heard k times, each counts for 1 / k.

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

from presage.frame import BoolArray, FloatArray, Frame, IntArray, TimeArray, to_change, to_level
from presage.spec.evaluation import Intervals
from presage.spec.job import TransformName

MINIMUM_RESIDUALS = 20
"""Known residuals below which no quantile is issued."""
HALF_LIFE = 20
"""Residuals after which one's weight in the scale has halved."""
LEAST_SCALE = 0.1
"""Share of the plain mean absolute residual that the scale never falls below: a dead calm makes no shock boundless."""
_STRETCH = 0.5
_CHUNK = 2**20


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
    level = frame.level[rows, np.newaxis]
    expected = to_change(transform, level, mean)
    residual = to_change(transform, level, frame.target_level[rows]) - expected
    moments = np.append(frame.origin[rows], frame.origin[-1:])
    known = _in_known_order(residual, frame.target_known_at[rows], moments)
    offsets = _offsets(known, probabilities, intervals)
    quantiles = _bounded(
        to_level(transform, level[:, :, np.newaxis], expected[:, :, np.newaxis] + offsets[:-1]), minimum
    )
    newest = offsets[-1]
    state = IntervalState(
        transform=transform,
        probabilities=tuple(probabilities.tolist()),
        offsets=tuple(tuple(step) for step in newest.tolist()) if np.isfinite(newest).all() else (),
        minimum=minimum,
    )
    return quantiles, state


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


@dataclass(frozen=True)
class _Known:
    """Residuals of each step ahead, in the order in which their outcomes became known.

    Attributes:
        value: (h, m) the residual; 0 behind a step's last.
        place: (h, m) its origin's place among the forecasts.
        count: (r + 1, h) how many were known at each origin, and at the end.
    """

    value: FloatArray
    place: IntArray
    count: IntArray


def _in_known_order(residual: FloatArray, known_at: TimeArray, moments: TimeArray) -> _Known:
    horizon = residual.shape[1]
    places = []
    count = np.zeros((len(moments), horizon), dtype=np.intp)
    for step in range(horizon):
        usable = np.flatnonzero(np.isfinite(residual[:, step]) & ~np.isnat(known_at[:, step]))
        ordered = usable[np.argsort(known_at[usable, step], kind="stable")]
        count[:, step] = np.searchsorted(known_at[ordered, step], moments, side="right")
        places.append(ordered)
    value = np.zeros((horizon, max(1, *(len(ordered) for ordered in places))))
    place = np.zeros(value.shape, dtype=np.intp)
    for step, ordered in enumerate(places):
        value[step, : len(ordered)] = residual[ordered, step]
        place[step, : len(ordered)] = ordered
    return _Known(value, place, count)


def _scales(known: _Known) -> FloatArray:
    """Return the scale at each origin and at the end, (r + 1,).

    Before the first quantile can be issued it is that of the first 20 residuals: all of them are known by then.
    """
    size = np.abs(known.value[0])
    decay = 0.5 ** (1 / HALF_LIFE)
    weighted = np.zeros(len(size))
    total, weight = 0.0, 0.0
    for number, newest in enumerate(size.tolist()):
        total, weight = decay * total + newest, decay * weight + 1
        weighted[number] = total / weight
    plain = np.cumsum(size) / np.arange(1, len(size) + 1)
    scale = np.maximum(weighted, LEAST_SCALE * plain)
    at_origin = scale[np.clip(known.count[:, 0], MINIMUM_RESIDUALS, len(size)) - 1]
    return np.where(at_origin > 0, at_origin, 1.0)


def _offsets(known: _Known, probabilities: FloatArray, intervals: Intervals) -> FloatArray:
    """Return what to add to each forecast, and to one at the end, (r + 1, h, q)."""
    horizon, most = known.value.shape
    steps = np.arange(horizon)
    scale = _scales(known)
    relative = known.value / scale[known.place]
    rate = intervals.learning_rate / (steps[:, np.newaxis] + 1)
    width = min(intervals.window, most)
    before = np.full((horizon, width), np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, relative], axis=1), width, axis=1)

    issued = np.full((*known.count.shape, len(probabilities)), np.nan)
    adapted = np.tile(probabilities, (horizon, 1))
    learnt = np.zeros(horizon, dtype=np.intp)
    chunk = max(1, _CHUNK // (horizon * width))
    for start in range(0, len(issued), chunk):
        # Sorted a chunk at a time: a sort for each origin is slow, and all at once is too much memory.
        ordered = np.sort(windows[steps, known.count[start : start + chunk]], axis=-1)
        for place, sample in enumerate(ordered, start):
            count = known.count[place]
            while (fresh := learnt < count).any():
                newest = np.minimum(learnt, most - 1)
                outcome = relative[steps, newest, np.newaxis]
                quantile = issued[known.place[steps, newest], steps]
                correction = rate * (probabilities - (outcome <= quantile))
                heard = fresh[:, np.newaxis] & np.isfinite(quantile)
                adapted = np.clip(adapted + np.where(heard, correction, 0.0), 0.0, 1.0)
                learnt = learnt + fresh
            # The scale needs its own residuals.
            enough = np.minimum(count, count[0]) >= MINIMUM_RESIDUALS
            size = np.minimum(count, width)
            issued[place] = _quantiles(sample, size, adapted, probabilities, enough=enough)
    return issued * scale[:, np.newaxis, np.newaxis]


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
