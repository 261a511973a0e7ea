"""The server's process: its socket, its logs, its end."""

from __future__ import annotations

import logging
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp

from presage.errors import NotSupportedError, RetryError
from presage.steps.bucket import Bucket, BucketPlace
from presage_serving.application import Application
from presage_serving.directory import ModelDirectory
from presage_serving.fetcher import Fetcher
from presage_serving.metrics import Metrics

_POLL_SECONDS = 2.0
# Stores charge for each question.
_BUCKET_POLL_SECONDS = 5.0
# Shorter than the 30 seconds that Kubernetes gives a Pod to end.
_GRACE_SECONDS = 25
# Longer than the minute for which usual load balancers keep an idle connection: they end it, not the server.
_IDLE_SECONDS = 75
_BACKLOG = 2048

logger = logging.getLogger("presage.serving")


def run_server(name: str, location: str, host: str, port: int) -> None:
    """Serve a model directory until a stop signal, then finish what is in flight; SIGTERM ends with exit code 0.

    Args:
        name: Name under which the model is served.
        location: Model directory: a path, or `s3://bucket/prefix`.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.

    Raises:
        JobError: The location names no place in a bucket, or the AWS settings lead to no store.
        NotSupportedError: The location has another scheme.
        MissingExtraError: A bucket needs the `s3` extra.
        RetryError: The address cannot be listened on.
        KeyboardInterrupt: The server was interrupted, and has finished what was in flight.
    """
    # To open a bucket may take long.
    signal.signal(signal.SIGTERM, _end)
    metrics = Metrics()
    with _opened(location, metrics) as (directory, interval):
        application = Application(name, directory, metrics, clock=lambda: datetime.now(UTC), interval=interval)
        serve_asgi(application.asgi(), host, port, model=name)


def serve_asgi(application: ASGIApp, host: str, port: int, **told: str) -> None:
    """Serve an application until a stop signal, then finish what is in flight; SIGTERM ends with exit code 0.

    Args:
        application: What answers.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        told: More fields of the log's line that says where it listens.

    Raises:
        RetryError: The address cannot be listened on.
        KeyboardInterrupt: The server was interrupted, and has finished what was in flight.
    """
    # The server raises the signal once more when it has finished.
    signal.signal(signal.SIGTERM, _end)
    listening = _listen(host, port)
    _join_logs()
    logger.info("listening", extra={"host": host, "port": listening.getsockname()[1], **told})
    server = uvicorn.Server(
        uvicorn.Config(
            application,
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


@contextmanager
def _opened(location: str, metrics: Metrics) -> Iterator[tuple[ModelDirectory, float]]:
    """Give the model directory of a location, and the seconds between two looks at it."""
    scheme = location.partition("://")[0] if "://" in location else ""
    if not scheme:
        yield ModelDirectory(Path(location), metrics), _POLL_SECONDS
        return
    if scheme != "s3":
        raise NotSupportedError(
            f"no model directory can be at {location}.", "Give a directory or s3://bucket/prefix as --model-dir."
        )
    bucket = Bucket(BucketPlace.parse(location))
    # A look that hangs may write when the server has ended.
    with tempfile.TemporaryDirectory(prefix="presage-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder)
        update = Fetcher(bucket, copy).fetch
        yield ModelDirectory(copy, metrics, name=str(bucket.place), update=update), _BUCKET_POLL_SECONDS


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
