"""What is not the operator's: objects of others with the names of children, refusals, writers that undo its work."""

from __future__ import annotations

import pytest
from control.operator_site import SERVED, OperatedCluster, Site, run, started_cluster

from presage_operator.client import Resource
from presage_operator.errors import JsonObject
from presage_operator.names import RUN_DIGEST
from presage_operator.resources import CLAIMS, DEPLOYMENTS, RUNS, SERVICES

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
QUOTAS = Resource("", "v1", "resourcequotas")


def stranger_service(name: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": "payroll"}},
        "spec": {"selector": {"app": "payroll"}, "ports": [{"port": 443}]},
    }


async def stalled_for(here: Site, reason: str) -> None:
    await here.until_equal(("True", reason), lambda: here.condition("Stalled"))


def test_a_service_of_somebody_else_is_left_as_it_is_and_the_status_says_so(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        made = await here.client.create(SERVICES, here.namespace, stranger_service("job-predictor"))
        async with here.operator():
            await here.apply()
            await stalled_for(here, "NameTaken")
            assert await here.condition("Ready") == ("False", "NameTaken")
            assert await here.client.get(SERVICES, here.namespace, "job-predictor") == made
            await here.client.delete(SERVICES, here.namespace, "job-predictor")
            await here.until_ready()
            assert await here.children() == SERVED
            assert (await here.condition("Stalled"))[0] == "False"

    run(cluster, test)


def test_a_claim_of_somebody_else_is_not_mounted(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        claim: JsonObject = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "job-lake", "labels": {"app": "payroll"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await here.client.create(CLAIMS, here.namespace, claim)
        async with here.operator():
            await here.apply()
            await stalled_for(here, "NameTaken")
            assert not (await here.client.list(RUNS, here.namespace)).items

    run(cluster, test)


def test_a_job_of_the_name_of_one_that_is_gone_waits_for_a_claim_of_its_own(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.apply()
            await here.until_ready()
            first = await here.client.get(CLAIMS, here.namespace, "job-lake")
            # As a Pod that goes on using it does.
            kept: JsonObject = {"metadata": {"finalizers": ["presage.test/in-use"]}}
            await here.client.patch(CLAIMS, here.namespace, "job-lake", kept)
            await here.delete()
            await here.until(lambda: gone(here))
            await here.apply()
            await stalled_for(here, "StillLeaving")
            await here.client.patch(CLAIMS, here.namespace, "job-lake", {"metadata": {"finalizers": None}})
            await here.until_ready()
            second = await here.client.get(CLAIMS, here.namespace, "job-lake")
            assert second["metadata"]["uid"] != first["metadata"]["uid"]

    async def gone(here: Site) -> bool:
        return not await here.jobs()

    run(cluster, test)


def test_a_copy_of_a_served_object_outlives_serving(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.apply()
            await here.until_ready()
            ours = await here.client.get(SERVICES, here.namespace, "job-predictor")
            copy = stranger_service("public")
            copy["metadata"] = {"name": "public", "labels": ours["metadata"]["labels"]}
            await here.client.create(SERVICES, here.namespace, copy)
            await here.change(serving={"enabled": False})
            await here.until_equal(("True", "Complete"), lambda: here.condition("Ready"))
            assert [one["metadata"]["name"] for one in (await here.client.list(SERVICES, here.namespace)).items] == [
                "public"
            ]

    run(cluster, test)


def test_a_server_that_is_handed_to_an_autoscaler_keeps_its_pods(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async def replicas() -> tuple[int, int]:
            (server,) = await here.objects("Deployment")
            return server["spec"]["replicas"], len(await here.objects("HorizontalPodAutoscaler"))

        async with here.operator():
            await here.apply(serving={"replicas": {"min": 3, "max": 3}})
            await here.until_ready()
            assert await replicas() == (3, 0)
            await here.change(serving={"replicas": {"min": 1, "max": 5}})
            await here.until_equal((3, 1), replicas)
            await here.until_ready()
            assert await replicas() == (3, 1)

    run(cluster, test)


def test_what_the_api_server_refuses_is_told_and_forgotten_once_it_is_allowed(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        quota: JsonObject = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": {"count/deployments.apps": "0"}},
        }
        await here.client.create(QUOTAS, here.namespace, quota)
        await here.until(lambda: counted(here))
        async with here.operator():
            await here.apply()
            await stalled_for(here, "ApplyRefused")
            assert (await here.status())["runs"][0]["state"] == "Succeeded"
            await here.client.delete(QUOTAS, here.namespace, "none")
            await here.until_ready()

    async def counted(here: Site) -> bool:
        return "hard" in (await here.client.get(QUOTAS, here.namespace, "none")).get("status", {})

    run(cluster, test)


def test_a_run_whose_labels_were_taken_is_no_reason_to_ask_again_and_again(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.started()
            (job,) = (await here.client.list(RUNS, here.namespace)).items
            name = str(job["metadata"]["name"])
            here.proxy.requests.clear()
            await here.client.patch(RUNS, here.namespace, name, {"metadata": {"labels": {"presage.dev/job": None}}})
            await stalled_for(here, "NameTaken")
            assert len([one for one in here.proxy.requests if one.method == "POST"]) < 20
            assert job["metadata"]["annotations"][RUN_DIGEST]
            here.end_run()

    run(cluster, test)


def test_a_writer_that_undoes_the_server_again_and_again_is_braked(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            await here.apply()
            await here.until_ready()
            while (await here.condition("Stalled"))[1] != "Contested":
                await here.client.delete(DEPLOYMENTS, here.namespace, "job-predictor")
                await here.until(lambda: put_right(here))

    async def put_right(here: Site) -> bool:
        there = [one["metadata"]["name"] for one in await here.objects("Deployment")]
        return bool(there) or (await here.condition("Stalled"))[1] == "Contested"

    run(cluster, test)
