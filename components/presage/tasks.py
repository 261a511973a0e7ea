"""Tasks: calls of a pure function that may run anywhere, in any order, each on a single thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits

Given = TypeVar("Given")
Found = TypeVar("Found")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class Engine(Protocol):
    """Runs tasks."""

    def map(self, function: Callable[[Given], Found], tasks: Iterable[Given]) -> tuple[Found, ...]:
        """Return the function's results in the order of the tasks.

        Args:
            function: A pure function of a module, so that another process can find it.
            tasks: Its arguments.

        Raises:
            Exception: What a task raised, as it is; the other tasks are stopped.
        """
        ...


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let numeric libraries compute on one thread: their sums depend on how many share the work.

    Libraries that are loaded are bound at once, those that load inside the block by the environment.
    """
    with single_threaded_environment(), threadpool_limits(limits=1):
        yield


@contextmanager
def single_threaded_environment() -> Iterator[None]:
    """Tell processes that start, and libraries that load, inside the block to use one thread."""
    with environment(dict.fromkeys(THREADS, "1")):
        yield


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process's environment inside the block; afterwards they are what they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
