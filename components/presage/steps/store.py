"""Places that backups are copied from and to: folders and parts of buckets, whose objects are read and written as streams.

The store of a bucket is found as `presage.steps.bucket` finds it, by the AWS variables of the environment. Backups may
be in another store than the lakes: each variable of theirs may have the prefix PRESAGE_BACKUP_, and goes before the one
without.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from presage.errors import JobError, LakeConflictError, MissingExtraError, NotSupportedError, PresageError
from presage.files import storage_faults, sync_directory
from presage.sources.s3_client import client_config
from presage.steps.bucket import Bucket, BucketPlace, Stored
from presage.steps.lease import held_lease

BACKUPS = "PRESAGE_BACKUP_"
"""Prefix of the variables that lead to the store of backups."""
_LOCK = ".lock"
_CHUNK = 1 << 20
_READ_SECONDS = 60
_ATTEMPTS = 5
_PART_BYTES = 8 << 20
_PARTS = 9_000


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

    def folders(self) -> list[str]:
        """Return the names of the folders right below the place."""

    def reading(self, name: str) -> AbstractContextManager[Opened | None]:
        """Give an object to read; None where there is none."""

    def save(self, name: str, content: Readable, *, size: int) -> None:
        """Write an object of about that many bytes, which is there whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone already is no fault."""

    def below(self, folder: str) -> Store:
        """Return the place of a folder."""

    def alone(self) -> AbstractContextManager[Callable[[], None]]:
        """Hold the place's lock and give what confirms it; raises LakeConflictError where another holds it."""

    def close(self) -> None:
        """Close the connections to the store."""


def open_store(location: str, *, prefix: str = "") -> Store:
    """Return the place that a location names.

    Args:
        location: A folder's path, or `s3://bucket/prefix`.
        prefix: Of the variables that lead to the bucket's store, before those without it.

    Raises:
        JobError: The location is wrong, or the environment leads to no store.
        NotSupportedError: It has another scheme.
        MissingExtraError: A bucket needs the `s3` extra.
    """
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme == "s3":
        return BucketStore(BucketPlace.parse(location), _client(prefix), prefix)
    if scheme not in ("", "file"):
        raise NotSupportedError(f"no objects can be at {location}.", "Give a folder or s3://bucket/prefix.")
    return FolderStore(Path(unquote(urlsplit(location).path) if scheme else location).absolute())


@dataclass(frozen=True)
class FolderStore:
    """A folder; an object is the file of its name."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def list(self, folder: str = "") -> dict[str, Stored]:
        """Return the files below a folder."""
        found: dict[str, Stored] = {}
        with storage_faults(self.root):
            self._collect(self.root / folder, found)
        return found

    def folders(self) -> list[str]:
        """Return the names of the folders right below."""
        with storage_faults(self.root), suppress(FileNotFoundError):
            return sorted(path.name for path in self.root.iterdir() if path.is_dir())
        return []

    @contextmanager
    def reading(self, name: str) -> Iterator[Opened | None]:
        """Give a file to read."""
        with storage_faults(self.root / name):
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
            descriptor, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
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

    def below(self, folder: str) -> FolderStore:
        """Return a folder of it."""
        return FolderStore(self.root / folder)

    @contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """Hold the folder's lock, which ends with the process."""
        with storage_faults(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / _LOCK)
            try:
                lock.acquire(blocking=False)
            except Timeout as error:
                raise _busy(str(self)) from error
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


class BucketStore(Bucket):
    """A part of a bucket."""

    def __init__(self, place: BucketPlace, client: Any, prefix: str) -> None:  # noqa: ANN401  # the library is not typed
        self.place = place
        self._client = client
        self._prefix = prefix

    def __str__(self) -> str:
        return str(self.place)

    def list(self, folder: str = "") -> dict[str, Stored]:
        """Return the objects below a folder; what only marks a folder is none."""
        return {name: stored for name, stored in super().list(folder).items() if not name.endswith("/")}

    def folders(self) -> list[str]:
        """Return the names of the folders right below."""
        prefix = self.place.key("")
        with self._faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=prefix, Delimiter="/"
            )
            found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]
        return sorted(name.removeprefix(prefix).rstrip("/") for name in found)

    @contextmanager
    def reading(self, name: str) -> Iterator[Opened | None]:
        """Give an object to read."""
        with self._faults():
            try:
                answer = self._client.get_object(Bucket=self.place.bucket, Key=self.place.key(name))
            except self._client.exceptions.NoSuchKey:
                answer = None
        if answer is None:
            yield None
            return
        try:
            yield Opened(_Body(answer["Body"], self._faults), answer["ETag"])
        finally:
            answer["Body"].close()

    def save(self, name: str, content: Readable, *, size: int) -> None:
        """Write an object, a large one in parts."""
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415  # an extra

        # A store takes a bounded number of parts. Threads of its own would hold more parts in memory.
        config = TransferConfig(multipart_chunksize=max(_PART_BYTES, size // _PARTS), use_threads=False)
        with self._faults():
            self._client.upload_fileobj(content, self.place.bucket, self.place.key(name), Config=config)

    def below(self, folder: str) -> BucketStore:
        """Return a folder of it, over the same connections."""
        return BucketStore(BucketPlace(self.place.bucket, self.place.key(folder)), self._client, self._prefix)

    @contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """Hold a lease, which others take over 30 seconds after its holder was killed."""
        try:
            with held_lease(self, _LOCK, job="the backup") as lease:
                yield lease.confirm
        except LakeConflictError as error:
            raise _busy(str(self)) from error

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            with super()._faults():
                yield
        except PresageError as error:
            error.remedy = error.remedy.replace("AWS_", f"{self._prefix}AWS_")
            raise


@dataclass(frozen=True)
class _Body:
    """The content of an object on its way; a connection that breaks is an error that a user can read."""

    stream: Readable
    faults: Callable[[], AbstractContextManager[None]]

    def read(self, amount: int = -1, /) -> bytes:
        with self.faults():
            return self.stream.read(None if amount < 0 else amount)  # type: ignore[arg-type]  # the library's all


def _busy(place: str) -> LakeConflictError:
    return LakeConflictError(f"another backup is going on in {place}.", "Wait for it to end.")


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208  # the names alone
    except FileNotFoundError:
        return set()


def _stored(status: os.stat_result) -> Stored:
    from datetime import UTC, datetime  # noqa: PLC0415

    tag = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    return Stored(tag, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _client(prefix: str) -> Any:  # noqa: ANN401  # the library is not typed
    try:
        import boto3  # noqa: PLC0415  # an extra
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # as above
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"a bucket needs the Python package {error.name}, which is not installed.",
            "Install it: pip install 'presage[s3]'.",
        ) from error

    def own(name: str) -> str | None:
        return (os.environ.get(prefix + name) or None) if prefix else None

    endpoint = own("AWS_ENDPOINT_URL")
    key, secret = own("AWS_ACCESS_KEY_ID"), own("AWS_SECRET_ACCESS_KEY")
    if (key is None) != (secret is None):
        raise JobError(
            f"one of {prefix}AWS_ACCESS_KEY_ID and {prefix}AWS_SECRET_ACCESS_KEY is set without the other.",
            "Set both, or none.",
        )
    try:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=own("AWS_REGION") or os.environ.get("AWS_REGION"),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=client_config(read_seconds=_READ_SECONDS, attempts=_ATTEMPTS, endpoint=endpoint),
        )
    except (BotoCoreError, ValueError) as error:
        raise JobError(
            f"the store cannot be found by the AWS settings of the environment: {error}",
            f"Correct {prefix}AWS_ENDPOINT_URL, {prefix}AWS_REGION or AWS_PROFILE.",
        ) from error
