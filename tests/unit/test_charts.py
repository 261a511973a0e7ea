"""What holds in every chart of a dependency: names, images, secrets, security, data, and who may reach it."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping

import pytest
import yaml
from chart_case import CHARTS, DEPENDENCIES, PLATFORM, PROFILES, Scenario, containers, pod_templates, scenarios
from installs import KUBERNETES, ToolError, helm, run

from presage_operator.settings import Settings

SCENARIOS = scenarios()
MEBIBYTE = {"Mi": 1, "Gi": 1024, "Ki": 1 / 1024}


@pytest.fixture(scope="module")
def rendered() -> Mapping[str, list[dict]]:
    return {str(one): one.render() for one in SCENARIOS}


@pytest.mark.parametrize("chart", DEPENDENCIES, ids=lambda chart: chart.name)
def test_a_chart_passes_helms_lint(chart) -> None:
    for values in (chart / "values.yaml", *sorted(chart.glob("ci/*-values.yaml"))):
        run([helm(), "lint", chart, "--values", values, "--kube-version", KUBERNETES])


@pytest.mark.parametrize("name", [str(one) for one in SCENARIOS])
def test_names_are_unique_and_say_their_release_and_what_they_are_part_of(rendered, name: str) -> None:
    objects = rendered[name]
    named = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(set(named)) == len(named)
    for one in objects:
        if one["kind"] == "CustomResourceDefinition":
            continue
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "presage", one["metadata"]
        assert len(one["metadata"]["name"]) <= 63


@pytest.mark.parametrize("name", [str(one) for one in SCENARIOS])
def test_every_container_is_bounded_restricted_and_of_a_named_version(rendered, name: str) -> None:
    for place, template in pod_templates(rendered[name]):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, place
        assert spec["securityContext"]["runAsUser"] > 0, place
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, place
        assert "serviceAccountName" in spec or spec["automountServiceAccountToken"] is False, place
        for container in containers(template):
            where = f"{place}, {container['name']}"
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, where
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where
            tag = container["image"].rpartition(":")[2]
            assert re.search(r"\d", tag), f"{where}: {container['image']}"
            assert "bitnami" not in container["image"]


@pytest.mark.parametrize("name", [str(one) for one in SCENARIOS])
def test_no_secret_is_outside_of_the_secrets(rendered, name: str) -> None:
    assert told_secrets(rendered[name]) == []


@pytest.mark.parametrize("field", ["data", "stringData"])
@pytest.mark.parametrize(
    "planted",
    [
        {"args": ["--password=drawn-0123456789"]},
        {"command": ["sh", "-c", "login drawn-0123456789"]},
        {"env": [{"name": "ADDRESS", "value": "http://user:drawn-0123456789@host"}]},
        {"env": [{"name": "ROOT_PASSWORD", "value": "of-somebody"}]},
    ],
    ids=["an-argument", "a-command", "an-address", "a-variable"],
)
def test_a_secret_that_is_planted_is_found(field: str, planted: dict) -> None:
    password = "drawn-0123456789"
    held = b64encode(password.encode()).decode() if field == "data" else password
    pod = {"containers": [{"name": "server", **planted}]}
    secret = {"kind": "Secret", "metadata": {"name": "one"}, field: {"root-password": held}}
    assert told_secrets([secret]) == []
    assert told_secrets([secret, {"kind": "Pod", "metadata": {"name": "two"}, "spec": pod}])


def told_secrets(objects: list[dict]) -> list[str]:
    """Return where other objects have what a Secret keeps, or a Pod a password that is written out."""
    kept = set(secret_values(objects))
    told = []
    for one in objects:
        text = "" if one["kind"] == "Secret" else json.dumps(one, ensure_ascii=False)
        told += [f"{one['kind']} {one['metadata']['name']}: a value of a Secret" for value in kept if value in text]
    for place, template in pod_templates(objects):
        for container in containers(template):
            for variable in container.get("env", []):
                name = variable["name"]
                # A value may be made of another variable, as `$(NAME)`.
                named = "valueFrom" in variable or "$(" in variable["value"]
                if re.search(r"PASSWORD|SECRET_|TOKEN", name) and not name.endswith("_FILE") and not named:
                    told.append(f"{place}, {container['name']}: {name}")
    return told


def secret_values(objects: list[dict]) -> Iterator[str]:
    """Yield what Secrets keep but the names of users, which are no secret."""
    for one in objects:
        if one["kind"] == "Secret":
            held = {key: b64decode(text).decode() for key, text in (one.get("data") or {}).items()}
            held |= one.get("stringData") or {}
            yield from (value for key, value in held.items() if value and not re.search(r"user|ACCESS_KEY_ID", key))


@pytest.mark.parametrize("name", [str(one) for one in SCENARIOS])
def test_a_workload_with_data_keeps_its_claims_and_selects_by_what_never_changes(rendered, name: str) -> None:
    for one in rendered[name]:
        if one["kind"] == "StatefulSet":
            for claim in one["spec"].get("volumeClaimTemplates", []):
                assert "helm.sh/chart" not in claim["metadata"].get("labels", {})
            kept = {"whenDeleted": "Retain", "whenScaled": "Retain"}
            assert one["spec"]["persistentVolumeClaimRetentionPolicy"] == kept
        if one["kind"] in ("StatefulSet", "Deployment"):
            selector = one["spec"]["selector"]["matchLabels"]
            assert "helm.sh/chart" not in selector
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert selector.items() <= labels.items()


@pytest.mark.parametrize("chart", DEPENDENCIES, ids=lambda chart: chart.name)
def test_every_pod_that_serves_has_a_policy_that_denies_what_it_does_not_name(chart) -> None:
    objects = Scenario(chart).render()
    policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
    for place, template in pod_templates(objects):
        labels = template["metadata"]["labels"]
        if labels["app.kubernetes.io/component"] == "test":
            continue
        held = [one for one in policies if one["podSelector"]["matchLabels"].items() <= labels.items()]
        assert held, f"{place} has no NetworkPolicy"
        for policy in held:
            assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
            assert all(rule.get("ports") for rule in policy.get("ingress", [])), place
    assert not [one for one in Scenario(chart).render("--set", "networkPolicy.enabled=false") if _is_policy(one)]


def _is_policy(one: dict) -> bool:
    return one["kind"] == "NetworkPolicy"


@pytest.mark.parametrize("chart", DEPENDENCIES, ids=lambda chart: chart.name)
def test_a_service_sends_to_no_pod_of_a_test_or_of_setting_up(chart) -> None:
    objects = Scenario(chart).render()
    others = [
        template["metadata"]["labels"]
        for _, template in pod_templates(objects)
        if template["metadata"]["labels"]["app.kubernetes.io/component"] in ("test", "setup")
    ]
    assert others
    for service in (one for one in objects if one["kind"] == "Service"):
        assert not [labels for labels in others if service["spec"]["selector"].items() <= labels.items()]


@pytest.mark.parametrize("chart", DEPENDENCIES, ids=lambda chart: chart.name)
def test_helms_test_is_a_pod_that_goes_by_itself(chart) -> None:
    tests = [one for one in Scenario(chart).render() if one["metadata"].get("annotations", {}).get("helm.sh/hook")]
    assert [one["metadata"]["annotations"]["helm.sh/hook"] for one in tests] == ["test"]
    assert tests[0]["spec"]["activeDeadlineSeconds"] <= 600


@pytest.mark.parametrize("chart", DEPENDENCIES, ids=lambda chart: chart.name)
def test_an_unknown_value_is_refused(chart) -> None:
    with pytest.raises(ToolError, match="additional properties 'replikas' not allowed"):
        Scenario(chart).render("--set", "replikas=3")


def test_the_platforms_charts_are_those_beside_it() -> None:
    about = yaml.safe_load((PLATFORM / "Chart.yaml").read_text())
    assert {one["name"] for one in about["dependencies"]} == {chart.name for chart in DEPENDENCIES}
    for one in about["dependencies"]:
        own = yaml.safe_load((CHARTS / one["name"] / "Chart.yaml").read_text())
        assert one["version"] == own["version"]
        assert one["condition"] == f"{one['name']}.enabled"
        assert (PLATFORM / "charts" / one["name"]).resolve() == CHARTS / one["name"]


def test_images_of_a_site_without_a_way_out_come_from_its_registry() -> None:
    objects = Scenario(PLATFORM, PROFILES / "full.yaml").render("--set", "global.imageRegistry=mirror.example.com")
    for place, template in pod_templates(objects):
        for container in containers(template):
            assert container["image"].startswith("mirror.example.com/"), f"{place}, {container['name']}"


def test_every_image_that_a_profile_runs_is_in_the_list_of_images() -> None:
    listed = set((CHARTS / "images.txt").read_text().split())
    for profile in sorted(PROFILES.glob("*.yaml")):
        for place, template in pod_templates(Scenario(PLATFORM, profile).render()):
            assert {one["image"] for one in containers(template)} <= listed, place


def settings_of(*words: str) -> Settings:
    (found,) = (
        one
        for one in Scenario(PLATFORM).render(*words)
        if one["kind"] == "ConfigMap" and "settings.yaml" in one["data"]
    )
    return Settings.model_validate(yaml.safe_load(found["data"]["settings.yaml"]))


def test_the_operator_is_told_of_the_dependencies_that_come_with_it() -> None:
    settings = settings_of("--values", str(PROFILES / "standard.yaml"))
    assert settings.lake.s3
    assert settings.lake.s3.uri == "s3://presage/lakes"
    assert settings.lake.s3.endpoint == "http://presage-minio.presage-system.svc:9000"
    assert settings.lake.s3.secret_name == "presage-lake"
    assert settings.tracking.uri == "http://presage-mlflow.presage-system.svc:5000"
    assert settings.pushgateway == "http://presage-pushgateway.presage-system.svc:9091"


def test_the_operator_is_told_of_dependencies_that_are_there_already() -> None:
    given = {
        "external.s3.uri": "s3://own/lakes",
        "external.s3.endpoint": "https://s3.example.com",
        "external.s3.secretName": "own",
        "external.mlflow.uri": "https://mlflow.example.com",
        "external.pushgateway.url": "http://push.example.com:9091",
    }
    settings = settings_of("--set", ",".join(f"{key}={value}" for key, value in given.items()))
    assert settings.lake.s3
    assert (settings.lake.s3.uri, settings.lake.s3.endpoint) == ("s3://own/lakes", "https://s3.example.com")
    assert settings.tracking.uri == "https://mlflow.example.com"
    assert settings.pushgateway == "http://push.example.com:9091"


@pytest.mark.parametrize(
    "given",
    ["minio.enabled=true,external.s3.uri=s3://a/b", "mlflow.enabled=true,external.mlflow.uri=http://a"],
)
def test_two_answers_to_where_something_is_are_refused(given: str) -> None:
    with pytest.raises(ToolError, match="give one of the two"):
        Scenario(PLATFORM).render("--set", given)


def test_namespaces_with_jobs_get_the_same_credentials_as_the_release() -> None:
    objects = Scenario(PLATFORM, PROFILES / "standard.yaml").render("--set", "jobNamespaces={desk-a,desk-b}")
    for name in ("presage-lake", "presage-results"):
        held = {
            one["metadata"]["namespace"]: one["data"]
            for one in objects
            if one["kind"] == "Secret" and one["metadata"]["name"] == name
        }
        assert set(held) == {"presage-system", "desk-a", "desk-b"}
        assert held["desk-a"] == held["desk-b"] == held["presage-system"]


def test_the_minimal_profile_asks_for_less_than_300_megabytes() -> None:
    asked = 0.0
    for _, template in pod_templates(Scenario(PLATFORM, PROFILES / "minimal.yaml").render()):
        if template["metadata"]["labels"].get("app.kubernetes.io/component") == "test":
            continue
        for container in containers(template):
            memory = container["resources"]["requests"]["memory"]
            asked += float(memory[:-2]) * MEBIBYTE[memory[-2:]]
    assert asked * 1.048576 < 300
