"""What is known of forecasts' errors at each origin, and how large they are of late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from presage.frame import FloatArray, Frame, IntArray, TimeArray, to_change
from presage.spec.job import TransformName

MINIMUM_RESIDUALS = 20
"""Known residuals below which no quantile is issued."""
HALF_LIFE = 20
"""Residuals after which one's weight in the scale has halved."""
LEAST_SCALE = 0.1
"""Share of the plain mean absolute residual that the scale never falls below: a dead calm makes no shock boundless."""


@dataclass(frozen=True)
class Known:
    """Residuals of each step ahead, in the order in which their outcomes became known.

    Attributes:
        value: (h, m) the residual; 0 behind a step's last.
        place: (h, m) its origin's place among the forecasts.
        count: (r + 1, h) how many were known at each origin, and at the end.
    """

    value: FloatArray
    place: IntArray
    count: IntArray


@dataclass(frozen=True)
class Residuals:
    """One series' forecasts, and what is known of their residuals.

    Attributes:
        level: (r, 1) level at the origins.
        expected: (r, h) forecasts in the learnt space.
        known: The residuals.
    """

    level: FloatArray
    expected: FloatArray
    known: Known


def residuals(frame: Frame, rows: IntArray, mean: FloatArray, transform: TransformName) -> Residuals:
    """Return the residuals of a series' forecasts: (r,) rows of its frame, (r, h) levels, NaN where there is none."""
    level = frame.level[rows, np.newaxis]
    expected = to_change(transform, level, mean)
    residual = to_change(transform, level, frame.target_level[rows]) - expected
    moments = np.append(frame.origin[rows], frame.origin[-1:])
    return Residuals(level, expected, _in_known_order(residual, frame.target_known_at[rows], moments))


def _in_known_order(residual: FloatArray, known_at: TimeArray, moments: TimeArray) -> Known:
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
    return Known(value, place, count)


def _scales(known: Known) -> FloatArray:
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


@dataclass(frozen=True)
class Lanes:
    """The steps ahead of some series side by side, so that one pass over time serves all; arrays as in `Known`.

    Attributes:
        value: (l, m) the residual.
        place: (l, m) its origin's place among the forecasts of its series.
        count: (r + 1, l) how many were known; behind the end of a shorter series, as many as at its end.
        scale: (r + 1, l) the scale of each series.
        step: (l,) the step ahead, from 1.
        first: (l,) the lane of the first step of the same series.
    """

    value: FloatArray
    place: IntArray
    count: IntArray
    scale: FloatArray
    step: IntArray
    first: IntArray

    @classmethod
    def of(cls, series: Sequence[Known]) -> Lanes:
        """Return the lanes of some series of the same horizon, one series after the other."""
        horizon = series[0].value.shape[0]
        most = max(known.value.shape[1] for known in series)
        rows = max(len(known.count) for known in series)
        scales = [np.pad(_scales(known), (0, rows - len(known.count)), mode="edge") for known in series]
        behind = [((0, 0), (0, most - known.value.shape[1])) for known in series]
        counts = [np.pad(known.count, ((0, rows - len(known.count)), (0, 0)), mode="edge") for known in series]
        return cls(
            value=np.concatenate([np.pad(known.value, pad) for known, pad in zip(series, behind, strict=True)]),
            place=np.concatenate([np.pad(known.place, pad) for known, pad in zip(series, behind, strict=True)]),
            count=np.concatenate(counts, axis=1),
            scale=np.repeat(np.stack(scales, axis=1), horizon, axis=1),
            step=np.tile(np.arange(1, horizon + 1), len(series)),
            first=np.repeat(np.arange(len(series)) * horizon, horizon),
        )
