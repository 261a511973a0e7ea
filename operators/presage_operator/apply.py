"""Carry out an action: the only place that writes children."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from typing import TypedDict

from presage.spec.status import CadenceName, Trigger
from presage_operator import names
from presage_operator.client import ApiClient
from presage_operator.cluster import Cluster
from presage_operator.decide import (
    Action,
    ApplyServer,
    DeleteRun,
    Guard,
    Nothing,
    Release,
    RemoveServer,
    StartRun,
    StopRun,
)
from presage_operator.desired.claim import lake_claim
from presage_operator.desired.run import run_job
from presage_operator.errors import AlreadyExistsError, JsonObject, NotFoundError
from presage_operator.kubeflow import PipelineRuns
from presage_operator.names import Key
from presage_operator.observed import Observed
from presage_operator.resources import CLAIMS, PREDICTION_JOBS, RUNS, SERVER_KINDS
from presage_operator.settings import Settings

_MAIN_KINDS = frozenset({"Deployment", "InferenceService"})
_LOG = logging.getLogger(__name__)


class _Cause(TypedDict):
    uid: str
    name: str
    cadence: CadenceName
    trigger: Trigger
    attempt: int
    as_of: datetime
    run_digest: str
    scheduled_time: datetime | None
    request: str | None


class Applier:
    """Writes to the API server, and takes over at once what it answers, so that the next decision rests on it.

    Args:
        client: The API server.
        cluster: What is known of it.
        settings: The operator's configuration.
        pipelines: Runs outside of the API server; None where there are none.
    """

    def __init__(
        self, client: ApiClient, cluster: Cluster, settings: Settings, pipelines: PipelineRuns | None = None
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._settings = settings
        self._pipelines = pipelines

    async def apply(self, action: Action, key: Key, observed: Observed) -> bool:
        """Carry out an action on a job; return whether it can be decided again at once.

        Raises:
            ApiError: As the API server told.
        """
        match action:
            case Nothing():
                return False
            case StartRun():
                return await self._start(action, key, observed)
            case StopRun(name) | DeleteRun(name):
                return await self._delete_run(key, name, observed)
            case ApplyServer(objects):
                await self._serve(key, objects)
                return True
            case RemoveServer():
                await self._remove_servers(key, keep=frozenset())
                return True
            case Guard():
                await self._set_finalizers(key, observed, (*observed.job.finalizers, names.FINALIZER))
                return True
            case Release(cancel):
                if cancel and self._pipelines is not None:
                    await self._pipelines.cancel(key.name, observed.job.uid)
                left = tuple(one for one in observed.job.finalizers if one != names.FINALIZER)
                await self._set_finalizers(key, observed, left)
                return False

    async def _start(self, action: StartRun, key: Key, observed: Observed) -> bool:
        job = observed.job.job
        if job is None:
            return False
        claim = lake_claim(job, uid=observed.job.uid, settings=self._settings)
        if claim is not None:
            # Made once: what becomes of it then is between its owner and the volume's.
            with contextlib.suppress(AlreadyExistsError):
                await self._client.create(CLAIMS, key.namespace, claim)
        cause = _Cause(
            uid=observed.job.uid,
            name=action.name,
            cadence=action.cadence,
            trigger=action.trigger,
            attempt=action.attempt,
            as_of=action.as_of,
            run_digest=observed.job.run_digest,
            scheduled_time=action.scheduled_time,
            request=action.request,
        )
        if self._pipelines is not None:
            await self._pipelines.create(job, **cause)
            return True
        try:
            made = await self._client.create(RUNS, key.namespace, run_job(job, **cause, settings=self._settings))
        except AlreadyExistsError:
            # Made before, by an operator that did not live to see it, or by a try whose answer was lost.
            made = await self._client.get(RUNS, key.namespace, action.name)
        self._cluster.wrote("Job", made)
        return True

    async def _delete_run(self, key: Key, name: str, observed: Observed) -> bool:
        held = self._cluster.cache.children(key).runs.get(name)
        if held is None and self._pipelines is not None:
            for each in await self._pipelines.runs(key.name, observed.job.uid):
                if each.run.name == name:
                    await self._pipelines.remove(each)
            return True
        try:
            # In the foreground: the Job stays until its Pods are gone, and no other run starts beside them.
            await self._client.delete(RUNS, key.namespace, name, uid=held.uid if held else "", propagation="Foreground")
        except NotFoundError:
            self._cluster.removed("Job", key.namespace, name)
            return True
        return False

    async def _serve(self, key: Key, objects: tuple[JsonObject, ...]) -> None:
        await self._remove_servers(key, keep=frozenset(str(one["kind"]) for one in objects))
        # The Deployment goes last: once it bears the mark, all others do.
        for wanted in sorted(objects, key=lambda one: one["kind"] == "Deployment"):
            kind, name = str(wanted["kind"]), _name(wanted)
            made = await self._client.apply(SERVER_KINDS[kind], key.namespace, name, wanted)
            self._cluster.wrote(kind, made)

    async def _remove_servers(self, key: Key, keep: frozenset[str]) -> None:
        held = self._cluster.cache.children(key).servers
        # The Deployment goes last: while it is there, what is left of the others is seen as part of a server.
        for kind, name in sorted(held, key=lambda one: one[0] in _MAIN_KINDS):
            if kind in keep:
                continue
            with contextlib.suppress(NotFoundError):
                await self._client.delete(SERVER_KINDS[kind], key.namespace, name)
            self._cluster.removed(kind, key.namespace, name)

    async def _set_finalizers(self, key: Key, observed: Observed, finalizers: tuple[str, ...]) -> None:
        body: JsonObject = {
            "metadata": {"resourceVersion": observed.job.resource_version, "finalizers": list(finalizers)}
        }
        try:
            made = await self._client.patch(PREDICTION_JOBS, key.namespace, key.name, body)
        except NotFoundError:
            return
        self._cluster.wrote("PredictionJob", made)


def _name(content: JsonObject) -> str:
    head = content["metadata"]
    return str(head["name"]) if isinstance(head, dict) else ""
