"""A double of LINE's Messaging API over loopback: it takes push messages as its reference page says.

No client of LINE is among the project's packages: https://developers.line.biz/en/reference/messaging-api/#send-push-message
is what it follows.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from queue import Queue

from servers.web import listening

TOKEN = "channel-token-1234"
RECIPIENT = "U4af4980629c0c1a8c9c0c1a8c9c0c1a8"


@dataclass
class LineDouble:
    """A running API.

    Attributes:
        url: Its address.
        taken: Texts of the messages of each push that it took.
        heard: The same, for who waits for them.
        keys: Retry keys of all pushes.
        statuses: What the next pushes are answered with in place of a look at them.
    """

    url: str = ""
    taken: list[list[str]] = field(default_factory=list)
    heard: Queue[list[str]] = field(default_factory=Queue)
    keys: list[str] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)

    def push(self, headers: dict[str, str], body: bytes) -> int:
        """Return the status of a push."""
        key = headers["X-Line-Retry-Key"]
        self.keys.append(key)
        if self.statuses:
            return self.statuses.popleft()
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401
        if not _is_valid(json.loads(body)):
            return 400
        if key in self.keys[:-1] and self.taken:
            return 409
        self.taken.append([message["text"] for message in json.loads(body)["messages"]])
        self.heard.put(self.taken[-1])
        return 200


def _is_valid(body: dict[str, object]) -> bool:
    messages = body.get("messages")
    return (
        set(body) == {"to", "messages"}
        and body["to"] == RECIPIENT
        and isinstance(messages, list)
        and 1 <= len(messages) <= 5
        and all(set(message) == {"type", "text"} and message["type"] == "text" for message in messages)
        # It counts UTF-16 code units.
        and all(0 < len(message["text"].encode("utf-16-le")) // 2 <= 5000 for message in messages)
    )


@contextmanager
def line_double() -> Iterator[LineDouble]:
    """Run the API on a free loopback port."""
    state = LineDouble()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = self.path == "/v2/bot/message/push" and self.headers["Content-Type"] == "application/json"
            status = state.push(dict(self.headers.items()), body) if known else 404
            self.send_response(status)
            content = b'{"sentMessages":[]}' if status == 200 else b'{"message":"refused"}'
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with listening(Handler) as state.url:
        yield state
