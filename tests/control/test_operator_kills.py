"""An operator that is killed at any moment leaves nothing that the next one does not bring to the usual end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from control.fault_proxy import CutError, FaultProxy, Forward
from control.operator_process import OperatorProcess
from control.operator_site import SERVED, OperatedCluster, Site, operator_inside, run, site, started_cluster, usual_end

from presage_operator.client import Retry

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
usual = pytest.fixture(usual_end, scope="module")
AT_A_TIME = 12
WRITES = ("POST", "PATCH", "DELETE")


class KilledAtWrite:
    """Kill a process once the server did its write of some number, before it hears of it.

    To be killed before a write is the same as after the one before it: what it knew is gone with it.

    Attributes:
        done: Set once it is dead.
    """

    def __init__(self, operator: OperatorProcess, number: int) -> None:
        self.done = asyncio.Event()
        self._operator = operator
        self._left = number

    async def __call__(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        if request.method in WRITES:
            self._left -= 1
            if not self._left:
                await forward()
                self._operator.kill()
                self.done.set()
                raise CutError
        return await forward()


async def chain(here: Site, usual: dict, first: int, step: int) -> int:
    """Kill an operator at one write of each of several jobs, each next one seeing to all before; return how often."""
    lives: list[Site] = []
    async with contextlib.AsyncExitStack() as stack:
        while True:
            life = await stack.enter_async_context(site(here.cluster))
            lives.append(life)
            words = [word for each in lives for word in ("-n", each.namespace)]
            operator = life.operator(*words)
            killed = KilledAtWrite(operator, first + step * (len(lives) - 1))
            life.proxy.add(killed, path=f".*/namespaces/{life.namespace}/(?!events).*", watch=False, times=None)

            async def over(life: Site = life, killed: KilledAtWrite = killed) -> bool:
                return killed.done.is_set() or await life.picture() == usual

            async with operator:
                await life.apply()
                await life.until(over)
            if not killed.done.is_set():
                break
        async with here.operator(*words):
            for life in lives:
                await life.until_equal(usual, life.picture)
    return len(lives) - 1


def test_an_operator_killed_after_any_write_is_followed_by_one_that_ends_as_usual(
    cluster: OperatedCluster, usual: dict
) -> None:
    async def test(here: Site) -> None:
        kills = await asyncio.gather(chain(here, usual, 1, 3), chain(here, usual, 2, 3), chain(here, usual, 3, 3))
        # The claim, the run, four objects that serve, and at least three times what is told.
        assert sum(kills) >= 9

    run(cluster, test)


@dataclass
class Calls:
    """The calls of one operator, the fatal one among them.

    From that call on nothing of the operator reaches the server any more, and all that it had open is cut: to the
    server, the only place where it leaves anything, that is a killed process. So a hundred may die within a minute.

    Attributes:
        fatal: Number of the call before which it dies; 0 for never.
        seen: What was asked, by method or WATCH.
    """

    proxy: FaultProxy
    fatal: int
    seen: list[str] = field(default_factory=list)
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        if self.dead.is_set():
            raise CutError
        self.seen.append("WATCH" if "watch" in request.query else request.method)
        if len(self.seen) == self.fatal:
            self.dead.set()
            self.proxy.cut_watches()
            raise CutError
        return await forward()


async def mortal(life: Site, calls: Calls) -> None:
    """Run an operator until it dies, and then another that does not."""
    async with operator_inside(life, retry=Retry(attempts=1)):
        await calls.dead.wait()
    async with FaultProxy(life.cluster.plane) as proxy, operator_inside(life, through=proxy):
        await asyncio.Event().wait()


async def long_life(life: Site) -> dict:
    """Have a job run, be changed meanwhile, served, and served no more; return what it comes to."""

    async def replaced() -> bool:
        runs = (await life.status()).get("runs", [])
        return Counter(one["state"] for one in runs) == {"Running": 1, "Cancelled": 1}

    await life.started()
    await life.change(target={"horizon": 2})
    await life.until(replaced)
    life.end_run()
    await life.until_ready()
    await life.until_equal(SERVED, life.children)
    await life.change(serving={"enabled": False})
    left = {kinds: SERVED[kinds] for kinds in (("Job", "PredictionJob"), ("Pod", "Job"))}
    await life.until_equal(left | {("PersistentVolumeClaim", "PredictionJob"): 1}, life.children)
    await life.until_ready()
    picture = await life.picture()
    # Kubernetes tells times to the second: runs of the same one have no order.
    picture["status"]["runs"].sort(key=lambda one: one["state"])
    return picture


async def killed_life(here: Site, turn: asyncio.Semaphore, fatal: int) -> tuple[dict, list[str]]:
    """Live the long life with an operator that dies at a call; return what came of it, and its calls."""
    async with turn, site(here.cluster) as life:
        life.step_seconds = 0.2
        calls = Calls(life.proxy, fatal)
        life.proxy.add(calls, times=None)
        working = asyncio.ensure_future(mortal(life, calls))
        try:
            return await long_life(life), calls.seen
        finally:
            working.cancel()
            await asyncio.wait({working})


def test_an_operator_killed_at_any_call_of_a_long_life_is_followed_by_one_that_ends_as_usual(
    cluster: OperatedCluster,
) -> None:
    async def test(here: Site) -> None:
        turn = asyncio.Semaphore(AT_A_TIME)
        wanted, calls = await killed_life(here, turn, 0)
        kinds = Counter(calls)
        assert kinds["WATCH"] == 7
        # Seven lists, that of new jobs before them, one look for each object that serves, and one at the claim that the
        # second run finds.
        assert kinds["GET"] == 7 + 1 + 4 + 1
        assert kinds["DELETE"] == 5
        lives = [killed_life(here, turn, fatal) for fatal in range(1, len(calls) + 1)]
        for picture, _ in await asyncio.gather(*lives):
            assert picture == wanted

    run(cluster, test)
