"""Documents behind HTTP: got whole or not at all, with limits of time and size."""

from __future__ import annotations

import gzip
import io
import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from presage.errors import DataError, JobError, MissingExtraError, PresageError
from presage.sources.retries import PassingError, retried

if TYPE_CHECKING:
    import httpx

_LATER = "Try again later."
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_PASSING = frozenset({408, 425, 429})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Limits:
    """What an answer may take.

    Attributes:
        wait: Seconds until a connection, and until each next piece of the answer.
        seconds: Seconds until its end.
        size: Bytes, unpacked.
    """

    wait: float = 30.0
    seconds: float = 120.0
    size: int = 512 * 1024 * 1024


@dataclass(frozen=True)
class Tag:
    """What tells a server which version of a document is already here.

    Attributes:
        etag: Its ETag; empty where it has none.
        modified: Its Last-Modified; empty where it has none.
    """

    etag: str = ""
    modified: str = ""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request for any other version."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class Answer:
    """A document.

    Attributes:
        content: Its bytes; those of a gzip file are unpacked as well.
        url: The address that it came from behind all redirects; it may hold a secret.
        media: Its media type in small letters, such as text/csv; empty where the server does not say.
        tag: Its version.
    """

    content: bytes = field(repr=False)
    url: str = field(repr=False)
    media: str
    tag: Tag


@dataclass(frozen=True)
class Downloads:
    """Gets documents of one server after the other over kept connections.

    Attributes:
        client: The connections.
        sleep: Waits for so many seconds.
        limits: What an answer may take.
        clock: Gives seconds that only grow.
    """

    client: httpx.Client
    sleep: Callable[[float], None]
    limits: Limits = Limits()
    clock: Callable[[], float] = time.monotonic

    def get(self, url: str, place: str, tag: Tag | None = None) -> Answer | None:
        """Get a document, following redirects within its host, with a few attempts.

        Args:
            url: Its address, which may hold a secret.
            place: The source and the address as errors show them, without a secret.
            tag: The version that is already here.

        Returns:
            The document; None where it is still that version.

        Raises:
            DataError: It does not exist, is refused, too large or damaged, or lies on another host.
            SourceUnavailableError: The server does not answer, or breaks off.
        """
        return retried(lambda: self._attempt(url, place, tag), sleep=self.sleep)

    def _attempt(self, url: str, place: str, tag: Tag | None) -> Answer | None:
        import httpx  # noqa: PLC0415  # an extra

        # What the library says may quote the address, and with it a secret: only its kinds of error are told.
        try:
            return self._follow(url, place, tag)
        except httpx.TimeoutException as error:
            raise PassingError(f"{place}: the server does not answer within {self.limits.wait:g} s.", _LATER) from error
        except httpx.ConnectError as error:
            raise PassingError(f"{place}: cannot be reached ({error}).", _LATER) from error
        except httpx.RemoteProtocolError as error:
            raise PassingError(f"{place}: the answer is cut off, or is no HTTP.", _LATER) from error
        except httpx.TransportError as error:
            raise PassingError(f"{place}: the connection failed ({type(error).__name__}).", _LATER) from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise DataError(f"{place}: this is no address.", "Correct `url`, or the secret's keys in it.") from error

    def _follow(self, url: str, place: str, tag: Tag | None) -> Answer | None:
        for _ in range(_MOST_REDIRECTS + 1):
            with self.client.stream("GET", url, headers=None if tag is None else tag.headers()) as response:
                if response.status_code not in _REDIRECTS or "location" not in response.headers:
                    return self._read(response, place, tag)
                url = same_host(url, response.headers["location"], f"{place}: the redirect")
        raise DataError(f"{place}: more than {_MOST_REDIRECTS} redirects.", "Name the address that they end at.")

    def _read(self, response: httpx.Response, place: str, tag: Tag | None) -> Answer | None:
        if response.status_code == HTTPStatus.NOT_MODIFIED and tag is not None:
            return None
        if response.status_code != HTTPStatus.OK:
            raise _refusal(response, place)
        headers = response.headers
        content = self._content(response, place)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding in {"gzip", "x-gzip"}:
            try:
                content = self._unpack(content, place)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise PassingError(f"{place}: the packed answer is cut off or damaged.", _LATER) from error
        elif encoding not in {"identity", ""}:
            raise DataError(
                f"{place}: the answer is packed by {encoding[:20]!r}.", "Name a server that sends it plain."
            )
        if content.startswith(b"\x1f\x8b"):
            try:
                content = self._unpack(content, place)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(
                    f"{place}: the gzip file is cut off before its end, or is damaged.", "Have it written again."
                ) from error
        version = Tag(headers.get("etag", ""), headers.get("last-modified", ""))
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(content, str(response.url), media, version)

    def _content(self, response: httpx.Response, place: str) -> bytes:
        declared = response.headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > self.limits.size:
            raise self._too_large(place)
        deadline = self.clock() + self.limits.seconds
        content = bytearray()
        for piece in response.iter_raw():
            content += piece
            if len(content) > self.limits.size:
                raise self._too_large(place)
            if self.clock() > deadline:
                raise PassingError(f"{place}: the answer takes longer than {self.limits.seconds:g} s.", _LATER)
        return bytes(content)

    def _unpack(self, content: bytes, place: str) -> bytes:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            plain = packed.read(self.limits.size + 1)
        if len(plain) > self.limits.size:
            raise self._too_large(place)
        return plain

    def _too_large(self, place: str) -> DataError:
        return DataError(
            f"{place}: the answer is larger than {self.limits.size // 1024**2} MiB, or has no end.",
            "Ask for less at once by `span`, or put the rows into files or a database.",
        )


@contextmanager
def open_downloads(name: str, headers: Mapping[str, str], sleep: Callable[[float], None]) -> Iterator[Downloads]:
    """Open connections, and close them afterwards.

    Args:
        name: The source's name.
        headers: What every request sends; may hold secrets.
        sleep: Waits for so many seconds.

    Raises:
        JobError: The environment names a proxy that cannot be used.
        MissingExtraError: The `http` extra is not installed.
    """
    try:
        import httpx  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"source {name!r}: HTTP needs the Python package {error.name}, which is not installed.",
            "Install it: pip install 'presage[http]'.",
        ) from error
    # Below warnings these write addresses and headers down whole, and with them secrets.
    for library in ("httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # Names of headers are the same in any capitals.
    sent = httpx.Headers({"User-Agent": "presage", "Accept": "*/*"})
    sent.update(headers)
    sent["Accept-Encoding"] = "gzip"
    limits = Limits()
    try:
        client = httpx.Client(headers=sent, timeout=limits.wait)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise JobError(
            f"source {name!r}: the environment's proxy cannot be used ({type(error).__name__}).",
            "Correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, or unset them.",
        ) from None
    with client:
        yield Downloads(client, sleep, limits)


def same_host(url: str, other: str, place: str) -> str:
    """Return another address, which may be relative to the first.

    Raises:
        DataError: It is of another host or scheme; http may lead to https of the same host.
    """
    import httpx  # noqa: PLC0415  # an extra

    try:
        base = httpx.URL(url)
        joined = base.join(other)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise DataError(f"{place} leads to what is no address.", "Correct `url`.") from error
    upgraded = (base.scheme, joined.scheme) == ("http", "https") and _port(base) == 80 and _port(joined) == 443
    same = joined.host == base.host and (joined.scheme, _port(joined)) == (base.scheme, _port(base))
    if not same and not (upgraded and joined.host == base.host):
        # That address is not told: whatever a server writes there may be a key that it was sent.
        raise DataError(f"{place} leads to another host or scheme.", "Name that address itself, if you trust its host.")
    return str(joined.copy_with(userinfo=b"", fragment=None))


def _port(url: httpx.URL) -> int | None:
    return url.port if url.port is not None else _PORTS.get(url.scheme)


def _refusal(response: httpx.Response, place: str) -> PresageError:
    status = response.status_code
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown"
    told = f"{place}: the server answers {status} {phrase}"
    if status in _PASSING or status >= 500:
        return PassingError(f"{told}.", _LATER, _asked_to_wait(response.headers))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return DataError(f"{told}: it refuses access.", "Check the keys of `secretRef`, and what they may read.")
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return DataError(f"{told}: there is no such document.", "Correct `url` or `symbols`.")
    return DataError(f"{told}.", "Correct `url`, or what is filled in there.")


def _asked_to_wait(headers: httpx.Headers) -> float:
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal() and len(asked) < 10:
        return float(asked)
    try:
        # By the server's own clock, because ours may differ.
        return max(0.0, (parsedate_to_datetime(asked) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, KeyError, TypeError):
        return 0.0
