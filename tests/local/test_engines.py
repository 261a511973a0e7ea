"""Tasks on Spark and Dask: the same results and scorecard, lost workers whose tasks others do, and clear errors."""

from __future__ import annotations

import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml
from commands import ENVIRONMENT, EXAMPLES, presage, start
from conftest import lacking
from servers.ports import free_port, wait_until

from presage.engine.cluster import ClusterEngine
from presage.errors import EngineUnavailableError, JobError, WorkerLostError
from presage.spec.load import parse_job
from presage.spec.operations import Engine

WAIT_SECONDS = 60
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
ON_SPARK = """
import sys
from presage.engine import cluster
from presage.engine.cluster import ClusterEngine
from presage.errors import WorkerLostError

cluster._WORKER_SECONDS = 2
with ClusterEngine("spark", 2, sys.argv[1] or None) as engine:
    for tasks in sys.argv[2:]:
        try:
            print(engine.map(eval, tasks.splitlines()))
        except WorkerLostError as error:
            print(error.what)
"""


@pytest.fixture(scope="module")
def java() -> Iterator[None]:
    """What Spark runs on; it is told not to compile what it will run for seconds only."""
    if shutil.which("java") is None:
        lacking("no Java runtime for Spark")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_SUBMIT_OPTS", "SPARK_DAEMON_JAVA_OPTS"):
            patch.setenv(name, SHORT_LIVED)
            patch.setitem(ENVIRONMENT, name, SHORT_LIVED)
        yield


@contextmanager
def dask_scheduler() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a scheduler without workers; give its address and its process."""
    port = str(free_port())
    words = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    with running([sys.executable, "-m", "distributed.cli.dask_scheduler", *words]) as process:
        yield f"tcp://127.0.0.1:{port}", process


@contextmanager
def dask_workers(address: str, count: int, *options: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run workers of a scheduler, each a process as on machines of their own, that are there already."""
    from distributed import Client

    words = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    with ExitStack() as stack:
        processes = [stack.enter_context(running([*words, *options])) for _ in range(count)]
        with Client(address, timeout=WAIT_SECONDS) as client:
            client.wait_for_workers(count, timeout=WAIT_SECONDS)
        yield processes


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, silent and with a thread, until the block ends."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def kills_its_worker(once: Path | None = None) -> str:
    """Return a task, as an expression, that ends its worker at once; given a file, in one attempt only."""
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    if once is None:
        return kill
    return f"(file := __import__('pathlib').Path({str(once)!r})).exists() or (file.touch(), {kill})"


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with dask_scheduler() as (address, _), dask_workers(address, 2):
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


def test_the_tasks_of_a_lost_worker_are_done_by_another_and_without_any_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presage.engine.cluster._WORKER_SECONDS", 2)
    with (
        dask_scheduler() as (address, _),
        dask_workers(address, 2, "--no-nanny"),
        ClusterEngine("dask", 2, address) as engine,
    ):
        assert engine.map(eval, [kills_its_worker(once=tmp_path / "was"), "1 + 1", "2 + 2"]) == (True, 2, 4)
        with pytest.raises(WorkerLostError, match=f"dask at {address} has had no worker for 2 seconds") as caught:
            engine.map(eval, [kills_its_worker(), "1 + 1"])
    assert caught.value.retry


def test_a_cluster_without_workers_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presage.engine.cluster._WORKER_SECONDS", 2)
    with dask_scheduler() as (address, _):
        with (
            ClusterEngine("dask", 2, address) as engine,
            pytest.raises(WorkerLostError, match="has had no worker for 2 seconds"),
        ):
            engine.map(abs, [1, -2])
        with dask_workers(address, 1), ClusterEngine("dask", 2, address) as engine:
            assert engine.map(abs, [1, -2]) == (1, 2)


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_run_without_a_traceback(tmp_path: Path) -> None:
    from distributed import Client

    with dask_scheduler() as (address, scheduler), dask_workers(address, 1, "--no-nanny") as (worker,):
        worker.send_signal(signal.SIGSTOP)  # so that the run waits for it
        file = job_file(tmp_path, Engine(type="dask", address=address))
        run = start("run", file, "--workdir", tmp_path / "work", "--as-of", "2019-01-01")
        with Client(address, timeout=WAIT_SECONDS) as client:
            while not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
                assert run.poll() is None, run.communicate()
        scheduler.kill()
        _, err = run.communicate(timeout=WAIT_SECONDS)
        worker.send_signal(signal.SIGCONT)
    assert run.returncode == 7, err
    assert f"dask at {address} gave up on a task" in err
    assert "Traceback" not in err


def on_spark(address: str, *maps: list[str]) -> tuple[list[str], str]:
    """Map lists of expressions on Spark in a process of its own; return what came of each, and what is on stderr."""
    words = [sys.executable, "-c", ON_SPARK, address, *("\n".join(tasks) for tasks in maps)]
    environment = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True, env=environment)
    return done.stdout.splitlines(), done.stderr


@pytest.mark.slow
def test_the_tasks_of_a_lost_process_of_spark_are_done_by_another(tmp_path: Path, java: None) -> None:
    was_killed = [kills_its_worker(once=tmp_path / "was"), "1 + 1", "2 + 2"]
    (done, lost), err = on_spark("", was_killed, [kills_its_worker(), "1 + 1"])
    assert done == "(True, 2, 4)"
    assert lost.startswith("spark gave up on a task: ")
    assert "Python worker exited unexpectedly" in lost
    assert "Traceback" not in err
    assert "\tat " not in err  # Java's word for it


@pytest.mark.slow
def test_a_master_of_spark_without_workers_is_left(java: None) -> None:
    import pyspark

    port = str(free_port())
    master = [str(Path(pyspark.__file__).parent / "bin" / "spark-class"), "org.apache.spark.deploy.master.Master"]
    with running([*master, "--host", "127.0.0.1", "--port", port, "--webui-port", "0"]) as process:
        wait_until(lambda: answers(port), process, "")
        address = f"spark://127.0.0.1:{port}"
        (lost,), err = on_spark(address, ["1", "2"])
    assert lost == f"spark at {address} has had no worker for 2 seconds."
    assert "Traceback" not in err


def answers(port: str) -> bool:
    """Return whether something listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def job_file(folder: Path, engine: Engine) -> Path:
    """Write a job that an engine runs."""
    job = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    job["spec"]["models"] = [{"name": "ridge"}, {"name": "theta"}, {"name": "mean_combination"}]
    job["spec"]["evaluation"] = {"folds": 3}
    job["spec"]["engine"] = engine.model_dump(mode="json", by_alias=True, exclude_none=True)
    file = folder / f"{engine.type}.yaml"
    file.write_text(yaml.safe_dump(job))
    return file


def digest(workdir: Path, folder: Path, engine: Engine) -> str:
    file = job_file(folder, engine)
    return str(presage("run", file, "--workdir", workdir, "--as-of", "2019-01-01", "-o", "json").json()["digest"])


def test_dask_spark_and_this_machine_find_the_same_scorecard(scheduler: str, tmp_path: Path, java: None) -> None:
    engines = [Engine(), Engine(type="dask", address=scheduler), Engine(type="spark", workers=2)]
    found = {digest(tmp_path / engine.type, tmp_path, engine) for engine in engines}
    assert len(found) == 1
