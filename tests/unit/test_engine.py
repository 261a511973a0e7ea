from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from model_frames import frame_of
from threadpoolctl import threadpool_info

from presage.engine import LocalEngine, engine_for
from presage.errors import DataError, WorkerLostError
from presage.evaluation.folds import make_folds
from presage.frame import Panel
from presage.spec.evaluation import Evaluation
from presage.spec.operations import Engine as EngineSettings
from presage.tasks import single_threaded

# Tasks run functions of modules that a worker can import, so that these tests use the standard library's.
both = pytest.mark.parametrize("workers", [1, 2])
LONG = 600.0


@both
def test_results_come_in_the_order_of_the_tasks(workers):
    sizes = [300, 1, 200, 2, 3]
    results = LocalEngine(workers).map(np.linalg.inv, [np.eye(size) * 2 for size in sizes])
    assert [len(result) for result in results] == sizes


@both
def test_no_tasks_give_no_results(workers):
    assert LocalEngine(workers).map(abs, []) == ()


@both
def test_progress_counts_every_task(workers):
    seen: list[tuple[int, int]] = []
    LocalEngine(workers, lambda done, total: seen.append((done, total))).map(abs, range(4))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_one_worker_and_two_give_the_same_bytes():
    random = np.random.default_rng(3)
    tables = [random.normal(size=(120, 40)) for _ in range(4)]
    here, apart = (LocalEngine(workers).map(np.linalg.svd, tables) for workers in (1, 2))
    assert [part.tobytes() for found in here for part in found] == [part.tobytes() for found in apart for part in found]


POOLS = "[__import__('numpy'), __import__('threadpoolctl').threadpool_info()][1]"


@both
def test_a_task_computes_on_one_thread(workers):
    for pools in LocalEngine(workers).map(eval, [POOLS, POOLS]):
        assert pools
        assert {pool["num_threads"] for pool in pools} == {1}


@both
def test_libraries_that_load_inside_a_task_find_one_thread_and_nothing_stays_behind(workers, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert LocalEngine(workers).map(os.getenv, ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]) == ("1", "1")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_a_block_is_single_threaded_and_what_was_before_comes_back():
    before = [pool["num_threads"] for pool in threadpool_info()]
    with single_threaded():
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_workers_are_other_processes_and_end_with_the_work():
    processes = LocalEngine(2).map(operator.call, [os.getpid] * 6)
    assert os.getpid() not in processes
    assert 1 <= len(set(processes)) <= 2
    assert active_children() == []
    assert LocalEngine(1).map(operator.call, [os.getpid]) == (os.getpid(),)


@both
def test_what_a_task_raises_is_raised_as_it_is(workers):
    with pytest.raises(ValueError, match="invalid literal for int\\(\\) with base 10: 'two'"):
        LocalEngine(workers).map(int, ["1", "two", "3"])


def test_a_failing_task_stops_the_others():
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        LocalEngine(2).map(time.sleep, [LONG, "a moment", LONG])
    assert active_children() == []


@both
def test_our_own_errors_keep_their_parts(workers):
    panels = [Panel.of([frame_of(np.arange(1.0, 9.0), horizon=1)])] * 2
    with pytest.raises(DataError) as caught:
        LocalEngine(workers).map(partial(make_folds, evaluation=Evaluation()), panels)
    assert caught.value.what.startswith("Series 'sp500' has 7 usable rows")
    assert caught.value.remedy.startswith("Ask for fewer folds")


def test_an_unexpected_error_tells_where_in_the_worker_it_came_from():
    with pytest.raises(ZeroDivisionError) as caught:
        LocalEngine(2).map(partial(operator.floordiv, 1), [1, 0])
    assert "In a worker process:" in caught.value.__notes__[0]


def test_an_error_that_cannot_travel_is_told_in_words():
    with pytest.raises(RuntimeError, match=r"^HeaderError: only here$"):
        LocalEngine(2).map(operator.call, [os.getpid, partial(exec, UNTRAVELLED)])


UNTRAVELLED = """
class HeaderError(Exception):
    def __init__(self, one, two):
        super().__init__("only here")
raise HeaderError(1, 2)
"""


def test_a_result_that_cannot_travel_is_an_error():
    with pytest.raises(Exception, match="pickle"):
        LocalEngine(2).map(operator.call, [os.getpid, partial(eval, "lambda: 0")])
    assert active_children() == []


def test_a_worker_that_dies_is_reported_with_its_ending():
    with pytest.raises(WorkerLostError, match=r"ended with exit code 3 before it had finished task number \d"):
        LocalEngine(2).map(os._exit, [3, 3])
    with pytest.raises(WorkerLostError, match="ended with signal SIGKILL") as caught:
        LocalEngine(2).map(signal.raise_signal, [signal.SIGKILL, signal.SIGKILL])
    assert "spec.engine.workers" in caught.value.remedy
    assert active_children() == []


def test_what_the_caller_raises_in_between_ends_the_workers():
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(2, interrupt).map(time.sleep, [0.0, LONG, LONG])
    assert active_children() == []


SCRIPT = """
import os, time
from presage.engine import LocalEngine

if __name__ == "__main__":
    print("started", flush=True)
    LocalEngine(2, lambda done, total: print("working", flush=True)).map(time.sleep, [0.0, 600.0, 600.0, 600.0])
"""


def working_script(tmp_path: Path) -> subprocess.Popen[str]:
    """Start a process group whose two workers are at work."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    assert process.stdout.readline() == "working\n"
    return process


def alive(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state not in "ZX":
            members.append(int(status.parent.name))
    return members


def wait_until_empty(group: int) -> None:
    deadline = time.monotonic() + 30
    while alive(group):
        assert time.monotonic() < deadline, f"still alive: {alive(group)}"
        time.sleep(0.05)


def test_ctrl_c_ends_the_workers_quietly_and_leaves_no_orphan(tmp_path):
    process = working_script(tmp_path)
    assert len(alive(process.pid)) >= 3
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert errors.count("KeyboardInterrupt") == 1
    assert errors.count("Traceback") == 1
    wait_until_empty(process.pid)


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path):
    process = working_script(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    wait_until_empty(process.pid)


def test_a_job_says_how_many_work():
    seen: list[int] = []
    with engine_for(EngineSettings(workers=2), lambda done, total: seen.append(total)) as engine:
        assert os.getpid() not in engine.map(operator.call, [os.getpid] * 3)
    assert seen == [3, 3, 3]
