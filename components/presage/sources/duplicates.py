"""Rows of a source that have the same key.

The rule: of the rows with the same series, time and, where the source tells it, time of publication the one that
stands last in the source is kept; the others are counted. It is meant for rows that are repeated here and there. Where
most keys have several rows that differ, the source is not what it was declared to be, and keeping the last of them
would make up data: an error.
"""

from __future__ import annotations

import polars as pl

from presage.errors import DataError
from presage.frame import KEY
from presage.sources.timestamps import Moments
from presage.spec.base import Frequency
from presage.spec.sources import Source

_MOST = 1.5
_FEW = 20
"""Differing rows, per key and beyond one for each, up to which they are taken as repeated here and there."""


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
