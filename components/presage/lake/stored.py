"""One table as Delta stores it: opened at a version, read whole or by months, committed to by one writer a version."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from presage.errors import LakeError
from presage.frame import TIME
from presage.lake.notes import NOTE
from presage.lake.storage import local_directory, storage_errors

PARTITIONS = ("time_year", "time_month")
ALL = "all"
# Delta would drop log entries after 30 days, and with them the versions that older runs pin.
_CONFIGURATION = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class StoredTable:
    """The place of a table, whether it exists or not.

    Every method raises LakeError for a table that is damaged and StorageError for a disk that refuses. A month is named
    by its year and number, such as `2024-01`.

    Attributes:
        uri: Where its files are.
        storage_options: Delta's options for an object store.
    """

    uri: str
    storage_options: dict[str, str]

    def open(self, version: int | None = None) -> DeltaTable | None:
        """Return Delta's view of a version, or of the newest one; None where there is no table.

        Raises:
            LakeError: There is no such version.
        """
        with storage_errors(self.uri):
            if not DeltaTable.is_deltatable(self.uri, self.storage_options):
                return None
            return DeltaTable(self.uri, version=version, storage_options=self.storage_options)

    def holds(self, version: int) -> bool:
        """Return whether a version is there with all its files, whose content is not looked at.

        Of a table on an object store only the version is looked for.
        """
        try:
            snapshot = self.open(version)
        except LakeError:
            return False
        directory = local_directory(self.uri)
        if snapshot is None or directory is None:
            return snapshot is not None
        return all(Path(unquote(urlsplit(uri).path)).exists() for uri in snapshot.file_uris())

    def read(self, snapshot: DeltaTable, month: str | None = None) -> pl.DataFrame:
        """Return the rows of a version, all or those of a month, in no order."""
        with storage_errors(self.uri):
            # Delta's own reader: that of polars does not find files below a directory with a space in its name.
            reader = snapshot.scan(predicate=None if month is None else _is_in((month,)))
            return pl.DataFrame(reader).drop(PARTITIONS, strict=False)

    def months(self, snapshot: DeltaTable) -> tuple[str, ...] | None:
        """Return the months that a version has rows of, in the order of time; None where it is not kept by months."""
        with storage_errors(self.uri):
            if tuple(snapshot.metadata().partition_columns) != PARTITIONS:
                return None
            year, month = PARTITIONS
            return tuple(sorted(f"{int(part[year]):04d}-{int(part[month]):02d}" for part in snapshot.partitions()))

    def commit(
        self,
        snapshot: DeltaTable | None,
        rows: pl.DataFrame,
        *,
        monthly: bool,
        replaced: Collection[str] = (),
        note: str = "",
    ) -> int | None:
        """Write rows on top of the version that a change was planned for.

        Args:
            snapshot: That version, None for a table that did not exist.
            rows: Rows to write.
            monthly: Whether a new table is partitioned by year and month of `time`.
            replaced: Months whose rows these take the place of; `ALL` for the whole table.
            note: What the commit says beside its rows.

        Returns:
            The new version; None if somebody else had committed one meanwhile, and nothing was written.
        """
        partitioned = monthly if snapshot is None else bool(snapshot.metadata().partition_columns)
        if partitioned:
            rows = rows.with_columns(year().alias(PARTITIONS[0]), month().alias(PARTITIONS[1]))
        write = partial(
            write_deltalake,
            snapshot or self.uri,
            rows,
            partition_by=list(PARTITIONS) if partitioned else None,
            configuration=_CONFIGURATION,
            storage_options=self.storage_options,
            # By itself Delta would put a commit that came second on top of the first: both could add the same rows.
            commit_properties=CommitProperties(max_commit_retries=0, custom_metadata={NOTE: note} if note else None),
        )
        try:
            with storage_errors(self.uri):
                if replaced == ALL:
                    write(mode="overwrite", schema_mode="overwrite")
                elif replaced:
                    write(mode="overwrite", schema_mode="merge", predicate=_is_in(replaced))
                else:
                    write(mode="error" if snapshot is None else "append", schema_mode="merge")
        except CommitFailedError:
            return None
        except LakeError:
            # Delta says that the table exists already in the words of any other fault.
            if snapshot is None and self.open() is not None:
                return None
            raise
        return 0 if snapshot is None else snapshot.version()


def year() -> pl.Expr:
    """Return the year of a row's time, UTC."""
    return pl.col(TIME).dt.year()


def month() -> pl.Expr:
    """Return the month of a row's time, UTC, from 1."""
    return pl.col(TIME).dt.month()


def _is_in(months: Collection[str]) -> str:
    """Return Delta's condition for the rows of some months."""
    pairs = (name.rsplit("-", 1) for name in sorted(months))
    return " OR ".join(
        f"({PARTITIONS[0]} = {int(number)} AND {PARTITIONS[1]} = {int(place)})" for number, place in pairs
    )
