"""The platform without Helm, on a real API server: what each overlay and component makes, and the Pods of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from control import test_charts, test_prometheus_operator
from control.test_install import Cluster
from installs import KUSTOMIZE, kustomized

COMPONENTS = sorted(path.parent.name for path in KUSTOMIZE.glob("components/*/values.yaml"))
# Sets of components that go together; those of the development overlay are tried with it.
TOGETHER = {
    "one server each": [name for name in ("clickhouse", "kafka", "nats", "redis") if name in COMPONENTS],
    "several servers each": [name for name in COMPONENTS if name.endswith("-replicated")],
}

shared = test_charts.shared
definitions = test_prometheus_operator.definitions
apply = test_prometheus_operator.apply


def of_components(folder: Path, *names: str) -> list[dict]:
    """Return the objects of a kustomization of components alone."""
    content = {"components": [os.path.relpath(KUSTOMIZE / "components" / name, folder) for name in names]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return kustomized(folder)


def test_every_component_is_tried_here() -> None:
    development = yaml.safe_load((KUSTOMIZE / "overlays" / "development" / "kustomization.yaml").read_text())
    tried = {Path(one).name for one in development["components"]}.union(*TOGETHER.values(), {"prometheus-operator"})
    assert set(COMPONENTS) <= tried


@pytest.mark.parametrize("name", ["development", "minimal", "namespaced", "production"])
def test_the_api_server_accepts_every_object_of_an_overlay_and_each_of_its_pods(shared: Cluster, name: str) -> None:
    pods = test_charts.accepted_pods(shared, kustomized(KUSTOMIZE / "overlays" / name))
    assert pods == (10 if name == "development" else 1)


@pytest.mark.parametrize("names", TOGETHER.values(), ids=list(TOGETHER))
def test_the_api_server_accepts_every_object_of_components_and_each_of_their_pods(
    shared: Cluster, tmp_path: Path, names: list[str]
) -> None:
    assert test_charts.accepted_pods(shared, of_components(tmp_path, *names)) >= len(names)


def test_the_real_definitions_of_prometheus_operator_accept_its_component(
    apply: Callable[[list[dict]], list[str]], tmp_path: Path
) -> None:
    objects = of_components(tmp_path, "prometheus-operator")
    assert {one["kind"] for one in objects} == {"PodMonitor", "PrometheusRule"}
    assert len(apply(objects)) == len(objects)
