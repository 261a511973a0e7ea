"""The relay's routes: `POST /alerts` takes Alertmanager's webhook, `GET /healthz` says that the process lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from presage_serving.line_relay import Line, push_of, read_notification
from presage_serving.refusal import Refusal

LARGEST_BODY = 4 * 2**20

logger = logging.getLogger("presage.serving")


def relay_application(line: Line, clock: Callable[[], float]) -> Starlette:
    """Return the ASGI application.

    Args:
        line: Where messages go.
        clock: Seconds since 1970.
    """

    async def alerts(request: Request) -> Response:
        notification = read_notification(await _body(request))
        push = push_of(notification, clock())
        if push is not None:
            await asyncio.to_thread(line.send, push)
            logger.info("relayed", extra={"alerts": len(notification.alerts), "messages": len(push.texts)})
        return Response(status_code=204)

    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    return Starlette(
        routes=[Route("/alerts", alerts, methods=["POST"]), Route("/healthz", alive)],
        exception_handlers={Refusal: _refuse},
    )


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise Refusal(413, f"The body is larger than {LARGEST_BODY} bytes.", {"connection": "close"})
    return bytes(body)


async def _refuse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    logger.warning("not relayed", extra={"status": error.status, "reason": error.sentence})
    return JSONResponse({"error": error.sentence}, error.status, error.headers)
