"""What the charts render for prometheus-operator, as an API server with its real definitions takes it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import lacking
from control.apiserver import ControlPlane
from installs import KUBERNETES, ROOT, SYSTEM, ToolError, helm, kubectl, run

GROUP = "monitoring.coreos.com"
MODULE = "github.com/prometheus-operator/prometheus-operator"
CHARTS = sorted(path.parent.name for path in ROOT.glob("charts/*/values.yaml") if path.parent.name != "presage")
MONITORED = [name for name in CHARTS if "serviceMonitor:" in (ROOT / "charts" / name / "values.yaml").read_text()]


@pytest.fixture(scope="module")
def definitions() -> Path:
    """The folder of the operator's own CustomResourceDefinitions, from its module; its checksum is in our go.sum."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        lacking("no Go toolchain to fetch prometheus-operator's definitions with")
    done = subprocess.run(
        [go, "mod", "download", "-json", MODULE],
        cwd=Path(__file__).parent / "prometheus_operator",
        env=os.environ | {"GOFLAGS": "-mod=readonly"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lacking(f"prometheus-operator's module cannot be had: {done.stderr[-500:]}")
    return Path(json.loads(done.stdout)["Dir"]) / "example" / "prometheus-operator-crd"


@pytest.fixture(scope="module")
def apply(
    plane: ControlPlane, definitions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[list[dict]], list[str]]]:
    """Applies objects to a server with those definitions, which keeps nothing of them, and gives their names."""
    kubeconfig = tmp_path_factory.mktemp("operator") / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(plane.kubeconfig())
    tool = (kubectl(), "--kubeconfig", kubeconfig)
    files = [definitions / f"{GROUP}_{kind}.yaml" for kind in ("servicemonitors", "podmonitors", "prometheusrules")]
    words = [word for file in files for word in ("-f", file)]
    run([*tool, "apply", "--server-side", *words])
    run([*tool, "wait", "--for=condition=Established", "--timeout=60s", *words])
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    run([*tool, "apply", "--server-side", "-f", "-"], yaml.safe_dump(namespace))

    def dry(objects: list[dict]) -> list[str]:
        options = ("--server-side", "--dry-run=server", "--validate=strict", "-o", "name")
        return run([*tool, "apply", *options, "-f", "-"], yaml.safe_dump_all(objects)).split()

    yield dry
    run([*tool, "delete", *words, "--timeout=60s"])


def rendered(chart: str, *words: str | Path) -> list[dict]:
    """Return what a chart renders for prometheus-operator."""
    options = ("--namespace", SYSTEM, "--kube-version", KUBERNETES, *words)
    text = run([helm(), "template", "presage", ROOT / "charts" / chart, *options])
    return [one for one in yaml.safe_load_all(text) if one and one["apiVersion"].startswith(f"{GROUP}/")]


@pytest.mark.parametrize("chart", MONITORED)
def test_the_real_definitions_accept_each_charts_service_monitor(
    apply: Callable[[list[dict]], list[str]], chart: str
) -> None:
    objects = rendered(chart, "--set", "metrics.enabled=true,metrics.serviceMonitor.enabled=true")
    assert [one["kind"] for one in objects] == ["ServiceMonitor"]
    assert len(apply(objects)) == 1


@pytest.mark.parametrize("values", ["everything", "prometheus-operator"])
def test_the_real_definitions_accept_the_monitors_and_rules_of_the_monitoring_chart(
    apply: Callable[[list[dict]], list[str]], values: str
) -> None:
    objects = rendered("monitoring", "--values", ROOT / "charts" / "monitoring" / "ci" / f"{values}-values.yaml")
    kinds = [one["kind"] for one in objects]
    assert kinds.count("PodMonitor") == 2
    assert kinds.count("PrometheusRule") == 1
    assert len(apply(objects)) == len(objects)


def test_the_rules_for_the_operator_are_those_of_the_rule_files() -> None:
    (rule,) = (
        one
        for one in rendered("monitoring", "--set", "prometheusOperator.enabled=true")
        if one["kind"] == "PrometheusRule"
    )
    files = sorted((ROOT / "charts" / "monitoring" / "files" / "rules").glob("*.yaml"))
    assert rule["spec"]["groups"] == [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def test_the_real_definitions_refuse_a_monitor_with_an_unknown_field(
    apply: Callable[[list[dict]], list[str]],
) -> None:
    monitor = rendered("monitoring", "--set", "prometheusOperator.enabled=true")[0]
    monitor["spec"]["interwal"] = "1m"
    with pytest.raises(ToolError, match="interwal"):
        apply([monitor])
