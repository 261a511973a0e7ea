"""A real Prometheus on a loopback port, with its data in a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from servers.http import HttpServer
from servers.ports import free_port, stop, wait_until

_PATIENCE = 60.0
_RETENTION = "100d"


class Prometheus(HttpServer):
    """A running server."""

    def query(self, expression: str) -> list[dict]:
        """Return the samples that an expression gives now; raises AssertionError for a wrong one."""
        return self._ask("query", query=expression)["result"]

    def label_values(self, label: str, selector: str) -> list[str]:
        """Return the values of a label among the series of a selector."""
        return self._ask(f"label/{label}/values", **{"match[]": selector})

    def alerts(self) -> list[dict]:
        """Return the alerts that are pending or fire."""
        return self._ask("alerts")["alerts"]

    def until_some(self, expression: str) -> list[dict]:
        """Return the samples of an expression as soon as there are any."""
        deadline = time.monotonic() + _PATIENCE
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, f"there is nothing of {expression}"
            time.sleep(0.2)
        return found

    def _ask(self, what: str, **words: str):
        try:
            with urlopen(f"{self.url}/api/v1/{what}?{urlencode(words)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise AssertionError(f"{words}: {error.read().decode()}") from error


def prometheus_programs() -> tuple[str, str] | None:
    """Return the paths of the server and of promtool; None where they are not installed."""
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    return (server, tool) if server and tool else None


@contextmanager
def prometheus(folder: Path, configuration: dict, history: str = "") -> Iterator[Prometheus]:
    """Start a server, and stop it afterwards.

    Args:
        folder: Gets its data and its log.
        configuration: What it scrapes, and its rules.
        history: Samples of the past, in the OpenMetrics text format.

    Raises:
        ServerError: It does not start.
    """
    programs = prometheus_programs()
    assert programs is not None
    server, tool = programs
    data, log, port = folder / "data", folder / "prometheus.log", free_port()
    # JSON is YAML.
    (folder / "prometheus.yaml").write_text(json.dumps(configuration))
    if history:
        (folder / "history.txt").write_text(history)
        words = [tool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", folder / "history.txt", data]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    words = [
        server,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={_RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("wb") as lines:
        process = subprocess.Popen(words, stdout=lines, stderr=lines)
    running = Prometheus(port, process)
    try:
        wait_until(running.is_ready, process, str(log))
        yield running
    finally:
        stop(process)
