"""Rows of a source that have the same key.

The rule: of the rows with the same series, time and known_at the one that stands last in the source is kept; the
others are counted. It is meant for rows that are repeated here and there. Where most keys have several rows that
differ, the source is not what it was declared to be, and keeping the last of them would make up data: an error.
"""

from __future__ import annotations

import polars as pl

from presage.errors import DataError
from presage.frame import KEY
from presage.spec.base import Frequency
from presage.spec.sources import Source

_MOST = 1.5
_FEW = 20
"""Differing rows, per key and beyond one for each, up to which they are taken as repeated here and there."""


def last_of_each_key(rows: pl.DataFrame) -> pl.DataFrame:
    """Return, sorted by `KEY`, the last row of each key."""
    ordered = rows.sort(KEY, maintain_order=True)
    last = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in KEY).fill_null(value=True)
    return ordered.filter(last)


def refuse_contradictions(rows: pl.DataFrame, moments: pl.Series, keys: int, period: Frequency, source: Source) -> None:
    """Raise DataError where most keys have several rows that differ.

    Args:
        rows: Rows with columns `KEY` and values, in the order of the source.
        moments: The time of each row as the source tells it, UTC.
        keys: How many keys there are.
        period: Length of a row's period.
        source: The source.
    """

    def too_many(count: int) -> bool:
        return count > _MOST * keys and count - keys > _FEW

    if not too_many(rows.height):
        return
    # No value can have this name: Presage keeps it.
    told = rows.with_columns(moments.alias("ingested_at"))
    times = told.select(*KEY, "ingested_at").unique().height
    if too_many(times):
        raise DataError(
            f"source {source.name!r}: its rows are finer than its frequency {period}: {times} times fall into {keys} "
            "periods.",
            "Set the source's `frequency` to that of its rows, such as 1m; bars of the job's frequency are made of "
            "them.",
        )
    differing = told.unique().height
    if too_many(differing):
        raise DataError(
            f"source {source.name!r}: {differing} rows that differ have only {keys} times.",
            "Set `series` to the column that tells one series from another, or `availability.column` to the one that "
            "tells when each revision was published.",
        )
