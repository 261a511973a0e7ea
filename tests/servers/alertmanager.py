"""A real Alertmanager on a loopback port, with its data in a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.http import HttpServer
from servers.ports import free_port, stop, wait_until

# Debian gives it another name, so that it is nobody else's.
_PROGRAMS = ("prometheus-alertmanager", "alertmanager")


class Alertmanager(HttpServer):
    """A running server."""


def alertmanager_program() -> str | None:
    """Return the path of the server's program; None where it is not installed."""
    return next((path for name in _PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def alertmanager(folder: Path, configuration: dict | Path) -> Iterator[Alertmanager]:
    """Start a server, and stop it afterwards.

    Args:
        folder: Gets its data and its log.
        configuration: Its routes and receivers, or the file that has them.

    Raises:
        ServerError: It does not start.
    """
    program = alertmanager_program()
    assert program is not None
    log, port = folder / "alertmanager.log", free_port()
    file = configuration
    if isinstance(configuration, dict):
        file = folder / "alertmanager.yaml"
        # JSON is YAML.
        file.write_text(json.dumps(configuration))
    words = [
        program,
        f"--config.file={file}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with log.open("wb") as lines:
        process = subprocess.Popen(words, stdout=lines, stderr=lines)
    running = Alertmanager(port, process)
    try:
        wait_until(running.is_ready, process, str(log))
        yield running
    finally:
        stop(process)
