"""Runs `presage` and `kubectl-presage` as a user does: another process, real files, real signals."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "manifests" / "examples"
PRESAGE = Path(sys.executable).with_name("presage")
PLUGIN = Path(sys.executable).with_name("kubectl-presage")
# Only tests of tracking tell MLflow: its library takes seconds to load.
ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PRESAGE_TRACKING": "off"}
PATIENCE = 300
# What Python and the numeric libraries read as they are loaded.
_READ_WHEN_LOADED = ("OMP_", "PYTHON")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> dict:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.out)


def presage(*words: str | Path, code: int = 0, cwd: Path = ROOT, **environment: str) -> Ended:
    """Run the command in a process whose libraries are loaded, and require its exit code."""
    if any(name.startswith(_READ_WHEN_LOADED) for name in environment):
        return _run(PRESAGE, *words, code=code, cwd=cwd, **environment)
    return _ended(_warm().run([str(PRESAGE), *map(str, words)], cwd, ENVIRONMENT | environment), code)


def plugin(*words: str | Path, code: int = 0, cwd: Path = ROOT, **environment: str) -> Ended:
    """Run the plug-in of kubectl and require its exit code."""
    return _run(PLUGIN, *words, code=code, cwd=cwd, **environment)


def _run(*command: str | Path, code: int, cwd: Path, **environment: str) -> Ended:
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT | environment,
        timeout=PATIENCE,
        check=False,
    )
    return _ended(Ended(done.returncode, done.stdout, done.stderr), code)


def _ended(ended: Ended, code: int) -> Ended:
    """Require an exit code; no traceback may reach the user whatever happens."""
    assert "Traceback" not in ended.err + ended.out, ended.err
    assert ended.code == code, f"exit code {ended.code} instead of {code}\n{ended.err}\n{ended.out}"
    return ended


class _Warm:
    """The program that forks commands off itself; see `warm_presage`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_presage.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        self._one_at_a_time = threading.Lock()

    def run(self, words: list[str], cwd: Path, environment: dict[str, str]) -> Ended:
        assert self._process.stdin
        assert self._process.stdout
        with self._one_at_a_time, TemporaryDirectory() as name:
            out, err = Path(name, "out"), Path(name, "err")
            for path in (out, err):
                path.touch()
            command = {"words": words, "cwd": str(cwd), "environment": environment, "out": str(out), "err": str(err)}
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            number = self._process.stdout.readline()
            assert number, "the program that forks commands has ended; stderr tells why"
            child = int(number)
            hung = threading.Timer(PATIENCE, os.kill, (child, signal.SIGKILL))
            hung.start()
            try:
                code = int(self._process.stdout.readline())
            finally:
                hung.cancel()
            return Ended(code, out.read_text(), err.read_text())

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


@cache
def _warm() -> _Warm:
    warm = _Warm()
    atexit.register(warm.end)
    return warm


def start(*words: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
    """Start the command in its own process group, to be interrupted or killed."""
    return subprocess.Popen(
        [PRESAGE, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT | environment,
        start_new_session=True,
    )


def content(directory: Path) -> dict[str, bytes]:
    """The bytes of all files below a directory that outlive a command: not its locks."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != ".lock"
    }
