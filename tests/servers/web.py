"""HTTP servers inside of this process, each on a free port, of the loopback address unless a test says otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # tests call many times at once

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a caller that was killed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1") -> Iterator[str]:
    """Run a server until the block ends, and give its address; no request is logged."""
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    with _Server((host, 0), quiet) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
