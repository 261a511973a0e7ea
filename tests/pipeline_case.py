"""Runs the compiled pipeline as Kubeflow's own local runner does: each step is a process of its own.

Run as a program: the package, the folder for artefacts, and the parameters as JSON; the last line of its output is the
pipeline's output. It is a program because the runner's settings are those of a whole process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from commands import ENVIRONMENT

AS_OF = "2026-01-02T03:04:05"
_OUTPUT = "the pipeline's output: "


@dataclass(frozen=True)
class Ran:
    """How a pipeline ended."""

    code: int
    log: str

    @property
    def outcome(self) -> dict:
        """What its last step told."""
        return json.loads(self.log.rpartition(_OUTPUT)[2].splitlines()[0])

    def steps(self) -> list[str]:
        """The steps that were begun, in order; those that the cache had are not."""
        return re.findall(r"Executing task \S*'([a-z0-9-]+)'", self.log)


def command(package: Path, root: Path, *, workdir: str | Path, job: str, cadence: str, as_of: str) -> list[str]:
    """The words that run a package."""
    given = {"job": job, "workdir": str(workdir), "as_of": as_of, "cadence": cadence}
    return [sys.executable, __file__, str(package), str(root), json.dumps(given)]


def run_pipeline(
    package: Path,
    root: Path,
    *,
    workdir: str | Path,
    job: str,
    cadence: str = "Train",
    as_of: str = AS_OF,
    **environment: str,
) -> Ran:
    """Run a package to its end; no traceback of ours may reach the user."""
    words = command(package, root, workdir=workdir, job=job, cadence=cadence, as_of=as_of)
    done = subprocess.run(
        words, capture_output=True, text=True, env=pipeline_environment() | environment, timeout=300, check=False
    )
    return Ran(done.returncode, done.stdout + done.stderr)


def pipeline_environment() -> dict[str, str]:
    """What the runner's process is given: its steps find the packages where they are."""
    return ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])}


def _main(package: str, root: str, given: str) -> None:
    from kfp import components, local

    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=root,
        raise_on_error=False,
        enable_caching=True,
        cache_root=f"{root}-cache",
    )
    task = components.load_component_from_file(package)(**json.loads(given))
    if not task.outputs:
        raise SystemExit(1)
    sys.stdout.write(f"{_OUTPUT}{task.output}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
