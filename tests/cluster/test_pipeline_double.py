"""A job whose run is a pipeline: each step a Pod of a real node, artefacts through a real S3 server.

Kubeflow itself is a double (`kubeflow_pods`): its API as its official client knows it, and in the place of its workflow
engine the order of steps of the official `kfp.local`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from cluster import layout
from cluster.conftest import Cluster
from cluster.installation import CHART, IMAGES, QUICKSTART, SYSTEM, plug_in, status, within
from commands import presage
from kubeflow_pods.server import Backend, kubeflow
from s3.gateway import BUCKET, KEY, SECRET, Gateway, gateway

_PREFIX = "pipelined"


@pytest.fixture(scope="module")
def store(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real S3 server that Pods reach."""
    if "KUBECONFIG" in os.environ:
        pytest.skip("Pods of another cluster do not reach the servers of this machine")
    with gateway(tmp_path_factory.mktemp("store"), host=layout.ADDRESS) as running:
        yield running


@pytest.fixture(scope="module")
def backend(installed: Cluster, store: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The doubles of Kubeflow, and the operator told to use them; afterwards it is as it was."""
    # Values of before are not kept: what is taken away again would stay.
    chart = ("upgrade", "presage", CHART, "--namespace", SYSTEM, "--reset-values", *IMAGES)
    with kubeflow(installed, store, tmp_path_factory.mktemp("kubeflow"), layout.ADDRESS) as running:
        settings = {
            "pipelines": {"backend": "kubeflow", "kubeflow": {"endpoint": running.api.url}},
            "lake": {"s3": {"uri": f"s3://{BUCKET}/{_PREFIX}", "endpoint": store.url, "secretName": "lake"}},
        }
        values = tmp_path_factory.mktemp("values") / "values.yaml"
        values.write_text(json.dumps({"settings": settings}))
        installed.helm(*chart, "--values", str(values), "--wait", "--timeout", "3m")
        yield running
        installed.helm(*chart, "--wait", "--timeout", "3m")


@pytest.fixture
def place(installed: Cluster, backend: Backend, namespace: str) -> Iterator[str]:
    """A namespace whose Pods may read and write the bucket; its jobs go while Kubeflow can still be told of it."""
    keys = (f"--from-literal=AWS_ACCESS_KEY_ID={KEY}", f"--from-literal=AWS_SECRET_ACCESS_KEY={SECRET}")
    installed.kubectl("create", "secret", "generic", "lake", "-n", namespace, *keys)
    yield namespace
    installed.kubectl("delete", "pj", "--all", "-n", namespace, "--timeout=120s")


def steps(cluster: Cluster, namespace: str, run: str) -> list[tuple[str, datetime, datetime]]:
    """Return name, start and end of the Pods of a pipeline run, the first to start first."""
    held = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-l", f"pipeline/runid={run}", "-o", "json"))
    found = []
    for pod in held["items"]:
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        start, end = (datetime.fromisoformat(ended[key]) for key in ("startedAt", "finishedAt"))
        found.append((pod["metadata"]["name"].rpartition("-")[0], start, end))
    return sorted(found, key=lambda one: one[1])


def test_a_job_runs_as_a_pipeline_of_pods_of_the_kubeflow_double(
    installed: Cluster,
    backend: Backend,
    store: Gateway,
    place: str,
    show: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    installed.kubectl("apply", "-n", place, "-f", str(QUICKSTART))
    try:
        installed.kubectl("wait", "--for=condition=Ready", "pj/quickstart", "-n", place, "--timeout=420s")
    except AssertionError:
        show("kubectl describe", installed.kubectl("describe", "pj,pods", "-n", place))
        show("logs", installed.kubectl("logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=presage", "--tail=60"))
        for run in backend.api.runs:
            show(f"run {run}", f"{backend.steps(run)}\n{backend.log(run)[-3000:]}")
        raise
    (first,) = backend.api.runs
    pods = steps(installed, place, first)
    show("steps", "\n".join(f"{name:<10} {start:%H:%M:%S} {end:%H:%M:%S}" for name, start, end in pods))
    assert {name for name, _, _ in pods} == {"ingest", "grade", "select", "train", "promote", "forecast"}

    # The laptop finds the same without any pipeline, and the same again from the lake that the Pods wrote.
    laptop = presage("run", QUICKSTART, "--workdir", tmp_path / "laptop", "-o", "json").json()
    found = status(installed, place, "quickstart")
    card = found["scorecard"]
    assert isinstance(card, dict)
    assert card["digest"] == laptop["digest"]
    assert found["champions"][0]["model"] == "mean_combination"  # type: ignore[index]
    lake = f"s3://{BUCKET}/{_PREFIX}/{place}.quickstart"
    again = presage("rerun", str(card["run"]), "--workdir", lake, **store.environment())
    show(f"presage rerun {card['run']} --workdir {lake}", again.out)
    assert f"match: {card['digest']}" in again.out

    artifacts = store.folder / "artifacts" / first
    kinds = {path.relative_to(artifacts).parts[1] for path in artifacts.rglob("*") if path.is_file()}
    assert {"dataset", "features", "walk", "report", "model", "issued"} <= kinds
    (bundle,) = artifacts.glob("promote-*/model/bundle.json")
    assert json.loads(bundle.read_text())["model"] == "mean_combination"

    # Nothing is new: what was selected and trained is not selected and trained again.
    plug_in(installed, "run", "quickstart", "--cadence", "train", "--wait", "-n", place)
    second = next(run for run in backend.api.runs if run != first)
    assert {name for name, _, _ in steps(installed, place, second)} == {"ingest", "grade", "promote", "forecast"}
    assert status(installed, place, "quickstart")["scorecard"]["digest"] == card["digest"]  # type: ignore[index]
    installed.kubectl("delete", "pj", "quickstart", "-n", place, "--timeout=120s")
    assert not backend.api.runs


def test_a_step_that_fails_in_the_kubeflow_double_is_told_and_not_repeated(
    installed: Cluster, backend: Backend, place: str
) -> None:
    content = QUICKSTART.read_text(encoding="utf-8").replace("column: range_volatility", "column: nothing")
    installed.kubectl("apply", "-n", place, "-f", "-", text=content)

    def ready() -> dict[str, str]:
        conditions = status(installed, place, "quickstart").get("conditions", [])
        return next((one for one in conditions if one["type"] == "Ready"), {})  # type: ignore[attr-defined]

    within(240, lambda: ready().get("reason") == "DataError", lambda: f"Ready is {ready()}")
    assert "no column 'nothing'" in ready()["message"]
    runs = [run for run in backend.api.runs.values() if run["namespace"] == place]
    assert len(runs) == 1
    installed.kubectl("delete", "pj", "quickstart", "-n", place, "--timeout=120s")
