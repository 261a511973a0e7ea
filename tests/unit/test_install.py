"""The manifests, the kustomize base and the chart make the same objects; overlays change what they say."""

from __future__ import annotations

import os
from copy import deepcopy
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from installs import CHART, KUSTOMIZE, MANIFESTS, ROOT, RUN_POLICY, charted, find, kustomized, plain

from presage_operator.names import CADENCE_LABEL, FIELD_MANAGER
from presage_operator.settings import VERSION_TAG, Settings

OVERLAYS = ("minimal", "development", "production", "namespaced")


def by_name(objects: list[dict]) -> dict[tuple[str, str, str], dict]:
    named = {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in deepcopy(objects)
    }
    assert len(named) == len(objects), "an object is there twice"
    return named


def without_helms_own(objects: list[dict]) -> list[dict]:
    """Remove what tells a release from the manifests: Helm's two labels, two annotations and the test.

    The definition, which is generated without any label, loses all.
    """
    kept = [one for one in deepcopy(objects) if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    for one in kept:
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            del one["metadata"]["labels"][label]
        # A definition of the chart outlives its release, and other settings start other Pods; kubectl does neither.
        if one["kind"] == "CustomResourceDefinition":
            del one["metadata"]["labels"], one["metadata"]["annotations"]["helm.sh/resource-policy"]
            assert not one["metadata"].pop("annotations")
        if one["kind"] == "Deployment":
            template = one["spec"]["template"]["metadata"]
            del template["annotations"]["checksum/settings"]
            assert not template.pop("annotations")
    return kept


def settings_of(objects: list[dict]) -> Settings:
    """The settings that the Deployment mounts."""
    operator = find(objects, "Deployment", "presage-operator")
    volumes = {volume["name"]: volume for volume in operator["spec"]["template"]["spec"]["volumes"]}
    mounted = find(objects, "ConfigMap", volumes["settings"]["configMap"]["name"])
    return Settings.model_validate(yaml.safe_load(mounted["data"]["settings.yaml"]))


def test_the_kustomize_base_makes_the_objects_of_the_manifests() -> None:
    assert by_name(kustomized(KUSTOMIZE / "base")) == by_name(plain())


def test_the_chart_makes_the_objects_of_the_manifests_but_the_namespace_which_helm_makes() -> None:
    manifests = by_name(plain())
    del manifests["Namespace", "", "presage-system"]
    assert by_name(without_helms_own(charted())) == manifests


def test_the_charts_network_policy_is_that_of_the_component() -> None:
    policy = find(without_helms_own(charted("--set", "networkPolicy.enabled=true")), "NetworkPolicy")
    assert policy == find(kustomized(KUSTOMIZE / "overlays" / "production"), "NetworkPolicy")


def test_every_manifest_is_in_the_kustomization() -> None:
    listed = yaml.safe_load((ROOT / "manifests" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(
        str(path.relative_to(ROOT / "manifests")) for folder in MANIFESTS for path in folder.glob("*.yaml")
    )


def test_the_namespace_comes_before_what_is_in_it() -> None:
    kinds = [one["kind"] for one in plain()]
    assert kinds.index("Namespace") < min(
        number for number, one in enumerate(plain()) if "namespace" in one["metadata"]
    )


def test_the_installed_settings_are_the_operators_defaults() -> None:
    assert settings_of(plain()) == Settings()


def test_the_images_are_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == VERSION_TAG
    assert find(plain(), "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].endswith(VERSION_TAG)


def test_the_lease_that_the_role_names_is_the_one_of_the_settings() -> None:
    rules = find(plain(), "Role")["rules"]
    assert rules[0]["resourceNames"] == [Settings().leader_election.lease_name] == [FIELD_MANAGER]


def test_nothing_selects_pods_of_another_release() -> None:
    deployment = find(plain(), "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert find(plain(), "Service")["spec"]["selector"] == labels
    assert find(plain(), "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    (other,) = (one for one in charted(release="other") if one["kind"] == "Deployment")
    assert other["spec"]["selector"]["matchLabels"] != labels


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_adds_to_the_base_and_its_settings_are_understood(overlay: str) -> None:
    objects = kustomized(KUSTOMIZE / "overlays" / overlay)
    settings = settings_of(objects)
    assert len([one for one in objects if "settings.yaml" in one.get("data", {})]) == 1
    changed = settings.model_dump(exclude_defaults=True)
    assert (
        set(changed)
        == {
            "minimal": set(),
            "development": {"images", "lake", "tracking", "pushgateway"},
            "production": {"pipelines", "lake", "tracking", "pushgateway", "allowed"},
            "namespaced": {"namespaces"},
        }[overlay]
    )


@pytest.mark.parametrize("overlay", ["development", "production", "namespaced"])
def test_other_settings_of_an_overlay_start_other_pods(overlay: str) -> None:
    objects = kustomized(KUSTOMIZE / "overlays" / overlay)
    (settings,) = (one for one in objects if "settings.yaml" in one.get("data", {}))
    assert settings["metadata"]["name"].startswith("presage-settings-")


def test_lakes_of_the_production_overlay_may_be_mounted_by_every_node() -> None:
    volume = settings_of(kustomized(KUSTOMIZE / "overlays" / "production")).lake.volume
    assert volume is not None
    assert volume.access_modes == ("ReadWriteMany",)


def test_the_policy_of_runs_comes_into_the_namespace_of_a_kustomization_and_bounds_runs_alone(tmp_path: Path) -> None:
    component = os.path.relpath(RUN_POLICY.resolve(), tmp_path.resolve())
    content = {"namespace": "desk-a", "components": [component]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    (policy,) = kustomized(tmp_path)
    assert policy["metadata"]["namespace"] == "desk-a"
    assert policy["spec"]["podSelector"] == {"matchExpressions": [{"key": CADENCE_LABEL, "operator": "Exists"}]}
    assert "ingress" not in policy["spec"]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("10.96.0.1", False),
        ("172.20.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("127.0.0.1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
    ],
)
def test_a_bounded_run_reaches_what_is_public_and_nothing_inside(address: str, allowed: bool) -> None:
    policy = yaml.safe_load((RUN_POLICY / "network-policy.yaml").read_text())
    names, others = policy["spec"]["egress"]
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    blocks = [one["ipBlock"] for one in others["to"]]
    reached = any(
        ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(exception) for exception in block["except"])
        for block in blocks
    )
    assert reached == allowed


def test_the_namespaced_overlay_binds_no_rights_outside_of_its_namespaces() -> None:
    objects = kustomized(KUSTOMIZE / "overlays" / "namespaced")
    assert not [one for one in objects if one["kind"] == "ClusterRoleBinding"]
    places = {one["metadata"]["namespace"] for one in objects if one["kind"] == "RoleBinding"}
    assert places == {*settings_of(objects).namespaces, "presage-system"}
