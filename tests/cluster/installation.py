"""The chart in a cluster of the tests, and what is asked of its jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.conftest import Cluster

ROOT = Path(__file__).parents[2]
CHART = str(ROOT / "charts" / "presage")
QUICKSTART = ROOT / "manifests" / "examples" / "quickstart.yaml"
SYSTEM = "presage-system"
MEASURED: list[str] = []
"""What tests measured, as lines; they stand at the end of the output."""
IMAGES = ("--set", "image.tag=test,steps.image.tag=test,server.image.tag=test")


def within(seconds: float, condition: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


def status(cluster: Cluster, namespace: str, name: str) -> dict[str, object]:
    held = json.loads(cluster.kubectl("get", "pj", name, "-n", namespace, "-o", "json"))
    found: dict[str, object] = held.get("status", {})
    return found


def plug_in(cluster: Cluster, *words: str) -> str:
    """Return what `kubectl presage` says; kubectl finds the plug-in beside this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [str(cluster.programs / "kubectl"), "presage", *words]
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
