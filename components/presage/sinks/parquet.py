"""Parquet files that are put in the place of older ones, each whole."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from presage.errors import JobError, MissingExtraError, StorageError
from presage.files import write_atomically
from presage.sinks.tables import SinkTable
from presage.sources.s3_client import client_config
from presage.sources.secrets import secret_value
from presage.spec.operations import UriSink
from presage.spec.sources import SecretRef

_READ_SECONDS = 60
_ATTEMPTS = 4


def write_files(
    sink: UriSink,
    tables: Sequence[SinkTable],
    *,
    place: str,
    base: Path,
    secret: Callable[[SecretRef], Mapping[str, str]],
) -> None:
    """Write each table to a file of its name that ends in `.parquet`; a reader finds the old file or the new one.

    Args:
        sink: A directory's path or `file://` URI, or `s3://bucket/prefix`.
        tables: What it is to hold.
        place: What names the sink in messages.
        base: Folder that a relative path starts from.
        secret: Gives the keys and values of a secret.

    Raises:
        JobError: The location is none of these, there is no such bucket, or the credentials are wrong.
        MissingExtraError: The `s3` extra is not installed.
        StorageError: The place cannot be written to, or does not answer.
    """
    directory = local_directory(sink.uri, base, place)
    if directory is not None:
        for table in tables:
            write_atomically(directory / f"{table.name}.parquet", _parquet(table))
        return
    bucket, prefix = bucket_prefix(sink.uri, place)
    client = _client(sink, place, secret)
    try:
        for table in tables:
            _put(client, bucket, f"{prefix}{table.name}.parquet", _parquet(table), place)
    finally:
        client.close()


def local_directory(uri: str, base: Path, place: str) -> Path | None:
    """Return the directory that a location names, None for a bucket; raises JobError for what is neither."""
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        bucket_prefix(uri, place)
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
        return Path(unquote(parts.path))
    if "://" in uri:
        raise JobError(
            f"{place}: files cannot be written to {parts.scheme}://.", "Name file:///directory or s3://bucket/prefix."
        )
    return base / uri


def bucket_prefix(uri: str, place: str) -> tuple[str, str]:
    """Return bucket and prefix, which ends in a slash, of `s3://bucket/prefix`; raises JobError for what is none."""
    parts = urlsplit(uri)
    if "@" in parts.netloc:
        raise JobError(f"{place}: the address holds credentials.", "Take them out; set `secretRef`.")
    if not parts.netloc or parts.query or parts.fragment:
        raise JobError(f"{place}: {uri!r} names no place in a bucket.", "Write s3://bucket/prefix.")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def _parquet(table: SinkTable) -> bytes:
    written = io.BytesIO()
    table.rows.write_parquet(written)
    return written.getvalue()


def _client(sink: UriSink, place: str, secret: Callable[[SecretRef], Mapping[str, str]]) -> Any:  # noqa: ANN401  # untyped
    try:
        import boto3  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{place} needs the Python package {error.name}, which is not installed.", "Install presage[s3]."
        ) from error
    keys: dict[str, str] = {}
    if sink.secret_ref is not None:
        values = secret(sink.secret_ref)
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            keys[key.lower()] = secret_value(values, sink.secret_ref, key)
    config = client_config(read_seconds=_READ_SECONDS, attempts=_ATTEMPTS)
    try:
        return boto3.client("s3", region_name=os.environ.get("AWS_REGION"), config=config, **keys)
    except ValueError as error:
        raise JobError(f"{place}: the store cannot be found: {error}", "Correct AWS_ENDPOINT_URL.") from error


def _put(client: Any, bucket: str, key: str, content: bytes, place: str) -> None:  # noqa: ANN401  # as above
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415  # an extra

    shown = f"{place}, s3://{bucket}/{key}"
    try:
        client.put_object(Bucket=bucket, Key=key, Body=content)
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        status = error.response["ResponseMetadata"].get("HTTPStatusCode")
        if code == "NoSuchBucket":
            raise JobError(f"{shown}: there is no such bucket.", "Make it, or name another.") from error
        if status in (401, 403):
            raise JobError(
                f"{shown}: the store refuses access: {code}.", "Check the keys, and that they may write there."
            ) from error
        raise StorageError(f"{shown}: the store failed: {code or status}.", "Run again later.") from error
    except NoCredentialsError as error:
        raise JobError(
            f"{shown}: there are no credentials.", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `secretRef`."
        ) from error
    except BotoCoreError as error:
        raise StorageError(
            f"{shown}: the store at {client.meta.endpoint_url} does not answer ({type(error).__name__}).",
            "Run again later.",
        ) from error
