"""Jobs, runs and servers as the operator sees them, with defaults; and a small world in which they behave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import yaml

from presage.spec.digest import run_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import Failure, OutcomeCondition, RunOutcome
from presage.spec.status import CadenceName, Champion, JobCondition, PredictionJobStatus, ScorecardSummary
from presage_operator.actions import (
    Action,
    ApplyServer,
    DeleteRun,
    Guard,
    Nothing,
    RemoveServer,
    StartRun,
    StopRun,
)
from presage_operator.capabilities import Backends
from presage_operator.conditions import status_of
from presage_operator.decide import Decision, decide
from presage_operator.desired.serving import kinds_and_digest, serving_objects
from presage_operator.names import run_name
from presage_operator.observed import Observed, ObservedJob, ObservedRun, ObservedServer
from presage_operator.settings import Settings

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""A Monday, noon."""
MINUTE = timedelta(minutes=1)
UID = "7b7e3f0c-0b8f-4b0e-9a52-3a3f2f1d9c11"
SETTINGS = Settings()
BACKENDS = Backends("job", "deployment")
TEXT = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: sp500, namespace: desk}
spec:
  frequency: 1d
  target: {source: sp500, column: range_volatility, minimum: 0}
  sources: [{name: sp500, dataset: {name: arch/sp500}, timeZone: America/New_York, availability: {lag: 0s}}]
"""
VERDICT = ("DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted")


def a_job(**spec: object) -> PredictionJob:
    """A job with some of its spec's fields given."""
    content = yaml.safe_load(TEXT)
    content["spec"] |= spec
    return PredictionJob.model_validate(content)


JOB = a_job()
OTHER = a_job(seed=2)
NAME = JOB.metadata.name


def scheduled(train: dict[str, object] | None = None, forecast: dict[str, object] | None = None) -> PredictionJob:
    """A job with cadences."""
    return a_job(schedule={name: each for name, each in (("train", train), ("forecast", forecast)) if each})


def observed(
    job: PredictionJob = JOB,
    *runs: ObservedRun,
    generation: int = 1,
    status: PredictionJobStatus | None = None,
    server: ObservedServer | None = None,
    requested: dict[CadenceName, str] | None = None,
    created_at: datetime = NOW,
    deleted_at: datetime | None = None,
    finalizers: tuple[str, ...] = (),
) -> Observed:
    """All that is seen of a job."""
    seen = ObservedJob(
        job=job,
        fault="",
        fault_reason="",
        uid=UID,
        generation=generation,
        resource_version="1",
        created_at=created_at,
        deleting=deleted_at is not None,
        deleted_at=deleted_at,
        finalizers=finalizers,
        requested=requested or {},
        run_digest=run_digest(job),
        spec_digest=spec_digest(job),
        status=status or PredictionJobStatus(),
    )
    return Observed(seen, runs, server)


def refused(seen: Observed, reason: str = "SourceNotAllowed", message: str = "the host is not allowed") -> Observed:
    """The same, with a fault that keeps the job from running."""
    return replace(seen, job=replace(seen.job, fault=message, fault_reason=reason))


def unreadable(seen: Observed) -> Observed:
    """The same, of a job that cannot be read."""
    gone = replace(seen.job, job=None, fault="spec.frequency: missing", fault_reason="InvalidSpec", run_digest="")
    return replace(seen, job=replace(gone, spec_digest=""))


def a_run(
    name: str = "sp500-00000001",
    job: PredictionJob = JOB,
    state: str = "Succeeded",
    *,
    cadence: CadenceName = "Train",
    at: datetime = NOW,
    minutes: int = 1,
    outcome: RunOutcome | None = None,
    **changes: object,
) -> ObservedRun:
    """A run's child: one that started at a time and, where it ended, took so many minutes."""
    ended = state in {"Succeeded", "Failed"}
    if state == "Succeeded" and outcome is None and "outcome" not in changes:
        outcome = an_outcome(name)
    made = ObservedRun(
        name=name,
        cadence=cadence,
        trigger="Spec",
        state=state,
        attempt=1,
        run_digest=run_digest(job),
        scheduled_time=None,
        request=None,
        created_at=at,
        completed_at=at + minutes * MINUTE if ended else None,
        deleting=False,
        outcome=outcome,
    )
    return replace(made, **changes)


def a_failure(
    name: str = "sp500-00000001",
    *,
    retry: bool = True,
    reason: str = "SourceUnavailableError",
    message: str = "the source does not answer.",
    **changes: object,
) -> ObservedRun:
    """A run that failed and told why."""
    told = RunOutcome(failure=Failure(reason=reason, message=message, retry=retry))
    return a_run(name, state="Failed", outcome=told, reason="Error", **changes)


def any_run(
    name: str, cadence: CadenceName, state: str, at: datetime, minutes: int, job: PredictionJob, **how: object
) -> ObservedRun:
    """A run in any state; of one that ended, `ending` says what its Pod told: told, told for good, or silent."""
    changes: dict[str, object] = {"cadence": cadence, "at": at, "minutes": minutes, "deleting": how["deleting"]}
    if state == "Failed":
        made = a_failure(name, job=job, retry=how["ending"] == "told", **changes)
    else:
        made = a_run(name, job, state, **changes)
    return silent(made) if how["ending"] == "silent" else made


def silent(run: ObservedRun) -> ObservedRun:
    """The same run, whose Pod is gone."""
    return replace(run, outcome=None, reason="BackoffLimitExceeded" if run.state == "Failed" else "")


def a_champion(run: str, model: str = "ridge", reason: str = "BetterThanBaseline") -> Champion:
    """What is served since a run."""
    return Champion(model=model, run=run, since=NOW, reason=reason, digest="sha256:" + "a" * 64)


def an_outcome(
    run: str, *, champion: Champion | None = None, promoted: bool = True, stale_after: datetime | None = None
) -> RunOutcome:
    """How a training ended well."""
    return RunOutcome(
        run=run,
        conditions=tuple(
            OutcomeCondition(
                type=type_,
                status="True" if promoted or type_ != "Promoted" else "False",
                reason="Passed" if promoted or type_ != "Promoted" else "WorseThanIncumbent",
                message=f"{run} says so",
            )
            for type_ in VERDICT
        ),
        scorecard=ScorecardSummary(model="ridge", skill=0.25, coverage=0.9, digest="sha256:" + "b" * 64, run=run),
        champion=champion or a_champion(run),
        stale_after=stale_after,
    )


def a_forecast_outcome(champion: Champion, stale_after: datetime | None = None) -> RunOutcome:
    """How a forecast ended well."""
    return RunOutcome(run=champion.run, champion=champion, stale_after=stale_after)


def a_server(job: PredictionJob = JOB, run: str = "sp500-00000001", **changes: object) -> ObservedServer:
    """A server of a run that answers."""
    kinds, digest = kinds_and_digest(serving_objects("deployment", job, uid=UID, run=run, settings=SETTINGS))
    made = ObservedServer(
        run=run, kinds=kinds, desired=digest, available=True, current=True, url="http://sp500-predictor.desk.svc"
    )
    return replace(made, **changes)


def decided(
    seen: Observed, now: datetime = NOW, *, backends: Backends = BACKENDS, settings: Settings = SETTINGS
) -> Decision:
    """What is to be done."""
    return decide(settings, backends, seen, now)


def status(seen: Observed, now: datetime = NOW, *, backends: Backends = BACKENDS) -> PredictionJobStatus:
    """The status that the API server gives back once it was written."""
    made = status_of(backends, seen, now)
    return PredictionJobStatus.model_validate_json(made.model_dump_json(by_alias=True, exclude_none=True))


def told(seen: Observed, now: datetime = NOW, *, backends: Backends = BACKENDS) -> Observed:
    """The same, once its status was written."""
    return replace(seen, job=replace(seen.job, status=status(seen, now, backends=backends)))


def condition(of: PredictionJobStatus, type_: str = "Ready") -> JobCondition:
    """One condition of a status."""
    return next(one for one in of.conditions if one.type == type_)


def named(cause: str, cadence: CadenceName = "Train") -> str:
    """The name of a run for a cause."""
    return run_name(NAME, UID, cadence, cause)


@dataclass
class World:
    """A job and its children under an operator: actions have their effects, and the status is written after each.

    Attributes:
        seen: What is there.
        now: The time, UTC.
        actions: What was done, by the name of the action.
        starts: The runs that were started.
    """

    seen: Observed
    now: datetime = NOW
    backends: Backends = BACKENDS
    actions: list[str] = field(default_factory=list)
    starts: list[StartRun] = field(default_factory=list)

    def settle(self, most: int = 30) -> Decision:
        """Decide and act until nothing is to be done."""
        for _ in range(most):
            decision = decided(self.seen, self.now, backends=self.backends)
            self._act(decision.action)
            self.seen = told(self.seen, self.now, backends=self.backends)
            if isinstance(decision.action, Nothing):
                return decision
            self.actions.append(type(decision.action).__name__)
        raise AssertionError(f"it does not come to rest: {self.actions}")

    def respec(self, job: PredictionJob) -> None:
        """Change the spec."""
        changed = replace(
            self.seen.job,
            job=job,
            generation=self.seen.job.generation + 1,
            run_digest=run_digest(job),
            spec_digest=spec_digest(job),
        )
        self.seen = replace(self.seen, job=changed)

    def retrain(self, job: PredictionJob) -> None:
        """Change the spec, and let the training of it end well."""
        self.respec(job)
        self.settle()
        self.end_well()
        self.settle()

    def request(self, cadence: CadenceName, value: str) -> None:
        """Ask for a run now."""
        asked = {**self.seen.job.requested, cadence: value}
        self.seen = replace(self.seen, job=replace(self.seen.job, requested=asked))

    def under_way(self) -> tuple[ObservedRun, ...]:
        """The runs that go on."""
        return tuple(run for run in self.seen.runs if run.completed_at is None)

    def go_on(self, change: Callable[[ObservedRun], ObservedRun | None]) -> None:
        """Change each run that is under way; None takes it away."""
        changed = (change(run) if run.completed_at is None else run for run in self.seen.runs)
        self.seen = replace(self.seen, runs=tuple(run for run in changed if run is not None))

    def vanish(self) -> None:
        """Let the children that are being deleted go."""
        self.seen = replace(self.seen, runs=tuple(run for run in self.seen.runs if not run.deleting))

    def forget_pods(self) -> None:
        """Let the Pods of what has ended go."""
        left = (silent(run) if run.completed_at is not None else run for run in self.seen.runs)
        self.seen = replace(self.seen, runs=tuple(left))

    def end_well(self) -> None:
        """Let all that is under way end well."""
        champion = self.seen.job.status.champions[0] if self.seen.job.status.champions else None

        def ended(run: ObservedRun) -> ObservedRun:
            forecast = run.cadence == "Forecast" and champion is not None
            outcome = a_forecast_outcome(champion) if forecast else an_outcome(run.name)
            return replace(run, state="Succeeded", completed_at=self.now, outcome=outcome)

        self.go_on(ended)

    def fail(self, *, retry: bool) -> None:
        """Let all that is under way fail."""
        told_of = RunOutcome(failure=Failure(reason="DataError", message="a column is missing.", retry=retry))
        self.go_on(lambda run: replace(run, state="Failed", completed_at=self.now, outcome=told_of))

    def _act(self, action: Action) -> None:
        runs = self.seen.runs
        match action:
            case StartRun():
                if all(run.name != action.name for run in runs):
                    runs = (*runs, self._started(action))
                self.starts.append(action)
            case StopRun(name) | DeleteRun(name):
                runs = tuple(replace(run, deleting=True) if run.name == name else run for run in runs)
            case ApplyServer(objects):
                kinds, digest = kinds_and_digest(objects)
                run = next(
                    str(one["spec"]["template"]["metadata"]["annotations"]["presage.dev/run"])
                    for one in objects
                    if one["kind"] == "Deployment"
                )
                served = ObservedServer(run, kinds, digest, available=True, current=True, url="http://server")
                self.seen = replace(self.seen, server=served)
            case RemoveServer():
                self.seen = replace(self.seen, server=None)
            case Guard():
                guarded = replace(self.seen.job, finalizers=("presage.dev/pipeline-run",))
                self.seen = replace(self.seen, job=guarded)
        self.seen = replace(self.seen, runs=runs)

    def _started(self, action: StartRun) -> ObservedRun:
        return ObservedRun(
            name=action.name,
            cadence=action.cadence,
            trigger=action.trigger,
            state="Pending",
            attempt=action.attempt,
            run_digest=action.run_digest,
            scheduled_time=action.scheduled_time,
            request=action.request,
            created_at=self.now,
            completed_at=None,
            deleting=False,
            outcome=None,
        )


def served(job: PredictionJob = JOB) -> World:
    """A job whose first training ended well and is served."""
    world = World(observed(job))
    world.settle()
    world.end_well()
    world.settle()
    return world
