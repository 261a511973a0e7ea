"""A namespace of a real API server with real controllers: an operator works in it, and tests look at what it leaves."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml
from conftest import lacking
from control.apiserver import ControlPlane, ControlPlaneError, control_plane, control_plane_binary
from control.fault_proxy import FaultProxy
from control.namespaces import new_namespace
from control.operator_process import OperatorProcess
from doubles.kubelet import KubeletDouble, kubelet_double

from presage.spec.crd import custom_resource_definition
from presage_operator import resources
from presage_operator.capabilities import Backends
from presage_operator.client import ApiClient, Resource, Retry
from presage_operator.credentials import Credentials
from presage_operator.errors import ApiError, JsonObject
from presage_operator.names import JOB_LABEL
from presage_operator.observed import Capabilities
from presage_operator.operator import Operator
from presage_operator.resources import PREDICTION_JOBS
from presage_operator.settings import Settings

PATIENCE_SECONDS = 30
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
REPLICA_SETS = Resource("apps", "v1", "replicasets")
CHILDREN = {
    "Job": resources.RUNS,
    "Pod": resources.PODS,
    "PersistentVolumeClaim": resources.CLAIMS,
    "Deployment": resources.DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "Service": resources.SERVICES,
    "HorizontalPodAutoscaler": resources.AUTOSCALERS,
    "PodDisruptionBudget": resources.DISRUPTION_BUDGETS,
}
SPEC = {
    "frequency": "1d",
    "target": {"source": "sp500", "column": "range_volatility", "minimum": 0, "horizon": 3},
    "sources": [{"name": "sp500", "dataset": {"name": "arch/sp500"}, "availability": {"lag": "0s"}}],
    "models": [{"name": "ridge"}],
}
SERVED = {
    ("Job", "PredictionJob"): 1,
    ("Pod", "Job"): 1,
    ("PersistentVolumeClaim", "PredictionJob"): 1,
    ("Deployment", "PredictionJob"): 1,
    ("ReplicaSet", "Deployment"): 1,
    ("Pod", "ReplicaSet"): 1,
    ("Service", "PredictionJob"): 1,
    ("HorizontalPodAutoscaler", "PredictionJob"): 1,
    ("PodDisruptionBudget", "PredictionJob"): 1,
}
"""The children of a job that ran once and is served, by kind and the kind of their owner."""
# Moments, and names that hold a digest of a UID or a moment.
_TIMES = re.compile(r"Time$|^since$|^staleAfter$|^nextRun|^lastSchedules$")
_RUN = re.compile(r"\b\d{8}T\d{6}Z-(?=[0-9a-f]{8}\b)|(?<=[a-z0-9]-)[0-9a-f]{8}\b")


@dataclass(frozen=True)
class OperatedCluster:
    """A control plane with controllers and the PredictionJob, whose Pods a double looks after."""

    plane: ControlPlane
    kubelet: KubeletDouble
    folder: Path


@contextmanager
def operated_cluster() -> Iterator[OperatedCluster]:
    """Start the servers and the double; stop them afterwards."""

    with (
        control_plane(controllers=True, define=_define) as plane,
        kubelet_double(plane) as kubelet,
        tempfile.TemporaryDirectory() as folder,
    ):
        yield OperatedCluster(plane, kubelet, Path(folder))


def _define(plane: ControlPlane) -> None:
    async def defined() -> None:
        async with ApiClient(credentials(plane)) as client:
            await client.create(DEFINITIONS, None, custom_resource_definition())
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not await client.serves(PREDICTION_JOBS):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    asyncio.run(defined())


def credentials(plane: ControlPlane) -> Credentials:
    """Return how the operator's client reaches a server directly."""
    return Credentials(plane.url, ssl.create_default_context(cafile=plane.certificate), f"Bearer {plane.token}")


@dataclass
class Site:
    """One namespace, and the way of tests to it, which no fault befalls.

    Attributes:
        cluster: Where it is.
        client: A client of the API server.
        proxy: Before the API server, for operators to go through.
        namespace: Its name, new for each site.
        step_seconds: Time between two looks.
    """

    cluster: OperatedCluster
    client: ApiClient
    proxy: FaultProxy
    namespace: str
    step_seconds: float = 0.05
    _operators: int = field(default=0)

    @property
    def kubelet(self) -> KubeletDouble:
        """The double that looks after the Pods."""
        return self.cluster.kubelet

    def operator(
        self, *words: str, settings: JsonObject | None = None, election: bool = False, through: FaultProxy | None = None
    ) -> OperatorProcess:
        """Return a replica of the operator for this namespace; it reaches the server through the proxy."""
        self._operators += 1
        stem = self.cluster.folder / f"{self.namespace}-{self._operators}"
        kubeconfig, configuration = stem.with_suffix(".kubeconfig"), stem.with_suffix(".yaml")
        kubeconfig.write_text((through or self.proxy).kubeconfig())
        configuration.write_text(yaml.safe_dump(settings or {}))
        usual = ("-n", self.namespace, "--settings", str(configuration))
        lone = () if election else ("--no-leader-election",)
        return OperatorProcess(kubeconfig, stem.with_suffix(".log"), (*usual, *lone, *words))

    async def apply(self, name: str = "job", **changes: object) -> JsonObject:
        """Make a job; the changes are fields of its spec."""
        head: JsonObject = {"name": name, "namespace": self.namespace}
        body: JsonObject = {
            "apiVersion": "presage.dev/v1alpha1",
            "kind": "PredictionJob",
            "metadata": head,
            "spec": {**copy.deepcopy(SPEC), **changes},
        }
        return await self.client.create(PREDICTION_JOBS, self.namespace, body)

    async def change(self, name: str = "job", **changes: object) -> JsonObject:
        """Merge changes into a job's spec."""
        return await self.client.patch(PREDICTION_JOBS, self.namespace, name, {"spec": changes})

    async def annotate(self, annotation: str, value: str, name: str = "job") -> None:
        """Give a job an annotation."""
        body: JsonObject = {"metadata": {"annotations": {annotation: value}}}
        await self.client.patch(PREDICTION_JOBS, self.namespace, name, body)

    async def delete(self, name: str = "job") -> None:
        """Delete a job."""
        await self.client.delete(PREDICTION_JOBS, self.namespace, name)

    async def job(self, name: str = "job") -> dict:
        """Return a job as the server holds it."""
        return await self.client.get(PREDICTION_JOBS, self.namespace, name)

    async def jobs(self) -> list[str]:
        """Return the names of the jobs."""
        held = (await self.client.list(PREDICTION_JOBS, self.namespace)).items
        return sorted(job["metadata"]["name"] for job in held)

    async def status(self, name: str = "job") -> dict:
        """Return a job's status."""
        return (await self.job(name)).get("status", {})

    async def condition(self, type_: str, name: str = "job") -> tuple[str, str]:
        """Return a condition's status and reason; empty where it is not there."""
        conditions = (await self.status(name)).get("conditions", [])
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == type_), ("", ""))

    async def objects(self, kind: str) -> list[dict]:
        """Return the children of one kind in the namespace."""
        return (await self.client.list(CHILDREN[kind], self.namespace)).items

    async def children(self, name: str = "job") -> dict[tuple[str, str], int]:
        """Count a job's children by kind and the kind of their owner, and require that each has a live owner."""
        found = [child | {"kind": kind} for kind in CHILDREN for child in await self.objects(kind)]
        alive = {child["metadata"]["uid"] for child in found}
        jobs = (await self.client.list(PREDICTION_JOBS, self.namespace)).items
        alive |= {job["metadata"]["uid"] for job in jobs} | {""}
        counts: dict[tuple[str, str], int] = {}
        for child in found:
            head = child["metadata"]
            if head.get("labels", {}).get(JOB_LABEL) != name:
                continue
            (owner,) = head.get("ownerReferences") or [{"kind": "nobody", "uid": ""}]
            kind = owner["kind"] if owner["uid"] in alive else f"lost {owner['kind']}"
            counts[child["kind"], kind] = counts.get((child["kind"], kind), 0) + 1
        return counts

    async def picture(self, name: str = "job") -> dict:
        """Return what a job has come to, but for times: its status and the count of its children."""
        text = json.dumps(await self.status(name)).replace(self.namespace, "namespace").replace(f"{name}-", "job-")
        return {
            "status": _without_times(json.loads(_RUN.sub("", text))),
            "children": {" of ".join(kinds): count for kinds, count in sorted((await self.children(name)).items())},
        }

    async def started(self, name: str = "job", **changes: object) -> None:
        """Make a job and wait until its run is under way; it goes on until `end_run`."""

        async def running() -> bool:
            return [one["state"] for one in (await self.status(name)).get("runs", [])] == ["Running"]

        self.kubelet.held.add((self.namespace, name))
        await self.apply(name, **changes)
        await self.until(running)

    def end_run(self, name: str = "job") -> None:
        """Let the runs of a job end."""
        self.kubelet.release(self.namespace, name)

    async def until_ready(self, *names: str) -> None:
        """Wait until jobs are ready under their newest spec."""

        async def ready(name: str) -> bool:
            job = await self.job(name)
            status = job.get("status", {})
            current = status.get("observedGeneration") == job["metadata"]["generation"]
            return current and (await self.condition("Ready", name))[0] == "True"

        for name in names or ("job",):
            await self.until(lambda name=name: ready(name))

    async def until(self, holds: Callable[[], Awaitable[object]]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await _held(holds):
            assert time.monotonic() < deadline, await self._everything()
            await asyncio.sleep(self.step_seconds)

    async def until_equal(self, wanted: object, found: Callable[[], Awaitable[object]]) -> None:
        """Wait until something is found to equal what is wanted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (seen := await found()) != wanted:
            if time.monotonic() > deadline:
                assert seen == wanted, await self._everything()
            await asyncio.sleep(self.step_seconds)

    async def _everything(self) -> str:
        jobs = (await self.client.list(PREDICTION_JOBS, self.namespace)).items
        pictures = {job["metadata"]["name"]: await self.picture(str(job["metadata"]["name"])) for job in jobs}
        logs = [file.read_text() for file in sorted(self.cluster.folder.glob(f"{self.namespace}*.log"))]
        return "\n".join((json.dumps(pictures, indent=1), *logs))


async def _held(holds: Callable[[], Awaitable[object]]) -> bool:
    try:
        return bool(await holds())
    except ApiError:
        return False  # the server may be the one that is at fault


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {name: "a time" if _TIMES.search(name) else _without_times(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_times(inner) for inner in value]
    return value


@asynccontextmanager
async def site(cluster: OperatedCluster) -> AsyncIterator[Site]:
    """Make a namespace and a proxy for a test."""
    async with FaultProxy(cluster.plane) as proxy, ApiClient(credentials(cluster.plane)) as client:
        namespace = await new_namespace(client, **{"pod-security.kubernetes.io/enforce": "restricted"})
        yield Site(cluster, client, proxy, namespace)


def run(cluster: OperatedCluster, test: Callable[[Site], Awaitable[None]]) -> None:
    """Run a test in a namespace of its own."""

    async def driven() -> None:
        async with asyncio.timeout(240), site(cluster) as here:
            await test(here)
        # Connections that were cut amid a request end their TLS in the loop, which must not close before.
        await asyncio.sleep(0.05)

    asyncio.run(driven())


@asynccontextmanager
async def operator_inside(
    here: Site,
    *,
    through: FaultProxy | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    settings: Settings | None = None,
    retry: Retry | None = None,
) -> AsyncIterator[None]:
    """Run what a leading operator runs, in this process, for the namespace of a site."""
    chosen = (settings or Settings()).model_copy(update={"namespaces": (here.namespace,), "workers": 2})
    async with ApiClient((through or here.proxy).credentials(), retry=retry or Retry()) as client:
        backends = Backends(pipelines="job", serving="deployment")
        controller = Operator(chosen, clock=clock).make_controller(client, Capabilities(), backends, None)
        working = asyncio.ensure_future(controller.run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait({working})


def started_cluster() -> Iterator[OperatedCluster]:
    """Give the servers and the double, as a fixture; skip for want of the servers' programs."""
    try:
        control_plane_binary()
    except ControlPlaneError as error:
        lacking(str(error))
    with operated_cluster() as running:
        yield running


def usual_end(cluster: OperatedCluster) -> dict:
    """Return, as a fixture, what a job comes to where nothing is at fault."""
    found: dict = {}

    async def test(here: Site) -> None:
        async with here.operator():
            await here.apply()
            await here.until_ready()
            await here.until_equal(SERVED, here.children)
            found.update(await here.picture())

    run(cluster, test)
    return found
