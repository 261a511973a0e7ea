"""The lake: Delta tables under one root, whose rows are added and never changed, and the versions that runs pin."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from pydantic import BaseModel, ConfigDict

from presage.errors import DataError, LakeConflictError, LakeError
from presage.frame import INGESTED_AT, KNOWN_AT, TIMESTAMP
from presage.lake.content import check_columns, digest, ordered
from presage.lake.storage import file_lock, local_directory, require_space
from presage.lake.stored import PARTITIONS, StoredTable
from presage.lake.vintages import check_rows, new_vintages

_ATTEMPTS = 10
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
    """SHA-256 of the version's content, by `presage.lake.content.digest`."""


@dataclass(frozen=True)
class _Change:
    """What a write does.

    Attributes:
        rows: Rows it writes.
        content: What the table then holds.
        overwrite: Whether the rows take the place of all others.
    """

    rows: pl.DataFrame
    content: pl.DataFrame
    overwrite: bool = False


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

    def merge(self, table: str, rows: pl.DataFrame, *, ingested_at: datetime, monthly: bool = False) -> TableVersion:
        """Add what a batch says and the table does not say yet, by the rules of `presage.lake.vintages`.

        Args:
            table: Name of the table.
            rows: The row contract of `presage.frame`, without `ingested_at`, in any order.
            ingested_at: When the batch was fetched, UTC.
            monthly: Whether a new table is partitioned by year and month of `time`, for intraday data.

        Returns:
            The version that says it: the newest one where the batch has nothing new.

        Raises:
            DataError: The rows break the row contract.
            LakeConflictError: Others kept writing to the table.
        """
        check_rows(table, rows)

        _check_table(table, rows)

        def change(held: pl.DataFrame) -> _Change:
            _check_types(table, held, rows)
            return _addition(held, new_vintages(held, rows, ingested_at))

        empty = rows.clear().with_columns(pl.lit(None, TIMESTAMP).alias(INGESTED_AT))
        return self._change(table, empty, change, monthly=monthly)

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

        def change(held: pl.DataFrame) -> _Change:
            _check_types(table, held, data)
            fresh = data.unique(key, keep="first", maintain_order=True)
            return _addition(held, fresh.join(held, on=key, how="anti", nulls_equal=True))

        return self._change(table, data.clear(), change)

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

        def change(held: pl.DataFrame) -> _Change:
            return _addition(held, held.clear()) if digest(held) == wanted else _Change(data, data, overwrite=True)

        return self._change(table, data.clear(), change)

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
        stored = self.stored(version.table)
        snapshot = stored.open(version.version)
        if snapshot is None:
            raise LakeError(f"The lake {self._uri} has no table {version.table}.", "Run the job again to build it.")
        content = stored.read(snapshot)
        if verify and (found := digest(content)) != version.digest:
            raise LakeError(
                f"Version {version.version} of table {version.table} in {self._uri} has the digest {found}, "
                f"but {version.digest} was pinned.",
                "Something else than Presage changed its files: restore them from a copy, or run the job again.",
            )
        content = ordered(content)
        return content if as_of is None else content.filter(pl.col(KNOWN_AT) <= as_of)

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

    def _change(
        self, table: str, empty: pl.DataFrame, change: Callable[[pl.DataFrame], _Change], *, monthly: bool = False
    ) -> TableVersion:
        """Read a table, `empty` where there is none, plan a change of what it holds, and commit it."""
        stored = self.stored(table)
        with self.locked(table):
            for attempt in range(_ATTEMPTS):
                time.sleep(self._pause(table, attempt))
                snapshot = stored.open()
                held = empty if snapshot is None else stored.read(snapshot)
                planned = change(held)
                version = None if snapshot is None else snapshot.version()
                if version is None:
                    self._refuse_nesting(table)
                if version is None or planned.overwrite or planned.rows.height:
                    if self.directory:
                        require_space(self.directory, int(planned.rows.estimated_size()))
                    version = stored.commit(snapshot, planned.rows, overwrite=planned.overwrite, monthly=monthly)
                if version is not None:
                    content = planned.content
                    return TableVersion(table=table, version=version, rows=content.height, digest=digest(content))
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


def _addition(held: pl.DataFrame, rows: pl.DataFrame) -> _Change:
    if rows.is_empty():
        return _Change(rows, held)
    content = pl.concat([held, rows], how="diagonal")
    return _Change(content.tail(rows.height), content)


def _check_table(table: str, data: pl.DataFrame) -> None:
    check_columns(table, data)
    for name in PARTITIONS:
        if name in data.columns:
            raise DataError(f"Table {table}: the column name {name!r} is reserved.", "Rename the column.")


def _check_types(table: str, held: pl.DataFrame, rows: pl.DataFrame) -> None:
    for name, kind in rows.schema.items():
        found = held.schema.get(name, kind)
        if found != kind:
            raise DataError(
                f"Table {table}: column {name!r} is {found} in the table, but {kind} in the new rows.",
                "Give it the table's type, or write to another table.",
            )
