"""Kubernetes events: written beside the work, never in its way."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import datetime

from presage.spec.job import API_VERSION, KIND
from presage_operator.client import ApiClient
from presage_operator.errors import AlreadyExistsError, ApiError, JsonObject
from presage_operator.names import FIELD_MANAGER
from presage_operator.records import JobRecord
from presage_operator.resources import EVENTS
from presage_operator.transitions import Note

MOST_WAITING = 10_000
WRITERS = 4
_LOG = logging.getLogger(__name__)


class Recorder:
    """Writes events, some at a time; those for which there is no room are dropped and counted.

    Args:
        client: The API server.
        instance: Name of this replica.
    """

    def __init__(self, client: ApiClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._waiting: asyncio.Queue[tuple[JobRecord, Note, datetime]] = asyncio.Queue(MOST_WAITING)
        self._dropped = 0

    def record(self, job: JobRecord, notes: tuple[Note, ...], now: datetime) -> None:
        """Have events of a job written; the same one of the same version of the job is written once."""
        for note in notes:
            try:
                self._waiting.put_nowait((job, note, now))
            except asyncio.QueueFull:
                self._dropped += 1

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write())

    async def _write(self) -> None:
        while True:
            job, note, now = await self._waiting.get()
            try:
                await self._client.create(EVENTS, job.key.namespace, self._event(job, note, now))
            except AlreadyExistsError:
                pass
            except ApiError as error:
                _LOG.warning("event not written", extra={"job": str(job.key), "error": str(error)})
            if self._dropped:
                _LOG.warning("events dropped", extra={"count": self._dropped})
                self._dropped = 0

    def _event(self, job: JobRecord, note: Note, now: datetime) -> JsonObject:
        identity = f"{job.uid}\n{job.resource_version}\n{note.reason}\n{note.action}\n{note.message}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{job.key.name}.{digest}", "namespace": job.key.namespace},
            "eventTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
            "reportingController": f"presage.dev/{FIELD_MANAGER}",
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": job.key.name,
                "namespace": job.key.namespace,
                "uid": job.uid,
                "resourceVersion": job.resource_version,
            },
            "type": note.type,
            "reason": note.reason,
            "action": note.action,
            "note": note.message,
        }
