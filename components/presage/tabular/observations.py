"""Observations: rows in the order of time, with the outcome of each where it is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from presage.errors import DataError, JobError
from presage.frame import KNOWN_AT, TIME, FloatArray, IntArray, TimeArray
from presage.lake.content import digest
from presage.spec.job import PredictionJobSpec


@dataclass(frozen=True)
class Observations:
    """Rows with what is predicted of them.

    Attributes:
        table: The rows of `presage.tabular.rows`, by time and row.
        time: (n,) datetime64[us], UTC, ascending.
        known_at: (n,) datetime64[us], UTC; when the outcome is known; NaT where it is not known yet.
        outcome: (n,) float64: the target's value, or for a Classification the class, 0 or 1; NaN where not known yet.
    """

    table: pl.DataFrame
    time: TimeArray
    known_at: TimeArray
    outcome: FloatArray

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: IntArray) -> Observations:
        """Return some of the rows, by place."""
        return Observations(self.table[rows], self.time[rows], self.known_at[rows], self.outcome[rows])

    @property
    def digest(self) -> str:
        """SHA-256 of the rows and of which outcomes are known, as `sha256:` and 64 hexadecimal digits."""
        return digest(self.table.with_columns(pl.Series("settled by then", np.isfinite(self.outcome))))

    @property
    def settled(self) -> Observations:
        """The rows whose outcome is known."""
        return self.take(np.flatnonzero(np.isfinite(self.outcome)))

    @property
    def open(self) -> Observations:
        """The rows whose outcome is not known."""
        return self.take(np.flatnonzero(~np.isfinite(self.outcome)))


def observe(rows: pl.DataFrame, spec: PredictionJobSpec, now: datetime) -> Observations:
    """Return rows as they stand at a moment: later rows are gone, outcomes that are known later are not known.

    Args:
        rows: Rows of `presage.tabular.rows`.
        spec: The job.
        now: The moment, UTC.

    Raises:
        DataError: A class is neither 0 nor 1.
        JobError: The target's `relativeTo` stands without `above`, or is no column that holds numbers.
    """
    rows = rows.filter(pl.col(TIME) <= now)
    outcome = _classes(rows, spec) if spec.task == "Classification" else _numbers(rows, spec.target.column)
    known_at = rows[KNOWN_AT].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    settled = np.isfinite(outcome) & (known_at <= np.datetime64(now.replace(tzinfo=None), "us"))
    return Observations(
        table=rows,
        time=rows[TIME].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
        known_at=np.where(settled, known_at, np.datetime64("NaT", "us")),
        outcome=np.where(settled, outcome, np.nan),
    )


def made_of(spec: PredictionJobSpec) -> str:
    """Return what is predicted in words, such as `trips.tips above 0.2 of fare`."""
    target = spec.target
    name = f"{target.source}.{target.column}"
    if target.above is None:
        return name
    of = f" of {target.relative_to}" if target.relative_to is not None else ""
    return f"{name} above {target.above:g}{of}"


def _numbers(rows: pl.DataFrame, column: str) -> FloatArray:
    return rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _classes(rows: pl.DataFrame, spec: PredictionJobSpec) -> FloatArray:
    target = spec.target
    values = _numbers(rows, target.column)
    if target.above is None:
        if target.relative_to is not None:
            raise JobError(
                "spec.target.relativeTo: it stands without spec.target.above.", "Set above to a share of that column."
            )
        odd = np.flatnonzero(np.isfinite(values) & (values != 0) & (values != 1))
        if len(odd):
            raise DataError(
                f"source {target.source!r}, the row of {rows[TIME][int(odd[0])]:%Y-%m-%dT%H:%MZ}, column "
                f"{target.column!r}: {values[odd[0]]:g} is no class; {len(odd)} of {len(values)} rows are neither 0 "
                f"nor 1.",
                "Set spec.target.above to the value above which the class is 1.",
            )
        return values
    bound = np.full(len(values), target.above)
    if target.relative_to is not None:
        if rows.schema.get(target.relative_to) != pl.Float64():
            raise JobError(
                f"spec.target.relativeTo: source {target.source!r} has no column {target.relative_to!r} that holds "
                f"numbers.",
                "Name a column of the target's source.",
            )
        bound = target.above * _numbers(rows, target.relative_to)
    known = np.isfinite(values) & np.isfinite(bound)
    return np.where(known, (values > bound).astype(np.float64), np.nan)
