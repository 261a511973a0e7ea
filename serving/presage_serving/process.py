"""The server's process: its socket, its logs, its end."""

from __future__ import annotations

import logging
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from presage.errors import RetryError
from presage_serving.application import Application
from presage_serving.directory import ModelDirectory
from presage_serving.metrics import Metrics

_POLL_SECONDS = 2.0
# Shorter than the 30 seconds that Kubernetes gives a Pod to end.
_GRACE_SECONDS = 25
# Longer than the minute for which usual load balancers keep an idle connection: they end it, not the server.
_IDLE_SECONDS = 75
_BACKLOG = 2048

logger = logging.getLogger("presage.serving")


def run_server(name: str, directory: Path, host: str, port: int) -> None:
    """Serve a model directory until a stop signal, then finish what is in flight; SIGTERM ends with exit code 0.

    Args:
        name: Name under which the model is served.
        directory: Model directory.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.

    Raises:
        RetryError: The address cannot be listened on.
        KeyboardInterrupt: The server was interrupted, and has finished what was in flight.
    """
    # The server raises the signal once more when it has finished.
    signal.signal(signal.SIGTERM, _end)
    metrics = Metrics()
    application = Application(
        name, ModelDirectory(directory, metrics), metrics, clock=lambda: datetime.now(UTC), interval=_POLL_SECONDS
    )
    listening = _listen(host, port)
    _join_logs()
    logger.info("listening", extra={"host": host, "port": listening.getsockname()[1], "model": name})
    server = uvicorn.Server(
        uvicorn.Config(
            application.asgi(),
            access_log=False,
            log_config=None,
            server_header=False,
            ws="none",
            backlog=_BACKLOG,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise RetryError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}.",
            "Stop what listens there, or give another --host or --port.",
        ) from error


def _join_logs() -> None:
    """Let the HTTP library's warnings go where Presage's events go, in the same form."""
    library = logging.getLogger("uvicorn")
    library.handlers = logging.getLogger("presage").handlers
    library.setLevel(logging.WARNING)
    library.propagate = False


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
