"""A double of KServe's controller: it makes InferenceServices ready on a real API server, and runs nothing.

The definition holds the fields that a predictor of one container may have, so that what is built with KServe's own
types is judged by the server too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from kubernetes import client, watch
from kubernetes.client.rest import ApiException

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"

_ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_ANY_LIST = {"type": "array", "items": _ANY}
_PREDICTOR = {
    "type": "object",
    "properties": {
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "minReplicas": {"type": "integer"},
        "maxReplicas": {"type": "integer"},
        "scaleTarget": {"type": "integer"},
        "scaleMetric": {"type": "string", "enum": ["cpu", "memory", "concurrency", "rps"]},
        "serviceAccountName": {"type": "string"},
        "automountServiceAccountToken": {"type": "boolean"},
        "enableServiceLinks": {"type": "boolean"},
        "imagePullSecrets": _ANY_LIST,
        "containers": _ANY_LIST,
        "volumes": _ANY_LIST,
    },
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": "InferenceService", "plural": PLURAL, "singular": "inferenceservice", "shortNames": ["isvc"]},
        "scope": "Namespaced",
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"predictor": _PREDICTOR}},
                            "status": _ANY,
                        },
                    }
                },
            }
        ],
    },
}


@contextmanager
def kserve_double(api: client.ApiClient, namespace: str) -> Iterator[None]:
    """Make every InferenceService of a namespace ready, whenever its spec changes, until the block ends."""
    stopping = threading.Event()
    services = client.CustomObjectsApi(api)
    where = (GROUP, VERSION, namespace, PLURAL)

    def serve() -> None:
        while not stopping.is_set():
            for event in watch.Watch().stream(services.list_namespaced_custom_object, *where, timeout_seconds=1):
                content = event["object"]
                if event["type"] in {"ADDED", "MODIFIED"} and not _is_current(content):
                    _make_ready(services, where, content)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _is_current(content: dict) -> bool:
    return content.get("status", {}).get("observedGeneration") == content["metadata"]["generation"]


def _make_ready(services: client.CustomObjectsApi, where: tuple[str, str, str, str], content: dict) -> None:
    name, namespace = content["metadata"]["name"], content["metadata"]["namespace"]
    moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    kinds = ("IngressReady", "PredictorReady", "Ready")
    url = f"http://{name}-{namespace}.example.com"
    status = {
        "observedGeneration": content["metadata"]["generation"],
        "url": url,
        "address": {"url": f"http://{name}.{namespace}.svc.cluster.local"},
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": moment} for kind in kinds],
        "components": {"predictor": {"url": url, "traffic": [{"latestRevision": True, "percent": 100}]}},
    }
    try:
        services.patch_namespaced_custom_object_status(*where, name, {"status": status})
    except ApiException as error:
        if error.status != 404:
            raise
