"""What an operator says of itself while it waits for the Lease, and while it cannot watch."""

from __future__ import annotations

import re

import pytest
from control.fault_proxy import answer
from control.operator_process import OperatorProcess
from control.operator_site import OperatedCluster, Site, run, started_cluster

from presage_operator.lease import LEASES

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")


def test_a_replica_that_waits_for_the_lease_is_ready_and_says_once_for_whom(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        election = {"namespace": here.namespace, "retryPeriodSeconds": 0.2}

        async def holder() -> str:
            lease = await here.client.get(LEASES, here.namespace, "presage-operator")
            return lease["spec"].get("holderIdentity") or ""

        async with here.operator(settings={"leaderElection": election}, election=True) as first:
            await here.until(holder)
            async with here.operator(settings={"leaderElection": election}, election=True) as second:

                async def waits() -> bool:
                    return "waits for the Lease" in second.text

                await here.until(waits)
                assert await second.get("/readyz") == "ok\n"
                assert f"holder={await holder()}" in second.text
            assert second.text.count("waits for the Lease") == 1
            assert "waits for the Lease" not in first.text

    run(cluster, test)


def test_an_operator_that_cannot_watch_is_not_ready_until_it_can(cluster: OperatedCluster) -> None:
    async def faults(operator: OperatorProcess) -> float:
        found = re.search(r"^presage_watch_faults (\S+)$", await operator.get("/metrics"), re.MULTILINE)
        assert found
        return float(found[1])

    async def test(here: Site) -> None:
        forbidden = here.proxy.add(answer(403, reason="Forbidden"), path=".*/predictionjobs", times=None)
        async with here.operator() as operator:

            async def state() -> tuple[str, float]:
                return await operator.get("/readyz"), await faults(operator)

            await here.until_equal(("no\n", 1.0), state)
            here.proxy.rules.remove(forbidden)
            await here.until_equal(("ok\n", 0.0), state)
            assert await operator.get("/healthz") == "ok\n"

    run(cluster, test)
