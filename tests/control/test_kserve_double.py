"""InferenceServices on the real API server, made ready by a double of KServe's controller."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

import kserve
import pytest
import yaml
from control.apiserver import ControlPlane
from doubles.kserve import DEFINITION, GROUP, PLURAL, VERSION, kserve_double
from kubernetes import client, watch

from presage.spec.load import parse_job
from presage_operator.capabilities import choose_backends, discover
from presage_operator.client import ApiClient
from presage_operator.credentials import Credentials
from presage_operator.desired.serving import serving_objects
from presage_operator.errors import JsonObject
from presage_operator.names import DESIRED, FIELD_MANAGER, RUN_LABEL
from presage_operator.observed import Capabilities
from presage_operator.settings import Settings

pytestmark = pytest.mark.control

NAMESPACE = "kserve-double"
UID = "7b7e3f0c-0b8f-4b0e-9a52-3a3f2f1d9c11"
WHERE = (GROUP, VERSION, NAMESPACE, PLURAL)
JOB = parse_job(
    f"""
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {{name: sp500, namespace: {NAMESPACE}}}
spec:
  frequency: 1d
  target: {{source: sp500, column: range_volatility, minimum: 0}}
  sources: [{{name: sp500, dataset: {{name: arch/sp500}}, availability: {{lag: 0s}}}}]
  serving: {{replicas: {{min: 0, max: 3}}}}
""",
    "job",
)


def discovered(plane: ControlPlane) -> Capabilities:
    """Ask the server as the operator does."""

    async def ask() -> Capabilities:
        tls = ssl.create_default_context(cafile=plane.certificate)
        async with ApiClient(Credentials(plane.url, tls, f"Bearer {plane.token}")) as operator:
            return await discover(operator)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def services(api: client.ApiClient, plane: ControlPlane) -> Iterator[client.CustomObjectsApi]:
    """A server with InferenceServices, and a restricted namespace for them."""
    assert choose_backends(Settings(), discovered(plane), kserve_types=True, pipeline=False).serving == "deployment"
    definitions = client.ApiextensionsV1Api(api)
    definitions.create_custom_resource_definition(DEFINITION)
    for event in watch.Watch().stream(definitions.list_custom_resource_definition, timeout_seconds=30):
        held = event["object"]
        established = {condition.type: condition.status for condition in held.status.conditions or ()}
        if held.spec.group == GROUP and established.get("Established") == "True":
            break
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    client.CoreV1Api(api).create_namespace({"metadata": {"name": NAMESPACE, "labels": labels}})
    yield client.CustomObjectsApi(api)
    client.CoreV1Api(api).delete_namespace(NAMESPACE)
    definitions.delete_custom_resource_definition(DEFINITION["metadata"]["name"])


@pytest.fixture(scope="module")
def official(plane: ControlPlane, services: object) -> kserve.KServeClient:
    """The official client of the same server."""
    return kserve.KServeClient(config_dict=yaml.safe_load(plane.kubeconfig()), persist_config=False)


def service(run: str = "20260102T030405Z-8f14e45f", settings: Settings | None = None) -> JsonObject:
    (made,) = serving_objects("kserve", JOB, uid=UID, run=run, settings=settings or Settings())
    return made


def applied(api: client.ApiClient, content: JsonObject) -> tuple[JsonObject, list[str]]:
    """Return what server-side apply gives, and the server's warnings."""
    name = content["metadata"]["name"]
    answer, _, headers = api.call_api(
        f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}/{name}",
        "PATCH",
        query_params=[("fieldValidation", "Strict"), ("fieldManager", FIELD_MANAGER), ("force", "true")],
        header_params={"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"},
        body=content,
        auth_settings=["BearerToken"],
        response_type="object",
    )
    return answer, headers.getlist("Warning") if "Warning" in headers else []


def test_the_cluster_is_seen_to_have_kserve(plane: ControlPlane, services: object) -> None:
    assert discovered(plane) == Capabilities(kserve=True, kubeflow=False)


def test_the_official_client_sees_a_service_of_ours_become_ready_and_follow_the_next_model(
    api: client.ApiClient, services: client.CustomObjectsApi, official: kserve.KServeClient
) -> None:
    with kserve_double(api, NAMESPACE):
        first, warnings = applied(api, service())
        assert warnings == []
        official.wait_isvc_ready("sp500", namespace=NAMESPACE, watch=True, timeout_seconds=30)
        assert official.is_isvc_ready("sp500", namespace=NAMESPACE)
        seen = official.get("sp500", namespace=NAMESPACE)
        assert seen["status"]["url"] == f"http://sp500-{NAMESPACE}.example.com"
        assert seen["metadata"]["annotations"][DESIRED] == first["metadata"]["annotations"][DESIRED]

        again, _ = applied(api, service())
        assert again["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]

        second, _ = applied(api, service("20260103T030405Z-c9f0f895"))
        assert second["metadata"]["generation"] == first["metadata"]["generation"] + 1
        generation = second["metadata"]["generation"]
        official.wait_isvc_ready(
            "sp500", namespace=NAMESPACE, watch=True, timeout_seconds=30, expected_generation=generation
        )
        seen = official.get("sp500", namespace=NAMESPACE)
        assert seen["metadata"]["annotations"][RUN_LABEL] == "20260103T030405Z-c9f0f895"
        (container,) = seen["spec"]["predictor"]["containers"]
        (place,) = [each["value"] for each in container["env"] if each["name"] == "STORAGE_URI"]
        assert place.endswith("/20260103T030405Z-c9f0f895")
        official.delete("sp500", namespace=NAMESPACE)
    with pytest.raises(RuntimeError, match="404"):
        official.get("sp500", namespace=NAMESPACE)


def test_the_predictor_is_a_pod_of_the_restricted_profile(api: client.ApiClient, services: object) -> None:
    settings = Settings.model_validate({"images": {"pullSecrets": ["registry"]}})
    predictor = service(settings=settings)["spec"]["predictor"]
    spec = {
        name: value
        for name, value in predictor.items()
        if name not in {"labels", "minReplicas", "maxReplicas", "scaleTarget"}
    }
    held = client.CoreV1Api(api).create_namespaced_pod(
        NAMESPACE, {"metadata": {"name": "predictor"}, "spec": spec}, field_validation="Strict"
    )
    assert held.spec.containers[0].name == "kserve-container"
    assert held.spec.automount_service_account_token is False
