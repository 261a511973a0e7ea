"""How the operator fares with thousands of jobs, beside a plain kopf operator of the same duty.

    python benchmarks/operator_scale.py [--quick]

One API server (a real etcd and kube-apiserver) serves both, the peer first, each in a namespace of its own. What a
cluster would do with their children is done by the double in cluster_double.py, outside of the times that are measured.

- live, backlog: jobs a second from the first creation, or from the operator's start where the jobs were there before,
  until each job has its first child and its status; and CPU of the operator, until it is quiet again, for each job,
  less what it takes to start.
- first child: from the creation of one job, while nothing else happens, until a watch shows its child.
- served: CPU of the operator for each job from the end of its run until it is ready, the server's objects included.
- restart: writes on the API server after a restart with settled jobs until all is quiet; and how long the children of
  jobs that are created meanwhile take, from the moment the operator says that it has started.
- memory: of the restarted operator with all jobs settled, less that of one without jobs, for each job.
- touch: CPU of the operator for a changed annotation of a settled job.

Beyond 1,000 jobs the peer's are not brought to their end, which takes it a quarter of an hour: what comes after that is
then told of ours alone. CPU is the robust measure on a busy machine. Exit code 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from cluster_double import ClusterDouble
from operator_probes import Contestant, Metrics, Process

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from control.apiserver import ControlPlane, control_plane  # noqa: E402  # found by the line above

from presage.spec.crd import custom_resource_definition  # noqa: E402
from presage_operator.client import ApiClient, Credentials, Resource  # noqa: E402
from presage_operator.resources import PREDICTION_JOBS  # noqa: E402

EXAMPLE = ROOT / "manifests" / "examples" / "quickstart.yaml"
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
WRITERS = 16
SINGLES = 100
TOUCHES = 200
TOUCH_SECONDS = 0.02
QUIET_SECONDS = 60.0
NEWCOMERS = 20
NEWCOMER_SECONDS = 0.25
PEER_SETTLES = 1000

FASTER = 3.0
FIRST_CHILD_MILLISECONDS = 250.0
NEWCOMER_LIMIT_SECONDS = 1.0
MEMORY_KILOBYTES = 40.0
FLAT = 1.25


@dataclass(frozen=True)
class Figures:
    """What was measured of one operator; CPU in milliseconds, memory in kilobytes, both a job or a touch.

    What needs all jobs at their end is NaN, and `newcomers` empty, where they were not brought there.
    """

    live_rate: float
    live_cpu: float
    backlog_rate: float
    backlog_cpu: float
    first_child: tuple[float, ...]
    touch_few: float
    served_cpu: float = math.nan
    restart_writes: float = math.nan
    restart_cpu: float = math.nan
    newcomers: tuple[float, ...] = ()
    rss: float = math.nan
    pss: float = math.nan
    touch_many: float = math.nan


PEER = Contestant("plain kopf", "peer", (sys.executable, str(Path(__file__).with_name("plain_kopf_operator.py"))))
OURS = Contestant(
    "presage",
    "ours",
    (str(Path(sys.executable).with_name("presage")), "operator", "--health-port", "0", "--namespace"),
)


class Bench:
    """One contestant's way through all measurements."""

    def __init__(self, contestant: Contestant, api: ApiClient, metrics: Metrics, folder: Path) -> None:
        self._contestant = contestant
        self._api = api
        self._metrics = metrics
        self._folder = folder
        self._double = ClusterDouble(api, contestant.namespace)
        self._made: list[str] = []
        self._job: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        self._log = 0
        self._start_cpu = 0.0
        self._process: Process

    async def run(self, jobs: int) -> Figures:
        """Measure everything with so many jobs."""
        few = jobs // 10
        name = self._contestant.namespace
        await self._api.create(NAMESPACES, None, {"metadata": {"name": name}})
        async with self._double.watching():
            try:
                return await self._measured(few, jobs)
            finally:
                self._process.stop()

    async def _measured(self, few: int, jobs: int) -> Figures:
        self._start()
        await self._quiet()
        rss_before, pss_before = self._process.memory()
        self._start_cpu = self._process.cpu()
        live_rate, live_cpu = await self._live(few)
        await self._settled()
        touch_few = await self._touched()
        self._process.stop()
        await self._create(jobs - few)
        backlog_rate, backlog_cpu = await self._backlog(jobs - few)
        first_child = await self._singles()
        before = Figures(live_rate, live_cpu, backlog_rate, backlog_cpu, first_child, touch_few)
        if self._contestant is PEER and jobs > PEER_SETTLES:
            return before
        cpu, served = self._process.cpu(), len(self._double.served)
        await self._settled()
        served_cpu = 1000 * (self._process.cpu() - cpu) / (len(self._made) - served)
        self._process.stop()
        writes = await self._metrics.writes()
        self._start()
        await self._quiet()
        restart_writes = await self._metrics.writes() - writes
        restart_cpu = self._process.cpu()
        self._tell(f"writes after a restart: {dict(restart_writes)}")
        rss, pss = self._process.memory()
        touch_many = await self._touched()
        self._process.stop()
        newcomers = await self._newcomers()
        return replace(
            before,
            served_cpu=served_cpu,
            restart_writes=restart_writes.total(),
            restart_cpu=restart_cpu,
            newcomers=newcomers,
            rss=(rss - rss_before) / (jobs + SINGLES),
            pss=(pss - pss_before) / (jobs + SINGLES),
            touch_many=touch_many,
        )

    async def _live(self, count: int) -> tuple[float, float]:
        cpu, started = self._process.cpu(), time.monotonic()
        await self._create(count)
        ended = await self._until_told()
        await self._quiet()
        self._tell(f"{count} jobs, created while it ran, have a child and a status")
        return count / (ended - started), 1000 * (self._process.cpu() - cpu) / count

    async def _backlog(self, count: int) -> tuple[float, float]:
        self._start()
        ended = await self._until_told()
        seconds = ended - self._process.started
        await self._quiet()
        self._tell(f"{count} jobs, created before it started, have a child and a status")
        return count / seconds, 1000 * (self._process.cpu() - self._start_cpu) / count

    async def _singles(self) -> tuple[float, ...]:
        waits = []
        for _ in range(SINGLES):
            started = time.monotonic()
            (name,) = await self._create(1)
            await self._until_told()
            waits.append(1000 * (self._double.children[name] - started))
        self._tell("first children timed")
        return tuple(sorted(waits))

    async def _newcomers(self) -> tuple[float, ...]:
        self._start()
        await self._process.until_started()
        created: dict[str, float] = {}
        for _ in range(NEWCOMERS):
            started = time.monotonic()
            (name,) = await self._create(1)
            created[name] = started
            await asyncio.sleep(max(0.0, started + NEWCOMER_SECONDS - time.monotonic()))
        await self._until_told()
        self._tell("newcomers timed")
        return tuple(sorted(self._double.children[name] - started for name, started in created.items()))

    async def _settled(self) -> None:
        await self._double.settle()
        await self._quiet()
        self._tell(f"{len(self._double.served)} jobs are settled")

    async def _touched(self) -> float:
        cpu, step = self._process.cpu(), max(1, len(self._made) // TOUCHES)
        for name in (self._made[::step] * TOUCHES)[:TOUCHES]:
            body: dict[str, Any] = {"metadata": {"annotations": {"example.org/touched": str(time.monotonic())}}}
            await self._api.patch(PREDICTION_JOBS, self._contestant.namespace, name, body)
            await asyncio.sleep(TOUCH_SECONDS)
        await self._quiet()
        return 1000 * (self._process.cpu() - cpu) / TOUCHES

    async def _create(self, count: int) -> list[str]:
        places = asyncio.Semaphore(WRITERS)
        names = [f"job-{len(self._made) + number}" for number in range(count)]
        self._made += names

        async def one(name: str) -> None:
            async with places:
                await self._api.create(
                    PREDICTION_JOBS, self._contestant.namespace, self._job | {"metadata": {"name": name}}
                )

        await asyncio.gather(*(one(name) for name in names))
        return names

    async def _until_told(self) -> float:
        """Wait until every job has a child and a status; return when the last of them came."""
        double, count = self._double, len(self._made)
        await double.until(lambda: len(double.children) == len(double.statuses) == count, "a child or a status")
        return max(*double.children.values(), *double.statuses.values())

    async def _quiet(self) -> None:
        """Wait until it rests for three seconds: no writes, hardly any CPU. One that never rests is given a minute."""
        deadline = time.monotonic() + QUIET_SECONDS
        calm, before, cpu = 0, await self._metrics.writes(), self._process.cpu()
        while calm < 3 and time.monotonic() < deadline:
            await asyncio.sleep(1)
            writes, now = await self._metrics.writes(), self._process.cpu()
            calm = calm + 1 if writes == before and now - cpu < 0.05 else 0
            before, cpu = writes, now

    def _start(self) -> None:
        self._log += 1
        log = self._folder / f"{self._contestant.namespace}-{self._log}.log"
        self._process = Process(self._contestant, self._folder / "kubeconfig", log)

    def _tell(self, what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self._contestant.name}: {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Line:
    """A line of the table: both figures, how much better ours is, and whether the bound is kept, where there is one."""

    name: str
    ours: float
    peer: float
    bound: str = ""
    kept: bool = True
    is_rate: bool = False

    def __str__(self) -> str:
        least, most = (self.peer, self.ours) if self.is_rate else (self.ours, self.peer)
        ratio = f"{most / least:.2f}" if least > 0 and not math.isnan(most) else ""
        verdict = f"{self.bound}: {'kept' if self.kept else 'BROKEN'}" if self.bound else ""
        peer = "not taken" if math.isnan(self.peer) else f"{self.peer:.2f}"
        return f"{self.name:<46}{self.ours:>10.2f}{peer:>12}{ratio:>9}   {verdict}".rstrip()


def lines(jobs: int, ours: Figures, peer: Figures) -> list[Line]:
    """Return the table's lines."""
    faster = ours.backlog_rate / peer.backlog_rate
    flat = ours.touch_many / ours.touch_few
    p99 = _quantile(ours.first_child, 0.99)
    few = jobs // 10
    return [
        Line("backlog, jobs/s", ours.backlog_rate, peer.backlog_rate, f"at least {FASTER:g}x", faster >= FASTER, True),
        Line("backlog, CPU ms a job", ours.backlog_cpu, peer.backlog_cpu),
        Line(f"live, {few} jobs, jobs/s", ours.live_rate, peer.live_rate, is_rate=True),
        Line(f"live, {few} jobs, CPU ms a job", ours.live_cpu, peer.live_cpu),
        Line("run's end to ready, CPU ms a job", ours.served_cpu, peer.served_cpu),
        Line("first child, p50 ms", _quantile(ours.first_child, 0.5), _quantile(peer.first_child, 0.5)),
        Line(
            "first child, p99 ms",
            p99,
            _quantile(peer.first_child, 0.99),
            f"at most {FIRST_CHILD_MILLISECONDS:g}",
            p99 <= FIRST_CHILD_MILLISECONDS,
        ),
        Line("restart, writes", ours.restart_writes, peer.restart_writes, "none", ours.restart_writes == 0),
        Line("restart, CPU s", ours.restart_cpu, peer.restart_cpu),
        Line("restart, newcomer's child, p50 s", _quantile(ours.newcomers, 0.5), _quantile(peer.newcomers, 0.5)),
        Line(
            "restart, newcomer's child, longest s",
            ours.newcomers[-1],
            _quantile(peer.newcomers, 1.0),
            f"at most {NEWCOMER_LIMIT_SECONDS:g}",
            ours.newcomers[-1] <= NEWCOMER_LIMIT_SECONDS,
        ),
        Line("memory, RSS KB a job", ours.rss, peer.rss, f"at most {MEMORY_KILOBYTES:g}", ours.rss <= MEMORY_KILOBYTES),
        Line("memory, PSS KB a job", ours.pss, peer.pss, f"at most {MEMORY_KILOBYTES:g}", ours.pss <= MEMORY_KILOBYTES),
        Line(f"touch among {few} jobs, CPU ms", ours.touch_few, peer.touch_few),
        Line(f"touch among {jobs} jobs, CPU ms", ours.touch_many, peer.touch_many),
        Line("touch, many / few", flat, peer.touch_many / peer.touch_few, f"at most {FLAT:g}", flat <= FLAT),
    ]


async def measure(plane: ControlPlane, jobs: int, folder: Path) -> dict[str, Figures]:
    """Measure both operators on one API server."""
    (folder / "kubeconfig").write_text(plane.kubeconfig(), encoding="utf-8")
    tls = ssl.create_default_context(cafile=plane.certificate)
    authorization = f"Bearer {plane.token}"
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiClient(Credentials(plane.url, tls, authorization)))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": authorization}, connector=aiohttp.TCPConnector(ssl=tls))
        )
        await api.create(DEFINITIONS, None, custom_resource_definition())
        while not await api.serves(PREDICTION_JOBS):
            await asyncio.sleep(0.1)
        await api.list(PREDICTION_JOBS, "default")
        metrics = Metrics(session, plane.url)
        return {one.name: await Bench(one, api, metrics, folder).run(jobs) for one in (PEER, OURS)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5000, help="PredictionJobs; a tenth of them come first")
    parser.add_argument("--quick", action="store_const", dest="jobs", const=500, help="500 of them")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with control_plane() as plane, tempfile.TemporaryDirectory(prefix="presage-bench-") as folder:
        figures = asyncio.run(measure(plane, given.jobs, Path(folder)))
    found = lines(given.jobs, figures[OURS.name], figures[PEER.name])
    print(f"{f'{given.jobs} jobs':<46}{OURS.name:>10}{PEER.name:>12}{'ratio':>9}")
    for line in found:
        print(line)
    return 0 if all(line.kept for line in found) else 1


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan


if __name__ == "__main__":
    sys.exit(main())
