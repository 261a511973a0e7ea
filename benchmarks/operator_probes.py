"""What is seen of an operator from outside: its process, and what the API server counts of its requests."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp

_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contestant:
    """An operator to measure: the command that starts it, to which a namespace is added."""

    name: str
    namespace: str
    command: tuple[str, ...]


class Process:
    """A running operator."""

    def __init__(self, contestant: Contestant, kubeconfig: Path, log: Path) -> None:
        self._log = log
        self.started = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                (*contestant.command, contestant.namespace),
                env=os.environ | {"KUBECONFIG": str(kubeconfig)},
                stdout=output,
                stderr=output,
            )

    def cpu(self) -> float:
        """Return the seconds of CPU that it has taken, in all of its threads."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator ended:\n{self._log.read_text(errors='replace')[-4000:]}")
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> tuple[int, int]:
        """Return its resident and its proportional set size, in kilobytes."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        found = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB$", text, re.MULTILINE))
        return int(found["Rss"]), int(found["Pss"])

    async def until_started(self) -> None:
        """Wait until its log says that it has started, a moment before it lists anything."""
        while b"started" not in self._log.read_bytes():
            self.cpu()
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        """End it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Metrics:
    """What the API server counts of the requests for a job and its children."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/metrics"

    async def writes(self) -> Counter[str]:
        """Return how often each kind of object was written, by verb and kind; Leases do not count."""
        async with self._session.get(self._url) as answer:
            text = await answer.text()
        found: Counter[str] = Counter()
        for match in _REQUESTS.finditer(text):
            labels = dict(_LABEL.findall(match["labels"]))
            if labels["verb"] in _WRITES and labels["resource"] != "leases":
                found[f"{labels['verb']} {labels['resource']}"] += int(float(match["count"]))
        return found
