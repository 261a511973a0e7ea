"""The table contract: what a row of market data is, and what a model is given.

Rows are polars data frames with these columns, sorted by (series, time, known_at), without nulls in the first three:

    series       String                  name of the series; the source's name where it has one series only
    time         Datetime("us", "UTC")   start of the row's period
    known_at     Datetime("us", "UTC")   when the row could first be known
    <values>     Float64                 one column a value; null means "no value", NaN and infinities do not occur

A `Frame` is what models are given: one row a forecast origin, as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from presage.spec.job import TransformName

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

SERIES = "series"
TIME = "time"
KNOWN_AT = "known_at"
INGESTED_AT = "ingested_at"
KEY = (SERIES, TIME, KNOWN_AT)
TIMESTAMP = pl.Datetime("us", "UTC")


def value_columns(rows: pl.DataFrame) -> list[str]:
    """Return the names of the value columns of rows, in their order."""
    return [name for name in rows.columns if name not in (*KEY, INGESTED_AT)]


@dataclass(frozen=True)
class Frame:
    """The origins of one series, in time order, with what was known at each and what came after.

    A row is the bar that had just become known at its origin. Row i holds nothing that was known later than
    `origin[i]`, except in the `target_*` arrays, which a model may use only where `target_known_at` is not later than
    its training cut-off.

    Attributes:
        series: Name of the series.
        time: (n,) datetime64[us], UTC; start of each origin's bar.
        origin: (n,) datetime64[us], UTC; when that bar was known, which is when a forecast could be issued.
        level: (n,) float64; the target column's value of that bar, in its own unit; NaN where the bar is a gap.
        features: (n, p) float64; NaN where a feature was not available.
        feature_names: The p feature names.
        target_time: (n, h) datetime64[us], UTC; start of the bar of each step ahead.
        target_level: (n, h) float64; the target's value of that bar as first published; NaN where not known yet.
        target_known_at: (n, h) datetime64[us], UTC; when that value became known; NaT where not known yet.
    """

    series: str
    time: TimeArray
    origin: TimeArray
    level: FloatArray
    features: FloatArray
    feature_names: tuple[str, ...]
    target_time: TimeArray
    target_level: FloatArray
    target_known_at: TimeArray

    def __len__(self) -> int:
        return len(self.time)

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return int(self.target_level.shape[1])

    def known_by(self, cutoff: np.datetime64) -> Frame:
        """Return the frame as it stood at `cutoff`: later origins are gone, later outcomes are NaN and NaT."""
        rows = self.origin <= cutoff
        known = self.target_known_at[rows] <= cutoff  # NaT compares as False
        return replace(
            self,
            time=self.time[rows],
            origin=self.origin[rows],
            level=self.level[rows],
            features=self.features[rows],
            target_time=self.target_time[rows],
            target_level=np.where(known, self.target_level[rows], np.nan),
            target_known_at=np.where(known, self.target_known_at[rows], np.datetime64("NaT", "us")),
        )

    def rows(self, start: int, stop: int) -> Frame:
        """Return the rows from `start` up to but without `stop`."""
        part = slice(start, stop)
        return replace(
            self,
            time=self.time[part],
            origin=self.origin[part],
            level=self.level[part],
            features=self.features[part],
            target_time=self.target_time[part],
            target_level=self.target_level[part],
            target_known_at=self.target_known_at[part],
        )

    def with_features(self, names: tuple[str, ...]) -> Frame:
        """Return the frame with only the named features, in that order; raises KeyError for an unknown name."""
        places = {name: place for place, name in enumerate(self.feature_names)}
        columns = [places[name] for name in names]
        return replace(self, features=self.features[:, columns], feature_names=names)


def to_table(frame: Frame) -> pl.DataFrame:
    """Return a frame as a table, one row an origin.

    Columns: series, time and known_at (the origin) as in the row contract, level, each feature under its own name, and
    `outcome_1`, `outcome_1_time`, `outcome_1_known_at` and so on for each step ahead; what is not known is null.
    """
    columns: dict[str, pl.Series] = {
        SERIES: pl.Series([frame.series]).new_from_index(0, len(frame)),
        TIME: _timestamps(frame.time),
        KNOWN_AT: _timestamps(frame.origin),
        "level": pl.Series(frame.level).fill_nan(None),
    }
    for place, name in enumerate(frame.feature_names):
        columns[name] = pl.Series(frame.features[:, place]).fill_nan(None)
    for step in range(frame.horizon):
        columns[f"outcome_{step + 1}"] = pl.Series(frame.target_level[:, step]).fill_nan(None)
        columns[f"outcome_{step + 1}_time"] = _timestamps(frame.target_time[:, step])
        columns[f"outcome_{step + 1}_known_at"] = _timestamps(frame.target_known_at[:, step])
    return pl.DataFrame(columns)


def _timestamps(times: TimeArray) -> pl.Series:
    return pl.Series(times.astype("datetime64[us]")).dt.replace_time_zone("UTC")


def to_change(transform: TransformName, level: FloatArray, outcome: FloatArray) -> FloatArray:
    """Return outcomes as a model learns them.

    Args:
        transform: The target's transform; Level returns `outcome` itself.
        level: (n, 1) or broadcastable, the level at each origin.
        outcome: (n, h), the level at each step ahead.

    Returns:
        (n, h) float64: outcome, outcome - level, outcome / level - 1, or ln(outcome / level); NaN where that is not
        defined (a level that is not positive under PercentChange or LogChange).
    """
    if transform == "Level":
        return np.broadcast_to(outcome, np.broadcast_shapes(level.shape, outcome.shape)).astype(np.float64)
    if transform == "Difference":
        return outcome - level
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(level > 0, outcome / level, np.nan)
        return ratio - 1 if transform == "PercentChange" else np.log(np.where(ratio > 0, ratio, np.nan))


def to_level(transform: TransformName, level: FloatArray, change: FloatArray) -> FloatArray:
    """Return changes as levels: the inverse of `to_change`, with the same shapes."""
    if transform == "Level":
        return np.broadcast_to(change, np.broadcast_shapes(level.shape, change.shape)).astype(np.float64)
    if transform == "Difference":
        return level + change
    return level * (1 + change) if transform == "PercentChange" else level * np.exp(change)
