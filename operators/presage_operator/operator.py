"""The operator's life inside kopf: start, lead, follow what the cluster offers, stop.

kopf is the frame: it holds the process, its signals and its login, and tells of CustomResourceDefinitions. The
PredictionJobs themselves and their children come through our own reflectors (see docs/decisions).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import aiohttp
import kopf

from presage.errors import JobError, PresageError, RetryError
from presage_operator.capabilities import (
    Backends,
    choose_backends,
    discover,
    kserve_types_installed,
    shipped_pipeline,
)
from presage_operator.client import ApiClient, Backoff
from presage_operator.cluster import Cluster
from presage_operator.compiled import load_pipeline
from presage_operator.controller import Controller, phases
from presage_operator.credentials import Credentials, from_connection, from_service_account
from presage_operator.health import HealthServer
from presage_operator.kubeflow import PipelineRuns
from presage_operator.lease import Elector
from presage_operator.metrics import Metrics
from presage_operator.names import Key
from presage_operator.observed import Capabilities
from presage_operator.queue import WorkQueue
from presage_operator.reconcile import Reconciler
from presage_operator.recorder import Recorder
from presage_operator.resources import INFERENCE_SERVICES, PREDICTION_JOBS, SCHEDULED_WORKFLOWS
from presage_operator.settings import Settings

_LOG = logging.getLogger(__name__)
_BACKOFF = Backoff(first_seconds=0.5, most_seconds=30.0)
_CREDENTIALS_REMEDY = "Set KUBECONFIG to the file of a cluster, or run in a Pod."
_NAMESPACE = "POD_NAMESPACE"
_POD = "POD_NAME"
_WATCHED_DEFINITIONS = frozenset(
    f"{one.plural}.{one.group}" for one in (INFERENCE_SERVICES, SCHEDULED_WORKFLOWS, PREDICTION_JOBS)
)


class Operator:
    """One replica.

    Attributes:
        stop: Set to end it.
        failure: Why it ended, where that was no wish of anybody.

    Args:
        settings: The operator's configuration.
        clock: The time of day, UTC.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.stop = asyncio.Event()
        self.failure: str = ""
        self._settings = settings
        self._clock = clock
        self._instance = f"{os.environ.get(_POD) or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._queue: WorkQueue[Key] = WorkQueue(wall=clock)
        self._controller: Controller | None = None
        self._elector: Elector | None = None
        self._metrics = Metrics(
            lambda: self._queue.depth,
            lambda: self._queue.oldest_seconds,
            lambda: phases(self._controller) if self._controller else (),
            lambda: len(self._watch_faults()),
        )
        self._definitions_changed = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()
        self._work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Live until a signal, `stop`, or the loss of the Lease.

        Raises:
            JobError: The configuration or the credentials are wrong.
            StartError: The health port cannot be had.
        """
        try:
            # Before kopf: what goes wrong here is said as it is, and no frame has to be taken down.
            client, health = await self._open()
            await self._live(client, health)
        finally:
            await self._end()

    async def _open(self) -> tuple[ApiClient, HealthServer]:
        """Answer probes, and make ready to ask the API server."""
        credentials = _credentials()
        health = HealthServer(
            self._settings.health_port, self._metrics.registry, alive=self._is_alive, ready=self._is_ready
        )
        self._stack.push_async_callback(health.stop)
        try:
            await health.start()
        except OSError as error:
            fault = os.strerror(error.errno or 0)
            raise StartError(
                f"port {self._settings.health_port} cannot be had for probes and metrics: {fault}.",
                "Stop what listens there, or choose another with --health-port.",
            ) from error
        client = await self._stack.enter_async_context(ApiClient(credentials, observer=self._metrics.request))
        if self._settings.leader_election.enabled:
            election = self._settings.leader_election
            self._elector = Elector(client, election, _lease_namespace(self._settings), self._instance)
        return client, health

    async def _live(self, client: ApiClient, health: HealthServer) -> None:
        async def start(**_: object) -> None:
            _LOG.info("started", extra={"instance": self._instance, "health_port": health.port})
            await self._start(client)

        registry = kopf.OperatorRegistry()
        # A wait for the Lease has no end: kopf must not start to watch before. What keeps it from starting stays.
        kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(start)
        kopf.on.cleanup(registry=registry)(self._end)
        kopf.on.login(registry=registry)(_login)
        # Definitions belong to the cluster: an operator of some namespaces alone may not see them.
        cluster_wide = not self._settings.namespaces
        if cluster_wide:
            kopf.on.event("apiextensions.k8s.io", "v1", "customresourcedefinitions", registry=registry)(
                self._definition
            )
        await kopf.operator(
            registry=registry,
            settings=_frame_settings(scanning=cluster_wide),
            # By default kopf asks for the user's name, and a Pod's user may have none.
            identity=self._instance,  # type: ignore[arg-type]  # kopf keeps this name of a text to itself
            standalone=True,
            clusterwide=True,
            stop_flag=self.stop,
        )

    async def _start(self, client: ApiClient) -> None:
        if self._elector is not None:
            await self._acquire(self._elector)
        self._metrics.leader.set(1)
        self._work = asyncio.create_task(self._lead(client, self._elector))
        self._work.add_done_callback(self._work_ended)

    async def _acquire(self, elector: Elector) -> None:
        acquiring = asyncio.create_task(elector.acquire())
        try:
            await asyncio.wait({acquiring}, timeout=self._settings.leader_election.retry_period_seconds)
            if not acquiring.done():
                lease = f"{_lease_namespace(self._settings)}/{self._settings.leader_election.lease_name}"
                _LOG.info("waits for the Lease", extra={"lease": lease, "holder": elector.holder or "unknown"})
            await acquiring
        finally:
            acquiring.cancel()

    async def _end(self, **_: object) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        await self._stack.aclose()

    async def _lead(self, client: ApiClient, elector: Elector | None) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                if elector is not None:
                    group.create_task(self._renew(elector))
                group.create_task(self._control(client))
        finally:
            if elector is not None:
                await asyncio.shield(elector.release())

    async def _renew(self, elector: Elector) -> None:
        await elector.renew()
        raise LeaseLostError("the Lease is lost: another replica works now.", "Nothing is to be done.")

    async def _control(self, client: ApiClient) -> None:
        """Reconcile until cancelled; what the cluster offers may change meanwhile."""
        while True:
            self._definitions_changed.clear()
            offered = await _discover(client)
            backends = choose_backends(
                self._settings,
                offered,
                kserve_types=kserve_types_installed(),
                pipeline=shipped_pipeline() is not None,
            )
            _LOG.info("back ends", extra={"pipelines": str(backends.pipelines), "serving": str(backends.serving)})
            async with contextlib.AsyncExitStack() as stack:
                pipelines = await self._pipeline_runs(stack, backends)
                self._controller = self.make_controller(client, offered, backends, pipelines)
                work = asyncio.create_task(self._controller.run())
                changed = asyncio.create_task(self._offer_changes(client, offered))
                try:
                    await asyncio.wait({work, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                    work.cancel()
                    await asyncio.wait({work})
                if not work.cancelled() and (error := work.exception()) is not None:
                    raise error

    async def _offer_changes(self, client: ApiClient, offered: Capabilities) -> None:
        """Wait until the cluster offers something else."""
        while True:
            await self._definitions_changed.wait()
            self._definitions_changed.clear()
            if await _discover(client) != offered:
                return

    async def _pipeline_runs(self, stack: contextlib.AsyncExitStack, backends: Backends) -> PipelineRuns | None:
        kubeflow = self._settings.pipelines.kubeflow
        package = kubeflow.package or shipped_pipeline()
        if backends.pipelines != "kubeflow" or package is None:
            return None
        session = await stack.enter_async_context(aiohttp.ClientSession())
        return PipelineRuns(session, kubeflow.endpoint, load_pipeline(package), self._settings)

    def make_controller(
        self, client: ApiClient, offered: Capabilities, backends: Backends, pipelines: PipelineRuns | None
    ) -> Controller:
        """Return what reconciles with these back ends, with an empty queue and picture of the cluster."""
        recorder = Recorder(client, self._instance)
        self._queue = WorkQueue(wall=self._clock)

        def reconciler(cluster: Cluster) -> Reconciler:
            return Reconciler(
                client,
                cluster,
                self._settings,
                backends=backends,
                recorder=recorder,
                metrics=self._metrics,
                clock=self._clock,
                later=self._queue.add_at,
                pipelines=pipelines,
            )

        return Controller(
            client,
            self._settings,
            queue=self._queue,
            metrics=self._metrics,
            recorder=recorder,
            kserve=offered.kserve,
            pods_elsewhere=self._settings.pipelines.kubeflow.namespace if pipelines is not None else None,
            leads=lambda: self._elector is None or self._elector.leading,
            reconciler=reconciler,
        )

    def _definition(self, name: str | None, **_: object) -> None:
        if name in _WATCHED_DEFINITIONS:
            self._definitions_changed.set()

    def _is_alive(self) -> bool:
        return self._work is None or not self._work.done()

    def _is_ready(self) -> bool:
        return not self._watch_faults()

    def _watch_faults(self) -> tuple[str, ...]:
        """Return what a replica that works cannot watch; one that waits for the Lease watches nothing."""
        return self._controller.cluster.faults() if self._controller is not None else ()

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self.failure = _first(error)
            _LOG.error("work ended", extra={"error": self.failure})
        self.stop.set()


class StartError(PresageError):
    """What the operator needs of its machine cannot be had now."""

    exit_code = 7
    retry = True


class LeaseLostError(PresageError):
    """Another replica may work now."""

    exit_code = 7
    retry = True


async def _discover(client: ApiClient) -> Capabilities:
    """Return what the cluster offers, once the API server says so; raises ApiError where a repeat cannot help."""
    failures = 0
    while True:
        try:
            return await discover(client)
        except RetryError as error:
            failures += 1
            _LOG.warning("the cluster does not say what it offers", extra={"error": str(error)})
            await asyncio.sleep(_BACKOFF.seconds(failures, 1.0))


def _frame_settings(*, scanning: bool) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Events are our own, on transitions only.
    settings.posting.enabled = False
    settings.scanning.disabled = not scanning
    return settings


def _lease_namespace(settings: Settings) -> str:
    return settings.leader_election.namespace or os.environ.get(_NAMESPACE) or "default"


def _credentials() -> Credentials:
    """Return how to reach the API server; raises JobError where that cannot be read."""
    try:
        return from_service_account() or from_connection(_login())
    except OSError as error:
        raise JobError(f"the credentials for the cluster cannot be used: {error}.", _CREDENTIALS_REMEDY) from error


def _login(**_: object) -> kopf.ConnectionInfo:
    settings = kopf.OperatorSettings()
    # In a Pod the official client, which is large, is not needed to read two files.
    try:
        found = kopf.login_with_service_account(settings=settings) or kopf.login_via_client(
            logger=_LOG, settings=settings
        )
    except Exception as error:  # kopf and the client raise what they come upon in a broken file
        # kopf's own error does not say what was wrong: the one before it does.
        cause = error.__context__ if isinstance(error, kopf.LoginError) and error.__context__ else error
        fault = " ".join(str(cause).split()).rstrip(".") or type(cause).__name__
        raise JobError(f"the credentials for the cluster cannot be read: {fault}.", _CREDENTIALS_REMEDY) from error
    if found is None:
        raise JobError("no credentials for a cluster are found.", _CREDENTIALS_REMEDY)
    return found


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
