"""The cluster runs what the project asks of one, and each image runs there."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from cluster.conftest import Cluster
from cluster.images import IMAGES

_STEPS = "presage/steps:test"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}

# The node learns of a Service's Pods a moment after the API says that they are ready, so it asks until it is answered.
_CLIENT = """
import time, urllib.request
for _ in range(100):
    try:
        print(urllib.request.urlopen("http://server/hostname", timeout=5).status)
        break
    except OSError as error:
        print(error)
        time.sleep(0.2)
else:
    raise SystemExit("no answer")
"""


def run(cluster: Cluster, namespace: str, name: str, container: dict, **spec: object) -> str:
    """Run a Pod of one container to its good end and return what it wrote."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "run", "image": _STEPS, "securityContext": _RESTRICTED} | container],
        }
        | spec,
    }
    cluster.kubectl("apply", "--filename=-", text=json.dumps(pod))
    place = (f"--namespace={namespace}", f"pod/{name}")
    try:
        cluster.kubectl("wait", *place, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    except AssertionError as error:
        error.add_note(cluster.kubectl("describe", *place))
        with suppress(AssertionError):  # a container that never started has no logs
            error.add_note(cluster.kubectl("logs", *place))
        raise
    return cluster.kubectl("logs", *place)


@pytest.mark.parametrize("image", [image.name for image in IMAGES])
def test_an_image_runs_as_its_own_user_on_a_read_only_root(cluster, namespace, image):
    version = run(cluster, namespace, "version", {"image": image, "command": ["presage", "--version"]})

    assert version.startswith("presage ")


def test_a_claim_is_bound_and_keeps_what_one_pod_writes_for_the_next(cluster, namespace):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "lake", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster.kubectl("apply", "--filename=-", text=json.dumps(claim))
    volumes = [{"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}}]
    mounted = {"volumeMounts": [{"name": "lake", "mountPath": "/lake"}]}

    run(cluster, namespace, "writer", mounted | {"command": ["sh", "-c", "echo kept > /lake/file"]}, volumes=volumes)
    read = run(cluster, namespace, "reader", mounted | {"command": ["cat", "/lake/file"]}, volumes=volumes)

    assert read == "kept\n"


def test_a_pod_reaches_another_by_the_name_of_its_service(cluster, namespace):
    server = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "namespace": namespace, "labels": {"app": "server"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "server",
                    "image": _STEPS,
                    "command": ["python", "-m", "http.server", "8080", "--directory", "/etc"],
                    "securityContext": _RESTRICTED,
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                }
            ],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    for made in (server, service):
        cluster.kubectl("apply", "--filename=-", text=json.dumps(made))
    cluster.kubectl("wait", f"--namespace={namespace}", "pod/server", "--for=condition=Ready", "--timeout=120s")

    answer = run(cluster, namespace, "client", {"command": ["python", "-c", _CLIENT]})

    assert answer.endswith("200\n"), answer


def test_a_pod_without_restrictions_is_refused(cluster, namespace):
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        cluster.kubectl("run", "free", f"--namespace={namespace}", f"--image={_STEPS}")


def test_a_terminated_pod_s_message_is_what_it_wrote(cluster, namespace):
    run(cluster, namespace, "message", {"command": ["sh", "-c", "echo outcome > /dev/termination-log"]})

    path = "--output=jsonpath={.status.containerStatuses[0].state.terminated.message}"
    assert cluster.kubectl("get", f"--namespace={namespace}", "pod/message", path) == "outcome\n"
