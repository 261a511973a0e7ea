"""A run as Kubeflow Pipelines tells it (v2beta1), and as the operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from presage.spec.status import CadenceName, Trigger
from presage_operator.observed import ObservedRun, RunState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_MESSAGE = 1000
CANCELLED = "Cancelled"
"""Reason of a run that somebody ended before its end."""

_STATES: dict[str, RunState] = {
    "RUNNING": "Running",
    "CANCELING": "Running",
    "SUCCEEDED": "Succeeded",
    "SKIPPED": "Succeeded",
    "FAILED": "Failed",
    "CANCELED": "Failed",
}


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """A pipeline run of a job.

    Attributes:
        id: What the API calls it.
        run: What it is to the operator.
    """

    id: str
    run: ObservedRun


class Description(BaseModel):
    """What the operator writes down of a StartRun with its run, in the place of labels and annotations."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    uid: str
    cadence: CadenceName
    trigger: Trigger
    attempt: int
    run_digest: str
    scheduled_time: AwareDatetime | None = None
    request: str | None = None


class _Error(BaseModel):
    model_config = ConfigDict(frozen=True)

    message: str = ""


class ListedRun(BaseModel):
    """A run as the API tells it."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    display_name: str
    description: str = ""
    state: str = ""
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    error: _Error | None = None


class RunPage(BaseModel):
    """A page of runs as the API lists them."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[ListedRun, ...] = ()
    next_page_token: str = ""


class ListedExperiment(BaseModel):
    """An experiment as the API tells it."""

    model_config = ConfigDict(frozen=True)

    experiment_id: str
    created_at: AwareDatetime


class ExperimentPage(BaseModel):
    """A page of experiments as the API lists them."""

    model_config = ConfigDict(frozen=True)

    experiments: tuple[ListedExperiment, ...] = ()
    next_page_token: str = ""


class Health(BaseModel):
    """What the API tells of itself."""

    model_config = ConfigDict(frozen=True)

    multi_user: bool = False


def pipeline_run(run: ListedRun, uid: str) -> PipelineRun | None:
    """Return a run as the operator sees it, or None where it is another's."""
    try:
        description = Description.model_validate_json(run.description)
    except ValidationError:
        return None
    if description.uid != uid:
        return None
    state = _STATES.get(run.state, "Pending")
    # A run that goes on has the end of a clock that was never set.
    finished_at = run.finished_at if run.finished_at is not None and run.finished_at > _EPOCH else None
    ended = state in {"Succeeded", "Failed"}
    failed = state == "Failed"
    message = run.error.message if run.error is not None else ""
    return PipelineRun(
        run.run_id,
        ObservedRun(
            name=run.display_name,
            cadence=description.cadence,
            trigger=description.trigger,
            state=state,
            attempt=description.attempt,
            run_digest=description.run_digest,
            scheduled_time=description.scheduled_time,
            request=description.request,
            created_at=run.created_at,
            completed_at=(finished_at or run.created_at) if ended else None,
            deleting=run.state == "CANCELING",
            outcome=None,
            reason={"FAILED": "PipelineFailed", "CANCELED": CANCELLED}.get(run.state, "") if failed else "",
            message=message[:_LONGEST_MESSAGE] if failed else "",
        ),
    )
