"""Objects below a prefix of an S3 bucket: each is written only on top of what the writer has seen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from presage.errors import JobError, MissingExtraError, StorageError
from presage.sources.s3_client import client_config

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_READ_SECONDS = 30
_ATTEMPTS = 4
_NOT_AS_EXPECTED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
_FAULTS_OF_THE_ASKER = range(400, 500)
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Stored:
    """An object of the store.

    Attributes:
        etag: Tag of its content, which changes when it is written.
        size: Bytes.
        modified: When it was written, by the store's clock.
    """

    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class BucketPlace:
    """What `s3://bucket/prefix` names."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str) -> BucketPlace:
        """Return the place of a URI; raises JobError for one that is not `s3://bucket/prefix`."""
        parts = urlsplit(uri)
        if "@" in parts.netloc:
            raise JobError("the address holds credentials.", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
        prefix = parts.path.strip("/")
        names = prefix.split("/") if prefix else []
        wrong = parts.query or parts.fragment or any(name in {"", ".", ".."} for name in names)
        if not _BUCKET.fullmatch(parts.netloc) or wrong:
            raise JobError(f"{uri!r} names no place in a bucket.", "Write s3://bucket/prefix.")
        return cls(parts.netloc, prefix)

    def key(self, name: str) -> str:
        """Return the key of a name below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


class Bucket:
    """The objects below a place; names are relative to it.

    The store's address, the region and the credentials are those of the environment, as AWS's own tools read them.
    Every method raises JobError where there is no such bucket, and StorageError for a store that refuses or does not
    answer after some attempts.

    Raises:
        MissingExtraError: The `s3` extra is not installed.
    """

    def __init__(self, place: BucketPlace) -> None:
        self.place = place
        self._client = _client()

    def close(self) -> None:
        """Close the connections to the store."""
        self._client.close()

    def list(self, folder: str) -> dict[str, Stored]:
        """Return the objects below a folder, which ends in a slash, by name."""
        with self._faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=self.place.key(folder)
            )
            cut = len(self.place.key(""))
            return {
                entry["Key"][cut:]: Stored(entry["ETag"], entry["Size"], entry["LastModified"])
                for page in pages
                for entry in page.get("Contents", ())
            }

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return an object's content and tag; None where there is none."""
        with self._faults():
            try:
                answer = self._client.get_object(Bucket=self.place.bucket, Key=self.place.key(name))
            except self._client.exceptions.NoSuchKey:
                return None
            return answer["Body"].read(), answer["ETag"]

    def write(self, name: str, content: bytes, *, over: str | None) -> str | None:
        """Write an object, unless another has been written meanwhile.

        Args:
            name: Its name.
            content: What it is to hold.
            over: Tag of the object that it replaces; None where there must be none.

        Returns:
            Its new tag; None where the store holds something else than was expected, and nothing was written.
        """
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        with self._faults():
            try:
                answer = self._client.put_object(
                    Bucket=self.place.bucket, Key=self.place.key(name), Body=content, **condition
                )
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in _NOT_AS_EXPECTED:
                    raise
                # An answer that was lost makes a repeat find its own first attempt.
                held = self.read(name)
                return held[1] if held is not None and held[0] == content else None
            return str(answer["ETag"])

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone already is no fault."""
        with self._faults():
            self._client.delete_object(Bucket=self.place.bucket, Key=self.place.key(name))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        from botocore.exceptions import (  # noqa: PLC0415  # an extra
            BotoCoreError,
            ClientError,
            ConnectionError,  # noqa: A004  # the library's name
            HTTPClientError,
        )

        store = self._client.meta.endpoint_url
        try:
            yield
        except ClientError as error:
            raise _refusal(self.place, store, error.response) from error
        except (ConnectionError, HTTPClientError) as error:
            raise StorageError(
                f"the store at {store} does not answer ({type(error).__name__}).",
                "Try again later, or set AWS_ENDPOINT_URL to another address.",
            ) from error
        except BotoCoreError as error:
            raise StorageError(
                f"the store at {store} cannot be asked for {self.place}: {error}",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.",
            ) from error


def _client() -> Any:  # noqa: ANN401  # the library is not typed
    try:
        import boto3  # noqa: PLC0415  # an extra
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # as above
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"a bucket needs the Python package {error.name}, which is not installed.",
            "Install it: pip install 'presage[s3]'.",
        ) from error
    config = client_config(read_seconds=_READ_SECONDS, attempts=_ATTEMPTS)
    try:
        # The library reads AWS_DEFAULT_REGION and profiles by itself, but not the region that containers are given.
        return boto3.client("s3", region_name=os.environ.get("AWS_REGION"), config=config)
    except (BotoCoreError, ValueError) as error:
        raise JobError(
            f"the store cannot be found by the AWS settings of the environment: {error}",
            "Correct AWS_ENDPOINT_URL, AWS_REGION or AWS_PROFILE.",
        ) from error


def _refusal(place: BucketPlace, store: str, response: dict[str, Any]) -> JobError | StorageError:
    code, status = response["Error"].get("Code", ""), response["ResponseMetadata"].get("HTTPStatusCode")
    if code == "NoSuchBucket":
        return JobError(f"there is no bucket {place.bucket!r} at {store}.", "Make it, or name another.")
    if status in _FAULTS_OF_THE_ASKER and status != _TOO_MANY_REQUESTS:
        return StorageError(
            f"the store at {store} refuses access to {place}: {code}.",
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list, read, write and delete there.",
        )
    return StorageError(f"the store at {store} failed for {place}: {code or status}.", "Try again later.")
