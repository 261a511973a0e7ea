"""Rows in the lake: what every read of a source gave, each row once a value of its target."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from presage.frame import INGESTED_AT, KNOWN_AT, TIME, TIMESTAMP
from presage.lake.tables import Lake, TableVersion
from presage.tabular.rows import ROW


def keep_rows(lake: Lake, table: str, rows: pl.DataFrame, *, target: str, ingested_at: datetime) -> TableVersion:
    """Add the rows that a table lacks, and those whose target has another value than in it; repeating is harmless.

    Args:
        lake: The lake.
        table: Name of the table.
        rows: Rows of `presage.tabular.rows`.
        target: The column that is predicted.
        ingested_at: When the rows were fetched, UTC.

    Raises:
        DataError: A column has another type than in the table.
        LakeConflictError: Others kept writing to the table.
    """
    stamped = rows.with_columns(pl.lit(ingested_at).cast(TIMESTAMP).alias(INGESTED_AT))
    return lake.append_unique(table, stamped, key=(ROW, target))


def first_published(held: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return each row once, with the first value of its target that was fetched; null where there is none yet.

    A target that came to a row which had none was not known before it was fetched.

    Args:
        held: What `keep_rows` wrote.
        target: The column that is predicted.

    Returns:
        The rows without `ingested_at`, by time and row.
    """
    ordered = held.sort(ROW, INGESTED_AT)
    waited = pl.col(target).is_null().first().over(ROW) & pl.col(target).is_not_null()
    late = pl.when(waited).then(pl.max_horizontal(KNOWN_AT, INGESTED_AT)).otherwise(KNOWN_AT).alias(KNOWN_AT)
    settled_first = pl.col(target).is_null().alias("open")
    once = ordered.with_columns(late, settled_first).sort(ROW, "open", INGESTED_AT).unique(ROW, keep="first")
    return once.drop("open", INGESTED_AT).sort(TIME, ROW)
