"""The status of a PredictionJob on a cluster: written by the operator, shown by `kubectl get predictionjobs`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from presage.spec.base import SpecModel

ConditionType = Literal["DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted", "Serving", "Ready", "Stalled"]
Phase = Literal[
    "Pending", "Ingesting", "Training", "Promoting", "Forecasting", "Serving", "Complete", "Failed", "Suspended"
]
CadenceName = Literal["Train", "Forecast"]
RunKind = Literal["Train", "Forecast", "Rollback"]
"""What a run is for: a cadence, or a way back to an earlier champion."""
Trigger = Literal["Spec", "Schedule", "Request", "Retry"]
DigestText = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
"""A SHA-256, as sha256: and 64 hexadecimal digits."""
RunText = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
"""Name of a run in the lake."""
ModelText = Annotated[str, Field(max_length=63, pattern=r"^[a-z][a-z0-9_]*$")]
"""Name of a model or baseline."""


class JobCondition(SpecModel):
    """One aspect of the job's state, in the words of Kubernetes' metav1.Condition."""

    type: ConditionType
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, as one CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, as a sentence for people."""
    last_transition_time: datetime
    """When the status last changed, UTC."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that this was said of."""


class ScorecardSummary(SpecModel):
    """The newest scorecard, in short."""

    model: ModelText
    """What is served: the promoted model, else the best baseline."""
    skill: float | None = None
    """1 - loss / loss of the best baseline, rounded to three decimals; 0 where that baseline is served."""
    coverage: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of outcomes inside the interval that the gate watches, rounded to three decimals."""
    digest: DigestText
    """Digest of the scorecard; the same on a laptop."""
    run: RunText | None = None
    """Run in the lake that found it: the version of the model."""
    data: DigestText | None = None
    """Digest of the rows that the run used: the version of the data."""


class NextRuns(SpecModel):
    """When the schedule is due."""

    train: datetime | None = None
    """Next training, UTC."""
    forecast: datetime | None = None
    """Next forecast, UTC."""


class LastSchedules(SpecModel):
    """Which due time each cadence was last started for."""

    train: datetime | None = None
    """Due time of the newest training, UTC."""
    forecast: datetime | None = None
    """Due time of the newest forecast, UTC."""


class HandledRequests(SpecModel):
    """Values of the annotations that ask for a run now, as they were last obeyed."""

    train: Annotated[str, Field(max_length=256)] | None = None
    """Of `presage.dev/train-requested-at`."""
    forecast: Annotated[str, Field(max_length=256)] | None = None
    """Of `presage.dev/forecast-requested-at`."""
    rollback: Annotated[str, Field(max_length=256)] | None = None
    """Of `presage.dev/rollback-requested-at`."""


class RunSummary(SpecModel):
    """One run of the job."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the run's Kubernetes Job or pipeline run."""
    cadence: RunKind
    """Which cadence it belongs to; Rollback belongs to none and is only asked for."""
    trigger: Trigger = "Spec"
    """What asked for it: the spec, the schedule, a request, or the failure of a run that may succeed later."""
    state: Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled"]
    """How far it is."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """1, and one more for each run that failed before it for the same cause."""
    run_digest: DigestText | None = None
    """Digest of the part of the spec that a run's result depends on."""
    run: RunText | None = None
    """Run in the lake that it made."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """Kind of the failure, where it failed, such as DataError or OOMKilled."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What went wrong, where something did."""
    retry: bool = False
    """Whether it failed and may succeed later."""
    start_time: datetime | None = None
    """When it started, UTC."""
    completion_time: datetime | None = None
    """When it ended, UTC."""
    spec_digest: DigestText | None = None
    """Digest of the spec that it ran."""
    scorecard_digest: DigestText | None = None
    """Digest of what it found."""


class Champion(SpecModel):
    """A model that was served."""

    model: ModelText
    """Name of the model or baseline."""
    run: RunText
    """Run that made it."""
    since: datetime
    """When it was first served, UTC."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why it took the place: a reason of the gate, or RolledBack."""
    digest: DigestText
    """Digest of the scorecard that stands behind it."""
    promoted: bool | None = None
    """Whether it is a promoted model, else the best baseline; missing where that was not told."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """The reason as a sentence: the gate's, or the words of who rolled back to it."""
    by: Annotated[str, Field(max_length=253)] | None = None
    """Who rolled back to it."""


class PredictionJobStatus(SpecModel):
    """What the operator last saw."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that the status is about."""
    phase: Phase | None = None
    """What the job is doing, in one word."""
    conditions: Annotated[tuple[JobCondition, ...], Field(max_length=16)] = ()
    """Aspects of the state, by type; Ready is the summary of the others."""
    scorecard: ScorecardSummary | None = None
    """The newest scorecard, in short."""
    url: Annotated[str, Field(max_length=2048)] | None = None
    """Where forecasts are served."""
    next_run: datetime | None = None
    """The earliest of `nextRuns`, UTC."""
    next_runs: NextRuns | None = None
    """When the schedule is due."""
    last_schedules: LastSchedules | None = None
    """Which due time each cadence was last started for."""
    handled_requests: HandledRequests | None = None
    """Which requests for a run were obeyed."""
    stale_after: datetime | None = None
    """When the issued forecast is too old to be relied on, UTC."""
    runs: Annotated[tuple[RunSummary, ...], Field(max_length=100)] = ()
    """Newest runs, the newest first."""
    champions: Annotated[tuple[Champion, ...], Field(max_length=20)] = ()
    """What was served, the newest first; a rollback goes back along it."""

    list_keys: ClassVar[dict[str, str]] = {"conditions": "type", "runs": "name"}
