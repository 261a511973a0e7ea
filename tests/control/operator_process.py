"""The operator as its own process, as a cluster runs it: started, stopped, paused and killed by tests."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from commands import PRESAGE

_PATIENCE_SECONDS = 60
_STARTED = re.compile(r"event=started .*health_port=(\d+)")


@dataclass
class OperatorProcess:
    """One replica; to leave the context stops it as Kubernetes does.

    Attributes:
        kubeconfig: How it reaches the API server.
        log: File of its log.
        options: Further words of the command line.
    """

    kubeconfig: Path
    log: Path
    options: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [PRESAGE, "operator", "--health-port", "0", *self.options],
                stdout=output,
                stderr=output,
                env=inherited | {"KUBECONFIG": str(self.kubeconfig), "NO_COLOR": "1"},
                process_group=0,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.stop()
        else:
            self.kill()

    @property
    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    async def get(self, path: str) -> str:
        """Return what it answers on its health port, once it has started."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (started := _STARTED.search(self.text)) is None:
                assert self._process.poll() is None, f"the operator does not start:\n{self.text}"
                await asyncio.sleep(0.05)
        url = f"http://127.0.0.1:{started[1]}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    def kill(self) -> None:
        """Kill it at once: nothing is flushed, given back or closed."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it where it stands, as a machine does that is short of everything."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Stop it as Kubernetes does, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it ends, and return its exit code."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while self._process.poll() is None:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.kill()
            raise AssertionError(f"the operator does not end:\n{self.text}") from None
        return self._process.returncode
