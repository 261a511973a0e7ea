"""Installing on a real API server: strict validation, Pod Security, and each way of installing from end to end."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import lacking
from control.apiserver import ControlPlane, ControlPlaneError, control_plane, control_plane_binary
from installs import (
    CHART,
    KUSTOMIZE,
    MANIFESTS,
    RUN_POLICY,
    SYSTEM,
    ToolError,
    charted,
    find,
    helm,
    kubectl,
    kustomized,
    plain,
    run,
)
from kubernetes import client

PLACES = (SYSTEM, "desk-a", "desk-b", "forecasts")
INSTALLS: dict[str, Callable[[], list[dict]]] = {
    "manifests": plain,
    "chart": charted,
    "chart-everything": lambda: charted("--values", CHART / "ci" / "everything-values.yaml"),
    "chart-namespaced": lambda: charted("--values", CHART / "ci" / "namespaced-values.yaml"),
    **{
        f"kustomize-{folder.name}": lambda folder=folder: kustomized(folder)
        for folder in sorted([KUSTOMIZE / "base", *(KUSTOMIZE / "overlays").iterdir()])
    },
}
JOB = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: kept, namespace: default}
spec:
  frequency: 1d
  target: {source: prices, column: Close}
  sources: [{name: prices, availability: {lag: 0s}, file: {uri: prices.csv}}]
"""
WAIT_SECONDS = 60


class Cluster:
    """kubectl and helm as a user of one API server."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._kubeconfig = folder / "kubeconfig"
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(plane.kubeconfig())

    def kubectl(self, *words: str | Path, given: str | None = None) -> str:
        return run([kubectl(), "--kubeconfig", self._kubeconfig, *words], given)

    def helm(self, *words: str | Path) -> str:
        return run([helm(), "--kubeconfig", self._kubeconfig, *words])

    def names(self, kinds: str, *words: str) -> list[str]:
        return self.kubectl("get", kinds, "-o", "name", *words).splitlines()

    def until(self, holds: Callable[[], bool]) -> None:
        """Poll until something holds, within a bound."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, "it does not come to hold"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def shared(
    plane: ControlPlane, definition: client.V1CustomResourceDefinition, tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    """The API server of this folder's tests, with our namespaces and the definition on it."""
    cluster = Cluster(plane, tmp_path_factory.mktemp("shared"))
    namespace = find(plain(), "Namespace")
    namespaces = [namespace | {"metadata": namespace["metadata"] | {"name": name}} for name in PLACES]
    cluster.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(namespaces))
    return cluster


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with controllers that nobody has installed anything on."""
    try:
        control_plane_binary()
    except ControlPlaneError as error:
        lacking(str(error))
    with control_plane(controllers=True) as plane:
        yield Cluster(plane, tmp_path_factory.mktemp("own"))


@pytest.mark.parametrize("name", INSTALLS)
def test_the_api_server_accepts_every_object_as_it_is(shared: Cluster, name: str) -> None:
    objects = INSTALLS[name]()
    words = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-o", "name")
    accepted = shared.kubectl("apply", *words, "-f", "-", given=yaml.safe_dump_all(objects)).splitlines()
    assert len(accepted) == len(objects)


def test_the_api_server_accepts_the_policy_of_runs_in_any_namespace(shared: Cluster) -> None:
    words = ("--namespace", "desk-a", "--server-side", "--dry-run=server", "--validate=strict", "-o", "name")
    accepted = shared.kubectl("apply", *words, "-f", RUN_POLICY / "network-policy.yaml")
    assert accepted.split() == ["networkpolicy.networking.k8s.io/presage-runs"]


@pytest.mark.parametrize("kind", ["dask", "spark"])
def test_the_api_server_accepts_the_clusters_that_run_tasks(shared: Cluster, kind: str) -> None:
    words = ("--namespace", SYSTEM, "--server-side", "--dry-run=server", "--validate=strict", "-o", "name")
    file = KUSTOMIZE / "components" / kind / f"{kind}.yaml"
    assert len(shared.kubectl("apply", *words, "-f", file).split()) == 3
    # Pod Security, which this namespace enforces, judges Pods only.
    templates = [one["spec"]["template"] for one in yaml.safe_load_all(file.read_text()) if one["kind"] == "Deployment"]
    metadata = {"namespace": SYSTEM}
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata | {"name": f"tried-{number}"},
            "spec": template["spec"],
        }
        for number, template in enumerate(templates)
    ]
    assert len(shared.kubectl("apply", *words, "-f", "-", given=yaml.safe_dump_all(pods)).split()) == 2


def test_strict_validation_notices_an_unknown_field(shared: Cluster) -> None:
    deployment = find(plain(), "Deployment")
    deployment["spec"]["replicaz"] = 2
    words = ("--server-side", "--dry-run=server", "--validate=strict")
    with pytest.raises(ToolError, match="replicaz"):
        shared.kubectl("apply", *words, "-f", "-", given=yaml.safe_dump(deployment))


def test_pods_of_the_operator_and_of_helms_test_pass_restricted_pod_security(shared: Cluster) -> None:
    for objects in (make() for make in INSTALLS.values()):
        (template,) = (
            one["spec"]["template"]
            for one in objects
            if one["kind"] == "Deployment" and one["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
        )
        metadata = template["metadata"] | {"name": "tried", "namespace": SYSTEM}
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]
        pods += [one for one in objects if one["kind"] == "Pod"]
        for pod in pods:
            # No controllers are here that would make a priority class's admission or a service account's.
            pod["spec"].pop("priorityClassName", None)
            shared.kubectl("create", "--dry-run=server", "-f", "-", given=yaml.safe_dump(pod))


def test_the_namespace_refuses_a_pod_that_is_less_restricted(shared: Cluster) -> None:
    spec = find(plain(), "Deployment")["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": SYSTEM}, "spec": spec}
    with pytest.raises(ToolError, match='violates PodSecurity "restricted'):
        shared.kubectl("create", "--dry-run=server", "-f", "-", given=yaml.safe_dump(pod))


def test_manifests_and_kustomize_install_the_same_and_uninstall_leaves_nothing(own: Cluster) -> None:
    files = [word for folder in MANIFESTS for word in ("-f", folder)]
    told = own.kubectl("apply", *files).splitlines()
    assert len(told) == len(plain())
    assert all(line.endswith(" created") for line in told)
    # Controllers make the Pods under the namespace's Pod Security.
    own.until(lambda: len(own.names("pods", "--namespace", SYSTEM)) == 2)

    # The server itself compares; a difference would be an error.
    assert own.kubectl("diff", "-k", KUSTOMIZE / "base") == ""

    own.kubectl("delete", "--timeout=60s", *files)
    kinds = "namespaces,clusterroles,clusterrolebindings,crds"
    assert not [name for name in own.names(kinds) if "presage" in name]


def test_kubernetes_own_roles_come_to_know_prediction_jobs(own: Cluster) -> None:
    users = [one for one in plain() if one["metadata"]["name"] in ("presage-view", "presage-edit")]
    given = yaml.safe_dump_all([find(plain(), "CustomResourceDefinition"), *users])
    own.kubectl("apply", "--server-side", "-f", "-", given=given)
    try:
        for role in ("view", "edit", "admin"):
            subject = f"{role}@example.com"
            own.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={subject}", "-n", "default")

            def may(verb: str, *words: str, subject: str = subject) -> bool:
                words = ("auth", "can-i", verb, "predictionjobs.presage.dev", *words, "--as", subject, "-n", "default")
                try:
                    return own.kubectl(*words).strip() == "yes"
                except ToolError:
                    return False

            own.until(lambda may=may: may("list"))
            if role != "view":
                own.until(lambda may=may: may("create"))
            assert may("delete") == (role != "view")
            assert not may("patch", "--subresource=status")
    finally:
        own.kubectl("delete", "rolebinding", "view", "edit", "admin", "-n", "default", "--ignore-not-found")
        own.kubectl("delete", "-f", "-", given=given)


def test_helm_installs_upgrades_the_definition_and_keeps_it_with_the_jobs(own: Cluster, tmp_path: Path) -> None:
    older = tmp_path / "presage"
    shutil.copytree(CHART, older)
    definition = older / "files" / "predictionjobs.yaml"
    definition.write_text(definition.read_text().replace("    - pj\n", "    - older\n"))
    release = ("presage", "--namespace", "by-helm")
    notes = own.helm("install", *release, older, "--create-namespace").partition("NOTES:")[2]
    assert "apply -f manifests/examples/quickstart.yaml" in notes
    assert "wait --for=condition=Ready" in notes
    own.until(lambda: len(own.names("pods", "--namespace", "by-helm")) == 2)

    def short_names() -> list[str]:
        held = json.loads(own.kubectl("get", "crd", "predictionjobs.presage.dev", "-o", "json"))
        return held["status"]["acceptedNames"].get("shortNames", [])

    own.until(lambda: short_names() == ["older"])
    before = own.kubectl("get", "deployment", "presage-operator", "-n", "by-helm", "-o", "jsonpath={.spec.template}")
    own.helm("upgrade", *release, CHART)
    own.until(lambda: short_names() == ["pj"])
    after = own.kubectl("get", "deployment", "presage-operator", "-n", "by-helm", "-o", "jsonpath={.spec.template}")
    assert after == before
    own.helm("upgrade", *release, CHART, "--set", "settings.workers=4")
    held = yaml.safe_load(
        own.kubectl("get", "configmap", "presage-operator", "-n", "by-helm", "-o", r"jsonpath={.data.settings\.yaml}")
    )
    assert held["workers"] == 4

    own.kubectl("apply", "-f", "-", given=JOB)
    own.helm("uninstall", *release, "--wait")
    assert own.names("predictionjobs", "--namespace", "default") == ["predictionjob.presage.dev/kept"]
    assert own.names("deployments,services,configmaps,roles,rolebindings,pdb", "--namespace", "by-helm") == [
        "configmap/kube-root-ca.crt"
    ]
    assert not [name for name in own.names("clusterroles,clusterrolebindings") if "presage" in name]
    own.kubectl("delete", "crd", "predictionjobs.presage.dev", "--timeout=60s")
