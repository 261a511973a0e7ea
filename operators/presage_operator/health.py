"""The HTTP endpoints of the operator: /healthz, /readyz, /metrics."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


class HealthServer:
    """Answers probes and scrapes.

    Args:
        port: Port on all addresses; 0 for a free one.
        registry: What /metrics shows.
        alive: Whether the process works; else /healthz is 503 and Kubernetes starts it anew.
        ready: Whether it can take over or has; else /readyz is 503.
    """

    def __init__(
        self, port: int, registry: CollectorRegistry, *, alive: Callable[[], bool], ready: Callable[[], bool]
    ) -> None:
        self._wanted = port
        self._registry = registry
        app = web.Application()
        app.router.add_get("/healthz", _state(alive))
        app.router.add_get("/readyz", _state(ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        self.port = port

    async def start(self) -> None:
        """Listen; raises OSError where the port is taken."""
        await self._runner.setup()
        # One socket for both families: two would take two ports where a free one is asked for.
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        listener = socket.create_server(("", self._wanted), family=family, backlog=128, dualstack_ipv6=both)
        await web.SockSite(self._runner, listener).start()
        self.port = listener.getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _state(good: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n", status=200) if good() else web.Response(text="no\n", status=503)

    return answer
