"""Loopback web servers that answer as a test says, faults of the wire included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote, urlsplit

from servers.web import listening


@dataclass(frozen=True)
class Asked:
    """A request: path and query unquoted, headers by small names, with both values of one that came twice."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        content: Its body.
        status: Its status.
        headers: Further headers.
        length: Declared instead of the body's own length; -1 for none, so that the end of the connection ends the body.
        pieces: Sent behind `content`, until the caller goes.
        date: By the server's clock; empty for the right one.
    """

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    pieces: Iterable[bytes] = ()
    date: str = ""


@dataclass
class Site:
    """A running server: its address, and what it was asked so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def site(answer: Callable[[Asked], Reply]) -> Iterator[Site]:
    """Run a server on a free loopback port; each connection is for one answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers: dict[str, str] = {}
            for name, value in self.headers.items():
                before = headers.get(name.lower())
                headers[name.lower()] = value if before is None else f"{before}, {value}"
            asked = Asked(unquote(parts.path), dict(parse_qsl(parts.query)), headers)
            state.asked.append(asked)
            reply = answer(asked)
            self.send_response_only(reply.status)
            self.send_header("Date", reply.date or self.date_time_string())
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.length != -1:
                self.send_header("Content-Length", str(len(reply.content) if reply.length is None else reply.length))
            self.end_headers()
            try:
                self.wfile.write(reply.content)
                for piece in reply.pieces:
                    self.wfile.write(piece)
            except OSError:
                pass  # the caller has had enough

    with listening(Handler) as url:
        state = Site(url)
        yield state


@contextmanager
def documents(contents: Mapping[str, bytes], media: str = "text/plain") -> Iterator[Site]:
    """Serve documents by path; any other path is 404."""

    def answer(asked: Asked) -> Reply:
        if asked.path not in contents:
            return Reply(status=404)
        return Reply(contents[asked.path], headers={"Content-Type": media})

    with site(answer) as running:
        yield running
