"""A double of what a cluster does with an operator's children: Jobs end, their Pods tell how, Deployments answer.

It works only when it is asked to, so that nothing of it is inside a time that is measured; and it notes when each
job's first child and first status came, as a watch shows them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from presage.spec.outcome import OutcomeCondition, RunOutcome, to_message
from presage.spec.status import Champion, ScorecardSummary
from presage_operator.client import ApiClient, Resource
from presage_operator.names import JOB_LABEL
from presage_operator.reflector import Reflector
from presage_operator.resources import DEPLOYMENTS, PODS, PREDICTION_JOBS, RUNS

WRITERS = 16
_RUN = "20260102T030405-0123456789ab"
_DIGEST = "sha256:" + "0" * 64

Notice = Callable[[dict[str, Any]], None]


class ClusterDouble:
    """The children of one namespace.

    Attributes:
        children: When each job's first run was seen, in seconds of a monotonic clock.
        statuses: When each job's status was first seen.
        served: Jobs whose condition Ready is true.
    """

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.children: dict[str, float] = {}
        self.statuses: dict[str, float] = {}
        self.served: set[str] = set()
        self._api = api
        self._namespace = namespace
        self._runs: dict[str, dict[str, Any]] = {}
        self._servers: set[str] = set()
        self._unanswered: asyncio.Queue[str] = asyncio.Queue()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the context is open."""
        followed: tuple[tuple[Resource, Notice], ...] = (
            (PREDICTION_JOBS, self._job),
            (RUNS, self._run),
            (DEPLOYMENTS, self._server),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._reflector(*each).run()) for each in followed]
            yield
            for task in tasks:
                task.cancel()

    async def until(self, reached: Callable[[], bool], what: str, *, seconds: float = 600) -> None:
        """Wait until something that a watch shows is so; one may wait at a time.

        Raises:
            TimeoutError: It is not so after so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise TimeoutError(f"after {seconds:g} s there is still something that lacks {what}") from error

    async def settle(self) -> None:
        """End all runs that are under way well, make the servers answer, and wait until the operator says so."""
        ending = [run for job, run in self._runs.items() if job not in self.served]
        places = asyncio.Semaphore(WRITERS)

        async def end(run: dict[str, Any]) -> None:
            async with places:
                await self._end_run(run)

        async def answer() -> None:
            name = await self._unanswered.get()
            async with places:
                await self._answer(name)

        await asyncio.gather(*(end(run) for run in ending), *(answer() for _ in ending))
        await self.until(lambda: len(self.served) == len(self._runs), "a true condition Ready")

    def _reflector(self, resource: Resource, notice: Notice) -> Reflector[None]:
        # It lists anew where the server ends a watch, as it does when this process is slow.
        return Reflector(self._api, resource, notice, lambda *_: self._changed.set(), namespaces=[self._namespace])

    def _job(self, content: dict[str, Any]) -> None:
        name = content["metadata"]["name"]
        conditions = content.get("status", {}).get("conditions", ())
        if conditions:
            self.statuses.setdefault(name, time.monotonic())
        if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
            self.served.add(name)

    def _run(self, content: dict[str, Any]) -> None:
        job = content["metadata"]["labels"][JOB_LABEL]
        self.children.setdefault(job, time.monotonic())
        self._runs[job] = content

    def _server(self, content: dict[str, Any]) -> None:
        name = content["metadata"]["name"]
        if name not in self._servers:
            self._servers.add(name)
            self._unanswered.put_nowait(name)

    async def _end_run(self, run: dict[str, Any]) -> None:
        head, template = run["metadata"], run["spec"]["template"]
        name, now = f"{head['name']}-0", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": head["name"], "uid": head["uid"], "controller": True}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [owner]},
            "spec": template["spec"],
        }
        await self._api.create(PODS, self._namespace, pod)
        ended = {"exitCode": 0, "reason": "Completed", "message": _outcome(), "startedAt": now, "finishedAt": now}
        container = {"name": "run", "image": "run", "imageID": "", "ready": False, "restartCount": 0}
        status = {"phase": "Succeeded", "containerStatuses": [container | {"state": {"terminated": ended}}]}
        await self._api.patch(PODS, self._namespace, name, {"status": status}, subresource="status")
        condition = {"status": "True", "reason": "CompletionsReached", "lastTransitionTime": now, "lastProbeTime": now}
        conditions = [condition | {"type": type_} for type_ in ("SuccessCriteriaMet", "Complete")]
        status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}
        await self._api.patch(RUNS, self._namespace, head["name"], {"status": status}, subresource="status")

    async def _answer(self, name: str) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        condition = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "up"}
        status = {
            "observedGeneration": 1,
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1),
            "conditions": [condition | {"lastUpdateTime": now, "lastTransitionTime": now}],
        }
        await self._api.patch(DEPLOYMENTS, self._namespace, name, {"status": status}, subresource="status")


def _outcome() -> str:
    verdicts = ("DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted")
    reason, message = "BetterThanBaseline", "ridge beats the best baseline, 22-day mean, at the 5 % level"
    outcome = RunOutcome(
        run=_RUN,
        spec_digest=_DIGEST,
        conditions=tuple(
            OutcomeCondition(type=type_, status="True", reason=reason, message=message) for type_ in verdicts
        ),
        scorecard=ScorecardSummary(model="ridge", skill=0.1, coverage=0.8, digest=_DIGEST, run=_RUN, data=_DIGEST),
        champion=Champion(model="ridge", run=_RUN, since=datetime.now(UTC), reason=reason, digest=_DIGEST),
    )
    return to_message(outcome).decode()
