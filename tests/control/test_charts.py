"""The charts of the dependencies, the platform's profiles and the overlays with them, on a real API server."""

from __future__ import annotations

import pytest
import yaml
from chart_case import WORKLOADS, pod_templates, scenarios
from control.apiserver import ControlPlane
from control.test_install import Cluster
from installs import SYSTEM
from kubernetes import client

SCENARIOS = {str(one): one for one in scenarios()}
# Kinds of prometheus-operator are judged by its own definitions, in a test of theirs.
OTHERS = ("monitoring.coreos.com/v1",)


@pytest.fixture(scope="module")
def shared(
    plane: ControlPlane, definition: client.V1CustomResourceDefinition, tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    """The API server of this folder's tests, with a namespace under restricted Pod Security."""
    cluster = Cluster(plane, tmp_path_factory.mktemp("charts"))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    names = (SYSTEM, "default", "forecasts", "desk-a", "desk-b")
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name in names]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(spaces))
    return cluster


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_api_server_accepts_every_object_of_a_chart_and_each_of_its_pods(shared: Cluster, name: str) -> None:
    assert accepted_pods(shared, SCENARIOS[name].render())


def accepted_pods(cluster: Cluster, rendered: list[dict]) -> int:
    """Return how many Pods a controller would make of the objects, once the server has accepted all of both."""
    objects = [one for one in rendered if one["apiVersion"] not in OTHERS]
    # Pod Security judges Pods alone, so each workload's Pod is tried too.
    pods = [
        _pod(number, one, template)
        for number, one in enumerate(one for one in objects if one["kind"] in (*WORKLOADS, "CronJob"))
        for _, template in pod_templates([one])
    ]
    accounts = [one for one in objects if one["kind"] == "ServiceAccount"]
    if accounts:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(accounts))
    tried = [*objects, *pods]
    words = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-o", "name")
    accepted = cluster.kubectl("apply", *words, "-f", "-", given=yaml.safe_dump_all(tried)).splitlines()
    assert len(accepted) == len(tried)
    return len(pods)


def _pod(number: int, workload: dict, template: dict) -> dict:
    """Return the Pod that a controller would make of a workload."""
    spec = dict(template["spec"])
    # No controller is here that makes classes of priority.
    spec.pop("priorityClassName", None)
    claims = workload["spec"].get("volumeClaimTemplates", [])
    made = [{"name": one["metadata"]["name"], "emptyDir": {}} for one in claims]
    spec["volumes"] = [*spec.get("volumes", []), *made]
    metadata = {"name": f"tried-{number}", "namespace": SYSTEM, "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
