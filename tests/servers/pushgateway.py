"""A real Prometheus Pushgateway on a loopback port; it keeps what it is told in memory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families
from servers.http import HttpServer
from servers.ports import free_port, stop, wait_until

PROGRAM = "prometheus-pushgateway"


class Pushgateway(HttpServer):
    """A running gateway."""

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return what it exposes of Presage, as Prometheus' own parser reads it: values by name and labels."""
        text = self._ask("GET", "/metrics").decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("presage_")
        }

    def types(self) -> dict[str, str]:
        """Return the kind of each metric of Presage."""
        families = text_string_to_metric_families(self._ask("GET", "/metrics").decode())
        return {family.name: family.type for family in families if family.name.startswith("presage_")}

    def wipe(self) -> None:
        """Forget everything."""
        self._ask("PUT", "/api/v1/admin/wipe")

    def _ask(self, method: str, path: str) -> bytes:
        with urlopen(Request(self.url + path, method=method), timeout=10) as answer:
            return bytes(answer.read())


def pushgateway_program() -> str | None:
    """Return the path of the gateway's program; None where it is not installed."""
    return shutil.which(PROGRAM)


@contextmanager
def pushgateway(folder: Path) -> Iterator[Pushgateway]:
    """Start a gateway and stop it afterwards.

    Args:
        folder: Gets its log.

    Raises:
        ServerError: It does not start.
    """
    program = pushgateway_program()
    assert program is not None
    port = free_port()
    log = folder / "pushgateway.log"
    words = [program, f"--web.listen-address=127.0.0.1:{port}", "--web.enable-admin-api", "--persistence.file="]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    server = Pushgateway(port, process)
    try:
        wait_until(server.is_ready, process, str(log))
        yield server
    finally:
        stop(process)
