"""The engine that runs tasks in local processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic

from presage.engine.answer import Answer, answer, portable, unpacked
from presage.errors import WorkerLostError
from presage.tasks import Found, Given, single_threaded, single_threaded_environment

Progress = Callable[[int, int], None]


class LocalEngine:
    """Runs tasks in this process, or in a few that it starts and ends.

    Processes are spawned, never forked: a fork copies the locks of the numeric libraries' threads, and hangs on them.

    Args:
        workers: Tasks at a time, at least 1; with 1 they run in this process.
        on_progress: Called after each task with how many are done and how many there are.
    """

    def __init__(self, workers: int, on_progress: Progress | None = None) -> None:
        self.workers = workers
        self.on_progress = on_progress

    def map(self, function: Callable[[Given], Found], tasks: Iterable[Given]) -> tuple[Found, ...]:
        """Return the function's results in the order of the tasks.

        Args:
            function: A pure function of a module, so that a worker can find it.
            tasks: Its arguments.

        Raises:
            Exception: What a task raised, as it is; the other tasks are stopped.
            KeyboardInterrupt: Ctrl-C; all workers have ended.
            WorkerLostError: A worker ended in the middle of a task.
        """
        todo = tuple(tasks)
        workers = min(self.workers, len(todo))
        found: dict[int, Found] = {}
        with closing(_apart(function, todo, workers) if workers > 1 else _here(function, todo)) as results:
            for number, result in results:
                found[number] = result
                if self.on_progress is not None:
                    self.on_progress(len(found), len(todo))
        return tuple(found[number] for number in range(len(todo)))


def _here(function: Callable[[Given], Found], tasks: tuple[Given, ...]) -> Generator[tuple[int, Found], None, None]:
    with single_threaded():
        for number, task in enumerate(tasks):
            yield number, function(task)


def _apart(
    function: Callable[[Given], Found], tasks: tuple[Given, ...], workers: int
) -> Generator[tuple[int, Found], None, None]:
    waiting = iter(enumerate(tasks))
    team: list[_Worker[Given, Found]] = []
    try:
        for _ in range(workers):
            team.append(_Worker(function))
            team[-1].start()
        busy = {worker.connection: worker for worker in team}
        for worker in team:
            worker.give(*next(waiting))
        while busy:
            for connection in wait(list(busy)):
                worker = busy.pop(connection)  # type: ignore[call-overload]  # typeshed: wait returns what it was given
                yield worker.number, worker.result()
                following = next(waiting, None)
                if following is not None:
                    worker.give(*following)
                    busy[worker.connection] = worker
    finally:
        for worker in team:
            worker.kill()


class _Worker(Generic[Given, Found]):
    """A process that runs one task after the other."""

    def __init__(self, function: Callable[[Given], Found]) -> None:
        context = get_context("spawn")
        self.number = 0
        self.connection, self._far_end = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(self._far_end, function), daemon=True)

    def start(self) -> None:
        with single_threaded_environment(), _deaf_to_interruption():
            self._process.start()
        # Held here too, it would never report that the worker is gone.
        self._far_end.close()

    def give(self, number: int, task: Given) -> None:
        self.number = number
        try:
            self.connection.send(task)
        except BrokenPipeError as error:
            raise self._lost() from error

    def result(self) -> Found:
        try:
            came: Answer[Found] = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._lost() from error
        return unpacked(came)

    def kill(self) -> None:
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _lost(self) -> WorkerLostError:
        self._process.join()
        code = self._process.exitcode or 0
        ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return WorkerLostError(
            f"A worker process ended with {ending} before it had finished task number {self.number + 1}.",
            "Where memory ran out, give more of it or lower spec.engine.workers; then run again.",
        )


@contextmanager
def _deaf_to_interruption() -> Iterator[None]:
    """Let processes that start inside the block never hear Ctrl-C: a terminal sends it to all, the parent ends them."""
    # Started by the first process, the tracker would take the block off again before that process is there.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection[Answer[Found], Given], function: Callable[[Given], Found]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        came = answer(function, task)
        try:
            connection.send(came)
        except Exception as error:  # noqa: BLE001  # a result's own pickling may raise anything
            connection.send(Answer((), portable(error)))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGKILL)
