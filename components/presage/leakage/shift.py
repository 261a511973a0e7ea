"""Whether a column tells the outcome: how much of what the target's own past leaves open it explains.

What is left of an outcome and of a column is what their least-squares fit on the target's newest levels does not
reach; the share of the one that the other explains is the squared partial correlation. It is measured on levels, on
changes and on the ranks of both, so that neither scale nor a monotone transform hides a copy.

Honest columns explain little of a market's next bar, and explain it less and less the older they are. A column that is
dated too early explains nearly all; or much, and next to nothing once it is one bar older. The bounds below are
thresholds, no proof: docs/decisions/0021 has what the examples reach.

A value counts only where its own period ended before the bar of the step began. What is measured meanwhile may tell a
target that is published late, and honestly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from presage.frame import FloatArray, Frame, IntArray, moment
from presage.leakage.columns import Column
from presage.leakage.finding import Finding, leak, passed, skipped

NAME = "target in columns"
COPY = 0.9
"""Share of the open part of an outcome from which on a column is the outcome under another name."""
SHIFT = 0.6
"""Share from which on a column is dated too early, where it says next to nothing once it is older. A sum over a window
is explained by half by the value that leaves the window, which is honest."""
LOST = 1 / 3
"""Part of that share below which it has gone."""
LEAST_ROWS = 30
LEAST_ROWS_OF_SHIFT = 60
"""Rows below which chance may reach the bounds where many columns, steps and ages are tried."""
LEVELS = 5
"""Newest levels of the target that its own past is."""
AGES = 3
"""How old a column is looked at: the newest value, and the ones of one and two origins before."""
MOST_STEPS = 5
"""Steps that are looked at, of more: the first, the last, and some between."""
_NOTHING = 1e-10
"""Share of a variance that is rounding."""


@dataclass(frozen=True)
class Explained:
    """What a column explains of the outcomes.

    Attributes:
        shares: (AGES, h) share of each step's open part at each age; NaN where there are too few rows.
        rows: (AGES, h) rows that it was measured on.
    """

    shares: FloatArray
    rows: IntArray

    @property
    def largest(self) -> float:
        """The largest share; NaN where there is none."""
        return float(np.nanmax(self.shares)) if np.isfinite(self.shares).any() else np.nan


def explained(column: Column, frame: Frame, season: int) -> Explained:
    """Return what a column explains of a series' outcomes beyond the target's own past.

    Args:
        column: The column as it was known at each origin.
        frame: The series.
        season: Bars in a season; the level one season before an outcome belongs to the target's past.
    """
    shares = np.full((AGES, frame.horizon), np.nan)
    rows = np.zeros((AGES, frame.horizon), dtype=np.intp)
    past = np.column_stack([_older(frame.level, age) for age in range(LEVELS)])
    for step in np.unique(np.linspace(0, frame.horizon - 1, MOST_STEPS).round().astype(int)).tolist():
        begun = frame.target_time[:, step].astype("datetime64[us]").astype(np.float64)
        outcome = frame.target_level[:, step]
        controls = past
        if season > 1:
            back = -(-(step + 1) // season) * season - step - 1
            controls = np.column_stack([past, _older(frame.level, back)]) if back >= LEVELS else past
        there = np.isfinite(outcome) & np.isfinite(controls).all(axis=1)
        for age in range(AGES):
            older, ended = _older(column.values, age), _older(column.ended, age)
            usable = np.flatnonzero(there & np.isfinite(older) & (ended <= begun))
            if len(usable) >= LEAST_ROWS:
                rows[age, step] = len(usable)
                shares[age, step] = max(
                    _share(*form) for form in _forms(older[usable], outcome[usable], controls[usable])
                )
    return Explained(shares, rows)


def check_shift(
    probed: Sequence[tuple[Frame, Sequence[Column]]], season: int, *, dated: frozenset[str] = frozenset()
) -> tuple[Finding, ...]:
    """Tell which columns tell the outcome of a series.

    Args:
        probed: The series, each with the columns as they were known at its origins.
        season: Bars in a season.
        dated: Columns whose source tells when each row was published: what they know early was published early. They
            are not judged.

    Returns:
        A finding for each column that does; else a single one, with the largest share that any reaches.
    """
    found: dict[str, Finding] = {}
    largest, whose = 0.0, ""
    names = {column.name for _, columns in probed for column in columns}
    judged = names - dated
    for frame, columns in probed:
        for column in columns:
            if column.name in dated:
                continue
            told = explained(column, frame, season)
            if told.largest > largest:
                largest, whose = told.largest, column.name
            finding = _judged(column, told, frame)
            if finding is not None:
                found.setdefault(column.name, finding)
    if found:
        return tuple(found.values())
    if not names:
        return (skipped(NAME, "no feature reads another column than the target's"),)
    if not judged:
        return (skipped(NAME, "the source of every column tells when each row was published"),)
    if not whose:
        return (skipped(NAME, f"there are fewer than {LEAST_ROWS} rows with an outcome"),)
    most = f"{whose} explains {100 * largest:.0f} % of what the target's own past leaves open of a step"
    return (passed(NAME, most if len(judged) == 1 else f"{most}, the most of {len(judged)} columns"),)


def _judged(column: Column, told: Explained, frame: Frame) -> Finding | None:
    first = int(np.isfinite(column.values).argmax())
    shares = np.nan_to_num(told.shares)
    place = np.unravel_index(int(shares.argmax()), shares.shape)
    age, step = int(place[0]), int(place[1])
    finding = partial(leak, NAME, column=column.name, time=moment(frame.time[first]), row=first)
    of = f"of what the target's own past leaves open of step {step + 1}"
    over = f"over {told.rows[age, step]:,} rows of series {frame.series!r}"
    when = ("", " when it is one bar older", " when it is two bars older")[age]
    if shares[age, step] >= COPY:
        message = f"It explains {100 * shares[age, step]:.1f} % {of}{when}, {over}; {100 * COPY:.0f} % are a copy."
        return finding("target among the features", message)
    for age, step in np.argwhere((shares[:-1] >= SHIFT) & (told.rows[:-1] >= LEAST_ROWS_OF_SHIFT)).tolist():
        if shares[age + 1, step] < LOST * shares[age, step]:
            message = (
                f"It explains {100 * shares[age, step]:.1f} % of what the target's own past leaves open of step "
                f"{step + 1}, over {told.rows[age, step]:,} rows of series {frame.series!r}, and "
                f"{100 * shares[age + 1, step]:.1f} % once it is a bar older; {100 * SHIFT:.0f} % that go are a value "
                f"of the future."
            )
            return finding("future shift", message)
    return None


def _forms(
    values: FloatArray, outcome: FloatArray, past: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Give column, outcome and past as levels, as changes and as ranks of both."""
    from scipy import stats  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

    yield values, outcome, past
    change, own = outcome - past[:, 0], past
    if (outcome > 0).all() and (past > 0).all():
        change, own = np.log(outcome / past[:, 0]), np.log(past)
        yield values, change, own
        if (values > 0).all():
            yield np.log(values), change, own
    ranks = stats.rankdata(values)
    yield ranks, stats.rankdata(outcome), stats.rankdata(past, axis=0)
    yield ranks, stats.rankdata(change), own


def _share(values: FloatArray, outcome: FloatArray, past: FloatArray) -> float:
    """Return the squared partial correlation of a column and an outcome, given the past; 0 where either is known."""
    count = len(values)
    centred = past - past.mean(axis=0)
    scale = np.abs(centred).max(axis=0)
    centred = centred[:, scale > 0] / scale[scale > 0]
    both = np.column_stack([values - values.mean(), outcome - outcome.mean()])
    size = np.sqrt((both**2).mean(axis=0))
    if not (size > 0).all() or not np.isfinite(size).all():
        return 0.0
    both /= size
    if centred.shape[1]:
        basis, triangle = np.linalg.qr(centred)
        diagonal = np.abs(np.diag(triangle))
        basis = basis[:, diagonal > 1e-9 * diagonal.max()]
        both -= basis @ (basis.T @ both)
    left = (both**2).sum(axis=0) / count
    if (left < _NOTHING).any():
        return 0.0
    return float((both[:, 0] @ both[:, 1] / count) ** 2 / (left[0] * left[1]))


def _older(values: FloatArray, rows: int) -> FloatArray:
    older = np.full(len(values), np.nan)
    older[rows:] = values[: len(values) - rows] if rows else values
    return older
