"""What runs were made for so far: requests, and due times of the schedule. Pure."""

from __future__ import annotations

from datetime import datetime

from presage.spec.status import HandledRequests, LastSchedules, RunKind
from presage_operator.observed import Observed


def handled_requests(observed: Observed) -> HandledRequests:
    """Return the requests that runs were made for."""
    before = observed.job.status.handled_requests or HandledRequests()
    newest: dict[RunKind, str | None] = {
        "Train": before.train,
        "Forecast": before.forecast,
        "Rollback": before.rollback,
    }
    for run in observed.runs:
        if run.request is not None and run.request == observed.job.requested.get(run.cadence):
            newest[run.cadence] = run.request
    return HandledRequests(train=newest["Train"], forecast=newest["Forecast"], rollback=newest["Rollback"])


def last_schedules(observed: Observed) -> LastSchedules:
    """Return the newest due time of each cadence that a run was made for."""
    before = observed.job.status.last_schedules or LastSchedules()
    newest: dict[RunKind, datetime | None] = {"Train": before.train, "Forecast": before.forecast}
    for run in observed.runs:
        known = newest.get(run.cadence)
        if run.scheduled_time is not None and (known is None or run.scheduled_time > known):
            newest[run.cadence] = run.scheduled_time
    return LastSchedules(train=newest["Train"], forecast=newest["Forecast"])
