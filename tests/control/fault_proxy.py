"""A proxy before the API server that does what networks and busy servers do, as tests tell it to."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from control.apiserver import ControlPlane

from presage_operator.credentials import Credentials

# Hop by hop, or set anew by the server library.
_NOT_FORWARDED = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Seen:
    """A request that was answered, or cut off: then the code is 0."""

    method: str
    path: str
    query: Mapping[str, str]
    code: int


Forward = Callable[[], Awaitable[web.StreamResponse]]
"""Hands the request to the server and returns its answer; a watch is answered until it ends."""
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
Distort = Callable[[list[bytes]], list[bytes]]
"""Given the events that a watch told so far, the newest last: the events to send now."""


class CutError(Exception):
    """The connection is to be cut instead of an answer."""


def answer(status: int, *, headers: Mapping[str, str] | None = None, reason: str = "", message: str = "") -> Fault:
    """Answer as the API server does when it refuses, without asking it."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        told = message or f"told to answer {status}"
        body = {"kind": "Status", "apiVersion": "v1", "code": status, "reason": reason, "message": told}
        return web.json_response(body, status=status, headers=headers)

    return fault


def stream_error(code: int, reason: str) -> Fault:
    """Open a watch, and tell in it that it failed."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        status = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": f"told {reason}"}
        return web.Response(text=json.dumps({"type": "ERROR", "object": status}) + "\n")

    return fault


async def cut_before(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Cut the connection; the server never hears of the request."""
    raise CutError


async def cut_after(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Let the server do it, then cut the connection: the client does not know."""
    await forward()
    raise CutError


def hold(until: asyncio.Event) -> Fault:
    """Hold the request back until the event is set."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        await until.wait()
        return await forward()

    return fault


def after(call: Callable[[], None]) -> Fault:
    """Call something once the server did what was asked, before the client hears of it."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        done = await forward()
        call()
        return done

    return fault


def twice(events: list[bytes]) -> list[bytes]:
    """Tell each event of a watch twice."""
    return [events[-1]] * 2


def with_the_past(events: list[bytes]) -> list[bytes]:
    """Tell after each event of a watch all that came before it once more, newest first."""
    return events[::-1]


def swapped(events: list[bytes]) -> list[bytes]:
    """Tell the events of a watch in pairs, the later one first."""
    return [] if len(events) % 2 else [events[-1], events[-2]]


@dataclass
class Rule:
    """A fault and the requests that it befalls.

    Attributes:
        fault: What happens.
        method: HTTP method; `*` for each.
        path: Regular expression of the whole path.
        watch: Whether watches, or other requests, or both are meant.
        skip: How many requests that match go untouched first.
        times: How many it befalls after those; None for all.
        met: How many requests matched so far.
    """

    fault: Fault
    method: str = "*"
    path: str = ".*"
    watch: bool | None = None
    skip: int = 0
    times: int | None = 1
    met: int = field(default=0, init=False)

    def befalls(self, request: web.Request) -> bool:
        """Return whether this request is one of its; counts it."""
        if self.method not in ("*", request.method) or not re.fullmatch(self.path, request.path):
            return False
        if self.watch is not None and self.watch != is_watch(request):
            return False
        self.met += 1
        return self.skip < self.met and (self.times is None or self.met <= self.skip + self.times)


def is_watch(request: web.Request) -> bool:
    return request.query.get("watch") in ("true", "1")


class FaultProxy:
    """Plain HTTP on a loopback port, handed on to the API server; what a client sends to prove itself goes with it.

    Attributes:
        url: Address for clients.
        rules: Faults to come; the first rule that befalls a request decides.
        requests: What was asked, in the order of the answers; a watch is noted when it opens.
        distort: Changes the events of all watches that open from now on.
        down: Whether every connection is cut, as if there were no server; open watches stay.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self.url = ""
        self.rules: list[Rule] = []
        self.requests: list[Seen] = []
        self.distort: Distort | None = None
        self.down = False
        self._plane = plane
        self._watches: set[asyncio.Task[None]] = set()
        self._open = asyncio.Condition()

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cafile=self._plane.certificate)
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_watches()
        await self._runner.cleanup()
        await self._session.close()

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = ".*",
        watch: bool | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Rule:
        """Add a rule and return it."""
        rule = Rule(fault, method, path, watch, skip, times)
        self.rules.append(rule)
        return rule

    def cut_watches(self) -> int:
        """Cut the connections of all open watches, and return how many they were."""
        watches = list(self._watches)
        for watch in watches:
            watch.cancel()
        return len(watches)

    async def watched(self, count: int = 1) -> None:
        """Wait until so many watches are open."""
        async with self._open:
            await self._open.wait_for(lambda: len(self._watches) >= count)

    def kubeconfig(self) -> str:
        """Return a kubeconfig of the way through this proxy."""
        user = f'users: [{{name: admin, user: {{token: "{self._plane.token}"}}}}]'
        return f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{self.url}"}}}}]
{user}
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"""

    def credentials(self) -> Credentials:
        """Return how the operator's client reaches the server through this proxy."""
        return Credentials(self.url, ssl.create_default_context(), f"Bearer {self._plane.token}")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        async def forward() -> web.StreamResponse:
            return await self._forward(request)

        rule = next((rule for rule in self.rules if rule.befalls(request)), None)
        try:
            fault = cut_before if self.down else rule.fault if rule else None
            done = await (fault(request, forward) if fault else forward())
        except (CutError, aiohttp.ClientError, ConnectionError):
            self._note(request, 0)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if not is_watch(request) or done.status >= 300:
            self._note(request, done.status)
        return done

    def _note(self, request: web.Request, code: int) -> None:
        self.requests.append(Seen(request.method, request.path, dict(request.query), code))

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._session.request(
            request.method,
            f"{self._plane.url}{request.rel_url.raw_path_qs}",
            headers=sent,
            data=await request.read() or None,
            timeout=limit,
            allow_redirects=False,
        ) as upstream:
            told = {name: value for name, value in upstream.headers.items() if name.lower() not in _NOT_FORWARDED}
            if not is_watch(request) or upstream.status >= 300:
                return web.Response(status=upstream.status, headers=told, body=await upstream.read())
            response = web.StreamResponse(status=upstream.status, headers=told)
            await response.prepare(request)
            self._note(request, upstream.status)
            try:
                await self._relay(upstream, response)
            finally:
                # A polite end of TLS would outlast the test.
                if upstream.connection is not None and upstream.connection.transport is not None:
                    upstream.connection.transport.abort()
            return response

    async def _relay(self, upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        relay = asyncio.ensure_future(_send(_events(upstream.content), response, self.distort))
        self._watches.add(relay)
        async with self._open:
            self._open.notify_all()
        try:
            await asyncio.wait({relay})
            if relay.cancelled():
                raise CutError
            relay.result()
            await response.write_eof()
        finally:
            self._watches.discard(relay)
            relay.cancel()


async def _send(events: AsyncIterator[bytes], response: web.StreamResponse, distort: Distort | None) -> None:
    past: list[bytes] = []
    async for event in events:
        if distort is None or json.loads(event)["type"] in ("BOOKMARK", "ERROR"):
            await response.write(event)
            continue
        past.append(event)
        await response.write(b"".join(distort(past)))


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in stream.iter_any():
        *ended, rest = (rest + chunk).split(b"\n")
        for line in ended:
            yield line + b"\n"
