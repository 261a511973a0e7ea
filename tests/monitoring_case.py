"""The monitoring chart, rendered, and servers that run what it renders."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import yaml
from commands import ENVIRONMENT
from conftest import lacking
from installs import KUBERNETES, ROOT, SYSTEM, helm, run
from servers.ports import stop, wait_until

CHART = ROOT / "charts" / "monitoring"
SCENARIOS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def program(*names: str) -> str:
    """Return the first program that is installed; skips where none is."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        lacking(f"no {names[0]}; tests/system-packages.sh installs it")
    return found


def rendered(*words: str | Path) -> list[dict]:
    command = [helm(), "template", "presage", CHART, "--namespace", SYSTEM, "--kube-version", KUBERNETES, *words]
    return [one for one in yaml.safe_load_all(run(command)) if one]


def scenario(name: str) -> tuple[str | Path, ...]:
    return () if name == "default" else ("--values", CHART / "ci" / f"{name}-values.yaml")


def configuration_of(objects: list[dict], part: str) -> dict[str, str]:
    """Return the files of a part's ConfigMaps; none where the part is off."""
    label = "app.kubernetes.io/component"
    maps = [one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["labels"][label] == part]
    return {name: text for one in maps for name, text in one["data"].items()}


@contextmanager
def started(command: list[str], url: str, log: Path) -> Iterator[None]:
    """Run a server until the block ends; it is waited for."""

    def answers() -> bool:
        try:
            with urlopen(url, timeout=5):
                return True
        except (URLError, ConnectionError):
            return False

    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT)
    try:
        wait_until(answers, process, str(log))
        yield
    finally:
        stop(process)
