"""Runs `presage serve` as a Pod does: another process, a real port, real signals."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from commands import ENVIRONMENT, PRESAGE

NAME = "quickstart"
# A server that says nothing for so long is taken for hung.
PATIENCE = 60.0


def run_in(workdir: Path) -> Path:
    """Return the directory of the quickstart's only run."""
    (run,) = (workdir / "runs" / "default.quickstart").glob("2*")
    return run


def copy_run(run: Path, place: Path) -> Path:
    """Return a copy of what a server reads of a run."""
    copy = place / run.name
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("predictions.csv", "features.json"))
    return copy


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log: list[str]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, event: str) -> str:
        """Read the log up to an event, and return its line."""
        return _wait_for(self.process, self.log, event)

    def get(self, path: str) -> httpx.Response:
        """Ask with GET."""
        return httpx.get(self.url + path, timeout=PATIENCE)

    def post(self, path: str, content: bytes | str, **headers: str) -> httpx.Response:
        """Ask with POST."""
        return httpx.post(self.url + path, content=content, headers=headers, timeout=PATIENCE)

    def metric(self, name: str) -> float:
        """Value of the metric of that name and labels, as Prometheus reads it."""
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(f"{name} "))


@contextmanager
def serving(directory: Path, *, ready: bool = True) -> Iterator[Server]:
    """Serve a model directory; at the end the server must stop well, and have shown no traceback."""
    process = subprocess.Popen(
        [PRESAGE, "serve", "--model-name", NAME, "--model-dir", directory, "--host", "127.0.0.1", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stderr
    log: list[str] = []
    try:
        line = _wait_for(process, log, "listening")
        server = Server(process, int(line.partition("port=")[2].split()[0]), log)
        if ready:
            server.wait_for('"model ready"')
        yield server
        process.send_signal(signal.SIGTERM)
        log.append(process.communicate(timeout=PATIENCE)[1])
        assert process.returncode == 0, log
        assert "Traceback" not in "".join(log), log
    finally:
        process.kill()
        process.communicate()


def _wait_for(process: subprocess.Popen[str], log: list[str], event: str) -> str:
    hung = threading.Timer(PATIENCE, process.kill)
    hung.start()
    try:
        assert process.stderr
        for line in process.stderr:
            log.append(line)
            if f"event={event}" in line:
                return line
    finally:
        hung.cancel()
    raise AssertionError(f"the server ended without {event}:\n{''.join(log)}")
