"""Carry out an action: the only place that writes children."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict

from presage_operator import names
from presage_operator.actions import (
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
from presage_operator.client import ApiClient
from presage_operator.cluster import Cluster
from presage_operator.desired.claim import lake_claim
from presage_operator.desired.run import run_job
from presage_operator.desired.serving import kinds_and_digest
from presage_operator.errors import (
    AlreadyExistsError,
    ContestedError,
    JsonObject,
    NameTakenError,
    NotFoundError,
    StillLeavingError,
)
from presage_operator.kubeflow import PipelineRuns
from presage_operator.names import Key
from presage_operator.observed import Observed
from presage_operator.ownership import (
    is_child_of,
    is_leaving,
    owner_of,
    replicas_that_only_the_operator_set,
    uid_of,
)
from presage_operator.resources import CLAIMS, PREDICTION_JOBS, RUNS, SERVER_KINDS
from presage_operator.settings import Settings

_MAIN_KINDS = frozenset({"Deployment", "InferenceService"})

CONTEST_SECONDS = 60.0
MOST_APPLIES = 6
_REMEMBERED = 1024


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
        self._applied: OrderedDict[Key, tuple[str, int, float]] = OrderedDict()

    async def apply(self, action: Action, key: Key, observed: Observed) -> bool:
        """Carry out an action on a job; return whether it can be decided again at once.

        Raises:
            ApiError: As the API server told.
            HinderedError: Something in the cluster is in the way.
        """
        match action:
            case Nothing():
                return False
            case StartRun():
                return await self._start(action, key, observed)
            case StopRun(name) | DeleteRun(name):
                return await self._delete_run(key, name, observed)
            case ApplyServer(objects):
                await self._serve(key, observed, objects)
                return True
            case RemoveServer():
                await self._remove_servers(key, observed, keep=frozenset())
                return True
            case Guard():
                await self._set_finalizers(key, observed, (*observed.job.finalizers, names.FINALIZER))
                return True
            case Release(cancel):
                if cancel and self._pipelines is not None:
                    await self._pipelines.cancel(key, observed.job.uid)
                left = tuple(one for one in observed.job.finalizers if one != names.FINALIZER)
                await self._set_finalizers(key, observed, left)
                return False

    async def _start(self, action: StartRun, key: Key, observed: Observed) -> bool:
        job = observed.job.job
        if job is None:
            return False
        claim = lake_claim(job, uid=observed.job.uid, settings=self._settings)
        if claim is not None:
            await self._claim(key, observed, claim)
        # A rollback is one short step, which no pipeline has, and what it tells at its end is what matters.
        if self._pipelines is not None and action.cadence != "Rollback":
            await self._pipelines.create(job, action)
            return True
        try:
            made = await self._client.create(RUNS, key.namespace, run_job(job, action, self._settings))
        except AlreadyExistsError:
            # Made before, by an operator that did not live to see it, or by a try whose answer was lost.
            made = await self._client.get(RUNS, key.namespace, action.name)
        self._cluster.wrote("Job", made)
        held = self._cluster.cache.children(key).runs.get(action.name)
        if held is None or held.owner != observed.job.uid:
            raise _name_taken("Job", key, action.name)
        return True

    async def _claim(self, key: Key, observed: Observed, claim: JsonObject) -> None:
        """Make the claim of a lake once: what becomes of it then is between its owner and the volume's."""
        name = names.claim_name(key.name)
        try:
            await self._client.create(CLAIMS, key.namespace, claim)
        except AlreadyExistsError:
            held = await self._client.get(CLAIMS, key.namespace, name)
            owner = owner_of(held)
            if not is_child_of(held, key):
                raise _name_taken("PersistentVolumeClaim", key, name) from None
            if is_leaving(held) or (owner and owner != observed.job.uid):
                raise _still_leaving("PersistentVolumeClaim", key, name) from None

    async def _delete_run(self, key: Key, name: str, observed: Observed) -> bool:
        held = self._cluster.cache.children(key).runs.get(name)
        if held is None and self._pipelines is not None:
            for each in await self._pipelines.runs(key, observed.job.uid):
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

    async def _serve(self, key: Key, observed: Observed, objects: tuple[JsonObject, ...]) -> None:
        self._brake(key, kinds_and_digest(objects)[1])
        await self._remove_servers(key, observed, keep=frozenset(str(one["kind"]) for one in objects))
        # The Deployment goes last: once it bears the mark, all others do.
        for wanted in sorted(objects, key=lambda one: one["kind"] == "Deployment"):
            kind, name = str(wanted["kind"]), _name(wanted)
            uid = await self._own(kind, key, name, observed)
            kept = await self._with_replicas(wanted, key, name) if uid and kind == "Deployment" else wanted
            made = await self._client.apply(SERVER_KINDS[kind], key.namespace, name, _of(kept, uid))
            self._cluster.wrote(kind, made)

    async def _with_replicas(self, wanted: JsonObject, key: Key, name: str) -> JsonObject:
        """Return a Deployment that is handed to an autoscaler with as many Pods as it has."""
        spec = wanted["spec"]
        if not isinstance(spec, dict) or "replicas" in spec:
            return wanted
        try:
            found = await self._client.get(SERVER_KINDS["Deployment"], key.namespace, name)
        except NotFoundError:
            return wanted
        held = replicas_that_only_the_operator_set(found)
        return wanted if held is None else {**wanted, "spec": {**spec, "replicas": held}}

    async def _own(self, kind: str, key: Key, name: str, observed: Observed) -> str:
        """Return the UID of the job's object of this name, empty where there is none.

        Raises:
            HinderedError: The object is another's, or that of a job which is gone.
        """
        held = self._cluster.cache.children(key).servers.get((kind, name))
        if held is not None and held.owner == observed.job.uid:
            return held.uid
        try:
            found = await self._client.get(SERVER_KINDS[kind], key.namespace, name)
        except NotFoundError:
            return ""
        if not is_child_of(found, key):
            raise _name_taken(kind, key, name)
        if is_leaving(found) or owner_of(found) != observed.job.uid:
            raise _still_leaving(kind, key, name)
        return uid_of(found)

    def _brake(self, key: Key, digest: str) -> None:
        """Count applies of the same objects; raises ContestedError where another writer undoes them again and again."""
        before, count, since = self._applied.get(key, ("", 0, 0.0))
        now = time.monotonic()
        if before != digest or now - since > CONTEST_SECONDS:
            count, since = 0, now
        self._applied[key] = (digest, count + 1, since)
        self._applied.move_to_end(key)
        if len(self._applied) > _REMEMBERED:
            self._applied.popitem(last=False)
        if count >= MOST_APPLIES:
            raise ContestedError(
                f"what serves {key} was applied {count} times in a minute, and somebody else writes it too.",
                "Look for another operator of the same namespace, or a controller that changes it.",
            )

    async def _remove_servers(self, key: Key, observed: Observed, keep: frozenset[str]) -> None:
        held = dict(self._cluster.cache.children(key).servers)
        # The Deployment goes last: while it is there, what is left of the others is seen as part of a server.
        for kind, name in sorted(held, key=lambda one: one[0] in _MAIN_KINDS):
            if kind in keep or held[kind, name].owner != observed.job.uid:
                continue
            with contextlib.suppress(NotFoundError):
                await self._client.delete(SERVER_KINDS[kind], key.namespace, name, uid=held[kind, name].uid)
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


def _of(wanted: JsonObject, uid: str) -> JsonObject:
    """Return an object that is applied to this very one alone; one that took its place meanwhile is a conflict."""
    head = wanted["metadata"]
    return {**wanted, "metadata": {**head, "uid": uid}} if uid and isinstance(head, dict) else wanted


def _name_taken(kind: str, key: Key, name: str) -> NameTakenError:
    return NameTakenError(
        f"the {kind} {name} in namespace {key.namespace} is not this job's, and is left as it is.",
        "Rename or remove it, or give the job another name.",
    )


def _still_leaving(kind: str, key: Key, name: str) -> StillLeavingError:
    return StillLeavingError(
        f"the {kind} {name} in namespace {key.namespace} is of a job that is gone.", "It is waited for until it is too."
    )


def _name(content: JsonObject) -> str:
    head = content["metadata"]
    return str(head["name"]) if isinstance(head, dict) else ""
