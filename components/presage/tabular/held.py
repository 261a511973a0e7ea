"""Rows in the lake: what every read of a source gave, each row once a value of its target."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from presage.frame import INGESTED_AT, KNOWN_AT, TIME, TIMESTAMP
from presage.lake.tables import Lake, TableVersion
from presage.tabular.rows import ROW

_SIZE = pl.len().cast(pl.Int64).over("digest")


def keep_rows(lake: Lake, table: str, rows: pl.DataFrame, *, target: str, ingested_at: datetime) -> TableVersion:
    """Add the rows that a table lacks, and those whose target has another value than in it; repeating is harmless.

    Equal rows cannot be told apart, so a number among them is given by what the table says. A row keeps the number
    that has its outcome. Outcomes that are left go to numbers that wait for one, then to numbers whose outcome the
    source no longer gives, as revisions, then to new numbers: no row is lost, and none is told twice.

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
    current = lake.current(table)
    if current is not None:
        rows = _numbered(rows, first_published(lake.read(current, verify=False), target), target)
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
    ordered = held.sort(ROW, INGESTED_AT, target)
    waited = pl.col(target).is_null().first().over(ROW) & pl.col(target).is_not_null()
    late = pl.when(waited).then(pl.max_horizontal(KNOWN_AT, INGESTED_AT)).otherwise(KNOWN_AT).alias(KNOWN_AT)
    settled_first = pl.col(target).is_null().alias("open")
    once = ordered.with_columns(late, settled_first).sort(ROW, "open", INGESTED_AT, target)
    once = once.unique(ROW, keep="first", maintain_order=True)
    return once.drop("open", INGESTED_AT).sort(TIME, ROW)


def _numbered(given: pl.DataFrame, told: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return given rows, in their order, with the numbers that they have among what a table tells.

    Args:
        given: Rows of one read.
        told: What `first_published` tells of the table.
        target: The column that is predicted.
    """
    order = ("digest", "outcome", "known", "number")
    held = _split(told, target).sort(order).with_columns(_copy("digest", "outcome"))
    sizes = held.group_by("digest").agg(held=pl.len().cast(pl.Int64))
    asked = _split(given, target).with_row_index("place").join(sizes, on="digest", how="left")
    asked = asked.with_columns(pl.col("held").fill_null(0)).sort(order).with_columns(_copy("digest", "outcome"))
    # Where rows were added, open ones count as the added ones: an outcome then settles a row that waited for it, and
    # was known no sooner than it was fetched.
    opens = pl.col("outcome").is_null().sum().cast(pl.Int64).over("digest")
    stays = pl.col("outcome").is_not_null() | (pl.col("copy") < opens.clip(upper_bound=opens + pl.col("held") - _SIZE))
    same = ("digest", "outcome", "copy")
    slots = held.select(*same, slot="number")
    kept = asked.filter(stays).join(slots, on=same, nulls_equal=True)
    left = asked.join(kept, on="place", how="anti").sort(order, nulls_last=True).with_columns(_copy("digest"))
    free = held.join(kept, left_on=("digest", "number"), right_on=("digest", "slot"), how="anti")
    free = free.sort("digest", pl.col("outcome").is_not_null(), "number").with_columns(_copy("digest"), free=_SIZE)
    left = left.join(free.select("digest", "copy", slot="number"), on=("digest", "copy"), how="left")
    left = left.join(free.group_by("digest").agg(pl.col("free").first()), on="digest", how="left")
    new = pl.col("held") + pl.col("copy") - pl.col("free").fill_null(0)
    left = left.with_columns(pl.col("slot").fill_null(new))
    found = pl.concat([one.select("place", "digest", "slot") for one in (kept, left)]).sort("place")
    return given.with_columns(found.select(pl.format("{}-{}", "digest", "slot")).to_series().alias(ROW))


def _split(rows: pl.DataFrame, target: str) -> pl.DataFrame:
    parts = pl.col(ROW).str.split_exact("-", 1).struct
    return rows.select(
        parts.field("field_0").alias("digest"),
        parts.field("field_1").cast(pl.Int64).alias("number"),
        pl.col(target).alias("outcome"),
        pl.col(KNOWN_AT).alias("known"),
    )


def _copy(*names: str) -> pl.Expr:
    return pl.int_range(pl.len(), dtype=pl.Int64).over(names).alias("copy")
