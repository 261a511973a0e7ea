"""The lake: Delta tables under one root, whose rows are added and never changed, and the versions that runs pin.

A table of intraday rows is kept by months: a change reads and writes only the months that it touches, and `scan` gives
them one after the other, so that memory holds a month and not the table.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from deltalake import DeltaTable
from pydantic import BaseModel, ConfigDict

from presage.errors import DataError, LakeConflictError, LakeError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT
from presage.lake.content import (
    BY_MONTH,
    MonthContent,
    check_columns,
    digest,
    month_content,
    months_digest,
    ordered,
)
from presage.lake.notes import read_notes
from presage.lake.plans import (
    Batch,
    Plan,
    check_types,
    plan_addition,
    plan_merge,
    plan_monthly_merge,
    read_monthly_notes,
    split_by_month,
)
from presage.lake.storage import file_lock, local_directory, require_space
from presage.lake.stored import ALL, PARTITIONS, StoredTable
from presage.lake.vintages import Continued, check_rows

_ATTEMPTS = 10
_NO_VALUES = frozenset({*KEY, INGESTED_AT, *PARTITIONS})
_NAME = re.compile(r"[A-Za-z0-9][\w.=-]*(/[A-Za-z0-9][\w.=-]*)*", re.ASCII)


class TableVersion(BaseModel):
    """One version of a table, as a run pins it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    table: str
    """Name of the table."""
    version: int
    """Delta's number of the version."""
    rows: int
    """Rows of the version, all vintages counted."""
    digest: str
    """SHA-256 of the version's content, by `presage.lake.content`; of its months' where it is kept by months."""


@dataclass(frozen=True)
class Newest:
    """What the newest version of a table is to a reader who goes on.

    Attributes:
        version: Its number.
        bookmark: Where a later read of its source goes on; empty where it begins anew.
        columns: Its value columns.
    """

    version: int
    bookmark: str
    columns: tuple[str, ...]


class Lake:
    """Tables under one root.

    A table has one writer at a time. On a disk a file lock makes others wait. On an object store, and wherever the lock
    does not reach, Delta refuses the second of two writes that build on the same version, and that one starts anew.

    Table names are letters, digits and `_ . = -`, with `/` between parts. Beside the errors of each method, every one
    raises LakeError for another name or a table that cannot be read, and StorageError for a disk that is full,
    read-only or closed to this user; what was in the lake is then still there, unchanged.

    Args:
        root: A directory's path or `file://` URI, or `s3://bucket/prefix`.
        storage_options: Delta's options for the object store, such as `AWS_ENDPOINT_URL`.
        lock_timeout: Seconds to wait for another process that writes to the same table.
        seed: Seed of the pauses between attempts.

    Raises:
        LakeError: The root's path has a percent sign.
        NotSupportedError: The root is none of the above.
    """

    def __init__(
        self,
        root: str,
        *,
        storage_options: Mapping[str, str] | None = None,
        lock_timeout: float = 300.0,
        seed: int = 0,
    ) -> None:
        self.directory = local_directory(root)
        self._uri = self.directory.as_uri() if self.directory else root.rstrip("/")
        self._storage_options = dict(storage_options or {})
        self._lock_timeout = lock_timeout
        self._seed = seed

    def merge(
        self,
        table: str,
        rows: pl.DataFrame,
        *,
        ingested_at: datetime,
        monthly: bool = False,
        bookmark: str | None = None,
        continued: Continued | None = None,
    ) -> TableVersion:
        """Add what a batch says and the table does not say yet, by the rules of `presage.lake.vintages`.

        Args:
            table: Name of the table.
            rows: The row contract of `presage.frame`, without `ingested_at`, in any order.
            ingested_at: When the batch was fetched, UTC.
            monthly: Whether a new table is kept by months of `time`, for intraday data.
            bookmark: Where a later read of the source goes on once the batch is kept: it stands in the same commit.
                None leaves it where it was.
            continued: Given, the batch is one of several of one read.

        Returns:
            The version that says it: the newest one where the batch has nothing new.

        Raises:
            DataError: The rows break the row contract.
            LakeConflictError: Others kept writing to the table.
        """
        check_rows(table, rows)
        _check_table(table, rows)
        batch = Batch(table, rows, ingested_at, bookmark, continued)

        def plan(stored: StoredTable, snapshot: DeltaTable | None) -> Plan:
            by_months = monthly if snapshot is None else stored.months(snapshot) is not None
            return (plan_monthly_merge if by_months else plan_merge)(stored, snapshot, batch)

        return self._change(table, plan, monthly=monthly)

    def append_unique(self, table: str, data: pl.DataFrame, key: tuple[str, ...]) -> TableVersion:
        """Add the rows whose key the table lacks; repeating is harmless.

        Args:
            table: Name of the table.
            data: Rows of the column types in `presage.lake.content`; of rows with the same key the first counts.
            key: Columns that tell one row from another.

        Returns:
            The version that holds the rows.

        Raises:
            DataError: A column has a type that a table cannot keep, or another type than in the table.
            LakeConflictError: Others kept writing to the table.
        """
        _check_table(table, data)

        def plan(stored: StoredTable, snapshot: DeltaTable | None) -> Plan:
            held = data.clear() if snapshot is None else stored.read(snapshot)
            check_types(table, held, data)
            fresh = data.unique(key, keep="first", maintain_order=True)
            fresh = fresh.join(held, on=key, how="anti", nulls_equal=True)
            return plan_addition(held, fresh, exists=snapshot is not None)

        return self._change(table, plan)

    def write(self, table: str, data: pl.DataFrame) -> TableVersion:
        """Make a derived table hold these rows and no others; nothing is written where it holds them already.

        Args:
            table: Name of the table.
            data: Rows of the column types in `presage.lake.content`.

        Returns:
            The version that holds the rows.

        Raises:
            DataError: A column has a type that a table cannot keep.
            LakeConflictError: Others kept writing to the table.
        """
        _check_table(table, data)
        wanted = digest(data)

        def plan(stored: StoredTable, snapshot: DeltaTable | None) -> Plan:
            if snapshot is not None and digest(stored.read(snapshot)) == wanted:
                return Plan(data, data.height, wanted, commits=False)
            return Plan(data, data.height, wanted, replaced=() if snapshot is None else ALL)

        return self._change(table, plan)

    def read(self, version: TableVersion, *, as_of: datetime | None = None, verify: bool = True) -> pl.DataFrame:
        """Return all vintages of a version.

        Args:
            version: The version to read.
            as_of: Given, only vintages with a known_at up to this moment, UTC.
            verify: Whether the content must have the version's digest.

        Returns:
            The rows with all their columns, in the order of `presage.lake.content.ordered`: by series, time and
            known_at where the table has them.

        Raises:
            LakeError: The version is gone, or its content has another digest.
        """
        stored, snapshot = self._open(version)
        content = stored.read(snapshot)
        if verify:
            by_months = version.digest.startswith(BY_MONTH)
            found = months_digest(_contents(content)) if by_months else digest(content)
            self._require_digest(version, found)
        content = ordered(content)
        return content if as_of is None else content.filter(pl.col(KNOWN_AT) <= as_of)

    def scan(
        self, version: TableVersion, *, as_of: datetime | None = None, newest_first: bool = False, verify: bool = True
    ) -> Iterator[pl.DataFrame]:
        """Give the vintages of a version month by month where it is kept by months, else all at once.

        Args:
            version: The version to read.
            as_of: Given, only vintages with a known_at up to this moment, UTC.
            newest_first: Whether the last month comes first.
            verify: Whether the content must have the version's digest; what is wrong is told when all is read.

        Yields:
            Rows as `read` gives them; no month twice, months in the order of time.

        Raises:
            LakeError: The version is gone, or its content has another digest.
        """
        stored, snapshot = self._open(version)
        months = stored.months(snapshot)
        if months is None or not version.digest.startswith(BY_MONTH):
            content = self.read(version, as_of=as_of, verify=verify)
            parts = [content] if months is None else [part for _, part in split_by_month(content)]
            yield from reversed(parts) if newest_first else parts
            return
        if not months:
            yield ordered(stored.read(snapshot))
        contents = {}
        for name in reversed(months) if newest_first else months:
            content = ordered(stored.read(snapshot, name))
            if verify:
                contents[name] = month_content(content)
            yield content if as_of is None else content.filter(pl.col(KNOWN_AT) <= as_of)
        if verify:
            self._require_digest(version, months_digest(contents))

    def columns(self, version: TableVersion) -> tuple[str, ...]:
        """Return the names of a version's columns; raises LakeError where the version is gone."""
        _, snapshot = self._open(version)
        return tuple(field.name for field in snapshot.schema().fields if field.name not in PARTITIONS)

    def current(self, table: str) -> TableVersion | None:
        """Return the newest version of a table, as a run would pin it; None where there is no table."""
        stored = self.stored(table)
        snapshot = stored.open()
        if snapshot is None:
            return None
        if stored.months(snapshot) is None:
            content = stored.read(snapshot)
            return TableVersion(table=table, version=snapshot.version(), rows=content.height, digest=digest(content))
        months = read_monthly_notes(stored, snapshot).months or {}
        rows = sum(content.rows for content in months.values())
        return TableVersion(table=table, version=snapshot.version(), rows=rows, digest=months_digest(months))

    def newest(self, table: str) -> Newest | None:
        """Return what a table's newest version is to a reader who goes on; None where there is no table."""
        snapshot = self.stored(table).open()
        if snapshot is None:
            return None
        columns = tuple(field.name for field in snapshot.schema().fields if field.name not in _NO_VALUES)
        return Newest(snapshot.version(), read_notes(snapshot).bookmark, columns)

    def stored(self, table: str) -> StoredTable:
        """Return the place of a table; raises LakeError for what is no table's name."""
        if not _NAME.fullmatch(table):
            raise LakeError(f"{table!r} is no table's name.", "Use letters, digits and _ . = -, with / between parts.")
        return StoredTable(f"{self._uri}/{table}", self._storage_options)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, sorted; none for an object store, which is not searched."""
        if self.directory is None:
            return ()
        logs = self.directory.glob("**/_delta_log")
        return tuple(sorted(log.parent.relative_to(self.directory).as_posix() for log in logs))

    def locked(self, table: str) -> AbstractContextManager[None]:
        """Return a context in which nobody else on this disk writes to a table; an object store has no lock.

        Raises:
            LakeConflictError: Another process held the lock for too long.
        """
        return nullcontext() if self.directory is None else file_lock(self.directory, table, self._lock_timeout)

    def _open(self, version: TableVersion) -> tuple[StoredTable, DeltaTable]:
        stored = self.stored(version.table)
        snapshot = stored.open(version.version)
        if snapshot is None:
            raise LakeError(f"The lake {self._uri} has no table {version.table}.", "Run the job again to build it.")
        return stored, snapshot

    def _require_digest(self, version: TableVersion, found: str) -> None:
        if found != version.digest:
            raise LakeError(
                f"Version {version.version} of table {version.table} in {self._uri} has the digest {found}, "
                f"but {version.digest} was pinned.",
                "Something else than Presage changed its files: restore them from a copy, or run the job again.",
            )

    def _change(
        self, table: str, make_plan: Callable[[StoredTable, DeltaTable | None], Plan], *, monthly: bool = False
    ) -> TableVersion:
        """Plan a change of a table's newest version and commit it, until nobody else came between."""
        stored = self.stored(table)
        with self.locked(table):
            attempt = 0
            while attempt < _ATTEMPTS:
                time.sleep(self._pause(table, attempt))
                snapshot = stored.open()
                plan = make_plan(stored, snapshot)
                version = None if snapshot is None else snapshot.version()
                if version is None:
                    self._refuse_nesting(table)
                if plan.commits:
                    if self.directory:
                        require_space(self.directory, int(plan.rows.estimated_size()))
                    version = stored.commit(
                        snapshot, plan.rows, monthly=monthly, replaced=plan.replaced, note=plan.note
                    )
                if version is None:
                    attempt += 1
                elif plan.last:
                    return TableVersion(table=table, version=version, rows=plan.height, digest=plan.digest)
        raise LakeConflictError(
            f"Others kept writing to table {table} in {self._uri}: {_ATTEMPTS} attempts failed.",
            "Let the other runs finish, then run again.",
        )

    def _refuse_nesting(self, table: str) -> None:
        """Raise LakeError for a table inside another one, whose cleaning would take its files for leftovers."""
        parts = table.split("/")
        outer = [name for end in range(1, len(parts)) if self.stored(name := "/".join(parts[:end])).open() is not None]
        inner = [name for name in self.tables() if name.startswith(f"{table}/")]
        for other in outer + inner:
            raise LakeError(f"Table {table} and table {other} would be inside each other.", "Choose another name.")

    def _pause(self, table: str, attempt: int) -> float:
        longest = min(2.0, 0.05 * 2.0**attempt) if attempt else 0.0
        return random.Random(f"{self._seed}/{table}/{attempt}").uniform(0.0, longest)  # noqa: S311 - it guards nothing


def _contents(rows: pl.DataFrame) -> dict[str, MonthContent]:
    return {name: month_content(part) for name, part in split_by_month(rows)}


def _check_table(table: str, data: pl.DataFrame) -> None:
    check_columns(table, data)
    for name in PARTITIONS:
        if name in data.columns:
            raise DataError(f"Table {table}: the column name {name!r} is reserved.", "Rename the column.")
