"""A double of the nodes: Pods on a real API server run and end as tests say; nothing is executed.

The Pods come from the real controllers. A Pod of a run ends well with the outcome of a promoted model, unless a test
says otherwise; a Pod of a server becomes ready; a Pod that is being deleted goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from control.apiserver import ControlPlane

from presage.spec.digest import spec_digest
from presage.spec.load import parse_job
from presage.spec.outcome import Failure, OutcomeCondition, RunOutcome, to_message
from presage.spec.status import Champion, ScorecardSummary
from presage_operator.names import CADENCE_LABEL, JOB_FILE, JOB_LABEL

VERDICT = {
    "DataReady": "SourcesRead",
    "FeaturesReady": "FeaturesSelected",
    "Trained": "ContendersFitted",
    "Evaluated": "BackTestScored",
    "Promoted": "BetterThanBaseline",
}
_PATCH = {"Content-Type": "application/strategic-merge-patch+json"}
_PODS = "/api/v1/pods"


@dataclass(frozen=True)
class Ending:
    """How the Pod of a run ends: 0 is well; a message is what it left in its termination log."""

    code: int = 0
    message: str = ""
    reason: str = "Completed"
    evicted: bool = False


OUT_OF_MEMORY = Ending(137, reason="OOMKilled")
EVICTED = Ending(137, reason="Error", evicted=True)


def failure(code: int, reason: str, message: str, *, retry: bool) -> Ending:
    """Return the ending of a run that says why it failed."""
    told = RunOutcome(failure=Failure(reason=reason, message=message, retry=retry))
    return Ending(code, to_message(told).decode(), "Error")


@dataclass
class KubeletDouble:
    """Whose Pods end how.

    Attributes:
        endings: By namespace and job, how the next Pods of its runs end; once they are used up, Pods end well.
        held: Jobs, by namespace and name, whose runs go on until `release`.
    """

    endings: dict[tuple[str, str], list[Ending]] = field(default_factory=lambda: defaultdict(list))
    held: set[tuple[str, str]] = field(default_factory=set)
    _pods: dict[str, dict] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _task: asyncio.Task[None] | None = None

    def release(self, namespace: str, job: str) -> None:
        """Let the runs of a job end."""
        self.held.discard((namespace, job))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    def stop(self) -> None:
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def run(self, plane: ControlPlane) -> None:
        """Look after all Pods of the server until cancelled."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=plane.certificate))
        headers = {"Authorization": f"Bearer {plane.token}"}
        session = aiohttp.ClientSession(plane.url, connector=connector, headers=headers)
        try:
            async with session, asyncio.TaskGroup() as group:
                group.create_task(self._follow(session))
                group.create_task(self._work(session))
        finally:
            # Connections that were cut amid a request end their TLS in the loop, which must not close before.
            await asyncio.sleep(0.05)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        while True:
            # A server that restarts is asked again, as a kubelet does.
            with suppress(aiohttp.ClientError, OSError, KeyError, ValueError):
                async with session.get(_PODS) as answer:
                    listed = await answer.json()
                self._pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
                self._changed.set()
                query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
                limit = aiohttp.ClientTimeout(total=None)
                async with session.get(_PODS, params=query, timeout=limit, read_bufsize=2**20) as answer:
                    try:
                        async for line in answer.content:
                            self._take(json.loads(line))
                    finally:
                        # A polite end of TLS waits for the server, which has more to tell.
                        if answer.connection is not None and answer.connection.transport is not None:
                            answer.connection.transport.abort()
            await asyncio.sleep(0.05)

    def _take(self, event: dict) -> None:
        uid = event["object"]["metadata"]["uid"]
        if event["type"] == "DELETED":
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = event["object"]
            self._changed.set()

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for uid, pod in list(self._pods.items()):
                try:
                    await self._advance(session, uid, pod)
                except (aiohttp.ClientError, OSError):
                    self._changed.set()
                    await asyncio.sleep(0.05)

    async def _advance(self, session: aiohttp.ClientSession, uid: str, pod: dict) -> None:
        """Bring a Pod a step further."""
        head, phase = pod["metadata"], pod["status"].get("phase", "Pending")
        if phase not in {"Pending", "Running"}:
            return
        path = f"/api/v1/namespaces/{head['namespace']}/pods/{head['name']}"
        if "deletionTimestamp" in head:
            await session.delete(path, json={"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
            return
        labels = head.get("labels", {})
        owner = (head["namespace"], labels.get(JOB_LABEL, ""))
        is_run = CADENCE_LABEL in labels
        if phase == "Pending":
            status = _running(pod, ready=not is_run)
        elif is_run and owner not in self.held:
            planned = self.endings.get(owner)
            status = _ended(pod, planned.pop(0) if planned else Ending(message=_promoted(pod)))
        else:
            return
        async with session.patch(f"{path}/status", json={"status": status}, headers=_PATCH) as answer:
            if answer.status == 200:
                self._pods[uid] = await answer.json()
                self._changed.set()


def _running(pod: dict, *, ready: bool) -> dict:
    return {
        "phase": "Running",
        "conditions": [_condition(type_) for type_ in ("PodScheduled", *(("ContainersReady", "Ready") * ready))],
        "containerStatuses": [_container(pod, {"running": {"startedAt": _now()}}, ready=ready)],
    }


def _ended(pod: dict, ending: Ending) -> dict:
    state = {
        "exitCode": ending.code,
        "reason": ending.reason,
        "message": ending.message,
        "startedAt": pod["metadata"]["creationTimestamp"],
        "finishedAt": _now(),
    }
    status = {
        "phase": "Failed" if ending.code else "Succeeded",
        "containerStatuses": [_container(pod, {"terminated": state, "running": None}, ready=False)],
    }
    if ending.evicted:
        status |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
        status["conditions"] = [_condition("DisruptionTarget", "TerminationByKubelet")]
    return status


def _container(pod: dict, state: dict, *, ready: bool) -> dict:
    container = pod["spec"]["containers"][0]
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _condition(type_: str, reason: str = "") -> dict:
    return {"type": type_, "status": "True", "reason": reason, "lastTransitionTime": _now()}


def _promoted(pod: dict) -> str:
    """Return what a run leaves that found a better model: its run is named by its moment and its spec."""
    job = parse_job(pod["metadata"]["annotations"][JOB_FILE], "the job file")
    words = pod["spec"]["containers"][0]["args"]
    as_of = datetime.fromisoformat(words[words.index("--as-of") + 1]).replace(tzinfo=UTC)
    digest = spec_digest(job)
    run = f"{as_of:%Y%m%dT%H%M%SZ}-{digest.removeprefix('sha256:')[:8]}"
    card = "sha256:" + hashlib.sha256(f"scorecard of {digest}".encode()).hexdigest()
    champion = Champion(model="ridge", run=run, since=as_of, reason="BetterThanBaseline", digest=card)
    told = RunOutcome(run=run, spec_digest=digest, champion=champion)
    if pod["metadata"]["labels"][CADENCE_LABEL] == "Train":
        conditions = tuple(
            OutcomeCondition(type=type_, status="True", reason=reason, message=f"{type_} by the double")
            for type_, reason in VERDICT.items()
        )
        scorecard = ScorecardSummary(model="ridge", skill=0.07, coverage=0.9, digest=card, run=run, data=digest)
        told = told.model_copy(update={"conditions": conditions, "scorecard": scorecard})
    return to_message(told).decode()


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def kubelet_double(plane: ControlPlane) -> Iterator[KubeletDouble]:
    """Look after all Pods of a server until the block ends."""
    double = KubeletDouble()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(double.run(plane))
        except BaseException as error:  # noqa: BLE001  # told by the test
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield double
    finally:
        double.stop()
        thread.join()
        if ended:
            raise ended[0]
