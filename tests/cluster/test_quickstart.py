"""From `kubectl apply` to a served prediction, on a real node, with the chart installed; and back to nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.conftest import Cluster
from cluster.installation import QUICKSTART, SYSTEM, plug_in, status, within
from commands import presage

OWN = "presage.dev/job"
SERVING = "deployments,services,horizontalpodautoscalers,poddisruptionbudgets"
CHILDREN = f"jobs,pods,replicasets,persistentvolumeclaims,{SERVING}"


async def predictions(url: str) -> tuple[dict[str, object], dict[str, object]]:
    """Fetch over both protocols with KServe's own client, which reads the command line when it is imported."""
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=30)) as first:
        assert await first.is_model_ready(url, "quickstart")
        answer = await first.infer(url, {"instances": [{}]}, model_name="quickstart")
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=30)) as second:
        assert await second.is_server_ready(url)
        series = InferInput("series", [1], "BYTES", data=["sp500"])
        response = await second.infer(url, InferRequest("quickstart", [series]), model_name="quickstart")
    return answer["predictions"][0], {one.name: one.data for one in response.outputs}


def test_a_job_is_applied_run_served_asked_and_deleted(
    installed: Cluster, namespace: str, show: Callable[[str, str], None], tmp_path: Path
) -> None:
    def kubectl(*words: str) -> str:
        said = installed.kubectl(*words, "-n", namespace)
        show(f"kubectl {' '.join(words)}", said)
        return said

    installed.kubectl("apply", "-n", namespace, "-f", str(QUICKSTART))
    show("kubectl apply -f manifests/examples/quickstart.yaml", "predictionjob.presage.dev/quickstart created")
    try:
        kubectl("wait", "--for=condition=Ready", "pj/quickstart", "--timeout=300s")
    except AssertionError:
        show("kubectl describe", installed.kubectl("describe", "pj,jobs,pods,deployments", "-n", namespace))
        show("logs", installed.kubectl("logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=presage", "--tail=60"))
        raise
    row = kubectl("get", "pj").splitlines()[1].split()
    assert row[:4] == ["quickstart", "True", "Serving", "mean_combination"]
    kubectl("get", f"jobs,{SERVING},persistentvolumeclaims")
    kubectl("get", "events", "--field-selector=involvedObject.kind=PredictionJob")

    # The same file on a laptop finds the same.
    laptop = presage("run", QUICKSTART, "--workdir", tmp_path, "-o", "json").json()
    found = status(installed, namespace, "quickstart")
    card = found["scorecard"]
    assert isinstance(card, dict)
    assert card["digest"] == laptop["digest"]
    promoted = next(one for one in found["conditions"] if one["type"] == "Promoted")  # type: ignore[attr-defined]
    assert (promoted["status"], promoted["reason"]) == ("True", "BetterThanBaseline")

    service = ("get", "service", "quickstart-predictor", "-n", namespace)
    address = installed.kubectl(*service, "-o=jsonpath={.spec.clusterIP}")
    first, second = asyncio.run(predictions(f"http://{address}"))
    show("kserve.InferenceRESTClient().infer(...)", json.dumps(first, indent=2))
    (step,) = first["steps"]  # type: ignore[misc]
    assert isinstance(step, dict)
    assert step["mean"] == pytest.approx(second["mean"][0])  # type: ignore[index]
    assert step["quantiles"]["0.05"] < step["mean"] < step["quantiles"]["0.95"]
    assert first["model"] == "mean_combination"
    assert first["model_version"] == card["run"]

    show("kubectl presage status quickstart", plug_in(installed, "status", "quickstart", "-n", namespace))
    issued = plug_in(installed, "run", "quickstart", "--cadence", "forecast", "--wait", "-n", namespace)
    show("kubectl presage run quickstart --cadence forecast --wait", issued)
    show("kubectl presage history quickstart", plug_in(installed, "history", "quickstart", "-n", namespace))
    plug_in(installed, "report", "quickstart", "-n", namespace, "--out", str(tmp_path / "report.html"))
    assert "mean_combination" in (tmp_path / "report.html").read_text(encoding="utf-8")

    kubectl("delete", "pj", "quickstart", "--timeout=60s")

    def left() -> str:
        return installed.kubectl("get", CHILDREN, "-n", namespace, "-l", OWN, "-o", "name")

    within(120, lambda: not left(), lambda: f"left: {left()}")
    show(f"kubectl get {CHILDREN} -l {OWN}", "nothing is left")


def test_a_run_that_takes_too_much_memory_says_so(installed: Cluster, namespace: str) -> None:
    content = QUICKSTART.read_text(encoding="utf-8")
    small = content.replace("spec:\n", "spec:\n  resources: {requests: {memory: 16Mi}, limits: {memory: 48Mi}}\n", 1)
    installed.kubectl("apply", "-n", namespace, "-f", "-", text=small)

    def ready() -> dict[str, str]:
        conditions = status(installed, namespace, "quickstart").get("conditions", [])
        return next((one for one in conditions if one["type"] == "Ready"), {})  # type: ignore[attr-defined]

    within(180, lambda: ready().get("reason") == "OOMKilled", lambda: f"Ready is {ready()}")
    installed.kubectl("delete", "pj", "quickstart", "-n", namespace, "--timeout=60s")


def test_the_other_replica_takes_over_when_the_leader_is_gone(installed: Cluster, namespace: str) -> None:
    def holder() -> str:
        lease = ("get", "lease", "presage-operator", "-n", SYSTEM, "-o=jsonpath={.spec.holderIdentity}")
        return installed.kubectl(*lease).partition("_")[0]

    leader = holder()
    installed.kubectl("delete", "pod", leader, "-n", SYSTEM, "--grace-period=0", "--force")
    installed.kubectl("apply", "-n", namespace, "-f", str(QUICKSTART))
    within(90, lambda: holder() not in {"", leader}, lambda: f"the Lease is still held by {leader}")
    within(60, lambda: bool(status(installed, namespace, "quickstart")), lambda: "nobody looked at the job")
    installed.kubectl("delete", "pj", "quickstart", "-n", namespace, "--timeout=60s")


def test_helm_s_own_test_passes(installed: Cluster) -> None:
    assert "Succeeded" in installed.helm("test", "presage", "--namespace", SYSTEM, "--timeout", "2m")
