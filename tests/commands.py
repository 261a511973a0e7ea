"""Runs `presage` and `kubectl-presage` as a user does: another process, real files, real signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "manifests" / "examples"
PRESAGE = Path(sys.executable).with_name("presage")
PLUGIN = Path(sys.executable).with_name("kubectl-presage")
# Only tests of tracking tell MLflow: its library takes seconds to load.
ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PRESAGE_TRACKING": "off"}


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
    """Run the command and require its exit code."""
    return _run(PRESAGE, *words, code=code, cwd=cwd, **environment)


def plugin(*words: str | Path, code: int = 0, cwd: Path = ROOT, **environment: str) -> Ended:
    """Run the plug-in of kubectl and require its exit code."""
    return _run(PLUGIN, *words, code=code, cwd=cwd, **environment)


def _run(*command: str | Path, code: int, cwd: Path, **environment: str) -> Ended:
    """Run a program; no traceback may reach the user whatever happens."""
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT | environment,
        timeout=300,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in ended.err + ended.out, ended.err
    assert ended.code == code, f"exit code {ended.code} instead of {code}\n{ended.err}\n{ended.out}"
    return ended


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
