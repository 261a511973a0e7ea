"""A real MLflow server on a loopback port, and a proxy before one that lets some requests through and then none."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock
from typing import Literal
from urllib.parse import urlsplit

from servers.ports import free_port, stop, wait_until
from servers.web import listening

_HOP_BY_HOP = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


@dataclass(frozen=True)
class MlflowServer:
    """A running server.

    Attributes:
        url: Its address.
        process: The server.
    """

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def mlflow_server(
    folder: Path, database: str, artifacts: str, environment: Mapping[str, str]
) -> Iterator[MlflowServer]:
    """Start a server, and stop it afterwards.

    Args:
        folder: Where it runs, and where its log goes.
        database: SQLAlchemy's address of its database; tables are made where they are missing.
        artifacts: Where it keeps artefacts, such as `s3://bucket/prefix`.
        environment: More variables, such as the credentials of a bucket.

    Raises:
        ServerError: It does not start.
    """
    port, log = free_port(), folder / "mlflow.log"
    words = ["server", "--backend-store-uri", database, "--artifacts-destination", artifacts, "--workers", "1"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--allowed-hosts", "127.0.0.1:*"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("ab") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=os.environ | quiet | dict(environment),
            cwd=folder,
            stdout=lines,
            stderr=lines,
            start_new_session=True,
        )
    running = MlflowServer(f"http://127.0.0.1:{port}", process)
    try:
        wait_until(lambda: _answers(running), process, str(log))
        yield running
    finally:
        stop(process)


def kill(server: MlflowServer) -> None:
    """End a server as a crash does, with the worker that it started."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(60)


def _answers(server: MlflowServer) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Proxy:
    """A running proxy before a server.

    Attributes:
        url: Its address.
        seen: Requests that came, in their order.
        hold: Set to the number of the request, from 1, that is kept waiting; None for none.
        held: Set once a request waits.
        release: Lets it go on.
    """

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[str] = []
        self.hold: int | None = None
        self.held = Event()
        self.release = Event()
        self.let_through: int | None = None
        self.lost: Literal["request", "answer"] = "request"
        self.user: str | None = None
        self._guard = Lock()

    def cut(self, after: int | None, lost: Literal["request", "answer"] = "request") -> None:
        """Let so many more requests through, None for all; of those that follow the request or its answer is lost."""
        with self._guard:
            self.seen.clear()
            self.let_through, self.lost = after, lost

    def takes(self, request: str) -> bool:
        """Return whether a request is answered, after it has waited where it must."""
        with self._guard:
            self.seen.append(request)
            number = len(self.seen)
            passes = self.let_through is None or number <= self.let_through
        if number == self.hold:
            self.held.set()
            self.release.wait(60)
        return passes


@contextmanager
def proxy(target: str | Callable[[], str]) -> Iterator[Proxy]:
    """Run a proxy on a free loopback port before a server's address."""
    state = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answered = state.takes(f"{self.command} {urlsplit(self.path).path}")
            if not answered and state.lost == "request":
                self.close_connection = True
                return
            if state.user is not None and self.headers.get("Authorization") != _basic(state.user):
                self.send_error(401)
                return
            host = urlsplit(target if isinstance(target, str) else target()).netloc
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("connection", "host")
            }
            with closing(http.client.HTTPConnection(host, timeout=60)) as server:
                try:
                    server.request(self.command, self.path, content, headers)
                    answer = server.getresponse()
                    text = answer.read()
                except OSError:
                    self.close_connection = True
                    return
            if not answered:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _forward  # noqa: N815

    with listening(Handler) as state.url:
        try:
            yield state
        finally:
            state.release.set()


def _basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()
