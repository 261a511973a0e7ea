"""The platform without Helm: its components are the charts', its overlays know each other's names and Secrets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from chart_case import PLATFORM, PROFILES, Scenario, containers, pod_templates
from installs import CHART, KUSTOMIZE, ROOT, find, helm, kustomized

from presage_operator.settings import Settings

COMPONENTS = {path.parent.name: path.parent for path in sorted(KUSTOMIZE.glob("components/*/values.yaml"))}
DEVELOPMENT = KUSTOMIZE / "overlays" / "development"
STANDARD = Scenario(PLATFORM, PROFILES / "standard.yaml")


def generate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, KUSTOMIZE / "generate.py", "--helm", helm(), *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A repository with Redis alone."""
    for folder in ("charts/common", "charts/redis", "kustomize/components/redis"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    return tmp_path


@pytest.fixture(scope="module")
def development() -> list[dict]:
    return kustomized(DEVELOPMENT)


def generated(name: str) -> list[dict]:
    return list(yaml.safe_load_all((COMPONENTS[name] / f"{name}.yaml").read_text()))


def settings_in(objects: list[dict]) -> Settings:
    (held,) = (one["data"]["settings.yaml"] for one in objects if "settings.yaml" in one.get("data", {}))
    return Settings.model_validate(yaml.safe_load(held))


def secrets_of(objects: Sequence[dict]) -> Iterator[tuple[str, str | None]]:
    """Yield the Secrets that Pods name, each with the key that is asked for; None where it is the whole Secret."""
    for _, template in pod_templates(objects):
        for container in containers(template):
            for variable in container.get("env", []):
                if source := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield source["name"], source["key"]
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    yield source["secretRef"]["name"], None
        for volume in template["spec"].get("volumes", []):
            projected = volume.get("projected", {}).get("sources", [])
            for source in [volume.get("secret"), *(one.get("secret") for one in projected)]:
                if source:
                    name = source.get("secretName") or source["name"]
                    yield from ((name, item["key"]) for item in source.get("items", [{"key": None}]))


def test_the_components_are_what_the_charts_render() -> None:
    done = generate("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_other_values_are_noticed_and_then_written(copied: Path) -> None:
    assert generate("--root", copied, "--check").returncode == 0
    values = copied / "kustomize" / "components" / "redis" / "values.yaml"
    values.write_text(values.read_text() + "replicas: 3\n")
    checked = generate("--root", copied, "--check")
    assert checked.returncode == 1
    assert "components/redis/redis.yaml is not what it is made from: run `make generate`" in checked.stderr
    assert generate("--root", copied).stdout == "wrote kustomize/components/redis/redis.yaml\n"
    held = yaml.safe_load_all((values.parent / "redis.yaml").read_text())
    assert find(held, "StatefulSet")["spec"]["replicas"] == 3


def test_what_a_chart_refuses_is_told_and_nothing_is_written(copied: Path) -> None:
    component = copied / "kustomize" / "components" / "redis"
    before = (component / "redis.yaml").read_bytes()
    (component / "values.yaml").write_text("replikas: 3\n")
    done = generate("--root", copied)
    assert done.returncode == 1
    assert done.stderr.startswith("redis: ")
    assert "replikas" in done.stderr
    assert (component / "redis.yaml").read_bytes() == before


def test_without_helm_its_option_is_named(copied: Path) -> None:
    done = generate("--root", copied, "--helm", "no-such-program")
    assert done.returncode == 1
    assert done.stderr == "no-such-program: No such file or directory; name Helm by --helm.\n"


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_holds_no_secret_and_nothing_of_helms_own(name: str) -> None:
    objects = generated(name)
    assert "Secret" not in {one["kind"] for one in objects}
    assert {one["metadata"].get("namespace", "presage-system") for one in objects} == {"presage-system"}
    assert "helm.sh/" not in (COMPONENTS[name] / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_says_which_secrets_it_wants(name: str) -> None:
    said = (COMPONENTS[name] / "kustomization.yaml").read_text()
    if "In place of `" in said.replace("\n# ", " "):
        said += (COMPONENTS[name.removesuffix("-replicated")] / "kustomization.yaml").read_text()
    for secret, key in secrets_of(generated(name)):
        assert secret in said
        assert key is None or f"`{key}`" in said, f"{secret}: {key}"


def test_the_development_overlay_has_every_secret_with_the_keys_that_its_pods_ask_for(development: list[dict]) -> None:
    held = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["data"]
        for one in development
        if one["kind"] == "Secret"
    }
    wanted = set(secrets_of(development))
    assert wanted
    for secret, key in wanted:
        assert key is None or key in held["presage-system", secret], f"{secret}: {key}"
    for name in (settings_in(development).lake.s3.secret_name, "presage-results"):
        assert held["default", name] == held["presage-system", name]


def test_passwords_of_the_development_overlay_say_what_they_are_for(development: list[dict]) -> None:
    files = sorted((DEVELOPMENT / "secrets").glob("*.env"))
    assert files
    for file in files:
        assert "for trying out only" in file.read_text()
    others = [path for path in KUSTOMIZE.rglob("*.yaml") if DEVELOPMENT not in path.parents]
    assert not [path for path in others if "secretGenerator" in path.read_text()]


def test_the_development_overlay_is_the_standard_profile_of_the_chart(development: list[dict]) -> None:
    assert comparable(development) == comparable(STANDARD.render())


def comparable(objects: list[dict]) -> dict[tuple[str, str, str], dict]:
    """Return the platform's objects by name, without what tells an image, a release and a drawn password."""
    kept = {}
    for one in deepcopy(objects):
        metadata = one["metadata"]
        operators = metadata.get("labels", {}).get("app.kubernetes.io/name") == "presage"
        # The operator's own are compared where the base is; Secrets and the Jobs named after them are drawn.
        if operators or one["kind"] in {"CustomResourceDefinition", "Secret", "Job"} or "settings.yaml" in str(one):
            continue
        if "helm.sh/hook" in metadata.get("annotations", {}):
            continue
        kept[one["kind"], metadata.get("namespace", ""), metadata["name"]] = one
        for part in (one, one.get("spec", {}).get("template", {})):
            for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
                part.get("metadata", {}).get("labels", {}).pop(label, None)
            for name in list(part.get("metadata", {}).get("annotations", {})):
                if name.startswith("checksum/secret"):
                    del part["metadata"]["annotations"][name]
        if "template" in one.get("spec", {}):
            for container in containers(one["spec"]["template"]):
                container["image"] = container["image"].removesuffix(":dev").removesuffix(":0.1.0")
    return kept


def test_the_operator_of_the_development_overlay_is_told_what_helm_would_tell_it(development: list[dict]) -> None:
    overlay, chart = settings_in(development), settings_in(STANDARD.render())
    assert (overlay.lake, overlay.tracking, overlay.pushgateway) == (chart.lake, chart.tracking, chart.pushgateway)


def test_the_settings_of_the_development_overlay_name_services_that_it_has(development: list[dict]) -> None:
    settings = settings_in(development)
    ports = {
        f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc": {port["port"] for port in one["spec"]["ports"]}
        for one in development
        if one["kind"] == "Service"
    }
    for address in (settings.lake.s3.endpoint, settings.tracking.uri, settings.pushgateway):
        split = urlsplit(address)
        assert split.port in ports[split.hostname]


def test_the_production_overlay_reaches_everything_over_tls() -> None:
    settings = settings_in(kustomized(KUSTOMIZE / "overlays" / "production"))
    assert settings.lake.s3.endpoint is None
    assert urlsplit(settings.tracking.uri).scheme == urlsplit(settings.pushgateway).scheme == "https"
    assert "http" not in settings.allowed.schemes


def test_a_component_of_several_servers_takes_the_place_of_that_of_one(tmp_path: Path) -> None:
    replicated = [name for name in COMPONENTS if name.endswith("-replicated")]
    assert replicated
    for name in replicated:
        several, one = (find(generated(n), "StatefulSet") for n in (name, name.removesuffix("-replicated")))
        assert several["metadata"]["name"] == one["metadata"]["name"]
        assert several["spec"]["selector"] == one["spec"]["selector"]
        assert several["spec"]["replicas"] > one["spec"]["replicas"] == 1
        assert find(generated(name), "PodDisruptionBudget")


def test_all_components_of_one_server_go_into_one_kustomization_with_the_operator(tmp_path: Path) -> None:
    names = [name for name in COMPONENTS if not name.endswith("-replicated")]
    content = {
        "resources": [os.path.relpath(KUSTOMIZE / "base", tmp_path)],
        "components": [os.path.relpath(COMPONENTS[name], tmp_path) for name in names],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    together = kustomized(tmp_path)
    assert len(together) == len(kustomized(KUSTOMIZE / "base")) + sum(len(generated(name)) for name in names)


def test_remote_bases_are_of_the_versions_that_the_clients_here_are_of() -> None:
    locked = {one["name"]: one.get("version") for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    pipelines = [
        resource
        for folder in ("cluster-scoped-resources", ".")
        for resource in remote(f"kubeflow-pipelines/{folder}")["resources"]
    ]
    # A server and a client of Kubeflow Pipelines agree up to the last number.
    assert {one.partition("?ref=")[2].rpartition(".")[0] for one in pipelines} == {locked["kfp"].rpartition(".")[0]}
    assert len(pipelines) == len(set(pipelines)) == 2
    assert f"/v{locked['kserve']}/kserve.yaml" in remote("kserve")["resources"][-1]


def remote(folder: str) -> dict:
    content = yaml.safe_load((KUSTOMIZE / "remote" / folder / "kustomization.yaml").read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_the_page_says_what_a_profile_asks_for(profile: str) -> None:
    rows = [line.split("|") for line in (ROOT / "docs" / "install.md").read_text().splitlines()]
    (row,) = (row for row in rows if len(row) > 5 and row[1].strip() == f"`{profile}.yaml`")
    assert [cell.strip() for cell in row[3:6]] == list(asked(Scenario(PLATFORM, PROFILES / f"{profile}.yaml").render()))


def asked(objects: list[dict]) -> tuple[str, str, str]:
    """Return what all Pods that stay ask for, as the page has it: their number, memory and disk."""
    pods, memory, disk = 0, 0.0, 0.0
    for one in objects:
        if one["kind"] == "PersistentVolumeClaim":
            disk += gibibytes(one["spec"]["resources"]["requests"]["storage"])
        if one["kind"] not in {"Deployment", "StatefulSet"}:
            continue
        replicas, spec = one["spec"]["replicas"], one["spec"]["template"]["spec"]
        pods += replicas
        own = sum(gibibytes(container["resources"]["requests"]["memory"]) for container in spec["containers"])
        before = [gibibytes(one["resources"]["requests"]["memory"]) for one in spec.get("initContainers", [])]
        memory += replicas * max(own, *before, 0)
        for claim in one["spec"].get("volumeClaimTemplates", []):
            disk += replicas * gibibytes(claim["spec"]["resources"]["requests"]["storage"])
    return str(pods), f"{memory * 1024:,.0f} MiB", f"{disk:,.0f} GiB"


def gibibytes(quantity: str) -> float:
    return float(quantity[:-2]) * {"Mi": 1 / 1024, "Gi": 1}[quantity[-2:]]


def test_the_commands_of_the_page_name_files_that_are_there() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    words = {word.strip("`,.;:()") for word in page.split() if word.startswith(("charts/", "kustomize/", "manifests/"))}
    assert {"charts/presage/profiles/standard.yaml", "kustomize/overlays/development"} <= words
    assert not [word for word in sorted(words) if not (ROOT / word).exists()]
    assert (CHART / "charts").is_dir()
