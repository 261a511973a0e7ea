"""Which column of a table to predict, and whether its level or its change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from presage.errors import DataError
from presage.frame import SERIES, FloatArray, value_columns
from presage.spec.job import TransformName

_WORDS = ("close", "adjclose", "price", "value", "y")
_PARTS = ("close", "price")
_SHOWN = 6


@dataclass(frozen=True)
class TargetGuess:
    """What to predict.

    Attributes:
        column: The column.
        why: Why this column.
        transform: What models learn of it.
        transform_why: Why that.
    """

    column: str
    why: str
    transform: TransformName
    transform_why: str


def guess_target(rows: pl.DataFrame, *, least: int, place: str) -> TargetGuess:
    """Return the column to predict: by its name, such as Close or price, else the last numeric one.

    Args:
        rows: The row contract of `presage.frame`.
        least: Values that a series must have of a column, one series at least.
        place: What to call the table in errors.

    Raises:
        DataError: No column has enough values, or all are constant.
    """
    names = value_columns(rows)
    parts = rows.partition_by(SERIES, maintain_order=True)
    counts = {name: [part.height - part[name].null_count() for part in parts] for name in names}
    long = [name for name in names if max(counts[name]) >= least]
    if not long:
        most = max(max(of_each) for of_each in counts.values())
        of = "" if len(parts) == 1 else " of any series"
        raise DataError(
            f"{place}: no column has more than {most:,} values{of}, and a job needs {least:,} to be judged on.",
            "Give a longer history, or bars of a finer frequency.",
        )
    levels = {name: _long_ones(parts, name, least) for name in long}
    usable = [name for name in long if levels[name]]
    if not usable:
        raise DataError(
            f"{place}: {_listed(long)} never changes, so that there is nothing to predict.", "Give a column that does."
        )
    column = by_name(usable, _WORDS, _PARTS)
    of = f"{len(names)} numeric columns: {_listed(names)}" if len(names) > 1 else "the one numeric column"
    why = f"by its name, of {of}" if column else f"CHECK: the last of {of}"
    if len(names) == 1:
        why = of
    column = column or usable[-1]
    return TargetGuess(column, why, *_guess_for_all(levels[column]))


def guess_transform(level: FloatArray) -> tuple[TransformName, str]:
    """Return what models should learn of a series of levels, and why.

    A level wanders where its lag-1 autocorrelation is at least 0.99, or, of a short history, where it is no smaller
    than a random walk's often is: 1 - 14 / n, from the 5 % point -14 of n (rho - 1) (Fuller, Introduction to
    Statistical Time Series, 1976, table 8.5.1, p. 371). What was seen of such a level does not bound it, so its change
    is learnt: relative where all levels are positive.

    Args:
        level: (n,) float64, in order of time, all finite, not constant.
    """
    correlation = lag_one_autocorrelation(level)
    bound = min(0.99, 1 - 14 / len(level))
    evidence = f"lag-1 autocorrelation {correlation:.4f}"
    if correlation < bound:
        return "Level", f"it does not wander: {evidence} < {bound:.3g}"
    if level.min() > 0:
        return "LogChange", f"positive, and its level wanders: {evidence} >= {bound:.3g}"
    return "Difference", f"not always positive, and its level wanders: {evidence} >= {bound:.3g}"


def lag_one_autocorrelation(level: FloatArray) -> float:
    """Return the correlation of (n,) values with those just before them; 0 where it is not defined."""
    if len(level) < 3 or np.ptp(level[1:]) == 0 or np.ptp(level[:-1]) == 0:
        return 0.0
    scaled = level / np.abs(level).max()
    return float(np.corrcoef(scaled[:-1], scaled[1:])[0, 1])


def by_name(columns: Sequence[str], words: Sequence[str], parts: Sequence[str]) -> str:
    """Return the first column that is called one of some words, or else has one of some parts in its name; else ""."""
    letters = {column: re.sub(r"[^a-z]", "", column.lower()) for column in columns}
    exact = [column for word in words for column in columns if letters[column] == word]
    partly = [column for part in parts for column in columns if part in letters[column]]
    return next(iter([*exact, *partly]), "")


def _long_ones(parts: Sequence[pl.DataFrame], column: str, least: int) -> list[FloatArray]:
    """Return the values of a column by series, in order of time, of each series that has enough of them and changes."""
    values = (part[column].drop_nulls().to_numpy() for part in parts)
    return [one for one in values if len(one) >= least and np.ptp(one) > 0]


def _guess_for_all(levels: Sequence[FloatArray]) -> tuple[TransformName, str]:
    """Return what models should learn of several series of levels: what most of them suggest."""
    if len(levels) == 1:
        return guess_transform(levels[0])
    wander = sum(guess_transform(one)[0] != "Level" for one in levels)
    evidence = f"the levels of {wander:,} of {len(levels):,} series wander"
    if wander <= len(levels) / 2:
        return "Level", evidence
    if min(one.min() for one in levels) > 0:
        return "LogChange", f"all positive, and {evidence}"
    return "Difference", f"not all positive, and {evidence}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
