"""What the operator builds, before the real API server: valid, stable when applied again, and restricted."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException

from presage.spec.digest import run_digest
from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage.spec.load import parse_job
from presage_operator.actions import StartRun
from presage_operator.desired.claim import lake_claim
from presage_operator.desired.job_file import size_fault
from presage_operator.desired.run import run_job
from presage_operator.desired.server import name_fault, server_objects
from presage_operator.errors import JsonObject
from presage_operator.names import FIELD_MANAGER
from presage_operator.settings import Settings

pytestmark = pytest.mark.control

NAMESPACE = "restricted"
UID = "7b7e3f0c-0b8f-4b0e-9a52-3a3f2f1d9c11"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLURALS = {
    "Job": "jobs",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Deployment": "deployments",
    "Service": "services",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodDisruptionBudget": "poddisruptionbudgets",
}
FULL = Settings.model_validate(
    {
        "images": {"pullSecrets": ["registry"], "pullPolicy": "Always"},
        "pipelines": {"activeDeadlineSeconds": 3600},
        "lake": {"volume": {"storageClassName": "fast", "whenDeleted": "Retain", "accessModes": ["ReadWriteMany"]}},
        "dataVolumes": [{"claimName": "market", "mountPath": "/data"}],
    }
)
BUCKET = Settings.model_validate(
    {"lake": {"s3": {"uri": "s3://presage", "endpoint": "http://minio:9000", "secretName": "lake"}}}
)
SETTINGS = {"default": Settings(), "full": FULL, "bucket": BUCKET}


def job_of(name: str, replicas: str = "{min: 1, max: 2}", query: str = "") -> PredictionJob:
    kind = f"sql: {{uri: 'postgresql://db/x', query: '{query}'}}" if query else "dataset: {name: arch/sp500}"
    return parse_job(
        f"""
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {{name: '{name}', namespace: {NAMESPACE}}}
spec:
  frequency: 1d
  target: {{source: sp500, column: range_volatility, minimum: 0}}
  sources: [{{name: sp500, {kind}, availability: {{lag: 0s}}}}]
  serving: {{replicas: {replicas}}}
""",
        "job",
    )


def children(name: str, settings: Settings, replicas: str = "{min: 1, max: 2}") -> list[JsonObject]:
    job = job_of(name, replicas)
    start = StartRun(UID, f"{name}-0a1b2c3d", "Train", "Schedule", 1, AT, run_digest(job), AT, request="now")
    run = run_job(job, start, settings)
    claim = lake_claim(job, uid=UID, settings=settings)
    served = server_objects(job, uid=UID, run="20260102T030405Z-8f14e45f", settings=settings)
    return [run, *([claim] if claim else []), *served]


@pytest.fixture(scope="module")
def restricted(api: client.ApiClient) -> Iterator[None]:
    """A namespace that takes Pods of the restricted profile only."""
    core = client.CoreV1Api(api)
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    core.create_namespace({"metadata": {"name": NAMESPACE, "labels": labels}})
    yield
    core.delete_namespace(NAMESPACE)


def path_of(content: JsonObject) -> str:
    version = content["apiVersion"]
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    return f"{root}/namespaces/{NAMESPACE}/{PLURALS[content['kind']]}"


def call(api: client.ApiClient, method: str, path: str, body: JsonObject, **query: str) -> tuple[JsonObject, list[str]]:
    """Return the answer and the server's warnings."""
    patch = method == "PATCH"
    answer, _, headers = api.call_api(
        path,
        method,
        query_params=[("fieldValidation", "Strict"), ("fieldManager", FIELD_MANAGER), *query.items()],
        header_params={
            "Accept": "application/json",
            "Content-Type": "application/apply-patch+yaml" if patch else "application/json",
        },
        # Apply takes YAML, of which JSON is a part; the client would make a text of a dictionary its own way.
        body=body,
        auth_settings=["BearerToken"],
        response_type="object",
    )
    return answer, headers.getlist("Warning") if "Warning" in headers else []


def applied(api: client.ApiClient, content: JsonObject, **query: str) -> tuple[JsonObject, list[str]]:
    name = content["metadata"]["name"]
    return call(api, "PATCH", f"{path_of(content)}/{name}", content, force="true", **query)


@pytest.mark.parametrize("given", list(SETTINGS))
def test_every_object_is_accepted_without_a_warning_and_applying_it_again_writes_nothing(
    api: client.ApiClient, restricted: None, given: str
) -> None:
    for content in children(given, SETTINGS[given]):
        tried, warnings = applied(api, content, dryRun="All")
        assert (warnings, tried["kind"]) == ([], content["kind"])
        first, warnings = applied(api, content)
        assert warnings == []
        if content["kind"] == "PersistentVolumeClaim":
            # The server stores a new claim once more in its own form; what it shows stays the same.
            first, _ = applied(api, content)
        second, _ = applied(api, content)
        assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"], content["kind"]


def test_a_run_is_made_once_however_often_it_is_created(api: client.ApiClient, restricted: None) -> None:
    run = children("once", Settings())[0]
    made, warnings = call(api, "POST", path_of(run), run)
    assert warnings == []
    with pytest.raises(ApiException) as caught:
        call(api, "POST", path_of(run), run)
    assert caught.value.status == 409
    assert json.loads(caught.value.body)["reason"] == "AlreadyExists"
    assert made["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("given", list(SETTINGS))
def test_the_pods_of_runs_and_servers_pass_the_restricted_profile(
    api: client.ApiClient, restricted: None, given: str
) -> None:
    for content in children(f"pod-{given}", SETTINGS[given]):
        if content["kind"] in {"Job", "Deployment"}:
            template = content["spec"]["template"]
            kind = content["kind"].lower()
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": template["metadata"] | {"name": f"{given}-{kind}"},
                "spec": template["spec"],
            }
            held, warnings = call(api, "POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
            assert warnings == []
            assert held["spec"]["automountServiceAccountToken"] is False


def test_a_range_of_replicas_that_narrows_to_one_number_is_applied_to_what_is_there(
    api: client.ApiClient, restricted: None
) -> None:
    for replicas, expected in (("{min: 2, max: 4}", 1), ("{min: 3, max: 3}", 3), ("{min: 0, max: 1}", 1)):
        for content in children("narrowed", Settings(), replicas):
            if content["kind"] != "Job":
                held, _ = applied(api, content)
                if content["kind"] == "Deployment":
                    assert held["spec"]["replicas"] == expected


@pytest.mark.parametrize("name", ["a" * 53, "a", "a-1"])
def test_the_longest_and_the_shortest_name_fit_all_children(api: client.ApiClient, restricted: None, name: str) -> None:
    for content in children(name, Settings()):
        applied(api, content, dryRun="All")


@pytest.mark.parametrize("name", ["1", "2024-prices"])
def test_a_name_that_a_service_cannot_have_is_told_before_the_server_tells(
    api: client.ApiClient, restricted: None, name: str
) -> None:
    fault = name_fault(job_of(name))
    assert fault is not None
    assert fault.reason == "NameNotServable"
    (service,) = [content for content in children(name, Settings()) if content["kind"] == "Service"]
    with pytest.raises(ApiException) as caught:
        applied(api, service, dryRun="All")
    assert "DNS-1035" in caught.value.body
    assert name_fault(job_of("prices-2024")) is None


def test_the_largest_job_that_is_taken_fits_a_pod_s_annotations(api: client.ApiClient, restricted: None) -> None:
    content = json.loads(job_text(job_of("large", query="q" * 16384)))
    (source,) = content["spec"]["sources"]
    others = [source | {"name": f"s{number}"} for number in range(14)]

    def large(length: int) -> PredictionJob:
        last = source | {"name": "last", "sql": source["sql"] | {"query": "q" * length}}
        return PredictionJob.model_validate(content | {"spec": content["spec"] | {"sources": [source, *others, last]}})

    # The longest query that is still taken.
    length = bisect_left(range(1, 16385), True, key=lambda length: size_fault(large(length)) is not None)
    assert size_fault(large(length)) is None
    assert size_fault(large(length + 1)) is not None
    start = StartRun(UID, "large-0a1b2c3d", "Train", "Spec", 1, AT, "sha256:" + "0" * 64)
    run = run_job(large(length), start, Settings())
    template = run["spec"]["template"]
    pod = {"metadata": {"name": "large"} | template["metadata"], "spec": template["spec"]}
    call(api, "POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
