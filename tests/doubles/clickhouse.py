"""A double of a ClickHouse server: the official client's HTTP protocol, answered by the real engine in this process."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, urlsplit

import chdb
from servers.web import listening

USER = "reader"
PASSWORD = "s3cret:clickhouse@/"
_WRITES = ("INSERT", "DROP", "ALTER", "CREATE", "DELETE", "TRUNCATE")


@dataclass
class ClickHouseDouble:
    """A running double.

    Attributes:
        port: Where it listens on 127.0.0.1.
        cut_after: Bytes of an answer after which it hangs up; None for whole answers.
        queries: What it was asked.
    """

    port: int
    cut_after: int | None = None
    queries: list[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        """Its address, as a job names it."""
        return f"clickhouse://127.0.0.1:{self.port}/default"


@contextmanager
def clickhouse_double(folder: Path) -> Iterator[ClickHouseDouble]:
    """Answer over an engine's folder on a free loopback port."""
    engine = chdb.connect(str(folder))
    one_at_a_time = Lock()
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            given = parse_qs(urlsplit(self.path).query)
            query = body or given.get("query", [""])[0]
            double.queries.append(query)
            if self.headers.get("Authorization") != expected:
                self._answer(
                    403, b"Code: 516. DB::Exception: reader: Authentication failed. (AUTHENTICATION_FAILED)", 516
                )
                return
            if given.get("readonly") == ["2"] and query.lstrip().upper().startswith(_WRITES):
                self._answer(500, b"Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)", 164)
                return
            with one_at_a_time:
                try:
                    content = engine.query(query, "Native" if "FORMAT" in query else "TabSeparated").bytes()
                except RuntimeError as error:
                    said = str(error)
                    code = int(said.partition("Code: ")[2].partition(".")[0] or 0)
                    self._answer(404, said.encode(), code)
                    return
            self._answer(200, content)

        def do_GET(self) -> None:
            self.do_POST()

        def _answer(self, status: int, content: bytes, code: int | None = None) -> None:
            self.send_response(status)
            if code is not None:
                self.send_header("X-ClickHouse-Exception-Code", str(code))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if double.cut_after is not None and len(content) > double.cut_after:
                self.wfile.write(content[: double.cut_after])
                self.close_connection = True
                return
            self.wfile.write(content)

    with closing(engine), listening(Handler) as url:
        double = ClickHouseDouble(urlsplit(url).port)
        yield double
