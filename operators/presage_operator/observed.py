"""What the operator sees of a job: frozen values, made from raw objects at the edge, decided upon purely."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.spec.status import PredictionJobStatus, RunKind, Trigger

RunState = Literal["Pending", "Running", "Succeeded", "Failed"]


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a request for a rollback says beside when it was made.

    Attributes:
        reason: Why; empty where nothing is said.
        by: Who asks; empty where that is not known.
        to: Run of the champion to bring back; None for the one before.
        serving: Run that is to be rolled back; None for what serves when the rollback starts.
    """

    reason: str = ""
    by: str = ""
    to: str | None = None
    serving: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A PredictionJob as the API server holds it.

    Attributes:
        job: The job; None where it cannot be read.
        fault: Why it cannot be read or may not run; empty where it may.
        fault_reason: The fault as one CamelCase word.
        uid: UID.
        generation: metadata.generation.
        resource_version: Version of the object.
        created_at: Creation, UTC.
        deleting: Whether it is being deleted.
        deleted_at: When deletion was asked for, UTC.
        finalizers: Its finalizers.
        requested: By kind of run, the value of the annotation that asks for one now.
        run_digest: Digest of the part of the spec that a run's result depends on.
        spec_digest: Digest of the spec.
        status: Its status.
        rollback: What the annotations say of the rollback that they ask for.
    """

    job: PredictionJob | None
    fault: str
    fault_reason: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    deleting: bool
    deleted_at: datetime | None
    finalizers: tuple[str, ...]
    requested: dict[RunKind, str]
    run_digest: str
    spec_digest: str
    status: PredictionJobStatus
    rollback: Rollback = field(default_factory=Rollback)


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """A run's child: a Kubernetes Job or a pipeline run.

    Attributes:
        name: Its name.
        cadence: Which cadence it belongs to, or Rollback.
        trigger: What asked for it.
        state: How far it is.
        attempt: 1, and one more for each run that failed before it for the same cause.
        run_digest: Digest of the part of the spec that its result depends on.
        scheduled_time: Due time that it was started for, UTC.
        request: Value of the annotation that asked for it.
        created_at: Creation, UTC.
        completed_at: End, UTC.
        deleting: Whether it is being deleted.
        outcome: What it told at its end.
        reason: Kind of its present trouble or failure, such as OOMKilled; empty where there is none.
        message: That trouble as a sentence.
    """

    name: str
    cadence: RunKind
    trigger: Trigger
    state: RunState
    attempt: int
    run_digest: str
    scheduled_time: datetime | None
    request: str | None
    created_at: datetime
    completed_at: datetime | None
    deleting: bool
    outcome: RunOutcome | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ObservedServer:
    """What serves a job.

    Attributes:
        run: Run in the lake that its Pods are to serve.
        kinds: Kinds of the objects that are there.
        desired: Digest of the objects that were last applied; empty where they were not applied together.
        available: Whether some Pod answers.
        current: Whether all that answer are of the newest template.
        url: Where; empty where it is not known yet.
        reason: Kind of its present trouble; empty where there is none.
        message: That trouble as a sentence.
    """

    run: str
    kinds: frozenset[str]
    desired: str
    available: bool
    current: bool
    url: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the cluster has beside Kubernetes itself."""

    kserve: bool = False
    kubeflow: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a decision about a job rests on."""

    job: ObservedJob
    runs: tuple[ObservedRun, ...] = ()
    server: ObservedServer | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
