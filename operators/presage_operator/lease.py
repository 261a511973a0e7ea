"""Which of several replicas works: leader election by a Lease, as Kubernetes' own components do it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from presage.errors import JobError
from presage_operator.client import ApiClient, Resource
from presage_operator.errors import AlreadyExistsError, ApiError, ConflictError, JsonObject, NotFoundError
from presage_operator.settings import LONGEST_PAUSE, LeaderElection

LEASES = Resource("coordination.k8s.io", "v1", "leases")

_logger = logging.getLogger(__name__)
_SPREAD = LONGEST_PAUSE - 1


@dataclass(frozen=True, slots=True)
class _Record:
    """What a Lease says, and when, by our own clock, it was first seen to say so."""

    holder: str
    duration_seconds: float
    transitions: int
    acquired_at: str
    resource_version: str
    seen_at: float


class Elector:
    """One replica's part in the election.

    Whether another's Lease has expired is judged by how long it stood unchanged before our own clock: clocks of
    different machines are never compared. A holder counts its time from before it asked to renew, so it stops earlier
    than any other replica may start.

    Attributes:
        lost: Set once this replica held the Lease and no longer does.

    Args:
        api: Client of the API server.
        settings: Name of the Lease and its times.
        namespace: Namespace of the Lease.
        identity: Name of this process; no other process, also of the same Pod, may have it.
        clock: Monotonic seconds.
        wall: The time of day, UTC: for readers, nothing is judged by it.
        sleep: Waits for so many seconds.
        jitter: Random numbers from 0 to 1.

    Raises:
        JobError: The times are not in order.
    """

    def __init__(
        self,
        api: ApiClient,
        settings: LeaderElection,
        namespace: str,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not settings.in_order:
            raise JobError(
                "leaderElection: the times are not in order.",
                "Let leaseDurationSeconds be longer than renewDeadlineSeconds, and that longer than "
                "retryPeriodSeconds by more than a fifth.",
            )
        self.lost = asyncio.Event()
        self._api = api
        self._settings = settings
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._jitter = jitter
        self._record: _Record | None = None
        self._held_until = 0.0

    @property
    def leading(self) -> bool:
        """Whether this replica holds the Lease and was able to renew it in time; exact also after a pause."""
        return not self.lost.is_set() and self._clock() < self._held_until

    @property
    def holder(self) -> str:
        """Who holds the Lease as far as is known; empty where nobody does."""
        return self._record.holder if self._record else ""

    async def acquire(self) -> None:
        """Wait until this replica holds the Lease."""
        while not await self._try(self._settings.renew_deadline_seconds):
            await self._pause(self._settings.lease_duration_seconds)
        _logger.info("Lease %s/%s is held by %s", self._namespace, self._settings.lease_name, self._identity)

    async def renew(self) -> None:
        """Renew the Lease again and again; return, and set `lost`, once that fails for the renew deadline."""
        while (left := self._held_until - self._clock()) > 0:
            await self._pause(left)
            left = self._held_until - self._clock()
            if left <= 0 or (not await self._try(left) and self.holder not in ("", self._identity)):
                break
        self.lost.set()
        _logger.error("Lease %s/%s is lost", self._namespace, self._settings.lease_name)

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait for its end; to be called after work stopped."""
        if not self.leading or self._record is None:
            return
        self.lost.set()
        try:
            async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                await self._give_back(self._record)
        except (ApiError, TimeoutError) as error:
            _logger.warning("Lease is not given back, it runs out by itself: %s", error)

    async def _give_back(self, record: _Record) -> None:
        try:
            await self._write(record, holder="", duration_seconds=1)
        except ConflictError:
            # A renewal that the stop cut short may have been carried out all the same.
            held = await self._read()
            if held is not None and held.holder == self._identity:
                await self._write(held, holder="", duration_seconds=1)

    async def _pause(self, most_seconds: float) -> None:
        await self._sleep(min(most_seconds, self._settings.retry_period_seconds * (1 + _SPREAD * self._jitter())))

    async def _try(self, seconds: float) -> bool:
        """Take or renew the Lease; return whether this replica has it now."""
        started = self._clock()
        try:
            # Two tries fit before the deadline, should the first one hang.
            async with asyncio.timeout(min(seconds, self._settings.renew_deadline_seconds / 2)):
                held = await self._take()
        except (ConflictError, NotFoundError) as error:
            self._record = None  # another wrote or deleted it, or our own answer was lost: it is read next time
            _logger.info("Lease has changed: %s", error)
            return False
        except (ApiError, TimeoutError) as error:
            _logger.warning("Lease cannot be %s: %s", "renewed" if self.leading else "acquired", error)
            return False
        if held:
            self._held_until = started + self._settings.renew_deadline_seconds
        return held

    async def _take(self) -> bool:
        if self._record is not None and self._record.holder == self._identity:
            await self._write(self._record, self._identity, self._settings.lease_duration_seconds)
            return True
        record = await self._read()
        if record is None:
            return await self._create()
        if record.holder == self._identity:
            await self._write(record, self._identity, self._settings.lease_duration_seconds)
            return True
        if record.holder and self._clock() < record.seen_at + record.duration_seconds:
            return False
        await self._write(record, self._identity, self._settings.lease_duration_seconds)
        return True

    async def _read(self) -> _Record | None:
        try:
            held = await self._api.get(LEASES, self._namespace, self._settings.lease_name)
        except NotFoundError:
            return None
        return self._seen(held)

    def _seen(self, lease: JsonObject) -> _Record:
        spec = cast(JsonObject, lease.get("spec") or {})
        version = str(cast(JsonObject, lease["metadata"])["resourceVersion"])
        if self._record is None or self._record.resource_version != version:
            self._record = _Record(
                holder=str(spec.get("holderIdentity") or ""),
                duration_seconds=float(
                    cast(int, spec.get("leaseDurationSeconds") or self._settings.lease_duration_seconds)
                ),
                transitions=int(cast(int, spec.get("leaseTransitions") or 0)),
                acquired_at=str(spec.get("acquireTime") or ""),
                resource_version=version,
                seen_at=self._clock(),
            )
        return self._record

    async def _create(self) -> bool:
        body: JsonObject = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.lease_name, "namespace": self._namespace},
            "spec": self._spec(self._identity, self._settings.lease_duration_seconds, 0, self._moment()),
        }
        try:
            self._seen(await self._api.create(LEASES, self._namespace, body))
        except AlreadyExistsError:
            return False
        return True

    async def _write(self, record: _Record, holder: str, duration_seconds: int) -> None:
        changes = holder not in ("", record.holder)
        acquired_at = self._moment() if changes else record.acquired_at
        body: JsonObject = {
            "metadata": {"resourceVersion": record.resource_version},
            "spec": self._spec(holder, duration_seconds, record.transitions + changes, acquired_at),
        }
        self._seen(await self._api.patch(LEASES, self._namespace, self._settings.lease_name, body))

    def _spec(self, holder: str, duration_seconds: int, transitions: int, acquired_at: str) -> JsonObject:
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration_seconds,
            "leaseTransitions": transitions,
            "acquireTime": acquired_at or None,
            "renewTime": self._moment(),
        }

    def _moment(self) -> str:
        return f"{self._wall():%Y-%m-%dT%H:%M:%S.%fZ}"
