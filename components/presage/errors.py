"""The one error tree of Presage. Each leaf says whether a repeat can help and how the process ends.

    PresageError
    ├── StopError            a repeat of the same call gives the same answer
    │   ├── JobError             the job file is wrong                                       exit 2
    │   ├── NotSupportedError    the job asks for what this version cannot do                exit 2
    │   ├── MissingExtraError    an optional part of Presage is not installed                exit 2
    │   ├── LeakageError         a feature uses what was not yet known                       exit 4
    │   ├── DataError            a source's data cannot be used as declared                  exit 5
    │   └── LakeError            the lake is not what the run's manifest says                exit 6
    │       └── DataExpiredError     what a run pinned is no longer kept                     exit 6
    └── RetryError           the same call may succeed later
        ├── SourceUnavailableError   a source does not answer                                exit 7
        ├── WorkerLostError          a worker process ended in the middle of a task          exit 7
        ├── EngineUnavailableError   the cluster that runs tasks does not answer             exit 7
        ├── TrackingUnavailableError MLflow does not answer; the runs themselves are kept     exit 7
        ├── LakeConflictError        another run of the job, or others at the same table     exit 7
        └── StorageError             the disk or the store of objects is full or refuses     exit 7

Exit code 0 is success (also when a model was honestly not promoted), 1 an unexpected failure, 3 "not promoted" under
`--require-promotion`, 8 "not ready" (`presage verify`), 9 "something else was found" (`presage rerun`), 130 an
interruption (Ctrl-C), 143 a stop signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class PresageError(Exception):
    """Base of all errors that a user is meant to read.

    Args:
        what: What was wrong and where (source, file, row, column or field path), in one sentence.
        remedy: What to do about it, in one sentence.
    """

    exit_code: ClassVar[int] = 1
    retry: ClassVar[bool] = False

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what if not remedy else f"{what} {remedy}")
        self.what = what
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[PresageError], tuple[str, str]]:
        # Worker processes hand their errors back: the default would call the class with the joined message.
        return (type(self), (self.what, self.remedy))


class StopError(PresageError):
    """A repeat of the same call gives the same answer."""


class RetryError(PresageError):
    """The same call may succeed later."""

    exit_code = 7
    retry = True


@dataclass(frozen=True)
class Problem:
    """One fault of a job file.

    Attributes:
        path: Field path, such as `spec.sources[0].availability.lag`.
        found: What stands there, as text; empty where the field is missing.
        allowed: What may stand there.
        nearest: The nearest valid name, where one is close.
        line: Line in the file, from 1, or 0 where it is not known.
    """

    path: str
    found: str
    allowed: str
    nearest: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}: {self.path}" if self.line else self.path
        found = f"found {self.found}" if self.found else "missing"
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{where}: {found}; allowed: {self.allowed}{hint}"


class JobError(StopError):
    """The job file is wrong; `problems` lists each fault."""

    exit_code = 2

    def __init__(self, what: str, remedy: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(what, remedy)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[JobError], tuple[str, str, tuple[Problem, ...]]]:  # type: ignore[override]
        return (type(self), (self.what, self.remedy, self.problems))


class NotSupportedError(StopError):
    """The job asks for what this version cannot do."""

    exit_code = 2


class MissingExtraError(StopError):
    """An optional part of Presage is not installed."""

    exit_code = 2


class LeakageError(StopError):
    """A feature uses what was not yet known."""

    exit_code = 4


class DataError(StopError):
    """A source's data cannot be used as declared."""

    exit_code = 5


class LakeError(StopError):
    """The lake is not what the run's manifest says."""

    exit_code = 6


class DataExpiredError(LakeError):
    """What a run pinned is no longer kept: retention has passed it."""


class SourceUnavailableError(RetryError):
    """A source does not answer."""


class WorkerLostError(RetryError):
    """A worker process ended in the middle of a task."""


class EngineUnavailableError(RetryError):
    """The cluster that runs tasks does not answer."""


class TrackingUnavailableError(RetryError):
    """MLflow does not answer, or fails; the runs that it is told of are kept."""


class LakeConflictError(RetryError):
    """Another run of the job is going on, or others kept writing to the same table."""


class StorageError(RetryError):
    """The disk or the store of objects is full, refuses, or does not answer."""
