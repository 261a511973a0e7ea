"""The engine that runs tasks on Spark or Dask, by Fugue.

Tasks and results travel between this process and its workers as pickled bytes, in text: the workers are trusted, and
have the same version of Presage.
"""

from __future__ import annotations

import base64
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Literal, Self

import pandas as pd

from presage import __version__
from presage.engine.answer import Answer, answer, unpacked
from presage.engine.local import LocalEngine, Progress
from presage.errors import EngineUnavailableError, MissingExtraError, NotSupportedError, WorkerLostError
from presage.tasks import THREADS, Found, Given

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 30
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
            WorkerLostError: The cluster gave up on a task.
        """
        todo = tuple(tasks)
        if len(todo) < 2:
            return LocalEngine(1, self._on_progress).map(function, todo)
        api = _imported("fugue.api", self._kind)
        if self._session is None:
            self._session = self._spark() if self._kind == "spark" else self._dask()
        sent = pd.DataFrame(
            {
                "number": range(len(todo)),
                "task": [_packed((__version__, function, task)) for task in todo],
            }
        )
        try:
            frame = api.transform(
                sent,
                _work,
                schema="number:long,answer:str",
                engine=self._session,
                partition={"num": len(todo), "algo": "even"},
                as_local=True,
            )
            came = api.as_pandas(frame).sort_values("number")
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

    @property
    def _at(self) -> str:
        return f" at {self._address}" if self._address else ""

    def _dask(self) -> Any:  # noqa: ANN401  # distributed has no types
        distributed = _imported("distributed", self._kind)
        try:
            if self._address is None:
                cluster = distributed.LocalCluster(
                    n_workers=self._workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    env=_ONE_THREAD,
                )
                self._stack.callback(cluster.close)
                client = distributed.Client(cluster, timeout=_CONNECT_SECONDS)
            else:
                client = distributed.Client(self._address, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise self._unavailable(error) from error
        self._stack.callback(client.close)
        return client

    def _spark(self) -> Any:  # noqa: ANN401  # pyspark has no types
        sql = _imported("pyspark.sql", self._kind)
        # The workers of this machine are this Python; those of another have their own.
        os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
        if self._address is None or self._address.startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = sql.SparkSession.builder.master(self._address or f"local[{self._workers}]").appName("presage")
        settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
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
        self._stack.callback(session.stop)
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
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
