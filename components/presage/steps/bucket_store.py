"""A part of a bucket as a place that backups are copied from and to.

Its store is found as `presage.steps.bucket` finds it, by the AWS variables of the environment. Backups may be in
another store than the lakes: each variable of theirs may have the prefix PRESAGE_BACKUP_, and goes before the one
without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from presage.errors import JobError, LakeConflictError, MissingExtraError, NotSupportedError, PresageError
from presage.sources.s3_client import client_config
from presage.steps.bucket import Bucket, BucketPlace, Stored
from presage.steps.lease import held_lease
from presage.steps.store import LOCK, FolderStore, Opened, Readable, Store, busy

BACKUPS = "PRESAGE_BACKUP_"
"""Prefix of the variables that lead to the store of backups."""
_BARE = re.compile(rf"(?<!{BACKUPS})AWS_")
_READ_SECONDS = 60
_ATTEMPTS = 5
_PART_BYTES = 8 << 20
_PARTS = 9_000


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

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders right below."""
        prefix = self.place.key("")
        with self._faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=prefix, Delimiter="/"
            )
            found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]
        return tuple(sorted(name.removeprefix(prefix).rstrip("/") for name in found))

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

    def remove(self, folder: str) -> None:
        """Delete the objects of a folder."""
        for name in super().list(f"{folder}/"):
            self.delete(name)

    def below(self, folder: str) -> BucketStore:
        """Return a folder of it, over the same connections."""
        return BucketStore(BucketPlace(self.place.bucket, self.place.key(folder)), self._client, self._prefix)

    @contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """Hold a lease, which others take over 30 seconds after its holder was killed."""
        with ExitStack() as stack:
            try:
                lease = stack.enter_context(held_lease(self, LOCK, job="the backup"))
            except LakeConflictError as error:
                raise busy(str(self)) from error
            yield lease.confirm

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            with super()._faults():
                yield
        except PresageError as error:
            # What is written here may be read elsewhere, and fail there.
            if self._client.meta.endpoint_url in error.what:
                error.remedy = _BARE.sub(f"{self._prefix}AWS_", error.remedy)
            raise


@dataclass(frozen=True)
class _Body:
    """The content of an object on its way; a connection that breaks is an error that a user can read."""

    stream: Readable
    faults: Callable[[], AbstractContextManager[None]]

    def read(self, amount: int = -1, /) -> bytes:
        with self.faults():
            return self.stream.read(None if amount < 0 else amount)  # type: ignore[arg-type]  # the library's all


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
