"""The three ways to install the operator, each as the objects that it makes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from conftest import lacking
from control.apiserver import ControlPlaneError, helm_binary, kubectl_binary

ROOT = Path(__file__).parents[1]
MANIFESTS = (ROOT / "manifests" / "crds", ROOT / "manifests" / "operator")
KUSTOMIZE = ROOT / "kustomize"
CHART = ROOT / "charts" / "presage"
RUN_POLICY = KUSTOMIZE / "components" / "run-network-policy"
SYSTEM = "presage-system"
# Helm asks a cluster for its version; where it only renders there is none to ask.
KUBERNETES = "1.34.0"


class ToolError(Exception):
    """A tool refused; the message is what it said."""


def run(command: list[str | Path], given: str | None = None) -> str:
    """Run a tool and return what it wrote; raises ToolError with its words where it fails."""
    done = subprocess.run(
        [str(word) for word in command], input=given, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise ToolError(done.stderr)
    return done.stdout


def kubectl() -> Path:
    """Return kubectl; skips where it cannot be had."""
    return _tool(kubectl_binary)


def helm() -> Path:
    """Return helm; skips where it cannot be had."""
    return _tool(helm_binary)


def _tool(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except ControlPlaneError as error:
        lacking(str(error))


def plain() -> list[dict]:
    """Return the objects of the manifests, in the order in which kubectl reads them."""
    return [
        one
        for folder in MANIFESTS
        for path in sorted(folder.glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def kustomized(folder: Path) -> list[dict]:
    """Return the objects of a kustomization."""
    return list(yaml.safe_load_all(run([kubectl(), "kustomize", folder])))


def charted(*words: str | Path, release: str = "presage", namespace: str = SYSTEM) -> list[dict]:
    """Return the objects of the chart, those of `helm test` too; words are more options of `helm template`."""
    command = [helm(), "template", release, CHART, "--namespace", namespace, "--kube-version", KUBERNETES, *words]
    return [one for one in yaml.safe_load_all(run(command)) if one]


def find(objects: Iterable[dict], kind: str, name: str | None = None) -> dict:
    """Return the one object of a kind, and of a name where there are several."""
    (found,) = (one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"]))
    return found
