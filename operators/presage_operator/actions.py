"""What the operator can do for a job, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from presage.spec.status import RunKind, Trigger
from presage_operator.errors import JsonObject
from presage_operator.observed import Rollback


@dataclass(frozen=True, slots=True)
class Nothing:
    """Wait for a change, or for a time."""


@dataclass(frozen=True, slots=True)
class StartRun:
    """Make a run's child.

    Attributes:
        uid: UID of the PredictionJob.
        name: Name of the run, as names.run_name gives it.
        cadence: Train runs all steps, Forecast those that issue a forecast from the champion, Rollback brings an
            earlier champion back.
        trigger: What asked for the run.
        attempt: 1, and one more for each run that failed before it for the same cause.
        as_of: The run's present moment, UTC: a Pod that takes the place of a lost one has the same.
        run_digest: Digest of the part of the spec that the result depends on.
        scheduled_time: Due time that it is started for, UTC.
        request: Value of the annotation that asked for it.
        rollback: What is to be rolled back and why, of a Rollback.
    """

    uid: str
    name: str
    cadence: RunKind
    trigger: Trigger
    attempt: int
    as_of: datetime
    run_digest: str
    scheduled_time: datetime | None = None
    request: str | None = None
    rollback: Rollback | None = None


@dataclass(frozen=True, slots=True)
class StopRun:
    """End a run that is under way."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Remove a finished run's child; its summary stays in the status."""

    name: str


@dataclass(frozen=True, slots=True)
class ApplyServer:
    """Make the server serve a run's model."""

    objects: tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class RemoveServer:
    """Take the server away."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Put the finalizer on a job whose runs Kubernetes cannot collect."""


@dataclass(frozen=True, slots=True)
class Release:
    """Take the finalizer off, once the runs outside of the API server are cancelled where that is still to be tried."""

    cancel: bool


Action = Nothing | StartRun | StopRun | DeleteRun | ApplyServer | RemoveServer | Guard | Release
