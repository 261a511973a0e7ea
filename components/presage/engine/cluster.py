"""The engine that runs tasks on Spark or Dask, by Fugue.

The tasks of a worker that is lost are done by the others; where none is left, the wait for one is bounded. Tasks and
results travel between this process and its workers as pickled bytes, in text: the workers are trusted, and have the
same version of Presage.
"""

from __future__ import annotations

import base64
import logging
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from threading import Thread
from typing import Any, Literal, Self

import pandas as pd

from presage import __version__
from presage.engine.answer import Answer, answer, unpacked
from presage.engine.local import LocalEngine, Progress
from presage.errors import EngineUnavailableError, MissingExtraError, NotSupportedError, WorkerLostError
from presage.tasks import THREADS, Found, Given

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 30
_WORKER_SECONDS = 300
"""How long a cluster may be without any worker: those of a cluster that scales by itself need minutes to come."""
_LOOK_SECONDS = 1.0
_ATTEMPTS = 4
"""Workers that a task may take with it, as Spark and Dask count by themselves."""
_ONE_THREAD = dict.fromkeys(THREADS, "1")


class ClusterEngine:
    """Runs tasks on Spark or Dask; to be used as a context manager.

    Args:
        kind: Which of the two.
        workers: Tasks at a time, where no address is given.
        address: Address of the Spark master or the Dask scheduler; None for one that is started in this machine.
        on_progress: Called at the end of a map with how many tasks are done and how many there are.
    """

    def __init__(
        self,
        kind: Literal["spark", "dask"],
        workers: int,
        address: str | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self._kind = kind
        self._workers = workers
        self._address = address
        self._on_progress = on_progress
        self._session: Any = None
        self._count_workers: Callable[[], int] = lambda: 1
        self._wait_for_a_worker: Callable[[], None] = lambda: None
        self._running: Thread | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._session = None

    def map(self, function: Callable[[Given], Found], tasks: Iterable[Given]) -> tuple[Found, ...]:
        """Return the function's results in the order of the tasks.

        Args:
            function: A pure function of a module that the workers have.
            tasks: Its arguments.

        Raises:
            Exception: What a task raised, as it is.
            EngineUnavailableError: The cluster does not answer.
            MissingExtraError: The library is not installed.
            WorkerLostError: The cluster gave up on a task, or has had no worker for some minutes.
        """
        todo = tuple(tasks)
        if len(todo) < 2:
            return LocalEngine(1, self._on_progress).map(function, todo)
        api = _imported("fugue.api", self._kind)
        if self._session is None:
            library = _imported("pyspark.sql" if self._kind == "spark" else "distributed", self._kind)
            self._stack.enter_context(_libraries_say_nothing())
            self._stack.callback(self._let_end)
            self._session = self._spark(library) if self._kind == "spark" else self._dask(library)
        sent = pd.DataFrame(
            {
                "number": range(len(todo)),
                "task": [_packed((__version__, function, task)) for task in todo],
            }
        )

        def run() -> pd.DataFrame:
            self._wait_for_a_worker()
            frame = api.transform(
                sent,
                _work,
                schema="number:long,answer:str",
                engine=self._session,
                partition={"num": len(todo), "algo": "even"},
                as_local=True,
            )
            answered: pd.DataFrame = api.as_pandas(frame)
            return answered.sort_values("number")

        try:
            came = self._while_there_are_workers(run)
        except WorkerLostError:
            raise
        except Exception as error:
            raise WorkerLostError(
                f"{self._kind}{self._at} gave up on a task: {_first_line(error)}.",
                "See the log of its workers; where memory ran out, give them more; then run again.",
            ) from error
        answers: list[Answer[Found]] = [_unpacked(text) for text in came["answer"]]
        found = tuple(unpacked(one) for one in answers)
        if self._on_progress is not None:
            self._on_progress(len(found), len(todo))
        return found

    def _while_there_are_workers(self, run: Callable[[], Found]) -> Found:
        """Return what a call gives; raises WorkerLostError where no worker has been there for too long."""
        came: Future[Found] = Future()
        self._running = Thread(target=_settle, args=(came, run), name="cluster", daemon=True)
        self._running.start()
        seen = time.monotonic()
        while not wait((came,), _LOOK_SECONDS).done:
            if self._count_workers():
                seen = time.monotonic()
            elif time.monotonic() - seen > _WORKER_SECONDS:
                raise WorkerLostError(
                    f"{self._kind}{self._at} has had no worker for {_WORKER_SECONDS} seconds.",
                    "See why its workers do not come or end; where memory ran out, give them more; then run again.",
                )
        return came.result()

    def _let_end(self) -> None:
        """Let what ran until the cluster was left end with its error."""
        if self._running is not None:
            self._running.join(_CONNECT_SECONDS)

    @property
    def _at(self) -> str:
        return f" at {self._address}" if self._address else ""

    def _dask(self, distributed: Any) -> Any:  # noqa: ANN401  # distributed has no types
        try:
            if self._address is None:
                cluster = distributed.LocalCluster(
                    n_workers=self._workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    env=_ONE_THREAD,
                )
                self._stack.callback(_leave, cluster.close)
                client = distributed.Client(cluster, timeout=_CONNECT_SECONDS)
            else:
                client = distributed.Client(self._address, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise self._unavailable(error) from error
        self._stack.callback(_leave, client.close)

        def count() -> int:
            try:
                return len(client.sync(client.scheduler.ncores, callback_timeout=_CONNECT_SECONDS))
            except Exception as error:  # noqa: BLE001  # whatever a scheduler that goes away makes of the question
                _LOG.info("scheduler not asked", extra={"fault": _first_line(error)})
                return 0

        self._count_workers = count
        # Dask cuts what is sent by the number of workers.
        self._wait_for_a_worker = partial(client.wait_for_workers, 1)
        return client

    def _spark(self, sql: Any) -> Any:  # noqa: ANN401  # pyspark has no types
        # The workers of this machine are this Python; those of another have their own.
        os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
        if self._address is None or self._address.startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = sql.SparkSession.builder.master(self._address or f"local[{self._workers},{_ATTEMPTS}]")
        builder = builder.appName("presage")
        settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "FATAL"}
        settings |= {f"spark.executorEnv.{name}": value for name, value in _ONE_THREAD.items()}
        for name, value in settings.items():
            builder = builder.config(name, value)
        try:
            session = builder.getOrCreate()
        except FileNotFoundError as error:
            raise NotSupportedError(
                "spec.engine.type: spark needs Java, which is not installed.",
                "Install a Java 17 runtime, such as default-jre-headless, or set JAVA_HOME.",
            ) from error
        except Exception as error:
            raise self._unavailable(error) from error
        self._stack.callback(_leave, session.stop)
        if not session.sparkContext.master.startswith("local"):

            def count() -> int:
                # One of them is this process.
                executors = session.sparkContext._jsc.sc().getExecutorMemoryStatus()  # noqa: SLF001  # no other way
                return int(executors.size()) - 1

            self._count_workers = count
        return session

    def _unavailable(self, error: Exception) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{self._kind}{self._at} does not answer: {_first_line(error)}.",
            "Check spec.engine.address and that the cluster is up; then run again.",
        )


def _work(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Run the tasks of one partition: what Fugue ships to a worker."""
    for row in rows:
        version, function, task = _unpacked(row["task"])
        if version != __version__:
            came: Answer[Any] = Answer(
                (),
                NotSupportedError(
                    f"a worker has Presage {__version__}, and the run {version}.",
                    "Give the workers the same version.",
                ),
            )
        else:
            came = answer(function, task)
        yield {"number": row["number"], "answer": _packed(came)}


@contextmanager
def _libraries_say_nothing() -> Iterator[None]:
    """Keep what the libraries log of a fault, tracebacks included, off the terminal: it is told as an error.

    They are imported already, for Dask's own import sets what it logs.
    """
    # Without any handler Python itself writes to stderr.
    root, silent = logging.getLogger(), logging.NullHandler()
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    root.addHandler(silent)
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        root.removeHandler(silent)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _settle(came: Future[Found], run: Callable[[], Found]) -> None:
    try:
        came.set_result(run())
    except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
        came.set_exception(error)


def _leave(close: Callable[[], None]) -> None:
    """Close what leads to a cluster; one that is gone must not hide what came of the tasks."""
    try:
        with warnings.catch_warnings(action="ignore"):
            close()
    except Exception as error:  # noqa: BLE001  # as above
        _LOG.warning("cluster not left", extra={"fault": _first_line(error)})


def _packed(value: object) -> str:
    return base64.b64encode(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)).decode("ascii")


def _unpacked(text: str) -> Any:  # noqa: ANN401  # whatever was packed
    return pickle.loads(base64.b64decode(text))  # noqa: S301  # it comes from this process or its own workers


def _imported(module: str, kind: str) -> Any:  # noqa: ANN401  # a module
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"spec.engine.type {kind} needs the Python package {error.name}, which is not installed.",
            f"Install it: pip install 'presage[{kind}]'.",
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # Spark's client tells first what it called, and then what was wrong.
    line = lines[1] if len(lines) > 1 and lines[0].startswith("An error occurred while calling") else lines[0]
    return line.lstrip(": ").rstrip(".")[:300]
