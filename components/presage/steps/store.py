"""Places that backups are copied from and to, whose objects are read and written as streams; folders are such."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from presage.errors import (
    LakeConflictError,
    StorageError,
)
from presage.files import storage_faults, sync_directory
from presage.steps.bucket import Stored

DRAFT = ".draft-"
"""Begins the name of a file that a folder holds while it is being written."""
LOCK = ".lock"
"""Name of what one backup at a time holds in a place."""
_CHUNK = 1 << 20


class Readable(Protocol):
    """What gives bytes until there are no more."""

    def read(self, amount: int = -1, /) -> bytes:
        """Return at most as many bytes, b"" at the end; without a number, all."""


@dataclass(frozen=True)
class Opened:
    """An object that is being read.

    Attributes:
        stream: Its content.
        etag: Tag of that content.
    """

    stream: Readable
    etag: str


class Store(Protocol):
    """The objects of a place; a name is relative to it, with slashes.

    All methods raise StorageError for a place that refuses or does not answer, and JobError for one that cannot be.
    """

    def list(self, folder: str = "") -> dict[str, Stored]:
        """Return the objects below a folder, which ends in a slash, by name."""

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders right below the place."""

    def reading(self, name: str) -> AbstractContextManager[Opened | None]:
        """Give an object to read; None where there is none."""

    def save(self, name: str, content: Readable, *, size: int) -> None:
        """Write an object of about that many bytes, which is there whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone already is no fault."""

    def remove(self, folder: str) -> None:
        """Delete all that is in a folder."""

    def below(self, folder: str) -> Store:
        """Return the place of a folder."""

    def alone(self) -> AbstractContextManager[Callable[[], None]]:
        """Hold the place's lock and give what confirms it; raises LakeConflictError where another holds it."""

    def close(self) -> None:
        """Close the connections to the store."""


@dataclass(frozen=True)
class FolderStore:
    """A folder; an object is the file of its name."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def list(self, folder: str = "") -> dict[str, Stored]:
        """Return the files below a folder."""
        found: dict[str, Stored] = {}
        with _reads(self.root):
            self._collect(self.root / folder, found)
        return found

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders right below."""
        with _reads(self.root), suppress(FileNotFoundError):
            return tuple(sorted(path.name for path in self.root.iterdir() if path.is_dir()))
        return ()

    @contextmanager
    def reading(self, name: str) -> Iterator[Opened | None]:
        """Give a file to read."""
        with _reads(self.root / name):
            try:
                file = (self.root / name).open("rb")
            except FileNotFoundError:
                file = None
        if file is None:
            yield None
            return
        with file:
            yield Opened(file, _stored(os.fstat(file.fileno())).etag)

    def save(self, name: str, content: Readable, *, size: int) -> None:  # noqa: ARG002  # a disk need not know it
        """Write a file; its folders are made."""
        path = self.root / name
        with storage_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(prefix=DRAFT, dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    while chunk := content.read(_CHUNK):
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                Path(draft).chmod(0o644)
                Path(draft).replace(path)
                sync_directory(path.parent)
            finally:
                Path(draft).unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Delete a file, and the folders that are empty then."""
        path = self.root / name
        with storage_faults(path):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            for parent in path.relative_to(self.root).parents:
                if parent.name:
                    (self.root / parent).rmdir()

    def remove(self, folder: str) -> None:
        """Delete a folder."""
        path = self.root / folder
        with storage_faults(path), suppress(FileNotFoundError):
            shutil.rmtree(path)

    def below(self, folder: str) -> FolderStore:
        """Return a folder of it."""
        return FolderStore(self.root / folder)

    @contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """Hold the folder's lock, which ends with the process."""
        with storage_faults(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / LOCK)
            try:
                lock.acquire(blocking=False)
            except Timeout as error:
                raise busy(str(self)) from error
        try:
            yield lambda: None
        finally:
            lock.release()

    def close(self) -> None:
        """Do nothing: no connection is held."""

    def _collect(self, folder: Path, found: dict[str, Stored]) -> None:
        names = _names(folder)
        # A disk may give a file that came meanwhile and not one that came before it. What the first look has seen all
        # that it follows, the second has too.
        while (again := _names(folder)) != names:
            names = again
        for name in sorted(names):
            path = folder / name
            with suppress(FileNotFoundError):
                if path.is_dir():
                    self._collect(path, found)
                elif path.is_file():
                    found[path.relative_to(self.root).as_posix()] = _stored(path.stat())


@contextmanager
def _reads(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot read {place}: {error.strerror or error}.", "Grant permission to read it, or check the disk."
        ) from error


def busy(place: str) -> LakeConflictError:
    """Return what is raised where another backup goes on in a place."""
    return LakeConflictError(f"another backup is going on in {place}.", "Wait for it to end.")


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208  # the names alone
    except FileNotFoundError:
        return set()


def _stored(status: os.stat_result) -> Stored:
    tag = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    return Stored(tag, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
