"""The chart's Prometheus: its configuration, its rights, and its `helm test` against real servers."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from cluster.binaries import BuildError
from cluster.platform_image import _go_folder
from conftest import lacking
from installs import SYSTEM, ToolError, find, run
from monitoring_case import SCENARIOS, configuration_of, program, rendered, scenario, started
from servers.ports import free_port
from servers.pushgateway import PROGRAM


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Prometheus' own tool; Debian's build of it knows no Kubernetes."""
    try:
        return _go_folder("prometheus") / "promtool"
    except BuildError as error:
        lacking(str(error))


@pytest.mark.parametrize("name", ["default", *SCENARIOS])
def test_promtool_accepts_each_rendering_and_its_rules(promtool: Path, name: str, tmp_path: Path) -> None:
    files = configuration_of(rendered(*scenario(name)), "prometheus")
    if not files:
        assert name == "prometheus-operator"
        return
    rules = tmp_path / "rules"
    rules.mkdir()
    for file, text in files.items():
        if file != "prometheus.yml":
            (rules / file).write_text(text)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(files["prometheus.yml"].replace("/etc/prometheus", str(tmp_path)))
    said = run([promtool, "check", "config", configuration])
    assert f"{len(list(rules.iterdir()))} rule files found" in said


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("alertmanager.receivers.slack.enabled=true", "alertmanager.receivers.slack.existingSecret"),
        ("alertmanager.receivers.webhook.enabled=true", "alertmanager.receivers.webhook.url"),
        ("alertmanager.receivers.line.enabled=true", "alertmanager.receivers.line.existingSecret"),
        ("kafkaUi.enabled=true", "kafkaUi.bootstrapServers"),
        ("grafana.mysql.host=mysql", "grafana.mysql.existingSecret"),
        ("prometheus.enabled=false", "grafana.prometheusUrl"),
        ("alertmanager.retention=1d", "retention"),
    ],
)
def test_values_that_lack_something_are_refused_with_its_name(values: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        rendered("--set", values)


def test_prometheus_may_read_pods_and_nothing_else() -> None:
    for words in ((), ("--set", "jobNamespaces={desk-a}")):
        roles = [one for one in rendered(*words) if one["kind"] in ("Role", "ClusterRole")]
        assert {one["metadata"].get("namespace") for one in roles} == ({SYSTEM, "desk-a"} if words else {None})
        for role in roles:
            assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]


@pytest.mark.parametrize("client", ["curl", "wget"])
def test_the_script_of_helm_test_passes_against_real_servers(client: str, tmp_path: Path) -> None:
    # The official image has BusyBox.
    tools = {"curl": ["curl"], "wget": ["wget", "nc"]}[client]
    found = program("curl" if client == "curl" else "busybox")
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(found)
    for tool in ("sh", "grep", "date", "sleep", "cat"):
        (folder / tool).symlink_to(program(tool))
    objects = rendered()
    addresses = {
        f"presage-{part}.{SYSTEM}.svc:{port}": f"127.0.0.1:{free_port()}"
        for part, port in (("prometheus", 9090), ("alertmanager", 9093), ("pushgateway", 9091))
    }
    prometheus, alertmanager, pushgateway = addresses.values()

    def led(text: str) -> str:
        for service, address in addresses.items():
            text = text.replace(service, address)
            host, port = address.split(":")
            text = text.replace(f"{service.partition(':')[0]} {service.partition(':')[2]}", f"{host} {port}")
        return text

    files = configuration_of(objects, "prometheus")
    made = yaml.safe_load(led(files.pop("prometheus.yml")))
    # Here is no API server to ask for Pods.
    made["scrape_configs"] = [one for one in made["scrape_configs"] if "kubernetes_sd_configs" not in one]
    made["scrape_configs"][0]["static_configs"][0]["targets"] = [prometheus]
    made["global"]["scrape_interval"] = "1s"
    made["rule_files"] = [str(tmp_path / "rules" / "*.yaml")]
    (tmp_path / "rules").mkdir()
    for name, text in files.items():
        (tmp_path / "rules" / name).write_text(text)
    (tmp_path / "prometheus.yml").write_text(json.dumps(made))
    told = configuration_of(objects, "alertmanager")["alertmanager.yml"]
    (tmp_path / "alertmanager.yml").write_text(told.replace("/etc/alertmanager", str(tmp_path)))
    commands = {
        prometheus: [
            *(program("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={tmp_path / 'samples'}", f"--web.listen-address={prometheus}"),
        ],
        alertmanager: [
            *(program("alertmanager", "prometheus-alertmanager"), f"--config.file={tmp_path / 'alertmanager.yml'}"),
            *(f"--storage.path={tmp_path / 'silences'}", f"--web.listen-address={alertmanager}"),
            "--cluster.listen-address=",
        ],
        pushgateway: [program("pushgateway", PROGRAM), f"--web.listen-address={pushgateway}"],
    }
    with ExitStack() as stack:
        for address, command in commands.items():
            log = tmp_path / f"{Path(command[0]).name}.log"
            stack.enter_context(started(command, f"http://{address}/-/ready", log))
        script = led(find(objects, "Pod")["spec"]["containers"][0]["args"][0])
        said = run([program("env"), f"PATH={folder}", "sh", "-ec", script])
        assert said.endswith("a value was pushed and read back\n")
        left = run([program("curl"), "-fsS", f"http://{pushgateway}/metrics"])
        assert "presage_helm_test" not in left
