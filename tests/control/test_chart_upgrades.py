"""Upgrades and rollbacks by Helm on a real API server, which refuses a change of what cannot be changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from chart_case import CHARTS, PLATFORM, PROFILES
from conftest import lacking
from control.apiserver import ControlPlaneError, control_plane, control_plane_binary
from control.test_install import JOB, Cluster
from installs import ROOT, SYSTEM

OLDER = ROOT / "tests" / "golden" / "charts" / "presage-0.1.0.tgz"
DEFINITION = "predictionjobs.presage.dev"
TOPIC = '[{"name": "prices"}]'
DATABASE = '["presage"]'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server of this module, for each release here brings the definition."""
    try:
        control_plane_binary()
    except ControlPlaneError as error:
        lacking(str(error))
    with control_plane() as plane:
        yield Cluster(plane, tmp_path_factory.mktemp("upgrades"))


def held(cluster: Cluster, kinds: str, namespace: str = SYSTEM) -> dict[str, dict]:
    """Return objects by kind and name."""
    found = json.loads(cluster.kubectl("get", kinds, "--namespace", namespace, "-o", "json"))["items"]
    return {f"{one['kind']} {one['metadata']['name']}": one for one in found}


def generations(cluster: Cluster) -> dict[str, int]:
    """Return what counts the changes of each workload; a Job's name is in it."""
    kinds = "deployments,statefulsets,jobs,cronjobs"
    return {name: one["metadata"]["generation"] for name, one in held(cluster, kinds).items()}


def checksums(cluster: Cluster) -> dict[tuple[str, str], str]:
    """Return the checksums that start other Pods, by workload and name."""
    return {
        (name, key): value
        for name, one in held(cluster, "deployments,statefulsets").items()
        for key, value in one["spec"]["template"]["metadata"].get("annotations", {}).items()
        if key.startswith("checksum/")
    }


def setups(cluster: Cluster) -> dict[str, str]:
    """Return the name of each chart's Job that sets up."""
    jobs = held(cluster, "jobs").values()
    return {one["metadata"]["labels"]["app.kubernetes.io/name"]: one["metadata"]["name"] for one in jobs}


def write_secret(cluster: Cluster, name: str, key: str, value: str) -> None:
    change = json.dumps({"stringData": {key: value}})
    cluster.kubectl("patch", "secret", name, "--namespace", SYSTEM, "--type", "merge", "--patch", change)


def secret(cluster: Cluster, name: str, key: str, namespace: str) -> str:
    return base64.b64decode(held(cluster, "secrets", namespace)[f"Secret {name}"]["data"][key]).decode()


@pytest.fixture(scope="module")
def platform(cluster: Cluster) -> Iterator[tuple[str | Path, ...]]:
    """The release with the profile `standard`, as it is after its first upgrade; the words that upgrade it."""
    words = ("presage", PLATFORM, "--namespace", SYSTEM, "--values", PROFILES / "standard.yaml")
    # The definition is another test's.
    words = (*words, "--set", "crds.enabled=false")
    cluster.helm("install", *words, "--create-namespace")
    before = generations(cluster).items()
    cluster.helm("upgrade", *words)
    # These are told of what the installation drew; the databases themselves go on.
    assert {name.partition("-setup-")[0] for name, _ in before ^ generations(cluster).items()} == {
        "Deployment presage-mlflow",
        "Deployment presage-grafana",
        "Job presage-minio",
        "Job presage-mysql",
    }
    yield words
    cluster.helm("uninstall", "presage", "--namespace", SYSTEM)


def test_an_upgrade_that_changes_nothing_starts_nothing_anew(
    cluster: Cluster, platform: tuple[str | Path, ...]
) -> None:
    before = generations(cluster)
    cluster.helm("upgrade", *platform)
    assert generations(cluster) == before


def test_a_rotated_secret_reaches_the_pods_the_setup_and_the_namespaces_with_jobs(
    cluster: Cluster, platform: tuple[str | Path, ...]
) -> None:
    pods, jobs = checksums(cluster), setups(cluster)
    write_secret(cluster, "presage-grafana", "admin-password", "rotated")
    write_secret(cluster, "presage-mysql", "grafana-password", "rotated")
    write_secret(cluster, "presage-lake", "AWS_SECRET_ACCESS_KEY", "rotated-key")
    cluster.helm("upgrade", *platform)
    changed = {name for name, value in checksums(cluster).items() if pods[name] != value}
    assert {
        ("Deployment presage-grafana", "checksum/secret"),
        ("Deployment presage-grafana", "checksum/secret-mysql"),
    } <= changed
    after = setups(cluster)
    assert {chart for chart in after if jobs[chart] != after[chart]} == {"minio", "mysql"}
    assert secret(cluster, "presage-lake", "AWS_SECRET_ACCESS_KEY", "default") == "rotated-key"
    assert secret(cluster, "presage-grafana", "admin-password", SYSTEM) == "rotated"


@pytest.mark.parametrize(
    ("chart", "value"),
    [("kafka", f"topics={TOPIC}"), ("clickhouse", f"databases={DATABASE}")],
    ids=["kafka", "clickhouse"],
)
def test_another_image_makes_another_job_that_sets_up(cluster: Cluster, chart: str, value: str) -> None:
    words = (chart, CHARTS / chart, "--namespace", "streams", "--set-json", value)
    cluster.helm("install", *words, "--create-namespace")
    (before,) = cluster.names("jobs", "--namespace", "streams")
    cluster.helm("upgrade", *words)
    assert cluster.names("jobs", "--namespace", "streams") == [before]
    cluster.helm("upgrade", *words, "--set", "image.tag=another")
    (after,) = cluster.names("jobs", "--namespace", "streams")
    assert after != before
    cluster.helm("rollback", chart, "2", "--namespace", "streams")
    assert cluster.names("jobs", "--namespace", "streams") == [before]
    cluster.helm("uninstall", chart, "--namespace", "streams")


def test_from_the_chart_of_before_and_back_jobs_and_definition_are_kept(cluster: Cluster) -> None:
    release = ("desk", "--namespace", "desk")

    def state() -> tuple[str, str, str]:
        job = json.loads(cluster.kubectl("get", "predictionjob", "kept", "--namespace", "default", "-o", "json"))
        definition = json.loads(cluster.kubectl("get", "crd", DEFINITION, "-o", "json"))
        return job["metadata"]["uid"], yaml.safe_dump(job["spec"]), definition["metadata"]["uid"]

    def operator() -> dict:
        return held(cluster, "deployments", "desk")["Deployment desk-presage-operator"]

    cluster.helm("install", *release, OLDER, "--create-namespace")
    cluster.kubectl("wait", "--for=condition=Established", "crd", DEFINITION, "--timeout=60s")
    cluster.kubectl("apply", "-f", "-", given=JOB)
    kept, first = state(), operator()
    cluster.helm("upgrade", *release, PLATFORM, "--values", PROFILES / "minimal.yaml")
    assert state() == kept
    assert operator()["metadata"]["uid"] == first["metadata"]["uid"]
    assert operator()["spec"]["replicas"] == 1
    cluster.helm("rollback", *release, "1")
    assert state() == kept
    assert operator()["spec"] == first["spec"]
    cluster.helm("uninstall", *release)
    assert state() == kept
    cluster.kubectl("delete", "crd", DEFINITION, "--timeout=60s")
