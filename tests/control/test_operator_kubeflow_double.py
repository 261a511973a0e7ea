"""Runs in Kubeflow Pipelines on a real API server: the double holds the runs, and their Pods are made as it would.

What a Pod is made of comes from the run that the operator sent, so that the API server judges it too; how it ends, the
double of the kubelet writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from control.namespaces import new_namespace
from control.operator_site import SERVED, SPEC, OperatedCluster, Site, run, started_cluster
from doubles.kubeflow import KubeflowDouble, kubeflow_double
from doubles.kubelet import OUT_OF_MEMORY, VERDICT, Ending, failure

from presage.spec.digest import spec_digest
from presage.spec.load import parse_job
from presage.spec.outcome import OutcomeCondition, RunOutcome, to_message
from presage.spec.status import Champion, ScorecardSummary
from presage_operator.capabilities import Backends
from presage_operator.client import ApiClient
from presage_operator.compiled import load_pipeline
from presage_operator.kubeflow import PipelineRuns
from presage_operator.observed import Capabilities
from presage_operator.operator import Operator
from presage_operator.resources import PODS
from presage_operator.settings import Settings

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
WELL = Ending()
SERVED_WITHOUT_A_JOB = {kinds: count for kinds, count in SERVED.items() if "Job" not in kinds}
# What Kubeflow gives each container of its own accord.
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def kubeflow() -> Iterator[KubeflowDouble]:
    """A running double, where runs are in the namespaces of their jobs."""
    with kubeflow_double() as running:
        running.multi_user = True
        yield running


@dataclass
class Steps:
    """The runs of one job in the double, and the Pods of their steps.

    Attributes:
        here: Where the job is.
        double: What holds its runs.
        package: The compiled pipeline.
        namespace: Where the Pods are.
    """

    here: Site
    double: KubeflowDouble
    package: Path
    namespace: str

    def settings(self, **kubeflow: object) -> dict:
        """Return an operator's configuration."""
        given = {"endpoint": self.double.url, "package": str(self.package), **kubeflow}
        return {"pipelines": {"backend": "kubeflow", "kubeflow": given}, "retryAfterSeconds": 1}

    async def begun(self, count: int = 1) -> dict:
        """Wait until the double has so many runs and the status tells of the newest; return that one, which runs."""

        def newest() -> dict:
            return max(self.double.runs.values(), key=lambda one: one["created_at"])

        async def told() -> bool:
            known = [(one["name"], one["state"]) for one in (await self.here.status()).get("runs", [])]
            return len(self.double.runs) == count and known[:1] == [(newest()["display_name"], "Pending")]

        await self.here.until(told)
        begun = newest()
        self.double.goes_on(begun["run_id"], "RUNNING")
        return begun

    def ends(self, run: dict, state: str) -> None:
        """End a run now: the double's own clock stands still, and an outcome is waited for only so long."""
        run |= {"state": state, "finished_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}

    async def step(
        self, run: dict, name: str, ending: Ending, *, namespace: str = "", labels: dict[str, str] | None = None
    ) -> None:
        """Make the Pod of a step, and wait until it ended."""
        namespace = namespace or self.namespace
        self.here.kubelet.endings[namespace, "job"].append(ending)
        pod = step_pod(run, name, labels or {})
        await self.here.client.create(PODS, namespace, pod)

        async def ended() -> bool:
            held = await self.here.client.get(PODS, namespace, name)
            return held["status"].get("phase") in {"Succeeded", "Failed"}

        await self.here.until(ended)

    async def touch(self, name: str) -> None:
        """Change a Pod in a way that nobody minds: the operator looks at the run once more, before it would again."""
        body = {"metadata": {"annotations": {"touched": "yes"}}}
        await self.here.client.patch(PODS, self.namespace, name, body)


def step_pod(run: dict, name: str, labels: dict[str, str]) -> dict:
    """Return the Pod that Kubeflow makes of a run's only executor."""
    compiled, platform = run["pipeline_spec"]["pipeline_spec"], run["pipeline_spec"]["platform_spec"]
    container = compiled["deploymentSpec"]["executors"]["exec-step"]["container"]
    around = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-step"]
    amounts = container["resources"]
    mounts = around.get("pvcMount", [])
    user = around["securityContext"]
    made = {
        "name": "main",
        "image": container["image"],
        "env": container["env"],
        "resources": {
            "requests": {"cpu": amounts["resourceCpuRequest"], "memory": amounts["resourceMemoryRequest"]},
            "limits": {"memory": amounts["resourceMemoryLimit"]},
        },
        "imagePullPolicy": around["imagePullPolicy"],
        "securityContext": HARDENED | {"runAsNonRoot": True, "runAsUser": int(user["runAsUser"])},
        "volumeMounts": [{"name": one["constant"], "mountPath": one["mountPath"]} for one in mounts],
    }
    volumes = [{"name": one["constant"], "persistentVolumeClaim": {"claimName": one["constant"]}} for one in mounts]
    return {
        "metadata": {"name": name, "labels": around["podMetadata"]["labels"] | labels},
        "spec": {"restartPolicy": "Never", "containers": [made], "volumes": volumes},
    }


def promoted(run: dict, model: str = "ridge") -> Ending:
    """Return how the last step ends that found a better model."""
    given = run["runtime_config"]["parameters"]
    digest = spec_digest(parse_job(given["job"], "the parameter"))
    as_of = datetime.fromisoformat(given["as_of"]).replace(tzinfo=UTC)
    made = f"{as_of:%Y%m%dT%H%M%SZ}-{digest.removeprefix('sha256:')[:8]}"
    card = "sha256:" + "c" * 64
    outcome = RunOutcome(
        run=made,
        spec_digest=digest,
        conditions=tuple(
            OutcomeCondition(type=type_, status="True", reason=reason, message=f"{type_} by the double")
            for type_, reason in VERDICT.items()
        ),
        scorecard=ScorecardSummary(model=model, skill=0.07, coverage=0.9, digest=card, run=made, data=digest),
        champion=Champion(model=model, run=made, since=as_of, reason="BetterThanBaseline", digest=card),
    )
    return Ending(message=to_message(outcome).decode())


def driven(cluster: OperatedCluster, double: KubeflowDouble, package: Path, test: object) -> None:
    """Run a test in a namespace of its own, with the Pods where the job is."""

    async def inside(here: Site) -> None:
        await test(Steps(here, double, package, here.namespace))

    run(cluster, inside)


def test_a_run_in_kubeflow_makes_its_job_ready(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        async with here.operator(settings=steps.settings()):
            await here.apply()
            begun = await steps.begun()
            assert begun["namespace"] == here.namespace
            await steps.step(begun, "ingest", WELL)
            await steps.step(begun, "train", OUT_OF_MEMORY)
            await steps.step(begun, "train-again", WELL)
            steps.ends(begun, "SUCCEEDED")
            await steps.step(begun, "forecast", promoted(begun))
            await here.until_ready()
            status = await here.status()
            (summary,) = status["runs"]
            assert (summary["state"], summary["reason"], summary["name"]) == ("Succeeded", "", begun["display_name"])
            assert [one["model"] for one in status["champions"]] == ["ridge"]
            assert status["scorecard"]["skill"] == 0.07
            assert await here.condition("Promoted") == ("True", "BetterThanBaseline")
            await here.until_equal(SERVED_WITHOUT_A_JOB | {("Pod", "nobody"): 4}, here.children)

    driven(cluster, kubeflow, package, test)


def test_a_step_that_cannot_succeed_stalls_the_job(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        async with here.operator(settings=steps.settings()):
            await here.apply()
            begun = await steps.begun()
            steps.ends(begun, "FAILED")
            final = failure(1, "DataError", "sp500 has no column range_volatility.", retry=False)
            await steps.step(begun, "ingest", final)
            await here.until_equal(("True", "DataError"), lambda: here.condition("Stalled"))
            assert await here.condition("DataReady") == ("False", "DataError")
            assert len(kubeflow.runs) == 1

    driven(cluster, kubeflow, package, test)


def test_a_step_that_ran_out_of_memory_is_told_of_and_the_run_repeated(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        async with here.operator(settings=steps.settings()):
            await here.apply()
            first = await steps.begun()
            await steps.step(first, "ingest", WELL)
            steps.ends(first, "FAILED")
            await steps.step(first, "train", OUT_OF_MEMORY)
            await here.until_equal(("False", "OOMKilled"), lambda: here.condition("Ready"))
            second = await steps.begun(2)
            steps.ends(second, "SUCCEEDED")
            await steps.step(second, "forecast", promoted(second))
            await here.until_ready()
            tries = [(one["attempt"], one["state"], one["reason"]) for one in (await here.status())["runs"]]
            assert tries == [(2, "Succeeded", ""), (1, "Failed", "OOMKilled")]

    driven(cluster, kubeflow, package, test)


def test_pods_that_are_not_the_job_s_cannot_speak_for_it(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        foreign = await new_namespace(here.client)
        async with here.operator(settings=steps.settings()):
            await here.apply()
            begun = await steps.begun()
            # Of Pods of one second the last by name would be the newest.
            await steps.step(begun, "a-forecast", promoted(begun))
            lie = promoted(begun, model="liar")
            await steps.step(begun, "z-other-namespace", lie, namespace=foreign)
            await steps.step(begun, "z-other-job", lie, labels={"presage.dev/job-uid": "another"})
            await steps.step(begun, "z-other-run", lie, labels={"presage.dev/run": "job-00000000"})
            steps.ends(begun, "SUCCEEDED")
            await steps.touch("a-forecast")
            await here.until_ready()
            assert [one["model"] for one in (await here.status())["champions"]] == ["ridge"]

    driven(cluster, kubeflow, package, test)


def test_a_single_user_kubeflow_s_pods_speak_from_their_own_namespace(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        kubeflow.multi_user = False
        steps.namespace = await new_namespace(here.client)
        bucket = {"lake": {"s3": {"uri": "s3://presage/lakes"}}}
        async with here.operator(settings=steps.settings(namespace=steps.namespace) | bucket):
            await here.apply()
            begun = await steps.begun()
            lie = promoted(begun, model="liar")
            await steps.step(begun, "z-other-job", lie, labels={"presage.dev/job-namespace": "elsewhere"})
            steps.ends(begun, "SUCCEEDED")
            await steps.step(begun, "forecast", promoted(begun))
            await here.until_ready()
            assert [one["model"] for one in (await here.status())["champions"]] == ["ridge"]

    driven(cluster, kubeflow, package, test)


def test_a_job_whose_volume_is_out_of_reach_is_told_so(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        kubeflow.multi_user = False
        async with here.operator(settings=steps.settings(namespace="kubeflow")):
            await here.apply()
            await here.until_equal(("False", "OutOfReach"), lambda: here.condition("Ready"))
            assert kubeflow.runs == {}

    driven(cluster, kubeflow, package, test)


@pytest.mark.parametrize(
    ("answer", "reason"), [(503, "KubeflowUnavailable"), (403, "ApplyRefused")], ids=["it is down", "it refuses"]
)
def test_a_kubeflow_that_does_not_do_its_part_is_told_of(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path, answer: int, reason: str
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        kubeflow.answers[:] = [answer] * 1000
        async with here.operator(settings=steps.settings()):
            await here.apply()
            await here.until_equal(("True", reason), lambda: here.condition("Stalled"))
            await here.until_equal(("False", reason), lambda: here.condition("Ready"))
            kubeflow.answers.clear()
            await steps.begun()
            assert await here.condition("Stalled") == ("False", "Progressing")

    driven(cluster, kubeflow, package, test)


def test_an_operator_that_is_killed_amid_a_run_leaves_it_to_the_next(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        async with here.operator(settings=steps.settings()) as first:
            await here.apply()
            begun = await steps.begun()
            first.kill()
        await steps.step(begun, "forecast", promoted(begun))
        steps.ends(begun, "SUCCEEDED")
        async with here.operator(settings=steps.settings()):
            await here.until_ready()
            assert list(kubeflow.runs) == [begun["run_id"]]
            assert len((await here.status())["runs"]) == 1

    driven(cluster, kubeflow, package, test)


def test_a_run_whose_pods_are_gone_is_repeated(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        async with here.operator(settings=steps.settings()):
            await here.apply()
            begun = await steps.begun()
            # Long ago, by the double's clock.
            kubeflow.goes_on(begun["run_id"], "SUCCEEDED")
            await steps.step(begun, "grade", WELL)
            await steps.begun(2)
            tries = [(one["attempt"], one["trigger"], one["reason"]) for one in (await here.status())["runs"]]
            assert tries == [(2, "Retry", ""), (1, "Spec", "OutcomeLost")]

    driven(cluster, kubeflow, package, test)


@asynccontextmanager
async def operator_inside(steps: Steps, clock: list[datetime]) -> AsyncIterator[None]:
    """Run in this process what a leading operator runs, by a clock of the test's."""
    settings = Settings.model_validate(steps.settings() | {"namespaces": [steps.here.namespace], "workers": 2})
    async with ApiClient(steps.here.proxy.credentials()) as client, aiohttp.ClientSession() as session:
        pipelines = PipelineRuns(session, steps.double.url, load_pipeline(steps.package), settings)
        backends = Backends(pipelines="kubeflow", serving="deployment")
        operator = Operator(settings, clock=lambda: clock[0])
        controller = operator.make_controller(client, Capabilities(), backends, pipelines)
        working = asyncio.ensure_future(controller.run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait({working})


def test_a_scheduled_run_takes_the_place_of_the_one_before(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        clock = [datetime.now(UTC)]
        async with operator_inside(steps, clock):
            cadence = {"schedule": "* * * * *", "concurrencyPolicy": "Replace"}
            await here.apply(schedule={"train": cadence})
            first = await steps.begun()
            clock[0] += timedelta(minutes=2)
            await steps.step(first, "ingest", WELL)

            async def replaced() -> bool:
                return len(kubeflow.runs) == 1 and first["run_id"] not in kubeflow.runs

            await here.until(replaced)
            terminated = f"POST /apis/v2beta1/runs/{first['run_id']}:terminate"
            assert terminated in kubeflow.requests
            second = await steps.begun()
            assert "Schedule" in second["description"]
            # By the operator's clock, an outcome that is late would be lost.
            await steps.step(second, "forecast", promoted(second))
            steps.ends(second, "SUCCEEDED")
            await steps.touch("forecast")
            await here.until_ready()
            states = [(one["trigger"], one["state"]) for one in (await here.status())["runs"]]
            assert states == [("Schedule", "Succeeded"), ("Spec", "Cancelled")]

    driven(cluster, kubeflow, package, test)


def test_two_operators_at_once_make_one_run_and_one_experiment(
    cluster: OperatedCluster, kubeflow: KubeflowDouble, package: Path
) -> None:
    async def test(steps: Steps) -> None:
        here = steps.here
        # Without an election both work.
        async with here.operator(settings=steps.settings()), here.operator(settings=steps.settings()):
            await here.apply(target={**SPEC["target"], "horizon": 5})
            begun = await steps.begun()
            steps.ends(begun, "SUCCEEDED")
            await steps.step(begun, "forecast", promoted(begun))
            await here.until_ready()
        assert list(kubeflow.runs) == [begun["run_id"]]
        assert len(kubeflow.experiments) == 1

    driven(cluster, kubeflow, package, test)
