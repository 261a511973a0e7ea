"""Tasks on Spark and Dask: the same results, the same scorecard, and clear errors."""

from __future__ import annotations

import operator
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml
from commands import EXAMPLES, presage
from conftest import lacking
from servers.ports import free_port

from presage.engine import ClusterEngine
from presage.errors import EngineUnavailableError, JobError
from presage.spec.load import parse_job
from presage.spec.operations import Engine

WAIT_SECONDS = 60


@contextmanager
def dask_cluster() -> Iterator[str]:
    """Start a scheduler and two workers, each a process as on machines of their own; stop them afterwards."""
    address = f"tcp://127.0.0.1:{free_port()}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:

        def start(*words: str) -> None:
            command = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
            process = subprocess.Popen(command, **quiet, env=os.environ | {"OMP_NUM_THREADS": "1"})
            stack.callback(process.wait, WAIT_SECONDS)
            stack.callback(process.terminate)

        start("dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard")
        for _ in range(2):
            start("dask_worker", address, "--nthreads", "1", "--no-dashboard")
        from distributed import Client

        with Client(address, timeout=WAIT_SECONDS) as client:
            client.wait_for_workers(2, timeout=WAIT_SECONDS)
        yield address


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with dask_cluster() as address:
        yield address


@pytest.fixture(scope="module")
def engine(scheduler: str) -> Iterator[ClusterEngine]:
    with ClusterEngine("dask", 2, scheduler) as made:
        yield made


def test_results_come_in_the_order_of_the_tasks_from_other_processes(engine: ClusterEngine) -> None:
    assert engine.map(abs, range(-9, 0)) == tuple(range(9, 0, -1))
    assert engine.map(abs, []) == ()
    assert os.getpid() not in engine.map(operator.call, [os.getpid] * 4)


def test_every_task_has_a_single_thread(engine: ClusterEngine) -> None:
    assert engine.map(os.getenv, ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]) == ("1", "1")


def test_a_task_s_own_error_is_raised_as_it_is(engine: ClusterEngine) -> None:
    with pytest.raises(JobError) as caught:
        engine.map(partial(parse_job, where="job.yaml"), ["{}", "kind: PredictionJob"])
    assert caught.value.problems
    with pytest.raises(ZeroDivisionError):
        engine.map(partial(operator.floordiv, 1), [1, 0])


def test_a_scheduler_that_does_not_answer_is_told_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presage.engine.cluster._CONNECT_SECONDS", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    with ClusterEngine("dask", 2, address) as engine, pytest.raises(EngineUnavailableError, match=address):
        engine.map(abs, [1, 2])


def digest(workdir: Path, folder: Path, engine: Engine) -> str:
    job = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    job["spec"]["models"] = [{"name": "ridge"}, {"name": "theta"}, {"name": "mean_combination"}]
    job["spec"]["evaluation"] = {"folds": 3}
    job["spec"]["engine"] = engine.model_dump(mode="json", by_alias=True, exclude_none=True)
    file = folder / f"{engine.type}.yaml"
    file.write_text(yaml.safe_dump(job))
    return str(presage("run", file, "--workdir", workdir, "--as-of", "2019-01-01", "-o", "json").json()["digest"])


def test_dask_spark_and_this_machine_find_the_same_scorecard(scheduler: str, tmp_path: Path) -> None:
    if shutil.which("java") is None:
        lacking("no Java runtime for Spark")
    engines = [Engine(), Engine(type="dask", address=scheduler), Engine(type="spark", workers=2)]
    found = {digest(tmp_path / engine.type, tmp_path, engine) for engine in engines}
    assert len(found) == 1
