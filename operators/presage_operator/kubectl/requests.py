"""Asking for a run by annotations, and waiting for it to end."""

from __future__ import annotations

from datetime import UTC, datetime

from presage.cli.output import note
from presage.errors import StopError
from presage.report.console import printable
from presage.spec.status import RunKind, RunSummary
from presage_operator.kubectl.cluster import Cluster
from presage_operator.kubectl.job import JobState
from presage_operator.names import FORECAST_REQUESTED_AT, ROLLBACK_REQUESTED_AT, TRAIN_REQUESTED_AT

ANNOTATIONS: dict[RunKind, str] = {
    "Train": TRAIN_REQUESTED_AT,
    "Forecast": FORECAST_REQUESTED_AT,
    "Rollback": ROLLBACK_REQUESTED_AT,
}


def new_request() -> str:
    """Return the value of an annotation that asks for a run: the present moment."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def ended_well(cluster: Cluster, job: JobState, kind: RunKind, request: str, before: set[str]) -> RunSummary:
    """Wait for the run that obeys a request and return it.

    Args:
        cluster: Where the job is.
        job: The job, with the request.
        kind: What the run is for.
        request: Value of the annotation.
        before: Names of the runs that were there before the request.

    Raises:
        StopError: It failed, or another request came first.
    """
    ended = _ended(cluster, job, kind, request, before)
    if ended.state != "Succeeded":
        trouble = ": ".join(part for part in (ended.reason, ended.message) if part) or ended.state
        raise StopError(
            f"run {ended.name} ended as {ended.state}: {printable(trouble).rstrip('.')}.",
            f"See its log: kubectl presage logs {job.name} -n {cluster.namespace} --run {ended.name}.",
        )
    return ended


def _ended(cluster: Cluster, job: JobState, kind: RunKind, request: str, before: set[str]) -> RunSummary:
    """Return the run that obeyed a request, once it has ended."""
    shown = ""
    while True:
        made = next(
            (
                one
                for one in job.status.runs
                if one.cadence == kind and one.trigger == "Request" and one.name not in before
            ),
            None,
        )
        if made is not None and job.handled(kind) == request:
            if made.state not in {"Pending", "Running"}:
                return made
            if shown != made.state:
                shown = made.state
                note(f"{made.name}: {made.state}")
        elif job.annotations.get(ANNOTATIONS[kind]) != request:
            raise StopError(
                f"another request to run {job.namespace}/{job.name} came before this one was obeyed.",
                f"See what ran: kubectl presage history {job.name} -n {job.namespace}.",
            )
        job = cluster.wait_for_change(job)
