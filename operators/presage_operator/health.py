"""The HTTP endpoints of the operator: /healthz, /readyz, /metrics."""

from __future__ import annotations

import socket
from collections.abc import Callable

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
        app.router.add_get("/healthz", lambda request: _state(request, alive()))
        app.router.add_get("/readyz", lambda request: _state(request, ready()))
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


async def _state(_request: web.Request, good: bool) -> web.Response:  # one answer of two
    return web.Response(text="ok\n" if good else "no\n", status=200 if good else 503)
