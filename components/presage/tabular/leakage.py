"""Features that are the target under another name: found in the data, before anything is fitted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from presage.errors import LeakageError
from presage.frame import FloatArray, IntArray
from presage.tabular.design import Inputs
from presage.tabular.observations import Observations

LEAST_ROWS = 20
"""Rows, different values and rows of a class below which chance may look like a copy."""


def require_no_copies(observations: Observations, inputs: Inputs) -> None:
    """Check that no feature tells the target by itself.

    A number does where the target never falls, or never rises, as it grows, and rows that share a value share the
    target or its stretch: the target itself, rounded, in another unit, its rank, or what the class was made from.
    A text does where it and the target name each other.

    Raises:
        LeakageError: A feature does; its name and how it was found.
    """
    for name, rows in copies(observations, inputs):
        raise LeakageError(
            f"feature {inputs.source}.{name}: over {rows:,} rows it tells the target without an exception, so it is "
            f"the target under another name or is made from it.",
            "Take it out of spec.features, or out of the source's columns.",
        )


def copies(observations: Observations, inputs: Inputs) -> Iterator[tuple[str, int]]:
    """Give each column that tells the target by itself, and over how many rows; see `require_no_copies`."""
    settled = observations.settled
    classes = bool(np.isin(settled.outcome, (0.0, 1.0)).all())
    for name, kind in inputs.columns.items():
        cells = settled.table[name]
        present = np.flatnonzero(cells.is_not_null().to_numpy())
        outcome = settled.outcome[present]
        if not _enough(outcome, classes=classes):
            continue
        codes = _codes(cells.drop_nulls())
        if kind == "number":
            copied = _separates(codes, outcome) if classes else _orders(codes, outcome)
        else:
            copied = _names(codes, outcome)
        if copied:
            yield name, len(outcome)


def _enough(outcome: FloatArray, *, classes: bool) -> bool:
    if classes:
        ones = int((outcome == 1).sum())
        return min(ones, len(outcome) - ones) >= LEAST_ROWS
    return len(np.unique(outcome)) >= LEAST_ROWS


def _codes(cells: pl.Series) -> IntArray:
    """Return the rank of each cell among the different values."""
    return cells.rank("dense").to_numpy().astype(np.intp) - 1


def _orders(codes: IntArray, outcome: FloatArray) -> bool:
    """Return whether the target's stretches at each of 20 values or more lie one behind the other."""
    if codes.max() + 1 < LEAST_ROWS:
        return False
    lowest, highest = _stretches(codes, outcome)
    return bool((highest[:-1] <= lowest[1:]).all() or (lowest[:-1] >= highest[1:]).all())


def _separates(codes: IntArray, outcome: FloatArray) -> bool:
    """Return whether one bound parts the classes."""
    ones, zeros = codes[outcome == 1], codes[outcome == 0]
    return bool(ones.min() > zeros.max() or ones.max() < zeros.min())


def _names(codes: IntArray, outcome: FloatArray) -> bool:
    """Return whether each text stands for one outcome, each outcome for one text, over two rows each or more."""
    lowest, highest = _stretches(codes, outcome)
    texts, outcomes = len(lowest), len(np.unique(outcome))
    return bool((lowest == highest).all()) and texts == outcomes and 2 * texts <= len(codes)


def _stretches(codes: IntArray, outcome: FloatArray) -> tuple[FloatArray, FloatArray]:
    lowest = np.full(codes.max() + 1, np.inf)
    highest = np.full(codes.max() + 1, -np.inf)
    np.minimum.at(lowest, codes, outcome)
    np.maximum.at(highest, codes, outcome)
    return lowest, highest
