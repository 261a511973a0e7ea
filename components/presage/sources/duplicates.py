"""Rows of a source that have the same key.

The rule: of the rows with the same series, time and, where the source tells it, time of publication the one that
stands last in the source is kept; the others are counted. It is meant for rows that are repeated here and there. Where
most keys have several rows that differ, the source is not what it was declared to be, and keeping the last of them
would make up data: an error.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from presage.errors import DataError
from presage.frame import KEY, KNOWN_AT, SERIES, TIME
from presage.sources.memory import zeros
from presage.sources.timestamps import Moments
from presage.spec.base import Frequency
from presage.spec.sources import Source

_MOST = 1.5
_FEW = 20
"""Differing rows, per key and beyond one for each, up to which they are taken as repeated here and there."""

_BLOCK = 1 << 16
"""Rows that are placed at a time, few enough for the processor's cache."""

_SPARSEST = 8
"""Slots of a grid, for each row, up to which it is taken; beyond it most slots would be empty."""


def last_of_each_key(key: pl.DataFrame, places: pl.Series | None, step: timedelta) -> pl.Series:
    """Return where the last row of each key stands, in the order of the keys.

    Args:
        key: Some of the columns `KEY`, in this order, time among them; series is an Enum of sorted names.
        places: Where the rows to choose from stand, ascending; None for all rows.
        step: Length of a period, about. Times that are whole steps apart are placed and not sorted.

    Returns:
        Places in `key`, integers.
    """
    chosen = key if places is None else key.select(pl.all().gather(places))
    order = None if KNOWN_AT in chosen.columns else _by_grid(chosen, step // timedelta(microseconds=1))
    if order is None:
        order = _by_order(chosen)
    return order if places is None else places.gather(order)


def _by_order(key: pl.DataFrame) -> pl.Series:
    ordered = key.with_row_index("place").sort(key.columns, maintain_order=True)
    last = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in key.columns).fill_null(value=True)
    return ordered.filter(last)["place"]


def _by_grid(key: pl.DataFrame, step: int) -> pl.Series | None:
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
    newest = zeros(size, np.dtype(np.int32))  # the row's number from 1; 0 for none
    for start in range(0, key.height, _BLOCK):
        since = times.slice(start, _BLOCK).to_numpy() - first
        slot = since // step
        if (slot * step != since).any():
            return None
        if codes is not None:
            slot += codes.slice(start, _BLOCK).to_numpy() * np.int64(slots)
        # Of equal slots the last holds.
        newest[slot] = np.arange(start + 1, start + len(slot) + 1, dtype=np.int32)
    return pl.Series(newest[newest > 0] - 1).cast(pl.get_index_type())


def too_many(rows: int, keys: int) -> bool:
    """Return whether some keys have more rows than those that are repeated here and there."""
    return rows > _MOST * keys and rows - keys > _FEW


def refuse_contradictions(rows: pl.DataFrame, moments: Moments, keys: int, period: Frequency, source: Source) -> None:
    """Raise DataError where most keys have several rows that differ; only needed where there are `too_many` rows.

    Args:
        rows: Rows with columns `KEY` and values, in the order of the source.
        moments: The time of each row as the source tells it.
        keys: How many keys there are.
        period: Length of a row's period.
        source: The source.
    """
    # No value can have this name: Presage keeps it.
    told = rows.with_columns(moments.moments.alias("ingested_at"))
    times = told.select(*KEY, "ingested_at").unique().height
    if too_many(times, keys):
        problem = f"source {source.name!r}: {times} times fall into {keys} periods of its frequency {period}"
        if len(moments.offsets) > 1:
            raise DataError(
                f"{problem}, and they are written with several offsets from UTC: {', '.join(moments.offsets)}.",
                "Write all times with the offset of one zone, or all without one and set `timeZone`; if the offsets "
                "are right, set the source's `frequency` to that of its rows, such as 1m.",
            )
        raise DataError(
            f"{problem}: its rows are finer.",
            "Set the source's `frequency` to that of its rows, such as 1m; bars of the job's frequency are made of "
            "them.",
        )
    differing = told.unique().height
    if too_many(differing, keys):
        raise DataError(
            f"source {source.name!r}: {differing} rows that differ have only {keys} times.",
            "Set `series` to the column that tells one series from another, or `availability.column` to the one that "
            "tells when each revision was published.",
        )
