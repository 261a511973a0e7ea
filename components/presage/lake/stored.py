"""One table as Delta stores it: opened at a version, read whole, and committed to by one writer a version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from presage.errors import LakeError
from presage.frame import TIME
from presage.lake.storage import storage_errors

PARTITIONS = ("time_year", "time_month")
# By itself Delta would put a commit that came second on top of the first: two writers could add the same rows.
_COMPARE_AND_SWAP = CommitProperties(max_commit_retries=0)
# Delta would drop log entries after 30 days, and with them the versions that older runs pin.
_CONFIGURATION = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class StoredTable:
    """The place of a table, whether it exists or not.

    Every method raises LakeError for a table that is damaged and StorageError for a disk that refuses.

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

    def read(self, snapshot: DeltaTable) -> pl.DataFrame:
        """Return the rows of a version, in no order."""
        with storage_errors(self.uri):
            # Delta's own reader: that of polars does not find files below a directory with a space in its name.
            return pl.DataFrame(snapshot.scan()).drop(PARTITIONS, strict=False)

    def commit(self, snapshot: DeltaTable | None, rows: pl.DataFrame, *, overwrite: bool, monthly: bool) -> int | None:
        """Write rows on top of the version that a change was planned for.

        Args:
            snapshot: That version, None for a table that did not exist.
            rows: Rows to write.
            overwrite: Whether they take the place of all others.
            monthly: Whether a new table is partitioned by year and month of `time`.

        Returns:
            The new version; None if somebody else had committed one meanwhile, and nothing was written.
        """
        partitioned = monthly if snapshot is None else bool(snapshot.metadata().partition_columns)
        if partitioned:
            time = pl.col(TIME).dt
            rows = rows.with_columns(time.year().alias(PARTITIONS[0]), time.month().alias(PARTITIONS[1]))
        write = partial(
            write_deltalake,
            snapshot or self.uri,
            rows,
            partition_by=list(PARTITIONS) if partitioned else None,
            configuration=_CONFIGURATION,
            storage_options=self.storage_options,
            commit_properties=_COMPARE_AND_SWAP,
        )
        try:
            with storage_errors(self.uri):
                if overwrite:
                    write(mode="overwrite", schema_mode="overwrite")
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
