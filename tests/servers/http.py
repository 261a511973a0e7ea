"""A server that speaks HTTP on a loopback port, whatever program it is."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import ClassVar
from urllib.error import URLError
from urllib.request import urlopen


@dataclass(frozen=True)
class HttpServer:
    """A running server.

    Attributes:
        port: Where it listens on 127.0.0.1.
        process: The server.
    """

    ready_path: ClassVar[str] = "/-/ready"

    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.address}"

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urlopen(self.url + self.ready_path, timeout=10) as answer:
                return answer.status == 200
        except (URLError, ConnectionError):
            return False
