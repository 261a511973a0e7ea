"""The work of the replica that leads: the cluster's picture, the queue and its workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from presage.errors import PresageError
from presage_operator.client import ApiClient
from presage_operator.cluster import Cluster
from presage_operator.errors import ConflictError, StillLeavingError
from presage_operator.metrics import Metrics
from presage_operator.names import Key
from presage_operator.queue import WorkQueue
from presage_operator.reconcile import Reconciler
from presage_operator.recorder import Recorder
from presage_operator.settings import Settings

LEAVING_SECONDS = 2.0
_NEVER_OBSERVED = b"{}"
_LOG = logging.getLogger(__name__)


class Controller:
    """Reconciles every job whenever something changes, and when its time has come.

    Args:
        client: The API server.
        settings: The operator's configuration.
        queue: Keys of jobs.
        metrics: Counts.
        recorder: Takes events.
        kserve: Whether there are InferenceServices to watch.
        pods_elsewhere: Namespace where Pods of runs are beside those of the jobs; None where there is none.
        leads: Whether this replica may work at this moment.
        reconciler: Makes the reconciler of the picture that this controller keeps.
    """

    def __init__(
        self,
        client: ApiClient,
        settings: Settings,
        *,
        queue: WorkQueue[Key],
        metrics: Metrics,
        recorder: Recorder,
        kserve: bool,
        pods_elsewhere: str | None,
        leads: Callable[[], bool],
        reconciler: Callable[[Cluster], Reconciler],
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._metrics = metrics
        self._recorder = recorder
        self._leads = leads
        self.cluster = Cluster(client, settings.namespaces, self._changed, kserve=kserve, pods_elsewhere=pods_elsewhere)
        self._reconciler = reconciler(self.cluster)

    async def run(self) -> None:
        """Work until cancelled; what is under way then is finished first."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.cluster.run()),
                group.create_task(self._resync()),
                group.create_task(self._recorder.run()),
            ]
            workers = [group.create_task(self._work()) for _ in range(self._settings.workers)]
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.shield(self._stop(tasks, workers))

    async def _stop(self, tasks: list[asyncio.Task[None]], workers: list[asyncio.Task[None]]) -> None:
        await self._queue.close()
        for task in (*tasks, *workers):
            task.cancel()

    async def _resync(self) -> None:
        """Have every job looked at once all are known; what changes goes before them."""
        await self.cluster.wait_until_listed()
        for record in self.cluster.cache.jobs():
            self._queue.add(record.key, resync=True)
        _LOG.info("everything is listed", extra={"jobs": len(self.cluster.cache)})

    def _changed(self, key: Key) -> None:
        if self.cluster.listed:
            self._queue.add(key)
            return
        # A job that nobody has looked at yet has no child that matters: its first is named by what it is for, and to
        # make it twice makes it once. It need not wait for the list of thousands of settled ones.
        record = self.cluster.cache.job(key)
        if record is not None and record.status == _NEVER_OBSERVED:
            self._queue.add(key)

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            try:
                # After a pause of the process this is known before the loss of the Lease ends it.
                if self._leads():
                    await self._reconcile(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        started = time.perf_counter()
        result = "ok"
        try:
            again_at = await self._reconciler.reconcile(key)
        except ConflictError:
            # Another wrote first; what it wrote comes by the watch.
            result = "conflict"
            self._queue.add_after(key, 1.0)
        except StillLeavingError:
            # Nobody tells of its end, and it is soon: growing waits would only make it late.
            result = "waiting"
            self._queue.add_after(key, LEAVING_SECONDS)
        except PresageError as error:
            result = "error"
            self._failed(key, error, type(error).__name__)
        except Exception as error:  # noqa: BLE001  # one job that fails must not end the work on all others
            result = "error"
            _LOG.exception("reconcile failed", extra={"job": str(key)})
            self._failed(key, error, "Unexpected")
        else:
            self._queue.forget(key)
            if again_at is not None:
                self._queue.add_at(key, again_at)
            if self.cluster.cache.job(key) is None:
                self._queue.discard(key)
        self._metrics.reconcile_seconds.labels(result).observe(time.perf_counter() - started)

    def _failed(self, key: Key, error: Exception, kind: str) -> None:
        seconds = self._queue.retry(key)
        self._metrics.errors.labels(kind).inc()
        _LOG.warning(
            "reconcile is tried again", extra={"job": str(key), "error": str(error), "seconds": round(seconds, 1)}
        )


def phases(controller: Controller) -> list[tuple[str, str]]:
    """Return the namespace and the phase of every job."""
    return [(record.key.namespace, record.phase or "None") for record in controller.cluster.cache.jobs()]
