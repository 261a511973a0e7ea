"""Free ports of this machine, and servers that are waited for."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

_START_SECONDS = 60


class ServerError(Exception):
    """A server of the tests does not start."""


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], log: str) -> None:
    """Return once a server that is starting answers; raises ServerError, with its log, where it ends instead."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers():
            return
        time.sleep(0.05)
    raise ServerError(f"the server does not answer; see {log}")


def stop(process: subprocess.Popen[bytes], *, at_once: bool = False) -> None:
    """Stop a server that this process started: in order, or as a crash does."""
    if process.poll() is None:
        process.kill() if at_once else process.terminate()
    process.wait(60)
