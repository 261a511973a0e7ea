"""A rollback that `kubectl presage` asks for: the operator runs it, and the server follows the champion."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import commands
import pytest
import yaml
from commands import Ended
from control.operator_site import OperatedCluster, Site, run, started_cluster
from doubles.kubelet import OUT_OF_MEMORY, Ending, failure

from presage.spec.outcome import RunOutcome, to_message
from presage.spec.status import Champion
from presage_operator import names

pytestmark = pytest.mark.control

cluster = pytest.fixture(started_cluster, scope="module")
WORDS = "too narrow: $(AWS_SECRET_ACCESS_KEY)"


async def plugin(here: Site, folder: Path, *words: str, code: int = 0) -> Ended:
    """Run the plug-in before the API server, in the namespace of a site."""
    kubeconfig = folder / "kubeconfig"
    content = yaml.safe_load(here.cluster.plane.kubeconfig())
    content["contexts"][0]["context"]["namespace"] = here.namespace
    kubeconfig.write_text(json.dumps(content))
    return await asyncio.to_thread(commands.plugin, *words, code=code, KUBECONFIG=str(kubeconfig), COLUMNS="80")


async def two_champions(here: Site) -> list[dict]:
    """Make a job whose second training took over from the first; return the champions, the newest first."""
    await here.apply()
    await here.until_ready()
    await here.change(seed=2)
    await here.until_ready()

    async def two() -> bool:
        return len((await here.status())["champions"]) == 2

    await here.until(two)
    return (await here.status())["champions"]


def brought_back(champion: dict) -> Ending:
    """How the Pod of a rollback to a champion ends."""
    told = {"since": datetime.now(UTC), "reason": "RolledBack", "message": WORDS, "by": "admin", "promoted": True}
    back = Champion.model_validate(champion).model_copy(update=told)
    return Ending(message=to_message(RunOutcome(run=back.run, champion=back)).decode())


async def rollbacks(here: Site) -> list[dict]:
    """The rollbacks that the status tells of, the newest first."""
    return [one for one in (await here.status())["runs"] if one["cadence"] == "Rollback"]


async def served_run(here: Site) -> str:
    (deployment,) = await here.objects("Deployment")
    return deployment["spec"]["template"]["metadata"]["annotations"][names.RUN_LABEL]


def test_a_rollback_is_run_once_and_its_champion_is_served(cluster: OperatedCluster, tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            second, first = await two_champions(here)
            assert await served_run(here) == second["run"]
            # The first Pod is lost, the next one does it.
            here.kubelet.endings[here.namespace, "job"] = [OUT_OF_MEMORY, brought_back(first)]
            shown = await plugin(here, tmp_path, "rollback", "job", "--reason", WORDS, "--wait")
            assert f"run {first['run']}" in shown.out
            await here.until_equal(first["run"], lambda: served_run(here))
            await here.until_equal(("True", "RolledBack"), lambda: here.condition("Ready"))
            (ended,) = await rollbacks(here)
            made = next(job for job in await here.objects("Job") if job["metadata"]["name"] == ended["name"])
            (container,) = made["spec"]["template"]["spec"]["containers"]
            assert container["args"][0] == "rollback"
            assert container["args"][-3:] == [
                "--reason=too narrow: $$(AWS_SECRET_ACCESS_KEY)",
                "--by=admin",
                f"--from={second['run']}",
            ]
        status = await here.status()
        assert [one["run"] for one in status["champions"]] == [first["run"], second["run"], first["run"]]
        assert [status["champions"][0][field] for field in ("reason", "message", "by")] == [
            "RolledBack",
            WORDS,
            "admin",
        ]
        history = await plugin(here, tmp_path, "history", "job")
        assert f"RolledBack by admin: {WORDS}" in history.out
        # Another operator finds that it was done; a new training serves what it finds.
        async with here.operator():
            await here.change(seed=3)
            await here.until_ready()
            await here.until_equal(4, lambda: _length(here, "champions"))
            assert await rollbacks(here) == [ended]

    run(cluster, test)


def test_a_rollback_that_fails_is_told_and_the_job_stays_ready(cluster: OperatedCluster, tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        nothing = failure(2, "JobError", "there is nothing to roll back to.", retry=False)
        async with here.operator():
            await here.apply()
            await here.until_ready()
            before = await here.status()
            here.kubelet.endings[here.namespace, "job"] = [nothing]
            said = await plugin(here, tmp_path, "rollback", "job", "--reason", "bad", "--wait", code=1)
            assert "JobError: there is nothing to roll back to." in said.err
            await here.until_equal("Serving", lambda: _phase(here))
            after = await here.status()
            assert after["conditions"] == before["conditions"]
            assert after["champions"] == before["champions"]
            (told,) = await rollbacks(here)
            assert (told["state"], told["reason"], told["trigger"]) == ("Failed", "JobError", "Request")

    run(cluster, test)


def test_a_rollback_that_an_annotation_asks_for_waits_for_the_training_under_way(
    cluster: OperatedCluster,
) -> None:
    async def test(here: Site) -> None:
        async with here.operator():
            second, first = await two_champions(here)
            here.kubelet.held.add((here.namespace, "job"))
            await here.annotate(names.TRAIN_REQUESTED_AT, "again")
            await here.until_equal("Training", lambda: _phase(here))
            await here.annotate(names.ROLLBACK_REQUESTED_AT, "now")
            await here.until_equal({"train": "again"}, lambda: _handled(here))
            assert await rollbacks(here) == []
        # It is obeyed by the operator that comes next, too.
        async with here.operator():
            here.end_run()
            await here.until_equal({"train": "again", "rollback": "now"}, lambda: _handled(here))
            await here.until_equal("Succeeded", lambda: _newest_rollback(here))
            (made,) = [job for job in await here.objects("Job") if _kind(job) == "Rollback"]
            (container,) = made["spec"]["template"]["spec"]["containers"]
            third = (await here.status())["champions"]
            assert container["args"][-3:-1] == ["--reason=asked for without a reason", "--by=an annotation"]
            assert container["args"][-1] in {f"--from={one['run']}" for one in third}
            assert container["args"][-1] not in {f"--from={one['run']}" for one in (second, first)}

    run(cluster, test)


async def _length(here: Site, field: str) -> int:
    return len((await here.status())[field])


async def _phase(here: Site) -> str:
    return (await here.status())["phase"]


async def _handled(here: Site) -> dict:
    return (await here.status()).get("handledRequests", {})


async def _newest_rollback(here: Site) -> str:
    told = await rollbacks(here)
    return told[0]["state"] if told else ""


def _kind(job: dict) -> str:
    return job["metadata"]["labels"][names.CADENCE_LABEL]
