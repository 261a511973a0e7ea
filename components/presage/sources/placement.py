"""Where a source's rows go: in the order of their keys, of those of one key the last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from presage.frame import KNOWN_AT, SERIES, TIME

_BLOCK = 1 << 16
"""Rows that are placed at a time, few enough for the processor's cache."""

_SPARSEST = 8
"""Slots of a grid, for each row, up to which it is taken; beyond it most slots would be empty."""


@dataclass(frozen=True)
class Placement:
    """The place of each row among those that are kept.

    Attributes:
        place: (n,) int32; the place of each row, -1 for one that is left out. Of the rows of one place the last holds.
        count: How many places there are.
    """

    place: NDArray[np.int32]
    count: int

    def arrange(self, columns: dict[str, pl.Series]) -> dict[str, pl.Series]:
        """Return columns of n rows, numbers, times or Enum, as columns of `count` rows, in which Enum is String.

        Takes the columns away, so that each is freed when its rows are in place.
        """
        names = list(columns)
        with ThreadPoolExecutor(pl.thread_pool_size()) as threads:
            return dict(zip(names, threads.map(lambda name: self._put(columns.pop(name)), names), strict=True))

    def _put(self, column: pl.Series) -> pl.Series:
        """Put a column's chunks where they go one by one: they are never all in one piece, which would be a copy."""
        physical = column.to_physical()
        # The last element is place -1: what is left out goes there.
        put = np.empty(self.count + 1, dtype=physical.clear().to_numpy().dtype)
        start = 0
        for chunk in physical.get_chunks():
            whole = chunk.fill_null(0) if chunk.null_count() and chunk.dtype.is_integer() else chunk
            put[self.place[start : start + chunk.len()]] = whole.to_numpy()
            start += chunk.len()
        done = pl.Series(column.name, put[:-1])
        if isinstance(column.dtype, pl.Enum):
            return column.dtype.categories.gather(done).alias(column.name)
        if column.null_count() and column.dtype.is_float():
            done = done.fill_nan(None)
        return done.cast(column.dtype)


def in_order(kept: pl.Series) -> Placement:
    """Return where the rows go that are kept (Boolean), in the order in which they stand."""
    numbers = np.cumsum(kept.to_numpy(), dtype=np.int32)
    count = int(numbers[-1]) if len(numbers) else 0
    return Placement(np.where(kept.to_numpy(), numbers - 1, -1).astype(np.int32), count)


def by_key(key: pl.DataFrame, kept: pl.Series | None, step: timedelta) -> Placement:
    """Return where rows go in the order of their keys.

    Args:
        key: Some of the columns `KEY`, in this order, time among them; series is an Enum whose categories are sorted.
        kept: Boolean, which rows to choose from; None for all.
        step: Length of a period, about. Times that are whole steps apart are placed and not sorted.
    """
    chosen = key if kept is None else key.filter(kept)
    found = None if KNOWN_AT in chosen.columns else _by_grid(chosen, step // timedelta(microseconds=1))
    if found is None:
        found = _by_order(chosen)
    if kept is None:
        return found
    place = np.full(kept.len(), -1, dtype=np.int32)
    place[kept.to_numpy()] = found.place
    return Placement(place, found.count)


def _by_order(key: pl.DataFrame) -> Placement:
    ordered = key.select(pl.all().to_physical()).with_row_index("row").sort(key.columns, maintain_order=True)
    new = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in key.columns).fill_null(value=True)
    numbers = ordered.select(new.cum_sum().cast(pl.Int32) - 1).to_series().to_numpy()
    place = np.empty(key.height, dtype=np.int32)
    place[ordered["row"].to_numpy()] = numbers
    return Placement(place, int(numbers[-1]) + 1 if len(numbers) else 0)


def _by_grid(key: pl.DataFrame, step: int) -> Placement | None:
    """Return the same from a grid with a slot for each series and period; None where times do not fill one."""
    times = key[TIME].to_physical()
    first, last = times.min(), times.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    slots = (last - first) // step + 1
    codes = key[SERIES].to_physical() if SERIES in key.columns else None
    size = slots * (1 if codes is None else int(codes.max()) + 1)  # type: ignore[arg-type]  # no code is null here
    if size > _SPARSEST * key.height or size >= 2**31:
        return None
    place = np.empty(key.height, dtype=np.int32)
    for start in range(0, key.height, _BLOCK):
        since = times.slice(start, _BLOCK).to_numpy() - first
        slot = since // step
        if (slot * step != since).any():
            return None
        if codes is not None:
            slot += codes.slice(start, _BLOCK).to_numpy() * np.int64(slots)
        place[start : start + len(slot)] = slot
    filled = np.zeros(size, dtype=np.bool_)
    filled[place] = True
    if filled.all():
        return Placement(place, size)
    numbers = np.cumsum(filled, dtype=np.int32) - 1
    return Placement(numbers[place], int(numbers[-1]) + 1)
