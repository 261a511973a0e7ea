"""One reconcile for everything: observe, decide, act, tell."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime

from pydantic import JsonValue

from presage.spec.status import PredictionJobStatus
from presage_operator.actions import Action, Nothing, Release
from presage_operator.apply import Applier
from presage_operator.capabilities import Backends
from presage_operator.client import ApiClient
from presage_operator.cluster import Cluster
from presage_operator.conditions import status_of
from presage_operator.decide import decide
from presage_operator.desired.fault import Fault
from presage_operator.errors import (
    ForbiddenError,
    HinderedError,
    InvalidError,
    JsonObject,
    NotFoundError,
    UnsettledError,
)
from presage_operator.kubeflow import KubeflowRefusedError, KubeflowUnavailableError, PipelineRuns
from presage_operator.metrics import Metrics
from presage_operator.names import FINALIZER, Key
from presage_operator.observe import JobReader, observe
from presage_operator.observed import Observed
from presage_operator.recorder import Recorder
from presage_operator.resources import PREDICTION_JOBS
from presage_operator.runs import FINISHED
from presage_operator.settings import Settings
from presage_operator.transitions import transitions

MOST_STEPS = 16
_REFUSED = "ApplyRefused"
_LOG = logging.getLogger(__name__)


class Reconciler:
    """Brings one job a step nearer to its spec each time that it is called; to call it once more is harmless.

    Args:
        client: The API server.
        cluster: What is known of it.
        settings: The operator's configuration.
        backends: What runs and what serves.
        recorder: Takes events.
        metrics: Counts.
        clock: The time of day, UTC.
        later: Has a job looked at again at a time, whatever comes of the present reconcile.
        pipelines: Runs in Kubeflow; None where there is no Kubeflow.
    """

    def __init__(
        self,
        client: ApiClient,
        cluster: Cluster,
        settings: Settings,
        *,
        backends: Backends,
        recorder: Recorder,
        metrics: Metrics,
        clock: Callable[[], datetime],
        later: Callable[[Key, datetime], None],
        pipelines: PipelineRuns | None = None,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._cache = cluster.cache
        self._settings = settings
        self._backends = backends
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._later = later
        self._pipelines = pipelines
        self._reader = JobReader(settings)
        self._applier = Applier(client, cluster, settings, pipelines)

    async def reconcile(self, key: Key) -> datetime | None:
        """Reconcile a job; return when to look again if nothing happens before.

        Raises:
            PresageError: As the API server or a back end told; `retry` says whether a repeat can help.
        """
        now = self._clock().replace(microsecond=0)
        observed: Observed | None = None
        for _ in range(MOST_STEPS):
            try:
                observed = await self._observe(key)
            except (KubeflowUnavailableError, KubeflowRefusedError) as error:
                await self._tell_unseen(key, error, now)
                raise
            if observed is None:
                return None
            decision = decide(self._settings, self._backends, observed, now)
            if isinstance(decision.action, Nothing):
                # What the status on the server tells may allow more, such as to let finished runs go.
                if not await self._tell(key, observed, now):
                    return decision.again_at
                continue
            action = type(decision.action).__name__
            _LOG.info("action", extra={"job": str(key), "action": action, "reason": decision.reason})
            self._metrics.actions.labels(action, decision.reason).inc()
            if isinstance(decision.action, Release) and decision.again_at is not None:
                # Should the back end fail, the last try must not wait longer than that.
                self._later(key, decision.again_at)
            if not await self._apply(decision.action, key, observed, now):
                # What comes of it is told by a watch.
                await self._tell(key, observed, now)
                return decision.again_at
        unsettled = UnsettledError(
            f"{key} does not come to rest: {MOST_STEPS} steps were taken at once.",
            "See the operator's log for what it did; it tries again, with growing waits.",
        )
        if observed is not None:
            await self._tell(key, observed, now, hindered=Fault(unsettled.reason, str(unsettled)))
        raise unsettled

    async def _apply(self, action: Action, key: Key, observed: Observed, now: datetime) -> bool:
        """Carry out an action; what the cluster refuses for more than a moment is told in the job's status."""
        try:
            return await self._applier.apply(action, key, observed)
        except (ForbiddenError, InvalidError, KubeflowRefusedError) as error:
            await self._tell(key, observed, now, hindered=Fault(_REFUSED, str(error)))
            raise
        except HinderedError as error:
            await self._tell(key, observed, now, hindered=Fault(error.reason, str(error)))
            raise

    async def _observe(self, key: Key) -> Observed | None:
        record = self._cache.job(key)
        outside = self._pipelines is not None and record is not None and FINALIZER in record.finalizers
        if not outside or self._pipelines is None or record is None or record.deleted_at is not None:
            return observe(self._cache, key, self._reader)
        found = await self._pipelines.runs(key, record.uid)
        return observe(self._cache, key, self._reader, pipeline_runs=tuple(each.run for each in found))

    async def _tell_unseen(
        self, key: Key, error: KubeflowUnavailableError | KubeflowRefusedError, now: datetime
    ) -> None:
        """Tell that a job's runs are not seen, unless one was under way: it would seem to be gone."""
        seen = observe(self._cache, key, self._reader)
        if seen is None or any(run.state not in FINISHED for run in seen.job.status.runs):
            return
        reason = error.reason if isinstance(error, KubeflowUnavailableError) else _REFUSED
        await self._tell(key, seen, now, hindered=Fault(reason, str(error)))

    async def _tell(self, key: Key, observed: Observed, now: datetime, *, hindered: Fault | None = None) -> bool:
        """Write the status, and the events of the change, where it is another than the one that the API server holds.

        Returns:
            Whether it was written.
        """
        before = observed.job.status
        after = status_of(self._backends, observed, now, hindered=hindered)
        record = self._cache.job(key)
        if observed.job.deleting or after == before or record is None:
            return False
        try:
            made = await self._client.patch_status(
                PREDICTION_JOBS, key.namespace, key.name, _changes(record.status, after), observed.job.resource_version
            )
        except NotFoundError:
            return False
        self._cluster.wrote("PredictionJob", made)
        self._recorder.record(record, transitions(before, after), now)
        return True


def _changes(before: bytes, after: PredictionJobStatus) -> JsonObject:
    """Return a merge patch from a status as the API server holds it, with fields of other versions, to another."""
    old: JsonObject = json.loads(before)
    new = after.model_dump(mode="json", by_alias=True, exclude_none=True)
    changed: dict[str, JsonValue] = {name: value for name, value in new.items() if old.get(name) != value}
    return changed | {name: None for name in old if name not in new}
