"""What a real Prometheus finds on a real API server by the chart's configuration, with the chart's own rights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest
import yaml
from cluster.binaries import BuildError
from cluster.platform_image import _go_folder
from conftest import lacking
from control.apiserver import ControlPlane
from installs import KUBERNETES, ROOT, SYSTEM, charted, helm, kubectl, run
from monitoring_case import configuration_of, rendered, started
from operator_case import JOB, SETTINGS, UID
from servers.ports import free_port

from presage_operator.desired.server import server_objects
from presage_operator.desired.serving import serving_objects

RUN = "20260102T030405Z-8f14e45f"
DESK = JOB.metadata.namespace
SECONDS = 60
METRICS = ("--set", "metrics.enabled=true")


@pytest.fixture(scope="module")
def tool(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Runs kubectl on the server of this folder, with the namespaces of the platform and of a job."""
    kubeconfig = tmp_path_factory.mktemp("discovery") / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(plane.kubeconfig())

    def call(*words: str, given: object = None) -> str:
        return run([kubectl(), "--kubeconfig", kubeconfig, *words], None if given is None else yaml.safe_dump(given))

    for name in (SYSTEM, DESK):
        call(
            "apply",
            "--server-side",
            "-f",
            "-",
            given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        )
    yield call
    for name in (SYSTEM, DESK):
        call("delete", "pods", "--all", "--grace-period=0", "--force", "--namespace", name)


def dependency(chart: str, *words: str) -> list[dict]:
    options = ("--namespace", SYSTEM, "--kube-version", KUBERNETES, *words)
    text = run([helm(), "template", "presage", ROOT / "charts" / chart, *options])
    return [one for one in yaml.safe_load_all(text) if one]


def workloads() -> dict[str, dict]:
    """Return Pods' templates by the name of what they are, of the charts and of the operator."""
    everything = rendered("--values", ROOT / "charts" / "monitoring" / "ci" / "everything-values.yaml")
    objects = {
        "redis": dependency("redis", *METRICS),
        "redis-quiet": dependency("redis"),
        "minio": dependency("minio", *METRICS),
        "prices": [one for one in everything if one["metadata"]["name"] == "presage-price-exporter"],
        "grafana": [one for one in everything if one["metadata"]["name"] == "presage-grafana"],
        "operator": charted(),
        "served": list(server_objects(JOB, uid=UID, run=RUN, settings=SETTINGS)),
        "kserve": [_kserve_double()],
    }
    kinds = ("Deployment", "StatefulSet")
    return {name: next(one for one in made if one["kind"] in kinds) for name, made in objects.items()}


def _kserve_double() -> dict:
    """Return the Deployment that KServe makes of a job's InferenceService, as far as a scrape sees it."""
    (service,) = serving_objects("kserve", JOB, uid=UID, run=RUN, settings=SETTINGS)
    predictor = service["spec"]["predictor"]
    metadata = {"labels": {**service["metadata"]["labels"], **predictor["labels"]}}
    spec = {"containers": predictor["containers"], "volumes": predictor["volumes"]}
    template = {"metadata": metadata, "spec": spec}
    return {"kind": "Deployment", "metadata": {"namespace": DESK}, "spec": {"template": template}}


def start_pods(tool: Callable[..., str]) -> None:
    """Make a Pod of each workload that says of itself what a kubelet would: that it runs, and its address."""
    for name, workload in workloads().items():
        template = workload["spec"]["template"]
        claims = [
            {"name": claim["metadata"]["name"], "emptyDir": {}}
            for claim in workload["spec"].get("volumeClaimTemplates", ())
        ]
        spec = template["spec"] | {"volumes": [*template["spec"]["volumes"], *claims]}
        namespace = workload["metadata"]["namespace"]
        metadata = template["metadata"] | {"name": name, "namespace": namespace}
        tool("create", "-f", "-", given={"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        status = {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
        patch = json.dumps({"status": status})
        tool("patch", "pod", name, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", patch)


@pytest.fixture(scope="module")
def found(
    plane: ControlPlane, tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], dict[str, tuple[str, dict[str, str]]]]]:
    """Gives what Prometheus would scrape of Pods, by the Pod's name: address and labels."""
    try:
        program = _go_folder("prometheus") / "prometheus"
    except BuildError as error:
        lacking(str(error))
    objects = rendered("--set", f"jobNamespaces={{{DESK}}}")
    rights = [one for one in objects if one["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    for one in rights:
        tool("apply", "--server-side", "-f", "-", given=one)
    start_pods(tool)
    folder = tmp_path_factory.mktemp("prometheus")
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(tool("create", "token", "presage-prometheus", "--namespace", SYSTEM))
    made = yaml.safe_load(configuration_of(objects, "prometheus")["prometheus.yml"])
    del made["rule_files"], made["alerting"]
    made["scrape_configs"] = [one for one in made["scrape_configs"] if "kubernetes_sd_configs" in one]
    for scrape in made["scrape_configs"]:
        # In a Pod these are where Kubernetes puts them.
        scrape["kubernetes_sd_configs"][0] |= {
            "api_server": plane.url,
            "authorization": {"credentials_file": str(token)},
            "tls_config": {"ca_file": str(plane.certificate)},
        }
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(made))
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(program), f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    command.append(f"--web.listen-address={url.removeprefix('http://')}")

    def targets() -> dict[str, tuple[str, dict[str, str]]]:
        with urlopen(f"{url}/api/v1/targets?state=active", timeout=10) as answer:
            active = json.loads(answer.read())["data"]["activeTargets"]
        found = {one["labels"]["pod"]: (one["scrapeUrl"], one["labels"]) for one in active}
        assert len(found) == len(active)
        return found

    with started(command, f"{url}/-/ready", folder / "prometheus.log"):
        deadline = time.monotonic() + SECONDS
        while len(targets()) < 6:
            assert time.monotonic() < deadline, targets()
            time.sleep(0.1)
        yield targets


def test_pods_are_found_by_the_rights_of_the_chart_and_named_after_their_programs(
    found: Callable[[], dict[str, tuple[str, dict[str, str]]]],
) -> None:
    names = {pod: (url, labels["job"], labels["namespace"]) for pod, (url, labels) in found().items()}
    assert names == {
        "redis": ("http://127.0.0.1:9121/metrics", "redis", SYSTEM),
        "minio": ("http://127.0.0.1:9000/minio/v2/metrics/cluster", "minio", SYSTEM),
        "prices": ("http://127.0.0.1:9095/metrics", "price-exporter", SYSTEM),
        "operator": ("http://127.0.0.1:8081/metrics", "operator", SYSTEM),
        "served": ("http://127.0.0.1:8080/metrics", "server", DESK),
        "kserve": ("http://127.0.0.1:8080/metrics", "server", DESK),
    }


def test_series_of_a_server_tell_whose_it_is(found: Callable[[], dict[str, tuple[str, dict[str, str]]]]) -> None:
    labels = {pod: labels.get("prediction_job") for pod, (_, labels) in found().items()}
    of_a_job = dict.fromkeys(("served", "kserve"), JOB.metadata.name)
    assert labels == {"redis": None, "minio": None, "prices": None, "operator": None, **of_a_job}
