"""What to do next for a job: one action and its reason, from what is observed and the time alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from presage.spec.job import PredictionJob
from presage.spec.operations import Cadence
from presage.spec.status import CadenceName, RunKind, RunSummary, Trigger
from presage_operator import names, runs
from presage_operator.actions import (
    Action,
    ApplyServer,
    DeleteRun,
    Guard,
    Nothing,
    Release,
    RemoveServer,
    StartRun,
    StopRun,
)
from presage_operator.capabilities import Backends
from presage_operator.desired.fault import Fault
from presage_operator.desired.serving import kinds_and_digest, serving_objects
from presage_operator.handled import handled_requests, last_schedules
from presage_operator.observed import Observed, ObservedRun, Rollback
from presage_operator.schedule import due, next_time
from presage_operator.settings import Settings

LONGEST_WAIT = timedelta(hours=1)
POLL = timedelta(seconds=10)
_NO_CADENCE = Cadence(schedule="@yearly")
CADENCES: tuple[CadenceName, ...] = ("Train", "Forecast")
UNEXPLAINED = "asked for without a reason"
ANYBODY = "an annotation"


@dataclass(frozen=True, slots=True)
class Decision:
    """One action, why, and when to look again if nothing happens before."""

    action: Action
    reason: str
    again_at: datetime | None = None


def decide(settings: Settings, backends: Backends, observed: Observed, now: datetime) -> Decision:
    """Return the next action for a job.

    Args:
        settings: The operator's configuration.
        backends: What runs and what serves.
        observed: What is there.
        now: The time, UTC.
    """
    if observed.job.deleting:
        return _let_go(settings, observed, now)
    decision = _decide(settings, backends, observed, now)
    if backends.pipelines == "kubeflow" and _moves(decision, observed):
        again_at = min(decision.again_at or now + POLL, now + POLL)
        return replace(decision, again_at=again_at)
    return decision


def cadence_of(job: PredictionJob, name: RunKind) -> Cadence | None:
    """Return a job's cadence; None where it has none of that name."""
    return {"Train": job.spec.schedule.train, "Forecast": job.spec.schedule.forecast}.get(name)


def _decide(settings: Settings, backends: Backends, observed: Observed, now: datetime) -> Decision:
    if observed.job.job is None or observed.job.fault or isinstance(backends.pipelines, Fault):
        under_way = runs.active(observed.runs)
        return Decision(StopRun(under_way[0].name), "JobRefused") if under_way else Decision(Nothing(), "JobRefused")
    known = runs.history(observed.job, observed.runs, now)
    view = _View(settings, backends, observed, observed.job.job, known, now)
    return _stop_outdated(observed) or _start(view)


def _moves(decision: Decision, observed: Observed) -> bool:
    """Return whether some run goes on, or has just been started or ended: runs in Kubeflow are not watched."""
    acts = isinstance(decision.action, StartRun | StopRun | DeleteRun)
    return acts or any(run.completed_at is None for run in observed.runs)


def _let_go(settings: Settings, observed: Observed, now: datetime) -> Decision:
    job = observed.job
    if names.FINALIZER not in job.finalizers or job.deleted_at is None:
        return Decision(Nothing(), "Deleting")
    deadline = job.deleted_at + timedelta(seconds=settings.pipelines.kubeflow.cancel_seconds)
    if now >= deadline:
        return Decision(Release(cancel=False), "CancellationTimedOut")
    return Decision(Release(cancel=True), "Deleting", deadline)


def _stop_outdated(observed: Observed) -> Decision | None:
    for run in runs.active(observed.runs):
        # A rollback is short, and asked for whatever the spec says next.
        if run.run_digest != observed.job.run_digest and run.cadence != "Rollback":
            return Decision(StopRun(run.name), "SpecChanged")
    return None


@dataclass(frozen=True, slots=True)
class _View:
    """What a decision about a readable job rests on."""

    settings: Settings
    backends: Backends
    observed: Observed
    job: PredictionJob
    known: tuple[RunSummary, ...]
    now: datetime


def _start(view: _View) -> Decision:
    observed = view.observed
    leaving = any(run.deleting and run.completed_at is None for run in observed.runs)
    waits = _times(view)
    for name in runs.KINDS:
        found = _rollback_wanted(view) if name == "Rollback" else _wanted(view, name)
        if isinstance(found, datetime):
            waits.append(found)
        elif found is not None:
            replaced = None if leaving else _replaced(view, name, found.trigger)
            if replaced is not None:
                return Decision(replaced, "Replaced")
            if leaving or not _may_start(view, name, found.trigger):
                break  # what is held up is not overtaken by what is less urgent
            outside = view.backends.pipelines == "kubeflow" and name != "Rollback"
            if outside and names.FINALIZER not in observed.job.finalizers:
                return Decision(Guard(), "RunsOutsideTheCluster")
            return Decision(found, f"{found.trigger}Wants{name}")
    return _serve(view, _earliest(waits, view.now))


def _times(view: _View) -> list[datetime]:
    """Return the times at which the status or the schedule changes by itself."""
    times = [observed for run in view.observed.runs if (observed := runs.outcome_due(run))]
    for name in CADENCES:
        cadence = cadence_of(view.job, name)
        following = None if cadence is None or cadence.suspend else next_time(cadence, view.now)
        if following is not None:
            times.append(following)
    stale_after = view.observed.job.status.stale_after
    return times if stale_after is None else [*times, stale_after]


def _earliest(times: list[datetime], now: datetime) -> datetime | None:
    """Return the first time to come, as a whole second: reconciles know no smaller ones."""
    first = min((time for time in times if time > now), default=None)
    if first is None or first.microsecond == 0:
        return first
    return first.replace(microsecond=0) + timedelta(seconds=1)


def _wanted(view: _View, cadence: CadenceName) -> StartRun | datetime | None:
    """Return the run that a cadence wants now, the time at which it will repeat one, or None."""
    observed, now = view.observed, view.now
    if cadence == "Forecast" and not observed.job.status.champions:
        return None  # there is no model to forecast with
    request = observed.job.requested.get(cadence)
    handled = handled_requests(observed)
    if request is not None and request != (handled.train if cadence == "Train" else handled.forecast):
        return _run(observed, cadence, "Request", f"request:{request}", now, request=request)
    times = cadence_of(view.job, cadence)
    if times is not None and times.suspend:
        return None
    # What is due trains the newest spec too; and a run that made way for it must not be started in its stead.
    scheduled = _scheduled(view, cadence, times)
    if scheduled is not None:
        return scheduled
    newest = runs.newest(view.known, cadence)
    if cadence == "Train" and (newest is None or newest.run_digest != observed.job.run_digest):
        cause = f"spec:{observed.job.generation}:{observed.job.run_digest}"
        return _run(observed, cadence, "Spec", cause, now)
    return _repeated(view, newest)


def _rollback_wanted(view: _View) -> StartRun | datetime | None:
    """Return the rollback that is wanted now, the time at which one is repeated, or None.

    It is repeated only for the request that it obeyed, and only while no other champion came since.
    """
    observed, now = view.observed, view.now
    request = observed.job.requested.get("Rollback")
    if request is None:
        return None
    champions = runs.champions(observed.job, runs.newest_outcome(view.known, observed.runs))
    found: StartRun | datetime | None
    if request != handled_requests(observed).rollback:
        found = _run(observed, "Rollback", "Request", f"request:{request}", now, request=request)
    else:
        newest = runs.newest(view.known, "Rollback")
        outlived = newest and newest.start_time and champions and champions[0].since > newest.start_time
        found = None if outlived else _repeated(view, newest)
    if not isinstance(found, StartRun):
        return found
    said = observed.job.rollback
    # A repeat must find that what it was to roll back is gone.
    serving = said.serving or (champions[0].run if champions else None)
    told = Rollback(said.reason or UNEXPLAINED, said.by or ANYBODY, said.to, serving)
    return replace(found, request=request, rollback=told)


def _scheduled(view: _View, cadence: CadenceName, times: Cadence | None) -> StartRun | None:
    if times is None:
        return None
    last = last_schedules(view.observed)
    since = last.train if cadence == "Train" else last.forecast
    missed = due(times, last=since, created=view.observed.job.created_at, now=view.now)
    if missed.time is None:
        return None
    cause = f"schedule:{names.utc_text(missed.time)}"
    return _run(view.observed, cadence, "Schedule", cause, view.now, scheduled_time=missed.time)


def _repeated(view: _View, newest: RunSummary | None) -> StartRun | datetime | None:
    if newest is None or newest.state != "Failed" or not newest.retry or newest.completion_time is None:
        return None
    if newest.run_digest != view.observed.job.run_digest:
        return None  # the training of the new spec issues the forecast that failed
    again = newest.completion_time + _backoff(view.settings, newest.attempt)
    if again > view.now:
        return again
    return _run(view.observed, newest.cadence, "Retry", f"retry:{newest.name}", view.now, attempt=newest.attempt + 1)


def _run(
    observed: Observed,
    cadence: RunKind,
    trigger: Trigger,
    cause: str,
    now: datetime,
    *,
    attempt: int = 1,
    scheduled_time: datetime | None = None,
    request: str | None = None,
) -> StartRun:
    job = observed.job
    assert job.job is not None  # noqa: S101  # told apart by decide
    name = names.run_name(job.job.metadata.name, job.uid, cadence, cause)
    return StartRun(job.uid, name, cadence, trigger, attempt, now, job.run_digest, scheduled_time, request)


def _replaced(view: _View, cadence: RunKind, trigger: Trigger) -> StopRun | None:
    """Return the run to end first, where a scheduled run takes the place of one that is under way."""
    times = cadence_of(view.job, cadence)
    under_way = runs.active(view.observed.runs, cadence)
    if trigger == "Schedule" and times is not None and times.concurrency_policy == "Replace" and under_way:
        return StopRun(under_way[0].name)
    return None


def _may_start(view: _View, cadence: RunKind, trigger: Trigger) -> bool:
    """Return whether a run may start beside those under way: only where the schedule allows it, and of one cadence."""
    times = cadence_of(view.job, cadence)
    allowed = trigger == "Schedule" and times is not None and times.concurrency_policy == "Allow"
    return all(allowed and run.cadence == cadence for run in runs.active(view.observed.runs))


def _backoff(settings: Settings, attempt: int) -> timedelta:
    doubled = timedelta(seconds=settings.retry_after_seconds * 2 ** min(attempt - 1, 16))
    return min(doubled, LONGEST_WAIT)


def _serve(view: _View, again_at: datetime | None) -> Decision:
    observed, job, backend = view.observed, view.job, view.backends.serving
    champions = runs.champions(observed.job, runs.newest_outcome(view.known, observed.runs))
    if job.spec.is_served and champions and not isinstance(backend, Fault):
        wanted = serving_objects(backend, job, uid=observed.job.uid, run=champions[0].run, settings=view.settings)
        kinds, digest = kinds_and_digest(wanted)
        if observed.server is None or (observed.server.kinds, observed.server.desired) != (kinds, digest):
            return Decision(ApplyServer(wanted), "ServerOutOfDate", again_at)
    elif observed.server is not None and not job.spec.is_served:
        return Decision(RemoveServer(), "ServingDisabled", again_at)
    finished = _beyond_history(observed, job, view.known)
    if finished is not None:
        return Decision(DeleteRun(finished.name), "HistoryLimit", again_at)
    return Decision(Nothing(), "Settled", again_at)


def _beyond_history(observed: Observed, job: PredictionJob, known: tuple[RunSummary, ...]) -> ObservedRun | None:
    """Return the oldest finished run that may go: newer ones are kept, and the status on the server tells of it.

    The status has no room for the oldest of very many; it told of them before.
    """
    told = {run.name for run in observed.job.status.runs if run.state in runs.FINISHED}
    told |= {run.name for run in known[runs.RUNS_AT_MOST :]}
    there = {run.name: run for run in observed.runs if not run.deleting}
    beyond: list[RunSummary] = []
    for name in runs.KINDS:
        times = cadence_of(job, name) or _NO_CADENCE
        limits = {"Succeeded": times.successful_jobs_history_limit, "Failed": times.failed_jobs_history_limit}
        for state, limit in limits.items():
            beyond += [one for one in known if one.cadence == name and one.state == state][limit:]
    names_told = {one.name for one in beyond if one.name in there and one.name in told}
    return next((there[one.name] for one in reversed(known) if one.name in names_told), None)
