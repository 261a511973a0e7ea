"""Compiled pipelines: whole texts, Kubeflow's own types, and what each step is given of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from presage import __version__
from presage.errors import JobError, NotSupportedError
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage.spec.load import load_job, parse_job
from presage_pipelines.compile import compile_pipeline
from presage_pipelines.placement import Placement

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden" / "pipelines"
STEPS = ("ingest", "grade", "select", "train", "promote", "forecast", "forecast-2", "grade-2")
JOB = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: fares, namespace: desk}
spec:
  frequency: 1d
  target: {source: fares, column: close}
  sources:
    - name: fares
      http: {url: "https://api.example/fares", records: /rows, secretRef: {name: my-broker}}
      time: at
      availability: {lag: 0s}
  sinks:
    - {name: out, sql: {uri: "postgresql://db.example/out", secretRef: {name: out-db, key: password}}}
  resources: {requests: {cpu: 250m, memory: 2Gi}, limits: {cpu: "2", memory: 3Gi}}
"""


def documents(package: str) -> tuple[dict, dict]:
    """The pipeline, and what it needs of Kubernetes by executor's name."""
    first, *rest = yaml.safe_load_all(package)
    return first, rest[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if rest else {}


@pytest.fixture(scope="module")
def job() -> PredictionJob:
    return parse_job(JOB, "fares.yaml")


@pytest.fixture(scope="module")
def of_any_job() -> str:
    return compile_pipeline(Placement())


@pytest.fixture(scope="module")
def of_one_job(job: PredictionJob) -> str:
    return compile_pipeline(Placement(image="registry.example/steps:1", lake_secret="lake", job=job))


def normal(package: str) -> str:
    """A package without the versions of what wrote it."""
    package = re.sub(r"sdkVersion: kfp-[\d.]+", "sdkVersion: kfp", package)
    return package.replace(f"presage/steps:{__version__}", "presage/steps:VERSION")


@pytest.mark.parametrize("name", ["of_any_job", "of_one_job"])
def test_a_pipeline_is_compiled_as_it_stands_in_the_project(name: str, request: pytest.FixtureRequest) -> None:
    assert normal(request.getfixturevalue(name)) == (GOLDEN / f"{name}.yaml").read_text()


def test_the_pipeline_that_the_package_brings_is_the_one_of_any_job(of_any_job: str) -> None:
    """`presage compile --out pipelines/presage_pipelines/pipeline.yaml` writes it."""
    assert (ROOT / "pipelines" / "presage_pipelines" / "pipeline.yaml").read_text() == of_any_job


def test_a_pipeline_is_the_same_however_often_it_is_compiled(of_any_job: str) -> None:
    assert compile_pipeline(Placement()) == of_any_job


@pytest.mark.parametrize("name", ["of_any_job", "of_one_job"])
def test_the_official_types_take_it(name: str, request: pytest.FixtureRequest) -> None:
    first, executors = documents(request.getfixturevalue(name))
    pipeline = json_format.ParseDict(first, pipeline_spec_pb2.PipelineSpec())
    assert set(pipeline.root.input_definitions.parameters) == {"job", "workdir", "as_of", "cadence"}
    deployment = json_format.ParseDict(first["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    assert set(deployment.executors) == {f"exec-{step}" for step in STEPS}
    for config in executors.values():
        json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())


def test_no_step_installs_anything(of_one_job: str) -> None:
    assert "pip install" not in of_one_job


def _longest(tasks: Mapping[str, dict], components: Mapping[str, dict]) -> int:
    """The most Pods that come one after the other; a fan-out counts as none."""

    def below(name: str) -> int:
        component = components[tasks[name]["componentRef"]["name"]]
        own = _longest(component["dag"]["tasks"], components) if "dag" in component else 1
        if "parameterIterator" in tasks[name]:
            own = 0
        return own + max((below(other) for other in tasks[name].get("dependentTasks", ())), default=0)

    return max(below(name) for name in tasks)


def test_at_most_four_pods_come_one_after_the_other(of_any_job: str) -> None:
    first, _ = documents(of_any_job)
    assert _longest(first["root"]["dag"]["tasks"], first["components"]) == 4


def test_only_what_depends_on_the_data_alone_is_cached(of_any_job: str) -> None:
    first, _ = documents(of_any_job)
    graphs = [first["root"], *(one for one in first["components"].values() if "dag" in one)]
    tasks = {name: task for graph in graphs for name, task in graph["dag"]["tasks"].items()}
    leaves = {
        name: task for name, task in tasks.items() if "dag" not in first["components"][task["componentRef"]["name"]]
    }
    assert set(leaves) == set(STEPS)
    assert {name for name, task in leaves.items() if task["cachingOptions"]} == {"select", "train"}
    for name in ("select", "train"):
        assert "as_of" not in leaves[name]["inputs"]["parameters"]
    assert all(task["retryPolicy"]["maxRetryCount"] == 3 for task in leaves.values())


def test_a_pipeline_of_one_job_has_it_as_its_default(job: PredictionJob, of_one_job: str) -> None:
    first, _ = documents(of_one_job)
    assert first["pipelineInfo"]["name"] == "fares"
    given = first["root"]["inputDefinitions"]["parameters"]["job"]["defaultValue"]
    assert spec_digest(parse_job(given, "job")) == spec_digest(job)
    assert given == job_text(job)


def test_any_letters_of_a_job_reach_its_steps() -> None:
    job = parse_job(JOB.replace("api.example/fares", "api.example/fares?of=Żółć-東京-😀"), "fares.yaml")
    first, _ = documents(compile_pipeline(Placement(job=job)))
    given = first["root"]["inputDefinitions"]["parameters"]["job"]["defaultValue"]
    assert spec_digest(parse_job(given, "job")) == spec_digest(job)


def test_every_step_has_the_job_s_resources_and_the_image(of_one_job: str) -> None:
    first, _ = documents(of_one_job)
    for executor in first["deploymentSpec"]["executors"].values():
        container = executor["container"]
        assert container["image"] == "registry.example/steps:1"
        given = container["resources"]
        assert (given["resourceCpuRequest"], given["resourceMemoryRequest"]) == ("250m", "2Gi")
        assert (given["resourceCpuLimit"], given["resourceMemoryLimit"]) == ("2", "3Gi")


def test_secrets_reach_the_steps_that_read_sources_and_write_sinks_and_no_other(of_one_job: str) -> None:
    first, executors = documents(of_one_job)
    mounted = {
        name: {one["secretName"]: one["mountPath"] for one in config.get("secretAsVolume", ())}
        for name, config in executors.items()
    }
    assert {name: paths for name, paths in mounted.items() if paths} == {
        "exec-ingest": {"my-broker": "/etc/presage/secrets/my-broker"},
        "exec-promote": {"out-db": "/etc/presage/secrets/out-db"},
        "exec-forecast": {"out-db": "/etc/presage/secrets/out-db"},
        "exec-forecast-2": {"out-db": "/etc/presage/secrets/out-db"},
    }
    for name, executor in first["deploymentSpec"]["executors"].items():
        variables = {one["name"]: one["value"] for one in executor["container"]["env"]}
        assert ("PRESAGE_SECRETS_DIR" in variables) == bool(mounted[name])


def test_the_lake_s_credentials_reach_every_step(of_one_job: str) -> None:
    _, executors = documents(of_one_job)
    assert set(executors) == {f"exec-{step}" for step in STEPS}
    for config in executors.values():
        needed, found = config["secretAsEnv"]
        assert [one["envVar"] for one in needed["keyToEnv"]] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        assert (needed["secretName"], needed["optional"], found["optional"]) == ("lake", False, True)
        assert "AWS_ENDPOINT_URL_S3" in {one["secretKey"] for one in found["keyToEnv"]}


def test_the_step_that_keeps_runs_is_told_where_mlflow_is() -> None:
    first, _ = documents(compile_pipeline(Placement(tracking="http://mlflow:5000")))
    told = {
        name
        for name, executor in first["deploymentSpec"]["executors"].items()
        if {"name": "PRESAGE_TRACKING", "value": "http://mlflow:5000"} in executor["container"]["env"]
    }
    assert told == {"exec-promote"}


@pytest.mark.parametrize("user", ["me:s3cret@", "me@", ":s3cret@"])
def test_credentials_of_mlflow_are_refused_and_not_shown(user: str) -> None:
    with pytest.raises(JobError, match="http://mlflow:5000 holds credentials") as raised:
        Placement(tracking=f"http://{user}mlflow:5000")
    assert "s3cret" not in f"{raised.value.what} {raised.value.remedy}"
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD from a Secret" in raised.value.remedy


def test_what_is_no_address_of_mlflow_is_refused_before_a_step_meets_it() -> None:
    with pytest.raises(JobError, match="is no address of MLflow"):
        Placement(tracking="mlflow:5000")
    assert Placement(tracking="off").tracking == "off"


def test_a_lake_on_a_claim_is_mounted_in_every_step() -> None:
    _, executors = documents(compile_pipeline(Placement(lake_claim="presage-lake")))
    assert len(executors) == len(STEPS)
    for config in executors.values():
        (mount,) = config["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("presage-lake", "/var/lib/presage")


def test_an_amount_that_kubeflow_does_not_take_is_refused_by_its_place() -> None:
    odd = parse_job(JOB.replace("memory: 3Gi", "memory: 3000000k"), "fares.yaml")
    with pytest.raises(
        NotSupportedError, match=r"spec\.resources\.limits\.memory: Kubeflow takes no amount '3000000k'"
    ):
        compile_pipeline(Placement(job=odd))


@pytest.mark.parametrize("path", sorted((ROOT / "manifests" / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_compiles(path: Path) -> None:
    first, _ = documents(compile_pipeline(Placement(job=load_job(path))))
    assert first["pipelineInfo"]["name"] == path.stem
