"""Objects of an S3 store: CSV or Parquet, one or many; each is got again only when it has changed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from presage.errors import DataError, JobError, MissingExtraError, PresageError
from presage.sources.contract import Request, Table
from presage.sources.formats import parse
from presage.sources.retries import PassingError, retried
from presage.sources.s3_client import client_config
from presage.sources.secrets import secret_value
from presage.spec.sources import S3Source, Source

Given = TypeVar("Given")

_URI = re.compile(r"(?i:s3)://([A-Za-z0-9][A-Za-z0-9._-]{1,62})/(.+)", re.DOTALL)
_STAR = re.compile(r"\*\*/|\*\*|\*")
_STARS = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*"}
_READ_SECONDS = 30
_MARKS = 256
"""Bookmarks of one read at most: each names all objects, so that one an object would be the square of their number."""

_LATER = "Try again later."
_PASSING = frozenset({"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests"})
_WRONG_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"})


def read(source: Source, request: Request) -> Iterator[Table]:
    """Get the object, or all objects that match in the order of their names, each a table.

    Raises:
        DataError: There is no such bucket or object, it is refused, or cannot be read.
        JobError: The location is no s3:// URI, or there are no credentials.
        MissingExtraError: The `s3` extra is not installed.
        SourceUnavailableError: The store does not answer.
    """
    options = source.s3
    if options is None:
        raise ValueError(f"source {source.name!r} is not in an S3 store")
    located = _URI.fullmatch(options.uri)
    if located is None:
        raise JobError(f"source {source.name!r}: {options.uri!r} names no object.", "Write s3://bucket/key.")
    known = frozenset() if request.start is not None else frozenset(request.bookmark.split())
    with closing(_client(source, options, request)) as client:
        yield from _Store(source, options, located[1], client, request).tables(located[2], known)


@dataclass(frozen=True)
class _Object:
    """An object that was got; `mark` changes with its name and its content."""

    key: str
    content: bytes
    mark: str


@dataclass(frozen=True)
class _Store:
    source: Source
    options: S3Source
    bucket: str
    client: Any
    request: Request

    def tables(self, pattern: str, known: frozenset[str]) -> Iterator[Table]:
        if "*" not in pattern:
            one = self._get(pattern, known)
            if one is not None:
                yield replace(self._table(one), bookmark=one.mark)
            return
        listed = self._list(pattern)
        names = list(listed)
        # What follows the first changed object is got again too: of two that hold the same row, the later name wins.
        first = next((place for place, name in enumerate(names) if listed[name] not in known), len(names))
        kept, changed = [listed[name] for name in names[:first]], names[first:]
        step = max(1, len(changed) // _MARKS)
        bookmark = " ".join(kept)
        for number, key in enumerate(changed, start=1):
            got = self._get(key, frozenset())
            if got is None:
                continue
            kept.append(got.mark)
            if number % step == 0 or number == len(changed):
                bookmark = " ".join(kept)
            yield replace(self._table(got), bookmark=bookmark)

    def _table(self, got: _Object) -> Table:
        return parse(got.content, self._shown(got.key), self.options, self.source)

    def _shown(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def _list(self, pattern: str) -> dict[str, str]:
        """Return the marks of the objects whose names match, in the order of the names."""
        matching = _expression(pattern)

        def attempt() -> dict[str, str]:
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=pattern.partition("*")[0]
            )
            entries = [(entry["Key"], entry["ETag"]) for page in pages for entry in page.get("Contents", ())]
            return {
                key: _mark(key, tag)
                for key, tag in sorted(entries)
                if matching.fullmatch(key) and not key.endswith("/")
            }

        listed = self._asked(attempt, pattern)
        if not listed:
            raise DataError(
                f"source {self.source.name!r}, {self._shown(pattern)}: no object matches.",
                "Put objects there, or correct the pattern; * stands for a part of one name, **/ for any folders.",
            )
        return listed

    def _get(self, key: str, known: frozenset[str]) -> _Object | None:
        """Return an object; None where it is among the known ones."""

        def attempt() -> _Object | None:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            with closing(answer["Body"]) as body:
                mark = _mark(key, answer["ETag"])
                return None if mark in known else _Object(key, body.read(), mark)

        return self._asked(attempt, key)

    def _asked(self, attempt: Callable[[], Given], key: str) -> Given:
        """Return what the store answers, after a few attempts; `key` is told in errors."""
        from botocore import exceptions  # noqa: PLC0415  # an extra
        from botocore.parsers import ResponseParserError  # noqa: PLC0415  # as above

        place = f"source {self.source.name!r}, {self._shown(key)}"
        store = self.client.meta.endpoint_url

        def one() -> Given:
            try:
                return attempt()
            except exceptions.ClientError as error:
                raise _refusal(error.response, place, store, self.bucket) from error
            except (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
                problem = f"{place}: the store at {store} does not answer, or breaks off ({type(error).__name__})."
                raise PassingError(problem, _LATER) from error
            except exceptions.PaginationError as error:
                problem = f"{place}: the store at {store} repeats a page of its list."
                raise DataError(problem, "Name the objects one by one, or another store.") from error
            except (KeyError, ResponseParserError) as error:
                problem = f"{place}: {store} does not answer as an S3 store does."
                raise DataError(problem, "Correct `endpoint`, or AWS_ENDPOINT_URL.") from error
            except exceptions.BotoCoreError as error:
                # What it says may quote what it was given.
                raise JobError(
                    f"{place}: the store at {store} cannot be asked ({type(error).__name__}).",
                    "Name a Secret in `secretRef`, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
                    "machine a role.",
                ) from error

        return retried(one, sleep=self.request.sleep)


def _expression(pattern: str) -> re.Pattern[str]:
    parts = []
    end = 0
    for star in _STAR.finditer(pattern):
        parts += [re.escape(pattern[end : star.start()]), _STARS[star[0]]]
        end = star.end()
    return re.compile("".join((*parts, re.escape(pattern[end:]))), re.DOTALL)


def _mark(key: str, tag: str) -> str:
    return hashlib.sha256(f"{key}\0{tag}".encode()).hexdigest()[:16]


def _client(source: Source, options: S3Source, request: Request) -> Any:  # noqa: ANN401  # the library is not typed
    try:
        import boto3  # noqa: PLC0415  # an extra
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # as above
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"source {source.name!r}: a bucket needs the Python package {error.name}, which is not installed.",
            "Install it: pip install 'presage[s3]'.",
        ) from error
    given = {}
    if options.secret_ref is not None:
        values = request.secret(options.secret_ref)
        for name in ("aws_access_key_id", "aws_secret_access_key"):
            given[name] = secret_value(values, options.secret_ref, name.upper()).strip()
    # Attempts are counted and waited for here, where a body that breaks off counts as well.
    config = client_config(read_seconds=_READ_SECONDS, attempts=1, endpoint=options.endpoint)
    region = options.region or os.environ.get("AWS_REGION")
    try:
        return boto3.client("s3", endpoint_url=options.endpoint, region_name=region, config=config, **given)
    except (BotoCoreError, ValueError) as error:
        raise JobError(
            f"source {source.name!r}: the store cannot be found ({type(error).__name__}).",
            "Correct `endpoint` and `region`, or AWS_ENDPOINT_URL, AWS_REGION and AWS_PROFILE.",
        ) from error


def _refusal(response: dict[str, Any], place: str, store: str, bucket: str) -> PresageError:
    code, status = response["Error"].get("Code", ""), response["ResponseMetadata"].get("HTTPStatusCode", 0)
    if code in _PASSING or status == 429 or status >= 500:
        return PassingError(f"{place}: the store at {store} answers {code or status}.", _LATER)
    if code == "NoSuchBucket":
        return DataError(f"{place}: there is no bucket {bucket!r} at {store}.", "Make it, or name another.")
    if code in _WRONG_KEYS:
        return DataError(f"{place}: the store at {store} does not know these keys: {code}.", "Correct the secret.")
    if code == "NoSuchKey" or (status == 404 and code in {"404", ""}):
        return DataError(f"{place}: there is no such object.", "Put one there, or correct the key.")
    if code == "RequestTimeTooSkewed":
        return DataError(f"{place}: this machine's clock differs from that of {store}.", "Set the clock right.")
    return DataError(
        f"{place}: the store at {store} refuses access: {code or status}.",
        "Let these keys list the bucket and read its objects.",
    )
