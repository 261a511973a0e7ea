"""The operator on a real API server with real controllers: from an applied file to a served model, and back."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from control.operator_site import (
    SERVED,
    SPEC,
    OperatedCluster,
    Site,
    operator_inside,
    run,
    site,
    started_cluster,
    usual_end,
)
from doubles.kubelet import VERDICT
from installs import kubectl

from presage_operator.names import FORECAST_REQUESTED_AT, TRAIN_REQUESTED_AT
from presage_operator.resources import CLAIMS, EVENTS

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
usual = pytest.fixture(usual_end, scope="module")
LAKE = ("PersistentVolumeClaim", "PredictionJob")


@dataclass
class SetClock:
    """The time of day, as far ahead as a test says."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def set(self, moment: datetime) -> None:
        self.ahead = moment - datetime.now(UTC)


async def told(here: Site, *words: str, content: str | None = None) -> str:
    """Return what kubectl says."""
    kubeconfig = here.cluster.folder / "administrator.kubeconfig"
    kubeconfig.write_text(here.cluster.plane.kubeconfig())
    done = await asyncio.to_thread(
        subprocess.run,
        [kubectl(), "-n", here.namespace, *words],
        input=content,
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def events(here: Site) -> list[tuple[str, str]]:
    """Return type and reason of the operator's events."""
    held = (await here.client.list(EVENTS, here.namespace)).items
    own = [event for event in held if event.get("reportingController") == "presage.dev/presage-operator"]
    return sorted((event["type"], event["reason"]) for event in own)


async def runs(here: Site) -> list[tuple[str, str, str]]:
    """Return cadence, trigger and state of the runs that the status tells of."""
    told = (await here.status()).get("runs", [])
    return [(one["cadence"], one["trigger"], one["state"]) for one in told]


def test_an_applied_file_becomes_a_served_model_as_kubectl_shows(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        job = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": "job"}, "spec": SPEC}
        async with here.operator() as operator:
            await told(here, "apply", "-f", "-", content=yaml.safe_dump(job))
            await told(here, "wait", "--for=condition=Ready", "pj/job", "--timeout=60s")
            head, row = (await told(here, "get", "pj")).splitlines()
            assert head.split() == ["NAME", "READY", "PHASE", "MODEL", "SKILL", "COVERAGE", "REASON", "AGE"]
            assert row.split()[:-1] == ["job", "True", "Serving", "ridge", "0.07", "0.9", "ChampionServed"]
            wide = (await told(here, "get", "pj", "-o", "wide")).splitlines()[1].split()
            assert wide[8] == f"http://job-predictor.{here.namespace}.svc.cluster.local"
            status = await here.status()
            assert {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]} == {
                "Ready": ("True", "ChampionServed"),
                "Stalled": ("False", "Progressing"),
                **{type_: ("True", reason) for type_, reason in VERDICT.items()},
                "Serving": ("True", "ChampionServed"),
            }
            assert {one["observedGeneration"] for one in status["conditions"]} == {status["observedGeneration"]} == {1}
            assert await here.children() == SERVED
            assert "level=error" not in operator.text
            assert "level=warning" not in operator.text

    run(cluster, test)


def test_events_tell_of_transitions_and_a_new_start_beside_settled_jobs_writes_nothing(
    cluster: OperatedCluster,
) -> None:
    async def test(here: Site) -> None:
        once = sorted(
            [("Normal", reason) for reason in ("RunStarted", "RunSucceeded", "BetterThanBaseline")]
            + [("Normal", "ChampionServed")] * 2
        )
        async with here.operator():
            await here.apply()
            await here.until_ready()
            await here.until_equal(once, lambda: events(here))
        here.proxy.requests.clear()
        before = (await here.job())["metadata"]["resourceVersion"]
        async with here.operator() as operator:

            async def reconciled() -> bool:
                counted = re.search(
                    r'presage_reconcile_seconds_count{result="ok"} (\S+)', await operator.get("/metrics")
                )
                return counted is not None and float(counted[1]) > 0

            await here.until(reconciled)
            metrics = await operator.get("/metrics")
            assert "presage_queue_depth 0.0" in metrics
            assert "presage_queue_oldest_seconds 0.0" in metrics
            assert f'presage_jobs{{job_namespace="{here.namespace}",phase="Serving"}} 1.0' in metrics
            assert "presage_reconcile_errors_total{" not in metrics
            assert await operator.get("/healthz") == await operator.get("/readyz") == "ok\n"
        assert {one.method for one in here.proxy.requests} == {"GET"}
        assert (await here.job())["metadata"]["resourceVersion"] == before
        assert await events(here) == once

    run(cluster, test)


def test_an_operator_of_one_namespace_asks_for_nothing_of_another(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        async with site(cluster) as elsewhere:
            await elsewhere.apply()
            async with here.operator():
                await here.apply()
                await here.until_equal(usual, here.picture)
            assert await elsewhere.status() == {}
            asked = [one.path for one in here.proxy.requests if "/namespaces/" not in one.path]
            assert not [path for path in asked if path.endswith(("/jobs", "/pods", "/predictionjobs", "/services"))]
            assert not [one.path for one in here.proxy.requests if elsewhere.namespace in one.path]

    run(cluster, test)


def test_a_job_that_serves_nothing_is_complete_and_one_that_stops_serving_loses_its_server(
    cluster: OperatedCluster,
) -> None:
    async def test(here: Site) -> None:
        left = {("Job", "PredictionJob"): 1, ("Pod", "Job"): 1, LAKE: 1}
        async with operator_inside(here):
            await here.apply("quiet", serving={"enabled": False})
            await here.apply("loud")
            await here.until_ready("quiet", "loud")
            assert (await here.status("quiet"))["phase"] == "Complete"
            await here.until_equal(left, lambda: here.children("quiet"))
            await here.until_equal(SERVED, lambda: here.children("loud"))
            await here.change("loud", serving={"enabled": False})
            await here.until_equal(left, lambda: here.children("loud"))
            await here.until_equal("Complete", lambda: phase(here, "loud"))
            assert "url" not in await here.status("loud")
            assert await here.condition("Serving", "loud") == ("False", "Disabled")

    run(cluster, test)


async def phase(here: Site, name: str) -> str:
    return (await here.status(name))["phase"]


def test_what_was_changed_by_hand_is_put_right(cluster: OperatedCluster, usual: dict) -> None:
    async def test(here: Site) -> None:
        async with operator_inside(here):
            await here.apply()
            await here.until_ready()
            await told(here, "delete", "service", "job-predictor")
            await here.until_equal(usual, here.picture)
            await told(here, "delete", "deployment", "job-predictor")
            await here.until_equal(usual, here.picture)

    run(cluster, test)


def test_an_annotation_runs_a_cadence_now_and_once(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        first = ("Train", "Spec", "Succeeded")
        async with operator_inside(here):
            await here.apply()
            await here.until_ready()
            await here.annotate(TRAIN_REQUESTED_AT, "monday")
            await here.until_equal([("Train", "Request", "Succeeded"), first], lambda: runs(here))
            await here.annotate(FORECAST_REQUESTED_AT, "tuesday")
            wanted = [("Forecast", "Request", "Succeeded"), ("Train", "Request", "Succeeded"), first]
            await here.until_equal(wanted, lambda: runs(here))
            await here.annotate("example.com/other", "wednesday")
            await here.until_ready()
            assert (await here.status())["handledRequests"] == {"train": "monday", "forecast": "tuesday"}
        # Another operator knows what was obeyed.
        async with operator_inside(here):
            await here.annotate(TRAIN_REQUESTED_AT, "thursday")
            await here.until_equal([("Train", "Request", "Succeeded"), *wanted], lambda: runs(here))

    run(cluster, test)


def test_a_schedule_starts_each_due_run_once_however_the_clock_jumps(cluster: OperatedCluster) -> None:
    async def test(here: Site) -> None:
        clock = SetClock()
        # Half a day off, so that no time of day puts another due run between now and it.
        due = (datetime.now(UTC) + timedelta(hours=12)).replace(minute=0, second=0, microsecond=0)
        jumps = [-5, 5, -5, 5, 0]

        async def next_train() -> str:
            return (await here.status())["nextRuns"]["train"]

        async with operator_inside(here, clock=clock):
            await here.apply(schedule={"train": {"schedule": f"0 {due.hour} * * *"}})
            await here.until_ready()
            before = f"{due:%Y-%m-%dT%H:%M:%SZ}"
            clock.set(due - timedelta(minutes=4))
            await here.annotate("example.com/look", "before")
            assert len(await runs(here)) == 1
            # Five minutes ahead at once: the start is seen within a heartbeat of the queue.
            clock.set(due + timedelta(minutes=1))
            await here.until_equal(
                [("Train", "Schedule", "Succeeded"), ("Train", "Spec", "Succeeded")], lambda: runs(here)
            )
            assert (await here.status())["lastSchedules"]["train"] == before
            for number, minutes in enumerate(jumps):
                clock.set(due + timedelta(minutes=minutes))
                await here.annotate("example.com/look", str(number))
                after = due + timedelta(days=minutes >= 0)
                await here.until_equal(f"{after:%Y-%m-%dT%H:%M:%SZ}", next_train)
            assert len(await runs(here)) == 2
            clock.set(due + timedelta(days=3))
            await here.until_equal(2, lambda: scheduled(here))
        # What was missed while no operator worked is started once, for the newest time.
        clock.set(due + timedelta(days=9, minutes=1))
        async with operator_inside(here, clock=clock):
            await here.until_equal(3, lambda: scheduled(here))
            newest = f"{due + timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}"
            assert (await here.status())["lastSchedules"]["train"] == newest

    run(cluster, test)


async def scheduled(here: Site) -> int:
    """Return how many scheduled trainings ended well."""
    return (await runs(here)).count(("Train", "Schedule", "Succeeded"))


def test_of_finished_runs_as_many_are_kept_as_the_cadence_says_and_the_status_tells_of_all(
    cluster: OperatedCluster,
) -> None:
    async def test(here: Site) -> None:
        cadence = {"schedule": "@yearly", "successfulJobsHistoryLimit": 1}
        async with operator_inside(here):
            await here.apply(schedule={"train": cadence}, serving={"enabled": False})
            for number in range(1, 4):
                await here.until_equal(number, lambda: ended(here))
                await here.annotate(TRAIN_REQUESTED_AT, str(number))
            await here.until_equal(4, lambda: ended(here))
            await here.until_equal({("Job", "PredictionJob"): 1, ("Pod", "Job"): 1, LAKE: 1}, here.children)
            (kept,) = await here.objects("Job")
            assert kept["metadata"]["name"] == (await here.status())["runs"][0]["name"]

    run(cluster, test)


async def ended(here: Site) -> int:
    """Return how many runs ended well."""
    return sum(state == "Succeeded" for _, _, state in await runs(here))


@pytest.mark.parametrize("when_deleted", ["Delete", "Retain"])
def test_a_deleted_job_leaves_nothing_but_a_lake_that_is_to_be_kept(
    cluster: OperatedCluster, when_deleted: str
) -> None:
    async def test(here: Site) -> None:
        kept = {("PersistentVolumeClaim", "nobody"): 1} if when_deleted == "Retain" else {}
        # The lake's claim has no owner then, and is no orphan.
        async with here.operator(settings={"lake": {"volume": {"whenDeleted": when_deleted}}}):
            await here.apply()
            await here.until_ready()
            await here.delete()
            await here.until_equal([], here.jobs)
            await here.until_equal(kept, here.children)
            if kept:
                claim = await here.client.get(CLAIMS, here.namespace, "job-lake")
                assert "ownerReferences" not in claim["metadata"]

    run(cluster, test)
