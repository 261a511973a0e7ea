"""The CRD before the real API server: accepted, established, discovered and shown as a table."""

from __future__ import annotations

import json

import pytest
import yaml
from control.cases import MINIMAL
from kubernetes import client
from kubernetes.client.rest import ApiException

pytestmark = pytest.mark.control


def test_the_definition_is_structural_and_established(definition: client.V1CustomResourceDefinition) -> None:
    conditions = {condition.type: condition.status for condition in definition.status.conditions}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_the_table_shows_how_a_job_fares(api: client.ApiClient, jobs: client.CustomObjectsApi) -> None:
    job = yaml.safe_load(MINIMAL)
    where = ("presage.dev", "v1alpha1", "default", "predictionjobs")
    jobs.create_namespaced_custom_object(*where, job)
    status = {
        "observedGeneration": 1,
        "phase": "Serving",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "NotBetterThanBaseline",
                "message": "skill 0.001, p-value 0.61: drift is served.",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "observedGeneration": 1,
            }
        ],
        "scorecard": {"model": "drift", "skill": 0.0, "coverage": 0.902, "digest": "sha256:" + "0" * 64},
        "url": "http://minimal.default.svc",
        "nextRun": "2026-01-03T00:15:00Z",
        "nextRuns": {"forecast": "2026-01-03T00:15:00Z"},
        "runs": [{"name": "minimal-1", "cadence": "Train", "state": "Succeeded", "specDigest": "sha256:" + "1" * 64}],
    }
    try:
        jobs.patch_namespaced_custom_object_status(*where, "minimal", {"status": status})
        table = api.call_api(
            "/apis/presage.dev/v1alpha1/namespaces/default/predictionjobs",
            "GET",
            header_params={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
            auth_settings=["BearerToken"],
            response_type="object",
        )[0]
    finally:
        jobs.delete_namespaced_custom_object(*where, "minimal")
    shown = dict(zip([column["name"] for column in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert "Age" in shown
    assert {name: value for name, value in shown.items() if name != "Age"} == {
        "Name": "minimal",
        "Ready": "True",
        "Phase": "Serving",
        "Model": "drift",
        "Skill": 0.0,
        "Coverage": 0.902,
        "Reason": "NotBetterThanBaseline",
        "URL": "http://minimal.default.svc",
        "Next-Run": "2026-01-03T00:15:00Z",
    }
    narrow = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    assert narrow == ["Name", "Ready", "Phase", "Model", "Skill", "Coverage", "Reason", "Age"]


def test_a_status_that_says_nonsense_is_refused(jobs: client.CustomObjectsApi) -> None:
    where = ("presage.dev", "v1alpha1", "default", "predictionjobs")
    jobs.create_namespaced_custom_object(*where, yaml.safe_load(MINIMAL))
    try:
        with pytest.raises(ApiException) as caught:
            jobs.patch_namespaced_custom_object_status(*where, "minimal", {"status": {"phase": "Thinking"}})
    finally:
        jobs.delete_namespaced_custom_object(*where, "minimal")
    assert "Unsupported value" in json.loads(caught.value.body)["message"]


def test_the_short_name_and_categories_are_discovered(api: client.ApiClient, definition: object) -> None:
    resources = client.CustomObjectsApi(api).get_api_resources("presage.dev", "v1alpha1").resources
    found = next(resource for resource in resources if resource.name == "predictionjobs")
    assert found.short_names == ["pj"]
    assert found.categories == ["all", "ml"]
    assert found.kind == "PredictionJob"
