"""What comes of a task where it ran: its result, or its error in a form that travels."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Generic

from presage.errors import PresageError
from presage.tasks import Found, Given, single_threaded


@dataclass(frozen=True)
class Answer(Generic[Found]):
    """What came of a task: `results` holds the one result, unless there was an error."""

    results: tuple[Found, ...]
    error: Exception | None


def answer(function: Callable[[Given], Found], task: Given) -> Answer[Found]:
    """Run a task on a single thread and return what came of it."""
    try:
        with single_threaded():
            return Answer((function(task),), None)
    except Exception as error:  # noqa: BLE001  # whatever a task raises is raised again where it was asked for
        return Answer((), portable(error))


def unpacked(came: Answer[Found]) -> Found:
    """Return a task's result; raises its error."""
    if came.error is not None:
        raise came.error
    return came.results[0]


def portable(error: Exception) -> Exception:
    """Return the error, or one that says the same where it would not survive the way to another process."""
    if not isinstance(error, PresageError):
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001  # an error's own pickling may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
