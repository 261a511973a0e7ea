"""What the operator and people may do, asked of a real API server: the tables below, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from commands import PRESAGE
from control.apiserver import ControlPlane
from installs import CHART, ROOT, SYSTEM, charted, find, kubectl, kustomized, plain, run
from installs import KUSTOMIZE as OVERLAYS
from kubernetes import client


class Right(NamedTuple):
    """A verb on a resource, on the one object of that name where there is a name."""

    group: str
    resource: str
    verb: str
    name: str = ""


def rights(group: str, resource: str, verbs: str, name: str = "") -> frozenset[Right]:
    return frozenset(Right(group, resource, verb, name) for verb in verbs.split())


WHOLE_LIFE = "get list watch create patch delete"
# A new right of the operator must be written here; its reason stands in the manifest.
OPERATOR = frozenset().union(
    rights("presage.dev", "predictionjobs", "list watch patch"),
    rights("presage.dev", "predictionjobs/status", "patch"),
    rights("presage.dev", "predictionjobs/finalizers", "update"),
    rights("batch", "jobs", "get list watch create delete"),
    rights("", "pods", "list watch"),
    rights("", "persistentvolumeclaims", "get create"),
    rights("", "services", WHOLE_LIFE),
    rights("apps", "deployments", WHOLE_LIFE),
    rights("autoscaling", "horizontalpodautoscalers", WHOLE_LIFE),
    rights("policy", "poddisruptionbudgets", WHOLE_LIFE),
    rights("serving.kserve.io", "inferenceservices", WHOLE_LIFE),
    rights("events.k8s.io", "events", "create"),
)
OF_THE_CLUSTER = rights("apiextensions.k8s.io", "customresourcedefinitions", "list watch")
LEASE = rights("coordination.k8s.io", "leases", "get patch", "presage-operator") | rights(
    "coordination.k8s.io", "leases", "create"
)
ALL_VERBS = "get list watch create update patch delete deletecollection"
RBAC = "rbac.authorization.k8s.io"
FORBIDDEN = {
    "reads or writes a secret": rights("", "secrets", ALL_VERBS),
    "reads or writes a config map, its own settings too": rights("", "configmaps", ALL_VERBS),
    "makes a Pod by itself": rights("", "pods", "create update patch"),
    "removes a Pod": rights("", "pods", "delete deletecollection"),
    "enters a Pod": rights("", "pods/exec", "get create") | rights("", "pods/attach", "get create"),
    "reaches into a Pod or Service": rights("", "pods/portforward", "get create")
    | rights("", "pods/proxy", "get create")
    | rights("", "services/proxy", "get create"),
    "changes a running Pod": rights("", "pods/ephemeralcontainers", "update patch")
    | rights("", "pods/resize", "update patch"),
    "evicts a Pod": rights("", "pods/eviction", "create"),
    "makes or removes a PredictionJob": rights("presage.dev", "predictionjobs", "create update delete")
    | rights("presage.dev", "predictionjobs", "deletecollection"),
    "changes a run's Job": rights("batch", "jobs", "update patch") | rights("batch", "jobs/status", "update patch"),
    "runs by a CronJob or DaemonSet": rights("batch", "cronjobs", ALL_VERBS) | rights("apps", "daemonsets", ALL_VERBS),
    "reads a log": rights("", "pods/log", "get"),
    "lists, changes or removes lakes": rights(
        "", "persistentvolumeclaims", "list watch update patch delete deletecollection"
    )
    | rights("", "persistentvolumes", ALL_VERBS),
    "looks at nodes": rights("", "nodes", ALL_VERBS) | rights("", "nodes/proxy", "get create"),
    "looks at namespaces": rights("", "namespaces", ALL_VERBS),
    "gives itself rights": rights(RBAC, "clusterroles", f"{ALL_VERBS} escalate bind")
    | rights(RBAC, "roles", f"{ALL_VERBS} escalate bind")
    | rights(RBAC, "clusterrolebindings", ALL_VERBS)
    | rights(RBAC, "rolebindings", ALL_VERBS),
    "acts as somebody else": rights("", "users", "impersonate")
    | rights("", "groups", "impersonate")
    | rights("", "serviceaccounts", "impersonate"),
    "gets a token": rights("", "serviceaccounts", ALL_VERBS) | rights("", "serviceaccounts/token", "create"),
    "asks about others' rights": rights("authentication.k8s.io", "tokenreviews", "create")
    | rights("authorization.k8s.io", "subjectaccessreviews", "create"),
    "signs a certificate": rights("certificates.k8s.io", "certificatesigningrequests", ALL_VERBS),
    "changes definitions": rights("apiextensions.k8s.io", "customresourcedefinitions", "create update patch delete"),
    "changes admission": rights("admissionregistration.k8s.io", "validatingwebhookconfigurations", ALL_VERBS)
    | rights("admissionregistration.k8s.io", "mutatingwebhookconfigurations", ALL_VERBS),
    "reads or removes events": rights("", "events", ALL_VERBS)
    | rights("events.k8s.io", "events", "get list watch patch delete"),
    "takes the Lease of another": rights("coordination.k8s.io", "leases", "get update patch delete", "another"),
    "removes its Lease": rights("coordination.k8s.io", "leases", "list watch delete deletecollection"),
}
OPERATOR_USER = f"system:serviceaccount:{SYSTEM}:presage-operator"
NAMESPACED_SYSTEM = "desks-system"
WAIT_SECONDS = 60
KINDS = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@pytest.fixture(scope="module")
def kubeconfig(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rbac") / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(plane.kubeconfig())
    return path


@pytest.fixture(scope="module", autouse=True)
def installed(kubeconfig: Path, definition: client.V1CustomResourceDefinition) -> Iterator[None]:
    """The rights of the manifests, and those of the chart in namespaces of its own, on the API server."""
    words = ("--values", CHART / "ci" / "namespaced-values.yaml")
    objects = [one for one in plain() if one["kind"] in KINDS]
    objects += [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in (NAMESPACED_SYSTEM, "desk-a", "desk-b", "forecasts")
    ]
    objects += [one for one in charted(*words, namespace=NAMESPACED_SYSTEM) if one["kind"] in KINDS]
    # The overlay's operator has another name, beside the one that is bound to the cluster.
    binding = find(kustomized(OVERLAYS / "overlays" / "namespaced"), "RoleBinding", "presage-operator")
    objects += [binding | {"subjects": [binding["subjects"][0] | {"name": "overlay"}]}]
    command = [kubectl(), "--kubeconfig", kubeconfig]
    run([*command, "apply", "--server-side", "-f", "-"], yaml.safe_dump_all(objects))
    yield
    # Namespaces are left: nobody is here who would empty them.
    gone = [one for one in objects if one["kind"] != "Namespace"]
    run([*command, "delete", "-f", "-"], yaml.safe_dump_all(gone))


def allowed(api: client.ApiClient, user: str, right: Right, namespace: str) -> bool:
    """Ask the API server whether a user may do it; no namespace is all of the cluster."""
    resource, _, subresource = right.resource.partition("/")
    _, _, place, _ = user.split(":")
    review = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(
            user=user,
            groups=["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"],
            resource_attributes=client.V1ResourceAttributes(
                group=right.group,
                resource=resource,
                subresource=subresource,
                verb=right.verb,
                name=right.name,
                namespace=namespace,
            ),
        )
    )
    return client.AuthorizationV1Api(api).create_subject_access_review(review).status.allowed


def rules_of(api: client.ApiClient, user: str, namespace: str) -> frozenset[Right]:
    """All that the API server says a user may do in a namespace, beyond what everybody may."""

    def listed(name: str) -> frozenset[Right]:
        with client.ApiClient(api.configuration, "Impersonate-User", name) as impersonating:
            review = client.AuthorizationV1Api(impersonating).create_self_subject_rules_review(
                client.V1SelfSubjectRulesReview(spec=client.V1SelfSubjectRulesReviewSpec(namespace=namespace))
            )
        assert not review.status.incomplete
        return expanded(rule.to_dict() for rule in review.status.resource_rules)

    return listed(user) - listed("system:serviceaccount:default:nobody")


def expanded(rules: Iterable[dict]) -> frozenset[Right]:
    """Every single right of rules, as a manifest or as the client spells them."""
    return frozenset(
        Right(group, resource, verb, name)
        for rule in rules
        for group in rule.get("apiGroups") or rule["api_groups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or rule.get("resource_names") or [""]
    )


def test_every_rule_of_the_roles_is_in_the_table() -> None:
    objects = plain()
    assert expanded(find(objects, "ClusterRole", "presage-operator")["rules"]) == OPERATOR | OF_THE_CLUSTER
    assert expanded(find(objects, "Role")["rules"]) == LEASE


def test_the_operator_may_do_everywhere_what_the_table_says(api: client.ApiClient) -> None:
    # Also in kube-system: a job may be in any namespace, and who may make one there is the cluster's affair.
    places = ("", "default", "kube-system")
    missing = [
        (right, place)
        for place in places
        for right in sorted(OPERATOR)
        if not allowed(api, OPERATOR_USER, right, place)
    ]
    missing += [right for right in OF_THE_CLUSTER if not allowed(api, OPERATOR_USER, right, "")]
    missing += [right for right in LEASE if not allowed(api, OPERATOR_USER, right, SYSTEM)]
    assert missing == []


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_the_operator_never(api: client.ApiClient, deed: str) -> None:
    granted = [
        (right, place)
        for place in ("", SYSTEM, "default", "kube-system")
        for right in sorted(FORBIDDEN[deed])
        if allowed(api, OPERATOR_USER, right, place)
    ]
    assert granted == []


def test_the_operator_takes_its_lease_in_its_own_namespace_alone(api: client.ApiClient) -> None:
    elsewhere = [right for right in LEASE for place in ("", "default") if allowed(api, OPERATOR_USER, right, place)]
    assert elsewhere == []


def test_nothing_beside_the_table_is_allowed(api: client.ApiClient) -> None:
    assert rules_of(api, OPERATOR_USER, "default") == OPERATOR | OF_THE_CLUSTER
    assert rules_of(api, OPERATOR_USER, SYSTEM) == OPERATOR | OF_THE_CLUSTER | LEASE


@pytest.mark.parametrize("namespace", ["desk-a", "desk-b"])
def test_a_namespaced_operator_has_its_rights_in_its_namespaces(api: client.ApiClient, namespace: str) -> None:
    user = f"system:serviceaccount:{NAMESPACED_SYSTEM}:presage-operator"
    assert rules_of(api, user, namespace) == OPERATOR
    assert [right for right in sorted(OPERATOR) if not allowed(api, user, right, namespace)] == []


def test_a_namespaced_operator_has_no_rights_outside_of_its_namespaces(api: client.ApiClient) -> None:
    user = f"system:serviceaccount:{NAMESPACED_SYSTEM}:presage-operator"
    assert rules_of(api, user, "default") == frozenset()
    assert rules_of(api, user, NAMESPACED_SYSTEM) == LEASE
    outside = [
        (right, place)
        for place in ("", "default", "kube-system", SYSTEM)
        for right in sorted(OPERATOR | OF_THE_CLUSTER | LEASE)
        if allowed(api, user, right, place)
    ]
    assert outside == []


def test_the_namespaced_overlay_grants_the_same_in_its_namespace_and_nothing_outside(api: client.ApiClient) -> None:
    user = f"system:serviceaccount:{SYSTEM}:overlay"
    inside = rules_of(api, user, "forecasts")
    assert inside == OPERATOR | OF_THE_CLUSTER
    # A binding in a namespace grants nothing over the cluster, whatever its role says.
    assert not any(allowed(api, user, right, "") for right in OF_THE_CLUSTER)
    assert rules_of(api, user, "default") == frozenset()


@pytest.mark.parametrize(
    ("system", "values"), [(SYSTEM, "values.yaml"), (NAMESPACED_SYSTEM, "ci/namespaced-values.yaml")]
)
def test_the_operator_works_with_these_rights_alone(
    plane: ControlPlane, kubeconfig: Path, tmp_path: Path, system: str, values: str
) -> None:
    command = [kubectl(), "--kubeconfig", kubeconfig]
    token = run([*command, "create", "token", "presage-operator", "--namespace", system]).strip()
    own = tmp_path / "kubeconfig"
    own.touch(mode=0o600)
    own.write_text(plane.kubeconfig().replace(plane.token, token))
    settings = tmp_path / "settings.yaml"
    settings.write_text(find(charted("--values", CHART / values), "ConfigMap")["data"]["settings.yaml"])
    with socket.socket() as listener:
        listener.bind(("", 0))
        port = listener.getsockname()[1]
    log = tmp_path / "log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [PRESAGE, "operator", "--settings", settings, "--health-port", str(port)],
            stdout=output,
            stderr=output,
            env={**os.environ, "KUBECONFIG": str(own), "POD_NAMESPACE": system, "PRESAGE_LOG_LEVEL": "INFO"},
        )
    try:
        run([*command, "apply", "--namespace", "desk-a", "-f", ROOT / "manifests" / "examples" / "quickstart.yaml"])
        deadline = time.monotonic() + WAIT_SECONDS
        # Its event is the last that a start of a run writes: the Lease, the claim, the Job and the status came before.
        while "RunStarted" not in run([*command, "get", "events", "--namespace", "desk-a"]):
            assert time.monotonic() < deadline, log.read_text()
            assert running.poll() is None, log.read_text()
            time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            requests = [line for line in answer.read().decode().splitlines() if "presage_api_requests_total{" in line]
        assert len(requests) > 10
        assert [line for line in requests if 'code="403"' in line] == []
    finally:
        running.terminate()
        running.wait(WAIT_SECONDS)
        everything = ("predictionjobs,jobs,pvc,events", "--all", "--namespace", "desk-a")
        run([*command, "delete", *everything, "--wait=false"])
        # Nobody is here who would see that no Pod uses the claim.
        release = '{"metadata": {"finalizers": null}}'
        run([*command, "patch", "pvc", "quickstart-lake", "--namespace", "desk-a", "--type=merge", "--patch", release])
    # Nor was kopf, whose requests are not counted, refused anything.
    assert "orbidden" not in log.read_text()


def test_people_see_and_edit_jobs_but_not_their_status() -> None:
    objects = plain()
    view = find(objects, "ClusterRole", "presage-view")
    edit = find(objects, "ClusterRole", "presage-edit")
    assert expanded(view["rules"]) == rights("presage.dev", "predictionjobs", "get list watch") | rights(
        "presage.dev", "predictionjobs/status", "get list watch"
    )
    assert expanded(edit["rules"]) == rights("presage.dev", "predictionjobs", ALL_VERBS)


def test_no_rule_has_a_wildcard() -> None:
    for one in plain():
        for rule in one.get("rules", ()):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
