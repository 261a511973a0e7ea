"""The truncation test: a frame made from what was known at T must be the full frame's rows up to T, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from presage.bars import Bars
from presage.frame import KNOWN_AT, TIME, BoolArray, FloatArray, Frame, IntArray, TimeArray, moment
from presage.spec.periods import period_start

Value = float | np.datetime64
_NOWHERE = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Difference:
    """A place where a frame depends on what was not yet known.

    Attributes:
        name: Name of the feature, or of the frame's array (`level`, `target_level`, ...) with its step.
        row: Row of the frame.
        time: datetime64[us], UTC; start of the row's bar.
        origin: datetime64[us], UTC; the row's origin in the full frame.
        full: The value with later rows; NaN or NaT where there is none.
        truncated: The value from what was known alone; NaN or NaT where there is none.
    """

    name: str
    row: int
    time: np.datetime64
    origin: np.datetime64
    full: Value
    truncated: Value

    def __str__(self) -> str:
        return (
            f"{self.name} of the bar at {self.time}Z (row {self.row}, origin {self.origin}Z) is {self.full} with later "
            f"rows and {self.truncated} from what was known alone"
        )


def truncate(bars: Bars, cutoff: np.datetime64) -> Bars:
    """Return the closed bars as they were known at `cutoff` (datetime64[us], UTC): later vintages are gone."""
    known = bars.rows[KNOWN_AT].to_numpy() <= cutoff
    closed = bars.rows[TIME] < period_start(moment(cutoff), bars.frequency, bars.time_zone)
    return replace(bars, rows=bars.rows.filter(known & closed.to_numpy()))


def first_difference(full: Frame, truncated: Frame) -> Difference | None:
    """Return the first row, and in it the first array, in which two frames of one series differ in any bit.

    The frames may differ in two ways: `full` may end with more rows that are no origins (a gap shows only when a
    later bar is known), and the time of an outcome that is not known yet is what the calendar expects.

    Args:
        full: The frame of all rows, as it stood at T: `frame.known_by(T)`.
        truncated: The frame made from rows that were known at T.

    Returns:
        The difference with the least row, features first; None where there is none.

    Raises:
        ValueError: The frames are not of the same series, features and horizon.
    """
    return min(differences(full, truncated), key=lambda difference: difference.row, default=None)


def differences(full: Frame, truncated: Frame) -> tuple[Difference, ...]:
    """Return the first row in which each array differs; see `first_difference`. Features come first."""
    if (full.series, full.feature_names, full.horizon) != (
        truncated.series,
        truncated.feature_names,
        truncated.horizon,
    ):
        raise ValueError("only frames of the same series, features and horizon can be compared")
    rows = min(len(full), len(truncated))
    known = ~np.isnat(truncated.target_known_at[:rows])
    ours, theirs = (_columns(frame.rows(0, rows), known) for frame in (full, truncated))
    found = [
        Difference(name, row, full.time[row], full.origin[row], ours[name][row], theirs[name][row])
        for name in ours
        if (row := first_unequal(ours[name], theirs[name])) is not None
    ]
    found += [
        Difference("level", row, full.time[row], full.origin[row], full.level[row], np.nan)
        for row in range(rows, len(full))
        if not np.isnan(full.level[row])
    ]
    found += [
        Difference("time", row, truncated.time[row], truncated.origin[row], _NOWHERE, truncated.time[row])
        for row in range(rows, len(truncated))
    ]
    return tuple(found)


def share_unequal(full: Frame, truncated: Frame, name: str) -> float:
    """Return the share of the rows of both in which a feature differs in any bit; 0 where there is none to compare."""
    rows = min(len(full), len(truncated))
    if name not in full.feature_names or not rows:
        return 0.0
    ours, theirs = (frame.with_features((name,)).features[:rows, 0] for frame in (full, truncated))
    there = np.isfinite(ours) | np.isfinite(theirs)
    return float((_bits(ours) != _bits(theirs))[there].mean()) if there.any() else 0.0


def _columns(frame: Frame, known: BoolArray) -> dict[str, FloatArray | TimeArray]:
    """Return the columns that must agree by name, features first; the times of unknown outcomes are blanked."""
    columns: dict[str, FloatArray | TimeArray] = {
        name: frame.features[:, place] for place, name in enumerate(frame.feature_names)
    }
    columns |= {"level": frame.level, "time": frame.time, "origin": frame.origin}
    target_time = np.where(known, frame.target_time, _NOWHERE)
    for place in range(frame.horizon):
        columns[f"target_time of step {place + 1}"] = target_time[:, place]
        columns[f"target_level of step {place + 1}"] = frame.target_level[:, place]
        columns[f"target_known_at of step {place + 1}"] = frame.target_known_at[:, place]
    return columns


def first_unequal(ours: FloatArray | TimeArray, theirs: FloatArray | TimeArray) -> int | None:
    """Return the first row in which two arrays differ in any bit, or that one of them lacks; None where none is."""
    rows = min(len(ours), len(theirs))
    unequal = _bits(ours[:rows]) != _bits(theirs[:rows])
    differ = unequal.any(axis=tuple(range(1, unequal.ndim)))
    if differ.any():
        return int(differ.argmax())
    return None if len(ours) == len(theirs) else rows


def _bits(values: FloatArray | TimeArray) -> IntArray:
    return np.ascontiguousarray(values).view(np.int64)
