"""The API server over HTTP: thin, asynchronous, with retries where a repeat is harmless."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Self, cast
from urllib.parse import quote, urlencode

import aiohttp
from pydantic import JsonValue
from yarl import URL

from presage_operator.credentials import Credentials
from presage_operator.errors import (
    JsonObject,
    NotFoundError,
    ServerFaultError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
    answered_error,
    watched_error,
)
from presage_operator.names import FIELD_MANAGER

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_TOKEN_SECONDS = 60
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, as the API server's paths name it; the group of core objects is empty."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        """Path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of all objects; those of all namespaces where none is given."""
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        tail = "".join(f"/{quote(part, safe='')}" for part in (name, subresource) if part)
        return f"{self.root}{scope}/{self.plural}{tail}"


Observer = Callable[[str, Resource, int, float], None]
"""Told of each request: method, resource, HTTP status (0 where there was no answer), seconds to the answer."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double, with full jitter: any length up to the doubled one, so that many clients spread out."""

    first_seconds: float = 0.2
    most_seconds: float = 10.0

    def seconds(self, failures: int, jitter: float) -> float:
        """Return the wait after so many failures in a row, from 1; `jitter` is a random number from 0 to 1."""
        return float(min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 60))) * jitter


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long one call is repeated."""

    attempts: int = 6
    total_seconds: float = 30.0
    backoff: Backoff = Backoff()


class Page(NamedTuple):
    """A part of a list; the version is that of the whole list, the same on each of its pages."""

    items: list[JsonObject]
    resource_version: str


class WatchEvent(NamedTuple):
    """A change that a watch tells; a bookmark's object holds a version only."""

    type: EventType
    object: JsonObject


class _Call(NamedTuple):
    method: str
    resource: Resource
    path: str
    query: Mapping[str, str]
    body: bytes | None = None
    content_type: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ApiClient:
    """A client of one API server, to be used as an asynchronous context manager.

    Reads and writes whose repeat is harmless are repeated on 429, 5xx and connection faults. A conflict never is: what
    the write rests on must be read again.

    Args:
        credentials: How to reach the server.
        retry: How often and how long one call is repeated.
        connections: Requests at a time; watches have connections of their own.
        timeout_seconds: Limit of one try.
        observer: Told of each try.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
        jitter: Random numbers from 0 to 1.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        retry: Retry = Retry(),
        connections: int = 32,
        timeout_seconds: float = 20.0,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._credentials = credentials
        self._server = credentials.server.rstrip("/")
        self._retry = retry
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._observer = observer
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._authorization = credentials.authorization
        self._token_read_at: float | None = None
        self._requests: aiohttp.ClientSession
        self._watches: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._requests = self._session(self._connections)
        # Unbounded and apart: a watch keeps its connection, and must not take one from the requests.
        self._watches = self._session(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._requests.close()
        await self._watches.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        """Return an object.

        Raises:
            ApiError: As told; NotFoundError where there is none.
        """
        return await self._repeated(_Call("GET", resource, resource.path(namespace, name), {}))

    async def pages(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = "", size: int = 250
    ) -> AsyncIterator[Page]:
        """List objects, a page at a time, all as of one version.

        Raises:
            ApiError: As told; GoneError where the list took so long that the server no longer holds its version;
                InvalidError where the server cannot select by one of the fields.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {"limit": str(size)} | {name: value for name, value in selectors.items() if value}
        while True:
            content = await self._repeated(_Call("GET", resource, resource.path(namespace), query))
            metadata = cast(JsonObject, content["metadata"])
            items = cast(list[JsonObject], content.get("items") or [])
            yield Page(items, str(metadata["resourceVersion"]))
            if not metadata.get("continue"):
                return
            query = query | {"continue": str(metadata["continue"])}

    async def list(self, resource: Resource, namespace: str | None = None, *, labels: str = "") -> Page:
        """Return all objects at once.

        Raises:
            ApiError: As `pages` does.
        """
        pages = [page async for page in self.pages(resource, namespace, labels=labels)]
        return Page([item for page in pages for item in page.items], pages[-1].resource_version)

    async def serves(self, resource: Resource) -> bool:
        """Return whether the server has this kind of object.

        Raises:
            ApiError: As told, but not NotFoundError.
        """
        try:
            content = await self._repeated(_Call("GET", resource, resource.root, {}))
        except NotFoundError:
            return False
        kinds = cast("list[JsonObject]", content.get("resources") or [])
        return any(kind.get("name") == resource.plural for kind in kinds)

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, JsonValue]) -> JsonObject:
        """Create an object that the body names, and return it.

        Raises:
            ApiError: As told; AlreadyExistsError where the name is taken, also by an earlier try whose answer was lost.
        """
        query = {"fieldManager": FIELD_MANAGER}
        call = _Call("POST", resource, resource.path(namespace), query, _encoded(body), _JSON)
        return await self._repeated(call)

    async def apply(
        self, resource: Resource, namespace: str | None, name: str, body: Mapping[str, JsonValue]
    ) -> JsonObject:
        """Apply an object on the server's side, taking over fields that others set, and return it.

        Raises:
            ApiError: As told.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        call = _Call("PATCH", resource, resource.path(namespace, name), query, _encoded(body), _APPLY_PATCH)
        return await self._repeated(call)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, JsonValue],
        *,
        subresource: str = "",
    ) -> JsonObject:
        """Merge the body into an object, and return it.

        With `metadata.resourceVersion` in the body it is written to that version only; a repeat of a try whose answer
        was lost then is a conflict too.

        Raises:
            ApiError: As told; ConflictError where the object has another version by now.
        """
        query = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name, subresource)
        return await self._repeated(_Call("PATCH", resource, path, query, _encoded(body), _MERGE_PATCH))

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, JsonValue], resource_version: str
    ) -> JsonObject:
        """Merge a status into that of an object, if the object still has this version, and return the object.

        Raises:
            ApiError: As told; ConflictError where the object has another version by now.
        """
        body = {"metadata": {"resourceVersion": resource_version}, "status": dict(status)}
        return await self.patch(resource, namespace, name, cast(JsonObject, body), subresource="status")

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        propagation: Propagation = "Background",
    ) -> None:
        """Delete an object.

        Args:
            resource: Its kind.
            namespace: Its namespace.
            name: Its name.
            uid: Delete it only if it is this one, not another of the same name.
            propagation: What becomes of the objects that it owns.

        Raises:
            ApiError: As told; NotFoundError where there is none, ConflictError where its UID is another.
        """
        options: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        path = resource.path(namespace, name)
        await self._repeated(_Call("DELETE", resource, path, {}, _encoded(options), _JSON))

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str = "",
        seconds: int = 300,
        silence_seconds: float = 90.0,
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Open a stream of the changes since a version; it ends when the server ends it, and nothing is repeated here.

        Args:
            resource: Which kind.
            namespace: Which namespace; default: all.
            resource_version: Changes after this version are told.
            labels: Label selector.
            seconds: Length after which the server is asked to end it.
            silence_seconds: Silence after which the connection counts as dead; servers bookmark about every minute.

        Raises:
            ApiError: As told; GoneError where the changes since that version are no longer held, UnreachableError where
                the connection is lost or silent.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        } | ({"labelSelector": labels} if labels else {})
        call = _Call("GET", resource, resource.path(namespace), query)
        limit = aiohttp.ClientTimeout(total=seconds + silence_seconds, sock_connect=10.0, sock_read=silence_seconds)
        async with self._answer(call, self._watches, limit, "WATCH") as answer:
            yield _events(call, answer)

    async def _repeated(self, call: _Call) -> JsonObject:
        policy, started = self._retry, self._clock()
        for attempt in range(1, policy.attempts + 1):
            try:
                return await self._once(call)
            except UnauthorizedError:
                # A token that was renewed a moment ago: with the new one it is worth another try.
                with _faults_told(call):
                    renewed = self._token_changed()
                if attempt == policy.attempts or not renewed:
                    raise
            except (UnreachableError, ServerFaultError, TooManyRequestsError) as error:
                seconds = max(policy.backoff.seconds(attempt, self._jitter()), error.retry_after or 0.0)
                if attempt == policy.attempts or self._clock() - started + seconds > policy.total_seconds:
                    raise
                await self._sleep(seconds)
        raise AssertionError(policy)

    async def _once(self, call: _Call) -> JsonObject:
        async with self._answer(call, self._requests, self._timeout, call.method) as answer:
            with _faults_told(call):
                content = await answer.read()
        return _decoded(call, content)

    @asynccontextmanager
    async def _answer(
        self, call: _Call, session: aiohttp.ClientSession, limit: aiohttp.ClientTimeout, verb: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = URL(f"{self._server}{call.path}?{urlencode(call.query)}", encoded=True)
        started, code = self._clock(), 0
        try:
            with _faults_told(call):
                headers = {"Content-Type": call.content_type} if call.content_type else {}
                if authorization := self._header():
                    headers["Authorization"] = authorization
                answer = await session.request(
                    call.method,
                    url,
                    data=call.body,
                    headers=headers,
                    timeout=limit,
                    proxy=self._credentials.proxy,
                    allow_redirects=False,
                )
                code = answer.status
        finally:
            if self._observer is not None:
                self._observer(verb, call.resource, code, self._clock() - started)
        async with answer:
            if code >= 300:
                with _faults_told(call):
                    content = await answer.read()
                raise answered_error(str(call), code, content, answer.headers.get("Retry-After"))
            yield answer

    def _session(self, connections: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=self._credentials.tls),
            # Packing costs more time than it saves inside of a cluster.
            headers={"Accept": _JSON, "Accept-Encoding": "identity", "User-Agent": FIELD_MANAGER},
        )

    def _header(self) -> str:
        if self._credentials.token_file is not None:
            read_at = self._token_read_at
            if read_at is None or self._clock() - read_at >= _TOKEN_SECONDS:
                self._token_changed()
        return self._authorization

    def _token_changed(self) -> bool:
        file = self._credentials.token_file
        if file is None:
            return False
        before = self._authorization
        self._authorization = f"Bearer {file.read_text(encoding='ascii').strip()}"
        self._token_read_at = self._clock()
        return self._authorization != before


def _decoded(call: _Call, content: bytes) -> JsonObject:
    try:
        return cast(JsonObject, json.loads(content))
    except ValueError as error:
        raise UnreachableError(
            f"{call}: the answer is not JSON.", "Check what stands before the API server."
        ) from error


def _encoded(body: Mapping[str, JsonValue]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


@contextmanager
def _faults_told(call: _Call) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:  # timeouts are OSErrors
        why = str(error).rstrip(".") or type(error).__name__
        raise UnreachableError(f"{call}: {why}.", "Check that the API server answers.") from error


async def _events(call: _Call, answer: aiohttp.ClientResponse) -> AsyncIterator[WatchEvent]:
    async for line in _lines(call, answer.content):
        event = _decoded(call, line)
        content = cast(JsonObject, event["object"])
        if event["type"] == "ERROR":
            raise watched_error(str(call), content)
        yield WatchEvent(cast(EventType, event["type"]), content)


async def _lines(call: _Call, stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    # The stream's own line reader refuses lines that are longer than its buffer; an object may have a megabyte.
    parts: list[bytes] = []
    while True:
        with _faults_told(call):
            chunk = await stream.readany()
        if not chunk:
            return
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            yield b"".join((*parts, line))
            parts.clear()
        if rest:
            parts.append(rest)
