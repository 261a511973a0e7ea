"""What a write does to a table, decided before anything is written: for tables that are kept whole, and by months."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
from deltalake import DeltaTable

from presage.errors import DataError
from presage.frame import INGESTED_AT, TIMESTAMP
from presage.lake.content import MonthContent, digest, month_content, months_digest
from presage.lake.notes import Notes, read_notes
from presage.lake.stored import ALL, StoredTable, month, year
from presage.lake.vintages import Continued, Merged, merge_batch

_MONTH = "month of the row"


@dataclass(frozen=True)
class Plan:
    """What a write does.

    Attributes:
        rows: Rows it writes.
        height: Rows that the table then holds.
        digest: Digest of them.
        replaced: Months whose rows these take the place of, or `ALL`.
        note: What its commit says beside the rows.
        commits: Whether there is anything to write.
        last: Whether the change is done then; else it is planned anew on top.
    """

    rows: pl.DataFrame
    height: int
    digest: str
    replaced: Collection[str] = ()
    note: str = ""
    commits: bool = True
    last: bool = True


@dataclass(frozen=True)
class Batch:
    """Rows to merge.

    Attributes:
        table: Name of the table, for errors.
        rows: The row contract of `presage.frame`, without `ingested_at`.
        ingested_at: When they were fetched, UTC.
        bookmark: Where a later read goes on once they are kept; None for the same place as before.
        continued: Given, they are one of several batches of one read.
    """

    table: str
    rows: pl.DataFrame
    ingested_at: datetime
    bookmark: str | None
    continued: Continued | None

    def merge(self, held: pl.DataFrame, rows: pl.DataFrame, before: Callable[[], pl.DataFrame]) -> Merged:
        """Return what a table, or a month of it, holds after these rows of the batch."""
        return merge_batch(held, rows, self.ingested_at, continued=self.continued, before=before)

    def empty(self) -> pl.DataFrame:
        """Return the batch's columns, without rows, as a table keeps them."""
        return self.rows.clear().with_columns(pl.lit(None, TIMESTAMP).alias(INGESTED_AT))


def plan_addition(held: pl.DataFrame, rows: pl.DataFrame, *, exists: bool) -> Plan:
    """Return the plan that adds rows to what a table holds."""
    content = pl.concat([held, rows], how="diagonal") if rows.height else held
    return Plan(content.tail(rows.height), content.height, digest(content), commits=not exists or rows.height > 0)


def plan_merge(stored: StoredTable, snapshot: DeltaTable | None, batch: Batch) -> Plan:
    """Return the plan that merges a batch into a table that is kept whole."""
    held = batch.empty() if snapshot is None else stored.read(snapshot)
    check_types(batch.table, held, batch.rows)
    notes = Notes(-1) if snapshot is None else read_notes(snapshot)
    merged = batch.merge(held, batch.rows, lambda: _before(stored, batch))
    content = merged.content
    after = notes.after(batch.bookmark, None)
    rows = content if merged.replaces else content.tail(merged.new.height)
    return Plan(
        rows,
        content.height,
        digest(content),
        replaced=ALL if merged.replaces else (),
        note=after.text(),
        commits=snapshot is None or merged.changes or after.bookmark != notes.bookmark,
    )


def plan_monthly_merge(stored: StoredTable, snapshot: DeltaTable | None, batch: Batch) -> Plan:
    """Return the plan that merges a batch into a table that is kept by months; only its own months are read.

    A batch that replaces rows of a month has that month written alone, and is planned anew on top of it.
    """
    notes = Notes(-1, months={}) if snapshot is None else read_monthly_notes(stored, snapshot)
    known = notes.months or {}
    new = []
    changed: dict[str, MonthContent] = {}
    for name, rows in split_by_month(batch.rows):
        held = batch.empty() if snapshot is None else stored.read(snapshot, name)
        check_types(batch.table, held, rows)
        merged = batch.merge(held, rows, lambda name=name: _before(stored, batch, name))  # type: ignore[misc]
        if merged.replaces:
            content = merged.content
            after = notes.after(None, {name: month_content(content)})
            return replace(_monthly(content, after, (name,)), replaced=(name,), last=False)
        if merged.changes:
            new.append(merged.new)
            changed[name] = month_content(merged.content)
    after = notes.after(batch.bookmark, changed)
    commits = snapshot is None or bool(changed) or after.bookmark != notes.bookmark
    rows = pl.concat(new, how="diagonal") if new else batch.empty()
    return replace(_monthly(rows, after if commits else replace(after, months=known), changed), commits=commits)


def read_monthly_notes(stored: StoredTable, snapshot: DeltaTable) -> Notes:
    """Return what is known of a table's months; where its commits do not tell, they are read one after the other."""
    notes = read_notes(snapshot)
    if notes.months is not None:
        return notes
    names = stored.months(snapshot) or ()
    return notes.with_months({name: month_content(stored.read(snapshot, name)) for name in names})


def split_by_month(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Return the rows of each month, UTC, in the order of time."""
    labelled = rows.with_columns((year() * 100 + month().cast(pl.Int32)).alias(_MONTH))
    parts = labelled.partition_by(_MONTH, include_key=False, as_dict=True)
    return [(f"{number // 100:04d}-{number % 100:02d}", part) for (number,), part in sorted(parts.items())]


def check_types(table: str, held: pl.DataFrame, rows: pl.DataFrame) -> None:
    """Raise DataError for a column that has another type in a table than in the rows that it is to take."""
    for name, kind in rows.schema.items():
        found = held.schema.get(name, kind)
        if found != kind:
            raise DataError(
                f"Table {table}: column {name!r} is {found} in the table, but {kind} in the new rows.",
                "Give it the table's type, or write to another table.",
            )


def _monthly(rows: pl.DataFrame, after: Notes, changed: Collection[str]) -> Plan:
    months: Mapping[str, MonthContent] = after.months or {}
    height = sum(content.rows for content in months.values())
    return Plan(rows, height, months_digest(months), note=after.text(changed))


def _before(stored: StoredTable, batch: Batch, name: str | None = None) -> pl.DataFrame:
    """Return what a table, or a month of it, held before the batch's read began."""
    since = -1 if batch.continued is None else batch.continued.since
    snapshot = stored.open(since) if since >= 0 else None
    return batch.empty() if snapshot is None else stored.read(snapshot, name)
