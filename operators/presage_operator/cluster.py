"""The operator's picture of the cluster: reflectors of every kind that it cares for, joined in one cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from presage.spec.crd import PHASE_FIELD
from presage_operator.cache import Cache, Child
from presage_operator.client import ApiClient, Resource
from presage_operator.errors import JsonObject
from presage_operator.names import CADENCE_LABEL, FIELD_MANAGER, JOB_LABEL, MANAGED_BY, Key
from presage_operator.records import (
    JobRecord,
    deployment_record,
    inference_service_record,
    job_record,
    pod_record,
    run_record,
    server_part_record,
)
from presage_operator.reflector import Reflector
from presage_operator.resources import PODS, PREDICTION_JOBS, RUNS, SERVER_KINDS

_OWN = f"{MANAGED_BY}={FIELD_MANAGER},{JOB_LABEL}"
_RUN_PODS = f"{_OWN},{CADENCE_LABEL}"

Reflected = Reflector[Any]


class Cluster:
    """Keeps the cache current, and takes over what the operator itself writes.

    Attributes:
        cache: The jobs and their children.

    Args:
        client: The API server.
        namespaces: Which namespaces; none for all.
        changed: Told of a job that is new or changed, or whose children are.
        kserve: Whether there are InferenceServices to watch.
        pods_elsewhere: Namespace where Pods of runs are beside those of the jobs; None where there is none.
    """

    def __init__(
        self,
        client: ApiClient,
        namespaces: Sequence[str],
        changed: Callable[[Key], None],
        *,
        kserve: bool,
        pods_elsewhere: str | None = None,
    ) -> None:
        self.cache = Cache(self._tell)
        self._changed = changed
        self._own = False
        self._client = client
        self._namespaces = namespaces
        self._jobs: Reflector[JobRecord] = Reflector(
            client, PREDICTION_JOBS, job_record, self.cache.put_job, first=f"{PHASE_FIELD}=", namespaces=namespaces
        )
        self._children: dict[str, Reflected] = {
            "Job": self._reflector("Job", RUNS, run_record, _OWN),
            "Pod": self._reflector(
                "Pod", PODS, partial(pod_record, elsewhere=pods_elsewhere), _RUN_PODS, also=pods_elsewhere
            ),
        }
        for kind, resource in SERVER_KINDS.items():
            if kind != "InferenceService" or kserve:
                self._children[kind] = self._reflector(kind, resource, _RECORDS.get(kind, server_part_record), _OWN)

    @property
    def listed(self) -> bool:
        """Whether everything was listed, so that what is not in the cache is not there."""
        return self._jobs.synced.is_set() and all(one.synced.is_set() for one in self._children.values())

    async def wait_until_listed(self) -> None:
        """Wait until everything was listed."""
        for reflector in (self._jobs, *self._children.values()):
            await reflector.synced.wait()

    async def run(self) -> None:
        """Keep the cache current until cancelled.

        Kinds are listed one after the other, jobs first: a new job waits for no other list, and the raw objects of one
        page only are in memory at a time.
        """
        async with asyncio.TaskGroup() as group:
            for reflector in (self._jobs, *self._children.values()):
                group.create_task(reflector.run())
                await reflector.synced.wait()

    def faults(self) -> tuple[str, ...]:
        """Return what cannot be watched at present, and why."""
        found = (one.fault for one in (self._jobs, *self._children.values()))
        return tuple(str(fault) for fault in found if fault is not None)

    def wrote(self, kind: str, content: JsonObject) -> None:
        """Take over an object as the API server answered a write."""
        with self._own_write():
            (self._jobs if kind == "PredictionJob" else self._children[kind]).put(content)

    def removed(self, kind: str, namespace: str, name: str) -> None:
        """Take over that an object is gone."""
        with self._own_write():
            self._children[kind].drop(Key(namespace, name))

    @contextmanager
    def _own_write(self) -> Iterator[None]:
        """Tell nobody of what is taken over: who wrote it goes on with it at once."""
        self._own = True
        try:
            yield
        finally:
            self._own = False

    def _tell(self, key: Key) -> None:
        if not self._own:
            self._changed(key)

    def _reflector(
        self,
        kind: str,
        resource: Resource,
        project: Callable[[JsonObject], Child],
        labels: str,
        also: str | None = None,
    ) -> Reflected:
        def changed(place: Key, record: Child | None) -> None:
            self.cache.put_child(kind, place, record)

        # Without namespaces all are watched.
        more = also is not None and len(self._namespaces) > 0 and also not in self._namespaces
        namespaces = (*self._namespaces, *((also,) if also is not None and more else ()))
        return Reflector(self._client, resource, project, changed, labels=labels, namespaces=namespaces)


_RECORDS: dict[str, Callable[[JsonObject], Child]] = {
    "Deployment": deployment_record,
    "InferenceService": inference_service_record,
}
