"""The table contract: what a row of market data is, and what a model is given.

Rows are polars data frames with these columns, sorted by (series, time, known_at), without nulls in the first three:

    series       String                  name of the series; the source's name where it has one series only
    time         Datetime("us", "UTC")   start of the row's period
    known_at     Datetime("us", "UTC")   when the row could first be known
    <values>     Float64                 one column a value; null means "no value", NaN and infinities do not occur

A `Frame` is what models are given: one row a forecast origin, as arrays. A `Panel` holds the frames of all series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

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


def moment(time: np.datetime64) -> datetime:
    """Return a datetime64 in UTC as a datetime."""
    naive: datetime = time.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)


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

    def known_by(self, cutoff: np.datetime64 | TimeArray) -> Frame:
        """Return the frame as it stood at a cut-off: later origins are gone, later outcomes are NaN and NaT.

        Args:
            cutoff: datetime64, UTC; one moment, or (n,) one for each origin.
        """
        there = self.origin <= cutoff
        if not there.all():
            return self.take(np.flatnonzero(there)).known_by(np.broadcast_to(cutoff, there.shape)[there])
        known = self.target_known_at <= np.reshape(cutoff, (-1, 1))  # NaT compares as False
        return replace(
            self,
            target_level=np.where(known, self.target_level, np.nan),
            target_known_at=np.where(known, self.target_known_at, np.datetime64("NaT", "us")),
        )

    def rows(self, start: int, stop: int) -> Frame:
        """Return the rows from `start` up to but without `stop`."""
        return self._part(slice(start, stop))

    def take(self, places: IntArray) -> Frame:
        """Return the rows at these places, in their order."""
        return self._part(places)

    def _part(self, part: slice | IntArray) -> Frame:
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
        if names == self.feature_names:
            return self
        places = {name: place for place, name in enumerate(self.feature_names)}
        columns = [places[name] for name in names]
        return replace(self, features=self.features[:, columns], feature_names=names)


def stack(frames: Sequence[Frame]) -> Frame:
    """Return the origins of several series as one frame, in the order of their origins; those of one as they are.

    Of equal origins the series come in their order. Models that read one row at a time learn from it; its levels are
    no history.
    """
    if len(frames) == 1:
        return frames[0]
    joined = join(frames)
    return joined.take(np.argsort(joined.origin, kind="stable"))


def join(frames: Sequence[Frame]) -> Frame:
    """Return the origins of several series as one frame, one series after the other.

    Raises:
        ValueError: There is no frame, or they differ in features or horizon.
    """
    if not frames:
        raise ValueError("there is no frame to join")
    first = frames[0]
    if len(frames) == 1:
        return first
    if any((frame.feature_names, frame.horizon) != (first.feature_names, first.horizon) for frame in frames):
        raise ValueError("only frames of the same features and horizon can be joined")
    return Frame(
        series=f"{first.series} and {len(frames) - 1} more",
        time=np.concatenate([frame.time for frame in frames]),
        origin=np.concatenate([frame.origin for frame in frames]),
        level=np.concatenate([frame.level for frame in frames]),
        features=np.concatenate([frame.features for frame in frames]),
        feature_names=first.feature_names,
        target_time=np.concatenate([frame.target_time for frame in frames]),
        target_level=np.concatenate([frame.target_level for frame in frames]),
        target_known_at=np.concatenate([frame.target_known_at for frame in frames]),
    )


@dataclass(frozen=True)
class Panel:
    """The series of one task, which may start late, end early and have holes: one series is the smallest panel.

    Attributes:
        names: (k,) names of the series.
        whole: The rows of all series, one series after the other in the order of the names, each in time order.
        bounds: (k + 1,) the first row of each series, and behind them the number of rows.
    """

    names: tuple[str, ...]
    whole: Frame
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Panel:
        """Return the panel of some frames; raises ValueError for none, or where features or horizon differ."""
        return cls(
            names=tuple(frame.series for frame in frames),
            whole=join(frames),
            bounds=(0, *np.cumsum([len(frame) for frame in frames]).tolist()),
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The frame of each series; all of them share the panel's memory."""
        if len(self) == 1:
            return (self.whole,)
        return tuple(
            replace(self.whole.rows(start, stop), series=name)
            for name, start, stop in zip(self.names, self.bounds[:-1], self.bounds[1:], strict=True)
        )

    @cached_property
    def dates(self) -> TimeArray:
        """(d,) datetime64[us], UTC, ascending; the bars at which at least one series has a row."""
        return np.unique(self.whole.time)

    @cached_property
    def date(self) -> IntArray:
        """(n,) place among the dates of each row."""
        return np.searchsorted(self.dates, self.whole.time)

    @cached_property
    def issued(self) -> TimeArray:
        """(d,) datetime64[us], UTC, ascending; when the bars of each date, and of those before it, were known."""
        latest = np.full(len(self.dates), np.iinfo(np.int64).min)
        np.maximum.at(latest, self.date, self.whole.origin.astype("datetime64[us]").astype(np.int64))
        return np.maximum.accumulate(latest).astype("datetime64[us]")

    def span(self, place: int, start: int, stop: int) -> tuple[int, int]:
        """Return the first row, and the row behind the last, of a series at the dates from `start` up to `stop`.

        The rows are those of the series' own frame.
        """
        own = self.date[self.bounds[place] : self.bounds[place + 1]]
        first, behind = np.searchsorted(own, (start, stop)).tolist()
        return first, behind

    def known_by(self, cutoff: np.datetime64) -> Panel:
        """Return the panel as it stood at `cutoff`, without the series that had no row then; all without one remain."""
        frames = [frame.known_by(cutoff) for frame in self.frames]
        return Panel.of([frame for frame in frames if len(frame)] or frames)

    def with_features(self, names: tuple[str, ...]) -> Panel:
        """Return the panel with only the named features, in that order; raises KeyError for an unknown name."""
        return replace(self, whole=self.whole.with_features(names))

    def newest(self, dates: int) -> Panel:
        """Return the rows of the newest dates, that many; series without one are left out."""
        first = max(0, len(self.dates) - dates)
        spans = [self.span(place, first, len(self.dates)) for place in range(len(self))]
        return Panel.of(
            [frame.rows(*span) for frame, span in zip(self.frames, spans, strict=True) if span[0] < span[1]]
        )


def to_table(panel: Panel) -> pl.DataFrame:
    """Return a panel as a table, one row an origin, as `frame_table` does for each series; sorted by series."""
    return pl.concat([frame_table(frame) for frame in panel.frames])


def frame_table(frame: Frame) -> pl.DataFrame:
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
