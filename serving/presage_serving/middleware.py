"""What is done around every request: it is counted, and what nobody foresaw becomes an answer and a log line."""

from __future__ import annotations

import logging
import re
import time
import traceback

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from presage_serving.metrics import Metrics

_UNEXPECTED = orjson.dumps({"error": "The server failed unexpectedly; its log says where."})
# Whether it lives, whether it is ready: a kubelet asks more often than any client, and would hide the clients' errors.
_PROBE = re.compile(r"/v2/health/\w+|/v2/models/[^/]+(/versions/[^/]+)?/ready|/v1/models/[^/:]+")
# As other servers count a peer that went away before its answer.
_NO_ANSWER = 499

logger = logging.getLogger("presage.serving")


class Measured:
    """Counts the requests of the inference protocols but probes, and answers for an application that raised."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = 0

        async def noting_the_code(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, noting_the_code)
        except ClientDisconnect:
            logger.info("peer gone", extra={"path": scope["path"]})
        except Exception as error:  # noqa: BLE001  # the peer gets an answer, whatever happened
            logger.error(  # noqa: TRY400  # the log's lines have fields, and the traceback is one of them
                "request failed",
                extra={"path": scope["path"], "error": repr(error), "traceback": traceback.format_exc()},
            )
            if not code:
                headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_UNEXPECTED)).encode())]
                await noting_the_code({"type": "http.response.start", "status": 500, "headers": headers})
                await send({"type": "http.response.body", "body": _UNEXPECTED})
        finally:
            protocol = scope["path"].lstrip("/").partition("/")[0]
            if protocol in {"v1", "v2"} and not _PROBE.fullmatch(scope["path"]):
                self._metrics.answered(protocol, code or _NO_ANSWER, time.perf_counter() - start)
