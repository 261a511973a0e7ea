"""A proxy before an S3 server that counts writes and, from one of them on, refuses them or keeps the caller waiting."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Event, Lock
from urllib.parse import urlsplit

from servers.web import listening


class Proxy:
    """A running proxy. Writes to locks always go through; all others are numbered from 1.

    Attributes:
        url: Its address.
        hold_from: The number of the first write or deletion that waits until `release` is set; None for none.
        held: Set once a write waits.
        release: Lets all that waits go on.
        written: Keys of the writes and deletions that went through, in their order.
    """

    def __init__(self) -> None:
        self.url = ""
        self.hold_from: int | None = None
        self.held = Event()
        self.release = Event()
        self.written: list[str] = []
        self._count = 0
        self._let_through: int | None = None
        self._guard = Lock()

    def refuse_after(self, writes: int | None) -> None:
        """Refuse all writes and deletions after some more of them; None to let all through."""
        with self._guard:
            self._let_through = None if writes is None else self._count + writes

    def passes(self, key: str) -> bool:
        """Return whether a write or a deletion goes through, after it has waited where it must."""
        with self._guard:
            self._count += 1
            number = self._count
            if self._let_through is not None and number > self._let_through:
                return False
        if self.hold_from is not None and number >= self.hold_from:
            self.held.set()
            self.release.wait(120)
        with self._guard:
            self.written.append(key)
        return True


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """Run a proxy on a free loopback port before a server's address."""
    state = Proxy()
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            changes = self.command in ("PUT", "DELETE") and not urlsplit(self.path).path.endswith(".lock")
            if changes and not state.passes(f"{self.command} {urlsplit(self.path).path}"):
                self.send_error(400)
                return
            headers = {name: value for name, value in self.headers.items() if name not in ("Connection", "Expect")}
            with closing(http.client.HTTPConnection(host, timeout=60)) as server:
                server.request(self.command, self.path, content, headers)
                answer = server.getresponse()
                text = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_DELETE = _forward  # noqa: N815

    with listening(Handler) as state.url:
        try:
            yield state
        finally:
            state.release.set()
