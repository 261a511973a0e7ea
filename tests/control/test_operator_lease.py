"""Two operators and one Lease: one works, and the other takes its place when it dies, hangs or goes."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from control.fault_proxy import FaultProxy, Forward
from control.operator_site import SERVED, OperatedCluster, Site, run, started_cluster, usual_end

from presage_operator.lease import LEASES

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
usual = pytest.fixture(usual_end, scope="module")
NAME = "presage-operator"


def settings(here: Site) -> dict:
    times = {"leaseDurationSeconds": 3, "renewDeadlineSeconds": 2, "retryPeriodSeconds": 0.3}
    return {"leaderElection": {"namespace": here.namespace, **times}}


async def holder(here: Site) -> str:
    """Return who holds the Lease."""
    return (await here.client.get(LEASES, here.namespace, NAME))["spec"].get("holderIdentity") or ""


async def until_held(here: Site, but_not_by: str = "") -> str:
    """Wait until somebody else holds the Lease, and return who."""

    async def held() -> bool:
        return await holder(here) not in ("", but_not_by)

    await here.until(held)
    return await holder(here)


def writes(proxy: FaultProxy) -> int:
    """Count what was written through a proxy, but for Leases."""
    return sum(one.method != "GET" and LEASES.plural not in one.path for one in proxy.requests)


def test_of_two_operators_one_works_and_the_other_takes_over_after_a_kill(
    cluster: OperatedCluster, usual: dict
) -> None:
    async def test(here: Site) -> None:
        async with (
            FaultProxy(cluster.plane) as proxy,
            here.operator(settings=settings(here), election=True) as first,
        ):
            leader = await until_held(here)
            async with here.operator(settings=settings(here), election=True, through=proxy) as second:
                await here.started()
                assert await second.get("/readyz") == "ok\n"
                assert writes(proxy) == 0
                first.kill()
                here.end_run()
                await until_held(here, leader)
                await here.until_equal(usual, here.picture)

    run(cluster, test)


def test_an_operator_that_hung_until_its_lease_expired_writes_nothing_when_it_goes_on(
    cluster: OperatedCluster, usual: dict
) -> None:
    async def test(here: Site) -> None:
        async with (
            FaultProxy(cluster.plane) as proxy,
            here.operator(settings=settings(here), election=True, through=proxy) as first,
        ):
            leader = await until_held(here)
            await here.started()
            async with here.operator(settings=settings(here), election=True):
                first.pause()
                here.end_run()
                await until_held(here, leader)
                await here.until_equal(usual, here.picture)
                # What was under way when it was stopped has come by now.
                before = writes(proxy)
                first.resume()
                assert await first.ended() == 7
                assert writes(proxy) == before
                assert await here.picture() == usual
                assert await holder(here) not in ("", leader)

    run(cluster, test)


def test_an_operator_that_is_stopped_gives_its_lease_back(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async with here.operator(settings=settings(here), election=True) as operator:
            await here.apply()
            await here.until_ready()
            assert await operator.stop() == 0
            assert await holder(here) == ""
            assert await here.children() == SERVED

    run(cluster, test)


def test_an_operator_that_is_stopped_amid_a_renewal_gives_its_lease_back(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        renewed = asyncio.Event()

        async def no_answer(request: web.Request, forward: Forward) -> web.StreamResponse:
            await forward()
            renewed.set()
            await asyncio.Event().wait()
            raise AssertionError(request)

        async with here.operator(settings=settings(here), election=True) as operator:
            await until_held(here)
            here.proxy.add(no_answer, method="PATCH", path=".*/leases/.*")
            await renewed.wait()
            assert await operator.stop() == 0
            assert await holder(here) == ""

    run(cluster, test)
