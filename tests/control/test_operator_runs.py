"""Runs that end badly, in the cluster or in Kubeflow Pipelines: what the operator tells, and what it does about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from control.operator_site import SERVED, SPEC, OperatedCluster, Site, run, started_cluster, usual_end
from doubles.kubeflow import KubeflowDouble, kubeflow_double
from doubles.kubelet import EVICTED, OUT_OF_MEMORY, failure

from presage_operator.names import JOB_LABEL

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
usual = pytest.fixture(usual_end, scope="module")
NO_MORE_PODS = {"pipelines": {"retries": 0}, "retryAfterSeconds": 1}


@pytest.fixture
def kubeflow() -> Iterator[KubeflowDouble]:
    with kubeflow_double() as running:
        running.multi_user = True
        yield running


def test_pods_that_ran_out_of_memory_or_were_evicted_are_told_of_and_followed_by_others(
    cluster: OperatedCluster, usual: dict
) -> None:
    async def test(here: Site) -> None:
        here.kubelet.endings[here.namespace, "memory"] = [OUT_OF_MEMORY]
        here.kubelet.endings[here.namespace, "evicted"] = [EVICTED]
        async with here.operator():
            await here.apply("memory")
            await here.apply("evicted")
            await here.until_equal(("False", "OOMKilled"), lambda: here.condition("Ready", "memory"))
            await here.until_equal(("False", "Evicted"), lambda: here.condition("Ready", "evicted"))
            await here.until_ready("memory", "evicted")
            for name in ("memory", "evicted"):
                assert (await here.picture(name))["status"] == usual["status"]
                await here.until_equal(SERVED | {("Pod", "Job"): 2}, lambda name=name: here.children(name))
            # An eviction is no try of the run.
            tries = {
                job["metadata"]["labels"][JOB_LABEL]: job["status"].get("failed") for job in await here.objects("Job")
            }
            assert tries == {"memory": 1, "evicted": None}

    run(cluster, test)


def test_a_run_that_failed_and_may_succeed_later_is_tried_again_under_another_name(
    cluster: OperatedCluster, usual: dict
) -> None:
    async def test(here: Site) -> None:
        here.kubelet.endings[here.namespace, "job"] = [
            OUT_OF_MEMORY,
            failure(7, "SourceUnavailableError", "the source does not answer.", retry=True),
        ]
        async with here.operator(settings=NO_MORE_PODS):
            await here.apply()
            await here.until_ready()
            tries = [
                (one["attempt"], one["trigger"], one["state"], one["reason"]) for one in (await here.status())["runs"]
            ]
            assert tries == [
                (3, "Retry", "Succeeded", ""),
                (2, "Retry", "Failed", "SourceUnavailableError"),
                (1, "Spec", "Failed", "OOMKilled"),
            ]
            # Of those that failed the newest is kept.
            await here.until_equal(SERVED | {("Job", "PredictionJob"): 2, ("Pod", "Job"): 2}, here.children)
            assert (await here.picture())["status"]["conditions"] == usual["status"]["conditions"]

    run(cluster, test)


def test_a_run_that_cannot_succeed_stalls_the_job_until_its_spec_changes(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        final = failure(5, "DataError", "sp500 has no column range_volatility.", retry=False)
        here.kubelet.endings[here.namespace, "job"] = [final]
        async with here.operator():
            await here.apply(target={**SPEC["target"], "horizon": 5})
            await here.until_equal(("True", "DataError"), lambda: here.condition("Stalled"))
            assert await here.condition("DataReady") == ("False", "DataError")
            assert await here.condition("Ready") == ("False", "DataError")
            assert (await here.status())["phase"] == "Failed"
            await here.change(target={"horizon": 3})
            await here.until_ready()
            assert await here.condition("Stalled") == ("False", "Progressing")

    run(cluster, test)


def kubeflow_settings(double: KubeflowDouble, package: Path, cancel_seconds: int) -> dict:
    given = {"endpoint": double.url, "package": str(package), "cancelSeconds": cancel_seconds}
    return {"pipelines": {"backend": "kubeflow", "kubeflow": given}}


async def run_in_kubeflow(here: Site, double: KubeflowDouble) -> None:
    """Make a job and wait until the double has its run, and the status tells of it."""
    await here.apply()

    async def there() -> bool:
        return bool(double.runs) and bool((await here.status()).get("runs"))

    await here.until(there)
    assert (await here.job())["metadata"]["finalizers"] == ["presage.dev/pipeline-run"]


async def gone(here: Site) -> None:
    """Wait until the job and all its children are gone."""
    await here.until_equal([], here.jobs)
    await here.until_equal({}, here.children)


def test_a_deleted_job_takes_its_runs_in_a_kubeflow_double_with_it(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(here: Site) -> None:
        async with here.operator(settings=kubeflow_settings(kubeflow, package, 60)):
            await run_in_kubeflow(here, kubeflow)
            await here.delete()
            await gone(here)
            assert not kubeflow.runs

    run(cluster, test)


def test_a_deletion_waits_for_a_kubeflow_double_that_is_down_for_a_while(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(here: Site) -> None:
        async with here.operator(settings=kubeflow_settings(kubeflow, package, 60)):
            await run_in_kubeflow(here, kubeflow)
            kubeflow.answers[:] = [503] * 2
            await here.delete()
            await gone(here)
            assert not kubeflow.runs

    run(cluster, test)


def test_a_deletion_ends_in_time_though_a_kubeflow_double_stays_down(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(here: Site) -> None:
        async with here.operator(settings=kubeflow_settings(kubeflow, package, 2)) as operator:
            await run_in_kubeflow(here, kubeflow)
            kubeflow.answers[:] = [503] * 1000
            await here.delete()
            await gone(here)
            assert "CancellationTimedOut" in operator.text

    run(cluster, test)


def test_a_run_that_ends_in_a_kubeflow_double_is_seen_though_nobody_tells(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(here: Site) -> None:
        async with here.operator(settings=kubeflow_settings(kubeflow, package, 60)):
            await run_in_kubeflow(here, kubeflow)
            (run_id,) = kubeflow.runs
            kubeflow.goes_on(run_id, "FAILED", "told to fail")

            async def failed() -> bool:
                return (await here.status())["runs"][-1]["state"] == "Failed"

            await here.until(failed)
            await here.delete()
            await gone(here)

    run(cluster, test)
