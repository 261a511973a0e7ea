from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from control.apiserver import ControlPlane
from control.fault_proxy import FaultProxy, answer, cut_after, hold
from control.namespaces import new_namespace

from presage.errors import JobError
from presage_operator.client import ApiClient, Retry
from presage_operator.errors import JsonObject
from presage_operator.lease import LEASES, Elector
from presage_operator.settings import LeaderElection

pytestmark = pytest.mark.control

NAME = "presage-operator"
SETTINGS = LeaderElection()


@dataclass
class HandClock:
    """Time that a test moves: who sleeps is woken when it is moved past the end of the sleep."""

    seconds: float = 1000.0
    wall: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    sleepers: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)
    fell_asleep: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def sleep(self, seconds: float) -> None:
        end = asyncio.get_running_loop().create_future()
        sleeper = (self.seconds + seconds, end)
        self.sleepers.append(sleeper)
        async with self.fell_asleep:
            self.fell_asleep.notify_all()
        try:
            await end
        finally:
            self.sleepers.remove(sleeper)

    async def asleep(self, count: int = 1) -> None:
        """Wait until so many sleep, each with nothing left to do."""
        async with self.fell_asleep:
            await self.fell_asleep.wait_for(lambda: self.sleeping == count)

    @property
    def sleeping(self) -> int:
        return sum(not end.done() for _, end in self.sleepers)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)
        for moment, end in self.sleepers:
            if moment <= self.seconds and not end.done():
                end.set_result(None)


@dataclass
class Site:
    """A namespace for a Lease, and two ways to the server of which either can be cut."""

    plane: ControlPlane
    namespace: str
    proxies: tuple[FaultProxy, FaultProxy]
    clients: tuple[ApiClient, ApiClient]
    clock: HandClock
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def elector(self, number: int, identity: str = "", wall: Callable[[], datetime] | None = None) -> Elector:
        return Elector(
            self.clients[number],
            SETTINGS,
            self.namespace,
            identity or f"replica-{number}",
            clock=lambda: self.clock.seconds,
            wall=wall or (lambda: self.clock.wall),
            sleep=self.clock.sleep,
            jitter=lambda: 0.0,
        )

    def start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    async def lease(self) -> JsonObject:
        return (await self.clients[1].get(LEASES, self.namespace, NAME))["spec"]


def run(plane: ControlPlane, test: Callable[[Site], Awaitable[None]]) -> None:
    async def driven() -> None:
        async with asyncio.timeout(60), site(plane) as here:
            try:
                await test(here)
            finally:
                for task in here.tasks:
                    task.cancel()
                await asyncio.gather(*here.tasks, return_exceptions=True)

    asyncio.run(driven())


@contextlib.asynccontextmanager
async def site(plane: ControlPlane) -> AsyncIterator[Site]:
    async with FaultProxy(plane) as first, FaultProxy(plane) as second:
        once = Retry(attempts=1)
        async with (
            ApiClient(first.credentials(), retry=once) as one,
            ApiClient(second.credentials(), retry=once) as two,
        ):
            namespace = await new_namespace(one)
            yield Site(plane, namespace, (first, second), (one, two), HandClock())


def test_the_first_takes_the_lease_and_the_second_waits_until_it_is_given_back(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first, second = here.elector(0), here.elector(1)
        await first.acquire()
        assert first.leading
        waiting = here.start(second.acquire())
        await here.clock.asleep()
        assert (second.leading, second.holder) == (False, "replica-0")
        await first.release()
        assert not first.leading
        assert (await here.lease())["holderIdentity"] in ("", None)
        here.clock.advance(2)
        await waiting
        assert second.leading
        lease = await here.lease()
        assert (lease["holderIdentity"], lease["leaseTransitions"]) == ("replica-1", 1)
        assert lease["acquireTime"] == lease["renewTime"] == "2026-01-02T03:04:07.000000Z"

    run(plane, test)


def test_a_holder_that_renews_keeps_the_lease(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first, second = here.elector(0), here.elector(1)
        await first.acquire()
        here.start(first.renew())
        here.start(second.acquire())
        for _ in range(30):
            await here.clock.asleep(2)
            here.clock.advance(2)
        await here.clock.asleep(2)
        assert (first.leading, second.leading) == (True, False)
        lease = await here.lease()
        assert (lease["acquireTime"], lease["renewTime"]) == (
            "2026-01-02T03:04:05.000000Z",
            "2026-01-02T03:05:05.000000Z",
        )

    run(plane, test)


@pytest.mark.parametrize("minutes", [-5, 5], ids=["behind", "ahead"])
def test_a_dead_holder_s_lease_is_taken_when_it_stood_still_for_its_time_whatever_it_says(
    plane: ControlPlane, minutes: int
) -> None:
    async def test(here: Site) -> None:
        dead = here.elector(0, wall=lambda: here.clock.wall + timedelta(minutes=minutes))
        await dead.acquire()
        second = here.elector(1)
        waiting = here.start(second.acquire())
        await here.clock.asleep()
        for _ in range(7):
            here.clock.advance(2)
            await here.clock.asleep()
        assert not second.leading  # 14 seconds of 15
        here.clock.advance(2)
        await waiting
        assert second.leading
        assert (await here.lease())["leaseTransitions"] == 1

    run(plane, test)


@pytest.mark.parametrize("minutes", [-5, 5], ids=["back", "forward"])
def test_a_jump_of_the_clock_by_five_minutes_moves_no_lease(plane: ControlPlane, minutes: int) -> None:
    async def test(here: Site) -> None:
        first, second = here.elector(0), here.elector(1)
        await first.acquire()
        here.start(first.renew())
        here.start(second.acquire())
        await here.clock.asleep(2)
        here.clock.wall += timedelta(minutes=minutes)
        for _ in range(10):
            here.clock.advance(2)
            await here.clock.asleep(2)
        assert (first.leading, second.leading) == (True, False)
        assert (await here.lease())["leaseTransitions"] == 0

    run(plane, test)


def test_a_holder_that_is_cut_off_stops_before_another_starts(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first, second = here.elector(0), here.elector(1)
        await first.acquire()
        renewing = here.start(first.renew())
        waiting = here.start(second.acquire())
        await here.clock.asleep(2)
        here.proxies[0].down = True
        for second_of_time in range(1, 11):
            here.clock.advance(1)
            assert first.leading == (second_of_time < 10)
            await here.clock.asleep(2 if second_of_time < 10 else 1)
        await renewing
        assert first.lost.is_set()
        assert not second.leading
        while not waiting.done():
            here.clock.advance(1)
            await asyncio.wait({waiting, here.start(here.clock.asleep())}, return_when=asyncio.FIRST_COMPLETED)
            assert not (first.leading and second.leading)
        assert second.leading
        assert 1015 <= here.clock.seconds <= 1018

    run(plane, test)


def test_a_request_that_hangs_does_not_keep_a_holder_from_stopping(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = here.elector(0)
        await first.acquire()
        never = asyncio.Event()
        hanging = here.proxies[0].add(hold(never), method="PATCH", times=None)
        here.start(first.renew())
        await here.clock.asleep()
        here.clock.advance(2)
        while not hanging.met:
            await asyncio.sleep(0)
        assert first.leading
        here.clock.advance(8)
        assert not first.leading  # whoever asks knows, though the request still hangs

    run(plane, test)


def test_a_process_that_was_paused_past_its_deadline_does_not_lead(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = here.elector(0)
        await first.acquire()
        renewing = here.start(first.renew())
        await here.clock.asleep()
        here.clock.advance(60)
        assert not first.leading
        await renewing
        assert first.lost.is_set()
        assert [seen.method for seen in here.proxies[0].requests if seen.path.endswith(NAME)] == ["GET"]

    run(plane, test)


def test_a_renewal_whose_answer_was_lost_keeps_the_lease(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = here.elector(0)
        await first.acquire()
        here.start(first.renew())
        here.proxies[0].add(cut_after, method="PATCH")
        for _ in range(10):
            await here.clock.asleep()
            here.clock.advance(2)
        await here.clock.asleep()
        assert first.leading
        assert (await here.lease())["leaseTransitions"] == 0

    run(plane, test)


def test_a_busy_server_costs_no_lease_within_the_deadline(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = here.elector(0)
        await first.acquire()
        here.start(first.renew())
        for status in (429, 500, 503):
            here.proxies[0].add(answer(status), method="PATCH")
        for _ in range(10):
            await here.clock.asleep()
            here.clock.advance(2)
        await here.clock.asleep()
        assert first.leading

    run(plane, test)


def test_a_lease_that_another_took_is_lost_at_once(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = here.elector(0)
        await first.acquire()
        renewing = here.start(first.renew())
        await here.clock.asleep()
        await here.clients[1].patch(LEASES, here.namespace, NAME, {"spec": {"holderIdentity": "usurper"}})
        here.clock.advance(2)  # a conflict
        await here.clock.asleep()
        here.clock.advance(2)  # by whom
        await renewing
        assert first.lost.is_set()
        assert not first.leading
        await first.release()
        assert (await here.lease())["holderIdentity"] == "usurper"

    run(plane, test)


def test_a_lease_that_somebody_deleted_is_made_again(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = here.elector(0)
        await first.acquire()
        here.start(first.renew())
        await here.clock.asleep()
        await here.clients[1].delete(LEASES, here.namespace, NAME)
        for _ in range(3):
            here.clock.advance(2)
            await here.clock.asleep()
        assert first.leading
        assert (await here.lease())["holderIdentity"] == "replica-0"

    run(plane, test)


def test_only_one_of_two_that_ask_at_the_same_time_gets_the_lease(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        electors = here.elector(0), here.elector(1)
        for elector in electors:
            here.start(elector.acquire())
        await here.clock.asleep()  # one of them waits, the other is done
        while not any(elector.leading for elector in electors):
            await asyncio.sleep(0)
        assert sorted(elector.leading for elector in electors) == [False, True]

    run(plane, test)


@pytest.mark.parametrize("times", [(10, 10, 2.0), (15, 2, 2.0)], ids=["deadline", "period"])
def test_times_that_let_two_lead_are_refused(times: tuple[int, int, float]) -> None:
    duration, deadline, period = times
    settings = LeaderElection(
        lease_duration_seconds=duration, renew_deadline_seconds=deadline, retry_period_seconds=period
    )
    with pytest.raises(JobError, match="not in order"):
        Elector(None, settings, "default", "a")
