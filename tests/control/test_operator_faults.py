"""Faults between the operator and the API server, and on both sides of it, that change nothing in the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from control.fault_proxy import FaultProxy, Rule, answer, cut_after, stream_error, twice, with_the_past
from control.operator_site import SERVED, OperatedCluster, Site, run, started_cluster, usual_end

pytestmark = pytest.mark.control

STATUS = r".*/predictionjobs/[^/]*/status"
STATUS_OF_POISON = r".*/predictionjobs/poison/status"


cluster = pytest.fixture(started_cluster, scope="module")
usual = pytest.fixture(usual_end, scope="module")


def lives_as_usual(cluster: OperatedCluster, usual: dict, *, from_the_start: Callable[[FaultProxy], object]) -> None:
    """Require the usual end of a job whose operator has to do with faults from its first request on."""

    async def test(here: Site) -> None:
        from_the_start(here.proxy)
        async with here.operator():
            await here.apply()
            await here.until_equal(usual, here.picture)
        assert all(rule.met for rule in here.proxy.rules)

    run(cluster, test)


def test_conflicts_of_the_status_are_decided_anew(cluster: OperatedCluster, usual: dict) -> None:
    def conflicts(proxy: FaultProxy) -> None:
        proxy.add(answer(409, reason="Conflict"), method="PATCH", path=STATUS, times=3)

    lives_as_usual(cluster, usual, from_the_start=conflicts)


def test_a_write_whose_answer_is_lost_is_done_once(cluster: OperatedCluster, usual: dict) -> None:
    def lost(proxy: FaultProxy) -> None:
        proxy.add(cut_after, method="POST", path=".*/jobs", times=2)
        proxy.add(cut_after, method="POST", path=".*/events", times=2)
        proxy.add(cut_after, method="PATCH", path=STATUS, times=2)
        proxy.add(cut_after, method="PATCH", path=".*/deployments/.*", times=2)
        proxy.add(cut_after, method="POST", path=".*/persistentvolumeclaims", times=2)

    lives_as_usual(cluster, usual, from_the_start=lost)


def test_a_busy_server_is_waited_for_as_long_as_it_asks(cluster: OperatedCluster, usual: dict) -> None:
    def busy(proxy: FaultProxy) -> None:
        later = answer(429, headers={"Retry-After": "1"}, reason="TooManyRequests")
        proxy.add(later, method="GET", path=".*/predictionjobs", watch=False)
        proxy.add(later, method="GET", path=".*/predictionjobs", watch=True)
        proxy.add(later, method="POST", path=".*/jobs", times=2)
        proxy.add(later, method="PATCH", path=STATUS, times=2)

    lives_as_usual(cluster, usual, from_the_start=busy)


def test_bursts_of_server_faults_are_outlived(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.started()
            bursts = [here.proxy.add(answer(code), times=15) for code in (500, 503, 504)]
            here.proxy.cut_watches()
            here.end_run()
            await here.until_equal(usual, here.picture)
            assert all(burst.met >= 15 for burst in bursts)

    run(cluster, test)


def test_an_operator_that_starts_in_a_burst_of_server_faults_works_after_it(
    cluster: OperatedCluster, usual: dict
) -> None:
    lives_as_usual(cluster, usual, from_the_start=lambda proxy: proxy.add(answer(503), times=10))


def test_what_happened_while_no_server_was_reached_is_seen_afterwards(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        async def ended() -> bool:
            return all(job["status"].get("succeeded") for job in await here.objects("Job"))

        async with here.operator():
            await here.started()
            here.proxy.down = True
            here.proxy.cut_watches()
            here.end_run()
            await here.until(ended)
            here.proxy.down = False
            await here.until_equal(usual, here.picture)

    run(cluster, test)


def test_watches_that_drop_again_and_again_lose_nothing(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        async def drop() -> None:
            while True:
                here.proxy.cut_watches()
                await asyncio.sleep(0.1)

        async with here.operator():
            dropping = asyncio.ensure_future(drop())
            await here.apply()
            await here.until_equal(usual, here.picture)
            dropping.cancel()
            await asyncio.wait({dropping})

    run(cluster, test)


def test_versions_that_are_no_longer_held_are_listed_anew(cluster: OperatedCluster, usual: dict) -> None:
    def expired(proxy: FaultProxy) -> None:
        proxy.add(stream_error(410, "Expired"), watch=True, times=10)
        proxy.add(answer(410, reason="Expired"), watch=True, times=10)

    lives_as_usual(cluster, usual, from_the_start=expired)


@pytest.mark.parametrize("distort", [twice, with_the_past])
def test_events_that_come_again_or_late_bring_nothing_back(
    cluster: OperatedCluster, usual: dict, distort: Callable[[list[bytes]], list[bytes]]
) -> None:
    async def test(here: Site) -> None:
        here.proxy.distort = distort
        async with here.operator():
            await here.apply()
            await here.until_equal(usual, here.picture)
            await here.delete()
            await here.until_equal({}, here.children)

    run(cluster, test)


def test_an_api_server_that_restarts_mid_run_changes_nothing(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.started()
            await asyncio.to_thread(cluster.plane.restart_api_server)
            here.end_run()
            await here.until_equal(usual, here.picture)

    run(cluster, test)


@pytest.mark.parametrize("between", ["a run of its own", "nothing"])
def test_of_a_spec_that_goes_from_3_to_2_to_3_mid_run_the_last_wins(
    cluster: OperatedCluster, usual: dict, between: str
) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.started()
            await here.change(target={"horizon": 2})
            if between == "a run of its own":

                async def replaced() -> bool:
                    states = [one["state"] for one in (await here.status())["runs"]]
                    return states == ["Running", "Cancelled"]

                await here.until(replaced)
            await here.change(target={"horizon": 3})
            here.end_run()
            await here.until_ready()
            await here.until_equal(SERVED, here.children)
            found = (await here.picture())["status"]
            assert found["observedGeneration"] == 3
            # Kubernetes tells times to the second: runs of the same one have no order.
            assert [one for one in found["runs"] if one["state"] != "Cancelled"] == usual["status"]["runs"]
            for part in ("champions", "scorecard", "url", "phase"):
                assert found[part] == usual["status"][part]
            (champion,) = (await here.status())["champions"]
            (server,) = await here.objects("Deployment")
            assert server["metadata"]["annotations"]["presage.dev/run"] == champion["run"]

    run(cluster, test)


def test_jobs_that_fail_hold_up_no_healthy_one(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        poison = here.proxy.add(answer(500), path=STATUS_OF_POISON, times=None)
        refused = {"name": "sp500", "availability": {"lag": "0s"}, "http": {"url": "http://127.0.0.1/a.csv"}}
        async with here.operator(settings={"workers": 2}):
            for number in range(3):
                await here.apply(f"poison-{number}", sources=[refused])
            await here.apply("poison")
            healthy = [f"healthy-{number}" for number in range(4)]
            for name in healthy:
                await here.apply(name)
            for name in healthy:
                await here.until_equal(usual, lambda name=name: here.picture(name))
            assert await here.condition("Stalled", "poison-0") == ("True", "SourceNotAllowed")
            await here.until(lambda: befell(poison))
            here.proxy.rules.clear()
            # Its turn comes once the server takes its status.
            await here.until_equal(usual, lambda: here.picture("poison"))

    async def befell(rule: Rule) -> bool:
        return rule.met > 0

    run(cluster, test)


def test_a_job_that_is_deleted_while_its_run_is_under_way_leaves_nothing(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async with here.operator() as operator:
            await here.started()
            await here.delete()
            await here.until_equal({}, here.children)
            assert "level=error" not in operator.text
            here.end_run()

    run(cluster, test)
