"""Where the lake's files are, and the plain words for what a disk can refuse."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deltalake.exceptions import CommitFailedError, DeltaError
from filelock import FileLock, Timeout
from polars.exceptions import PolarsError

from presage.errors import LakeConflictError, LakeError, NotSupportedError, StorageError

_LOCKS = "_locks"
_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
}
# Delta and polars hand the operating system's error on as text.
_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)")
_SPARE_BYTES = 1 << 20


def local_directory(root: str) -> Path | None:
    """Return the directory that a lake's root names, absolute; None for an object store.

    Args:
        root: A directory's path or `file://` URI, or `s3://bucket/prefix`.

    Raises:
        LakeError: The path holds a percent sign, which Delta takes for an escape.
        NotSupportedError: The URI has another scheme.
    """
    parts = urlsplit(root)
    if parts.scheme == "s3":
        return None
    if "://" in root and parts.scheme != "file":
        raise NotSupportedError(
            f"A lake cannot stand at {root}.", "Name a directory, a file:// URI or s3://bucket/prefix."
        )
    directory = Path(unquote(parts.path) if "://" in root else root).absolute()
    if "%" in str(directory):
        raise LakeError(f"A lake cannot stand at {directory}: its path has a percent sign.", "Name another directory.")
    return directory


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Turn what a disk or Delta refuses inside the block into errors that name the place.

    A lost race (CommitFailedError) goes through as it is.

    Raises:
        StorageError: The disk is full, read-only or closed to this user.
        LakeError: The table is damaged, or files or versions of it are gone.
    """
    try:
        yield
    except (OSError, DeltaError, PolarsError) as error:
        numbers = {getattr(error, "errno", None), *(int(a or b) for a, b in _ERROR_NUMBER.findall(str(error)))}
        for number, reason in _REFUSALS.items():
            if number in numbers:
                raise _refusal(place, reason) from error
        if isinstance(error, CommitFailedError):
            raise
        raise LakeError(
            f"The table at {place} cannot be read: {str(error).splitlines()[0]}",
            "Files of it are damaged or gone: restore them from a copy, or delete the table's directory and run again.",
        ) from error


def require_space(directory: Path, size: int) -> None:
    """Raise StorageError unless a directory can take some more bytes.

    Delta notices a full disk too, but not without a panic of its writer threads on the terminal.
    """
    with storage_errors(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
            raise _refusal(str(directory), _REFUSALS[errno.EROFS if read_only else errno.EACCES])
        free = shutil.disk_usage(directory).free
    if free < size + _SPARE_BYTES:
        raise StorageError(
            f"The disk under {directory} is full: {free} bytes are free, {size + _SPARE_BYTES} may be needed.",
            "Nothing was changed. Make room, for instance by keeping fewer runs, and run again.",
        )


@contextmanager
def file_lock(directory: Path, table: str, timeout: float) -> Iterator[None]:
    """Hold the lock of a table; it is free again when its holder ends, however it ends.

    Raises:
        LakeConflictError: Another process held the lock for `timeout` seconds.
        StorageError: The disk is full, read-only or closed to this user.
    """
    path = directory / _LOCKS / f"{table}.lock"
    lock = FileLock(path)
    with storage_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise LakeConflictError(
                f"Another process has been writing to table {table} for {timeout:g} seconds (lock {path}).",
                "Let it finish, then run again.",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _refusal(place: str, reason: str) -> StorageError:
    return StorageError(
        f"Cannot use {place}: {reason}.",
        "Nothing was changed. Make room or grant write permission, then run again.",
    )
