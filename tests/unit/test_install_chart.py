"""The chart's values, its schema and what it renders of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from installs import CHART, KUBERNETES, ROOT, ToolError, charted, find, helm, run

from presage_operator.settings import Settings

EVERYTHING = CHART / "ci" / "everything-values.yaml"
NAMESPACED = CHART / "ci" / "namespaced-values.yaml"


def generate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "charts" / "generate.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    shutil.copytree(ROOT / "manifests" / "crds", tmp_path / "manifests" / "crds")
    return tmp_path


def rendered_settings(*words: str | Path) -> dict:
    return yaml.safe_load(find(charted(*words), "ConfigMap")["data"]["settings.yaml"])


def pod_of(objects: list[dict]) -> dict:
    return find(objects, "Deployment")["spec"]["template"]


def test_the_schema_the_table_and_the_copied_definition_are_current() -> None:
    done = generate("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_generating_anew_changes_nothing_and_a_change_of_values_is_noticed(copied: Path) -> None:
    assert generate("--root", str(copied)).stdout == ""
    values = copied / "charts" / "presage" / "values.yaml"
    values.write_text(values.read_text().replace("replicas: 2", "replicas: 3"))
    checked = generate("--root", str(copied), "--check")
    assert checked.returncode == 1
    assert checked.stderr.count("make generate") == 2
    assert generate("--root", str(copied)).stdout.splitlines() == [
        "wrote charts/presage/values.schema.json",
        "wrote charts/presage/README.md",
    ]


def test_a_value_that_nobody_described_is_noticed(copied: Path) -> None:
    values = copied / "charts" / "presage" / "values.yaml"
    values.write_text(values.read_text() + "\nmystery: 1\n")
    assert "mystery has no `# --` above it" in generate("--root", str(copied), "--check").stderr


def test_the_chart_passes_helms_strict_lint() -> None:
    for values in (CHART / "values.yaml", EVERYTHING, NAMESPACED):
        run([helm(), "lint", "--strict", CHART, "--values", values, "--kube-version", KUBERNETES])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("settings.lake.volum=x", "additional properties 'volum' not allowed"),
        ("settings.workers=0", "/settings/workers': minimum"),
        ("settings.pipelines.backend=airflow", "/settings/pipelines/backend"),
        ("image.digest=latest", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("networkPolicy.egressPorts={0}", "/networkPolicy/egressPorts/0"),
        ("settings.namespaces={a}", "give watchNamespaces in its place"),
        ("settings.leaderElection.enabled=false", "set replicas: 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(setting: str, told: str) -> None:
    with pytest.raises(ToolError) as caught:
        charted("--set", setting)
    assert told in str(caught.value)


def test_a_chart_around_this_one_may_give_its_globals() -> None:
    assert charted("--set", "global.team=desk") == charted()


def test_the_settings_of_the_values_become_the_operators() -> None:
    settings = Settings.model_validate(rendered_settings("--values", EVERYTHING))
    assert settings.pipelines.active_deadline_seconds == 3600
    assert settings.lake.s3
    assert settings.images.pull_policy == "Always"
    assert settings.images.pull_secrets == ("registry",)
    assert settings.images.steps == "registry.example.com:5000/presage/steps:0.1.0-rc.1"
    assert settings.images.server == f"presage/server@sha256:{'1' * 64}"


def test_what_the_settings_say_goes_before_other_values() -> None:
    rendered = rendered_settings("--set", "settings.images.steps=mine:1,settings.images.pullPolicy=Never")
    assert rendered["images"] == {"steps": "mine:1", "pullPolicy": "Never", "server": "presage/server:0.1.0"}


@pytest.mark.parametrize(
    ("release", "words", "lease"),
    [
        ("presage", (), "presage-operator"),
        ("desk", (), "desk-presage-operator"),
        ("presage", ("--set", "fullnameOverride=oracle"), "oracle-operator"),
        ("desk", ("--set", "settings.leaderElection.retryPeriodSeconds=1"), "desk-presage-operator"),
        ("desk", ("--set", "settings.leaderElection.leaseName=chosen"), "chosen"),
    ],
    ids=["as the manifests", "a release", "a name of its own", "other settings of it", "a lease of its own"],
)
def test_a_release_elects_by_a_lease_of_its_own_that_its_role_names(
    release: str, words: tuple[str, ...], lease: str
) -> None:
    objects = charted(*words, release=release)
    settings = Settings.model_validate(yaml.safe_load(find(objects, "ConfigMap")["data"]["settings.yaml"]))
    assert settings.leader_election.lease_name == lease
    assert find(objects, "Role")["rules"][0]["resourceNames"] == [lease]


def test_other_settings_start_other_pods_and_the_same_settings_do_not() -> None:
    def checksum(*words: str) -> str:
        return pod_of(charted(*words))["metadata"]["annotations"]["checksum/settings"]

    assert checksum() == checksum("--set", "podLabels.team=desk")
    assert checksum() != checksum("--set", "settings.workers=4")


def test_values_reach_the_objects() -> None:
    objects = charted("--values", EVERYTHING)
    pod = pod_of(objects)
    spec = pod["spec"]
    container = spec["containers"][0]
    assert find(objects, "Deployment")["metadata"]["name"] == "forecasting-operator"
    assert find(objects, "Deployment")["spec"]["replicas"] == 3
    assert container["image"] == f"registry.example.com:5000/mirror/presage/operator@sha256:{'0' * 64}"
    assert container["imagePullPolicy"] == "Always"
    assert container["ports"] == [{"name": "http", "containerPort": 9090}]
    assert container["env"][-1] == {"name": "PRESAGE_LOG_LEVEL", "value": "DEBUG"}
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == find(objects, "ServiceAccount")["metadata"]["name"] == "forecaster"
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    assert {"nodeSelector", "tolerations", "affinity"} <= set(spec)
    assert pod["metadata"]["labels"]["team"] == pod["metadata"]["annotations"]["example.com/team"] == "desk"
    assert find(objects, "ServiceAccount")["metadata"]["annotations"] == {"example.com/role": "forecaster"}
    assert find(objects, "Role")["rules"][0]["resourceNames"] == ["forecasting"]
    assert "annotations" not in find(objects, "CustomResourceDefinition")["metadata"]
    assert find(objects, "NetworkPolicy")["spec"]["egress"][1]["ports"] == [{"port": 6443, "protocol": "TCP"}]
    assert [one["metadata"]["name"] for one in objects if one["kind"] == "ClusterRole"] == ["forecasting-operator"]


def test_a_namespaced_installation_has_no_object_of_the_cluster() -> None:
    objects = charted("--values", NAMESPACED)
    assert all("namespace" in one["metadata"] for one in objects)
    assert {one["metadata"]["namespace"] for one in objects} == {"presage-system", "desk-a", "desk-b"}
    assert rendered_settings("--values", NAMESPACED)["namespaces"] == ["desk-a", "desk-b"]


def test_rights_and_service_account_may_be_somebody_elses() -> None:
    objects = charted("--set", "rbac.create=false,serviceAccount.create=false")
    assert pod_of(objects)["spec"]["serviceAccountName"] == "default"
    assert not [one for one in objects if one["kind"] == "ServiceAccount" or "Role" in one["kind"]]


def test_one_replica_needs_no_disruption_budget_and_no_election() -> None:
    objects = charted("--set", "replicas=1,settings.leaderElection.enabled=false")
    assert not [one for one in objects if one["kind"] == "PodDisruptionBudget"]


def test_names_stay_within_what_kubernetes_allows() -> None:
    objects = charted(release="r" * 53)
    assert max(len(one["metadata"]["name"]) for one in objects) <= 63
    objects = charted("--set", "nameOverride=oracle", release="desk")
    assert find(objects, "Deployment")["metadata"]["name"] == "desk-oracle-operator"
