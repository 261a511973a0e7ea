"""The charts and their scenarios, each as the objects that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from installs import KUBERNETES, ROOT, SYSTEM, helm, run

CHARTS = ROOT / "charts"
PLATFORM = CHARTS / "presage"
PROFILES = PLATFORM / "profiles"
DEPENDENCIES = tuple(sorted(path.parent for path in CHARTS.glob("*/values.yaml") if path.parent != PLATFORM))
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True)
class Scenario:
    """A chart with values.

    Attributes:
        chart: Its folder.
        values: The file of values; None for the defaults.
    """

    chart: Path
    values: Path | None = None

    def __str__(self) -> str:
        return self.chart.name if self.values is None else f"{self.chart.name} {self.values.stem}"

    def render(self, *words: str | Path) -> list[dict]:
        """Return the objects of release `presage`, those of `helm test` too; words are more of `helm template`."""
        values = () if self.values is None else ("--values", self.values)
        command = [helm(), "template", "presage", self.chart, "--namespace", SYSTEM, "--kube-version", KUBERNETES]
        return [one for one in yaml.safe_load_all(run([*command, *values, *words])) if one]


def scenarios() -> tuple[Scenario, ...]:
    """Return each dependency's defaults and what its folder `ci` holds, and the platform's profiles and backups."""
    own = [
        Scenario(chart, values) for chart in DEPENDENCIES for values in (None, *sorted(chart.glob("ci/*-values.yaml")))
    ]
    platform = (*sorted(PROFILES.glob("*.yaml")), PLATFORM / "ci" / "backup-values.yaml")
    return (*own, *(Scenario(PLATFORM, values) for values in platform))


def pod_templates(objects: Sequence[Mapping]) -> Iterator[tuple[str, dict]]:
    """Yield the name and the Pod template of each workload, and of each Pod itself."""
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] in WORKLOADS:
            yield name, one["spec"]["template"]
        elif one["kind"] == "CronJob":
            yield name, one["spec"]["jobTemplate"]["spec"]["template"]
        elif one["kind"] == "Pod":
            yield name, {"metadata": one["metadata"], "spec": one["spec"]}


def containers(template: Mapping) -> list[dict]:
    """Return all containers of a Pod template, those of its start too."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]
