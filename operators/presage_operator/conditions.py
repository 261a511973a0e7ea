"""The status of a job: conditions, phase and figures, from what is observed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.spec.status import (
    CadenceName,
    Champion,
    ConditionType,
    HandledRequests,
    JobCondition,
    NextRuns,
    Phase,
    PredictionJobStatus,
    RunKind,
    RunSummary,
)
from presage_operator import runs
from presage_operator.capabilities import Backends
from presage_operator.decide import cadence_of
from presage_operator.desired.fault import Fault
from presage_operator.handled import handled_requests, last_schedules
from presage_operator.observed import Observed, ObservedServer
from presage_operator.schedule import next_time

MESSAGE_BYTES = 1024
_VERDICT: tuple[ConditionType, ...] = ("DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted")
_PHASES: dict[RunKind, Phase] = {"Train": "Training", "Forecast": "Forecasting", "Rollback": "Promoting"}
_FAILED_STEP: dict[str, ConditionType] = {
    "DataError": "DataReady",
    "SourceUnavailableError": "DataReady",
    "LeakageError": "FeaturesReady",
}
_PASSING = frozenset({"NotRunYet", "Running", "NotReached"})
"""Reasons of conditions that no run has settled."""
_MODELS_OWN = frozenset({"BetterThanBaseline", "NotWorseThanIncumbent", "Forced"})
"""Reasons for which a model is served; for any other of the gate the best baseline is."""
_ROLLED_BACK = "RolledBack"


@dataclass(frozen=True, slots=True)
class State:
    """What a condition says, before when and of which generation."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _View:
    """What the conditions rest on.

    Attributes:
        observed: What is there, the status of before included.
        known: Summaries of all runs.
        newest: The newest training; of an earlier spec maybe.
        settled: Whether the training that ended well last was of the present spec.
        champions: What was served, the newest first.
        stale_after: When the issued forecast is too old to be relied on, UTC.
        refused: Why the job may not run.
        unserved: Why it may not be served.
    """

    observed: Observed
    known: tuple[RunSummary, ...]
    newest: RunSummary | None
    settled: bool
    champions: tuple[Champion, ...]
    stale_after: datetime | None
    refused: State | None
    unserved: State | None

    @property
    def fault(self) -> State | None:
        return self.refused or self.unserved

    @property
    def current(self) -> RunSummary | None:
        """The newest training, where it is of the present spec."""
        newest = self.newest
        return newest if newest is not None and newest.run_digest == self.observed.job.run_digest else None


def status_of(
    backends: Backends, observed: Observed, now: datetime, *, hindered: Fault | None = None
) -> PredictionJobStatus:
    """Return the status that a job should have.

    Args:
        backends: What runs and what serves.
        observed: What is there, the status of before included.
        now: The time, UTC; only what has changed since is stamped with it.
        hindered: What keeps the operator from what it is to do for the job.
    """
    job = observed.job
    known = runs.history(job, observed.runs, now)
    outcome = runs.newest_outcome(known, observed.runs)
    trained = runs.newest_outcome(known, observed.runs, "Train")
    view = _View(
        observed=observed,
        known=known,
        newest=runs.newest(known, "Train"),
        settled=runs.settles(known, job.run_digest),
        champions=runs.champions(job, outcome),
        stale_after=(outcome and outcome.stale_after) or job.status.stale_after,
        refused=_refused(backends, observed),
        unserved=_unserved(backends, observed),
    )
    states = _verdict(view, trained)
    serving = _serving(view, states["Promoted"])
    ready = _ready(view, serving, now)
    stalled = _stalled(view)
    if hindered is not None:
        stalled = State("True", hindered.reason, hindered.message)
        # What is served goes on being served.
        ready = ready if ready.status == "True" else State("False", hindered.reason, hindered.message)
    states |= {"Serving": serving, "Ready": ready, "Stalled": stalled}
    next_runs = _next_runs(job.job, now) if job.job and not view.refused else None
    times = [time for time in (next_runs.train, next_runs.forecast) if time] if next_runs else []
    handled, scheduled = handled_requests(observed), last_schedules(observed)
    return PredictionJobStatus(
        observed_generation=job.generation,
        phase=_phase(view, ready),
        conditions=_stamped(job.status.conditions, states, job.generation, now),
        scorecard=runs.scorecard(job, trained),
        url=(observed.server.url or None) if observed.server else None,
        next_run=min(times, default=None),
        next_runs=next_runs if times else None,
        last_schedules=scheduled if scheduled.train or scheduled.forecast else None,
        handled_requests=handled if handled != HandledRequests() else None,
        stale_after=view.stale_after,
        runs=runs.kept(known, frozenset(run.name for run in observed.runs)),
        champions=view.champions,
    )


def _refused(backends: Backends, observed: Observed) -> State | None:
    if observed.job.fault:
        return State("True", observed.job.fault_reason, observed.job.fault)
    if isinstance(backends.pipelines, Fault):
        return State("True", backends.pipelines.reason, backends.pipelines.message)
    return None


def _unserved(backends: Backends, observed: Observed) -> State | None:
    job = observed.job.job
    if isinstance(backends.serving, Fault) and job is not None and job.spec.is_served:
        return State("True", backends.serving.reason, backends.serving.message)
    return None


def _verdict(view: _View, trained: RunOutcome | None) -> dict[ConditionType, State]:
    """Return the conditions that a training settles: those of the last that ended well, where it was of this spec."""
    newest = view.current
    if not view.settled:
        return _unsettled(newest)
    told = {one.type: State(one.status, one.reason, one.message) for one in trained.conditions} if trained else {}
    before = {one.type: one for one in view.observed.job.status.conditions}
    ended_well = newest is not None and newest.state == "Succeeded"
    states: dict[ConditionType, State] = {}
    for type_ in _VERDICT:
        known = before.get(type_)
        passing = known is None or known.reason in _PASSING
        of_this_spec = known is not None and known.observed_generation == view.observed.job.generation
        if type_ in told and (ended_well or passing or not of_this_spec):
            states[type_] = told[type_]
        elif known is None or passing:
            states[type_] = State("Unknown", "OutcomeGone", "what the run told that settled it is not kept")
        else:
            states[type_] = State(known.status, known.reason, known.message)
    if newest is not None and newest.state == "Failed":
        states |= _failed_step(newest)
    return states


def _unsettled(newest: RunSummary | None) -> dict[ConditionType, State]:
    if newest is None:
        state = State("Unknown", "NotRunYet", "no run of this spec was started yet")
    elif newest.state == "Failed":
        state = State("Unknown", "NotReached", f"run {newest.name} failed before it was known")
    else:
        state = State("Unknown", "Running", f"run {newest.name} is under way")
    states: dict[ConditionType, State] = dict.fromkeys(_VERDICT, state)
    return states | _failed_step(newest) if newest is not None and newest.state == "Failed" else states


def _failed_step(run: RunSummary) -> dict[ConditionType, State]:
    return {_FAILED_STEP.get(run.reason, "Trained"): State("False", *_failure(run))}


def _failure(run: RunSummary) -> tuple[str, str]:
    return run.reason or "RunFailed", run.message or f"run {run.name} failed"


def _serving(view: _View, promoted: State) -> State:
    job, server = view.observed.job.job, view.observed.server
    if job is not None and not job.spec.is_served:
        return State("False", "Disabled", "the job says that nothing is served")
    if view.unserved is not None and server is None:
        return State("False", view.unserved.reason, view.unserved.message)
    if not view.champions:
        return State("False", "NothingToServe", "no run has ended well yet")
    if server is None:
        return State("False", "ServerMissing", "the server is not there yet")
    if not server.available:
        return State("False", server.reason or "ServerStarting", server.message or "the server does not answer yet")
    if server.reason and not _is_current(server, view.champions[0]):
        return State("True", server.reason, f"forecasts still come from the model before: {server.message}")
    return State("True", *_served(view.champions[0], promoted))


def _served(champion: Champion, promoted: State) -> tuple[str, str]:
    if champion.reason == _ROLLED_BACK:
        why = f": {champion.message}" if champion.message else ""
        return "RolledBack", f"forecasts come from {champion.model} of run {champion.run}, by a rollback{why}"
    if champion.reason not in _MODELS_OWN:
        return "BaselineServed", f"forecasts come from the best baseline, {champion.model}"
    if promoted.status == "False":
        return "IncumbentServed", f"forecasts still come from the incumbent, {champion.model}"
    return "ChampionServed", f"forecasts come from {champion.model}"


def _is_current(server: ObservedServer, champion: Champion) -> bool:
    """Return whether all that answer are of the newest template, and that is the champion's."""
    return server.current and server.run == champion.run


def _stalled(view: _View) -> State:
    run = view.current
    if view.fault is not None:
        return view.fault
    if run is not None and run.state == "Failed":
        if not run.retry:
            return State("True", *_failure(run))
        return State("False", "Retrying", f"run {run.name} failed and is tried again")
    return State("False", "Progressing", "nothing holds the job up")


def _ready(view: _View, serving: State, now: datetime) -> State:
    job, server, fault = view.observed.job.job, view.observed.server, view.fault
    if fault is not None:
        return State("False", fault.reason, fault.message)
    if job is None or view.current is None or not view.settled:
        return _not_run(view)
    if job.spec.monitoring.max_staleness is not None and view.stale_after is not None and view.stale_after <= now:
        until = f"{view.stale_after:%Y-%m-%d %H:%M} UTC"
        return State("False", "Stale", f"the newest forecast was to be relied on until {until}")
    if not job.spec.is_served:
        return State("True", "Complete", "the newest run has ended well; nothing is to be served")
    if serving.status != "True":
        return State("False", serving.reason, serving.message)
    if server is not None and not _is_current(server, view.champions[0]) and not _was_ready(view.observed):
        waits = server.message or "servers of the last model are still being replaced"
        return State("False", server.reason or "RollingOut", waits)
    return State("True", serving.reason, serving.message)


def _was_ready(observed: Observed) -> bool:
    """Return whether the job was ready under the present spec: a refit that rolls out does not take that away."""
    before = next((one for one in observed.job.status.conditions if one.type == "Ready"), None)
    return before is not None and before.status == "True" and before.observed_generation == observed.job.generation


def _not_run(view: _View) -> State:
    job, run = view.observed.job.job, view.current
    if run is None:
        held = job is not None and job.spec.schedule.train is not None and job.spec.schedule.train.suspend
        if held:
            return State("False", "Suspended", "training is suspended, and no run of this spec was started")
        return State("False", "Pending", "no run of this spec was started yet")
    if run.state == "Failed":
        return State("False", *_failure(run))
    if run.reason:
        return State("False", run.reason, run.message or f"run {run.name} is held up")
    return State("False", run.state, f"run {run.name} is under way")


def _phase(view: _View, ready: State) -> Phase:
    if view.refused is not None:
        return "Failed"
    under_way = [run for run in view.known if run.state not in runs.FINISHED]
    running = next((run for run in under_way if run.state == "Running"), None)
    if running is not None:
        return _PHASES[running.cadence]
    if ready.reason == "Suspended":
        return "Suspended"
    if ready.status == "True":
        return "Complete" if ready.reason == "Complete" else "Serving"
    if under_way:
        return "Pending"
    failed = view.current is not None and view.current.state == "Failed"
    return "Failed" if failed or view.unserved is not None else "Pending"


def _next_runs(job: PredictionJob, now: datetime) -> NextRuns:
    def following(name: CadenceName) -> datetime | None:
        cadence = cadence_of(job, name)
        return None if cadence is None or cadence.suspend else next_time(cadence, now)

    return NextRuns(train=following("Train"), forecast=following("Forecast"))


def _stamped(
    before: tuple[JobCondition, ...], states: dict[ConditionType, State], generation: int, now: datetime
) -> tuple[JobCondition, ...]:
    old = {one.type: one for one in before}
    stamped = []
    for type_, state in states.items():
        known = old.get(type_)
        since = known.last_transition_time if known is not None and known.status == state.status else now
        stamped.append(
            JobCondition(
                type=type_,
                status=state.status,
                reason=state.reason,
                message=runs.sentence(state.message, MESSAGE_BYTES),
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    order = ("Ready", "Stalled", *_VERDICT, "Serving")
    return tuple(sorted(stamped, key=lambda one: order.index(one.type)))
