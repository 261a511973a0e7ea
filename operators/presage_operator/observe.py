"""From what is kept of a job and its children to one frozen value to decide upon."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache

from pydantic import JsonValue, ValidationError

from presage.errors import JobError
from presage.spec.digest import run_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.spec.load import read_job
from presage.spec.outcome import RunOutcome
from presage.spec.status import PredictionJobStatus, RunKind
from presage_operator.allowed import refused_places
from presage_operator.cache import Cache
from presage_operator.desired.job_file import size_fault
from presage_operator.desired.server import name_fault
from presage_operator.names import Key
from presage_operator.observed import Observed, ObservedJob, ObservedRun, ObservedServer
from presage_operator.pipeline_run import CANCELLED
from presage_operator.records import JobRecord, PodRecord, RunRecord, ServerRecord
from presage_operator.settings import Settings

Place = tuple[int | str, ...]
"""Where in JSON something stands: names and indices from its root."""

_REMEMBERED = 128
_MAIN = ("InferenceService", "Deployment")
# What a Pod, which was stopped or ended with some exit code, cannot say of itself.
_SAID_BY_THE_JOB = frozenset({"DeadlineExceeded", "PodFailurePolicy"})


@dataclass(frozen=True, slots=True)
class ReadJob:
    """What a job's document says.

    Attributes:
        job: The job; None where it cannot be read.
        reason: What keeps it from running, as one CamelCase word; empty where nothing does.
        fault: The same as a sentence.
        run_digest: Digest of the part of the spec that a run's result depends on.
        spec_digest: Digest of the spec.
    """

    job: PredictionJob | None
    reason: str = ""
    fault: str = ""
    run_digest: str = ""
    spec_digest: str = ""


class JobReader:
    """Reads documents of jobs, and remembers the newest: one reconcile reads the same one several times."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.read = lru_cache(_REMEMBERED)(self._read)

    def _read(self, document: bytes) -> ReadJob:
        try:
            job = read_job(json.loads(document), "the PredictionJob")
        except JobError as error:
            return ReadJob(None, "InvalidSpec", "; ".join(str(problem) for problem in error.problems) or str(error))
        reason, fault = self._fault(job)
        return ReadJob(job, reason, fault, run_digest(job), spec_digest(job))

    def _fault(self, job: PredictionJob) -> tuple[str, str]:
        refused = refused_places(job, self._settings)
        if refused:
            return "SourceNotAllowed", "; ".join(str(problem) for problem in refused)
        fault = size_fault(job) or name_fault(job)
        return (fault.reason, fault.message) if fault is not None else ("", "")


def observe(
    cache: Cache, key: Key, reader: JobReader, *, pipeline_runs: tuple[ObservedRun, ...] = ()
) -> Observed | None:
    """Return what is there of a job; None where the job is gone.

    Args:
        cache: What is known of the cluster.
        key: Which job.
        reader: Reads the job's document.
        pipeline_runs: The job's runs that the API server does not hold.
    """
    record = cache.job(key)
    if record is None:
        return None
    children = cache.children(key)
    pods = tuple(children.pods.values())
    # What a job of the same name left, that was deleted before, is on its way out: it is none of this one's.
    steps = tuple(pod for pod in pods if pod.job_uid == record.uid)
    return Observed(
        job=_job(record, reader.read(record.document)),
        runs=(
            *(_run(run, pods) for run in children.runs.values() if run.owner == record.uid),
            *(_pipeline_run(run, steps) for run in pipeline_runs),
        ),
        server=_server({kind: part for (kind, _), part in children.servers.items() if part.owner == record.uid}),
    )


def _job(record: JobRecord, read: ReadJob) -> ObservedJob:
    requests: dict[RunKind, str | None] = {
        "Train": record.train_request,
        "Forecast": record.forecast_request,
        "Rollback": record.rollback_request,
    }
    return ObservedJob(
        job=read.job,
        fault=read.fault,
        fault_reason=read.reason,
        uid=record.uid,
        generation=record.generation,
        resource_version=record.resource_version,
        created_at=record.created_at,
        deleting=record.deleted_at is not None,
        deleted_at=record.deleted_at,
        finalizers=record.finalizers,
        requested={name: value for name, value in requests.items() if value},
        run_digest=read.run_digest,
        spec_digest=read.spec_digest,
        status=_status(record.status),
        rollback=record.rollback,
    )


def _status(content: bytes) -> PredictionJobStatus:
    try:
        return PredictionJobStatus.model_validate_json(content)
    except ValidationError:
        return _what_is_left(content)


def _what_is_left(content: bytes) -> PredictionJobStatus:
    """Return what can be read of a status that another version wrote, or a person: the rest is told anew.

    What is not understood is dropped alone; what lacks a field that it needs by then is dropped with it.
    """
    try:
        status: JsonValue = json.loads(content)
    except ValueError:
        return PredictionJobStatus()
    while True:
        try:
            return PredictionJobStatus.model_validate(status)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
        before = status
        status = _without(status, {one["loc"][:-1] if one["type"] == "missing" else one["loc"] for one in faults})
        if status == before:
            return PredictionJobStatus()


def _without(value: JsonValue, places: Set[Place], here: Place = ()) -> JsonValue:
    if isinstance(value, dict):
        inside = ((name, one, (*here, name)) for name, one in value.items())
        return {name: _without(one, places, place) for name, one, place in inside if place not in places}
    if isinstance(value, list):
        entries = ((one, (*here, index)) for index, one in enumerate(value))
        return [_without(one, places, place) for one, place in entries if place not in places]
    return value


def _run(record: RunRecord, pods: Iterable[PodRecord]) -> ObservedRun:
    run = record.run
    own = (pod for pod in pods if pod.run == run.name and pod.owner == record.uid)
    newest = max(own, key=lambda pod: (pod.created_at, pod.name), default=None)
    if newest is None:
        return run
    if run.completed_at is not None:
        run = replace(run, outcome=_outcome(newest.outcome))
    if not newest.reason or run.state == "Succeeded":
        return run
    reason = run.reason if run.reason in _SAID_BY_THE_JOB else newest.reason
    return replace(run, reason=reason, message=_sentence(newest))


def _pipeline_run(run: ObservedRun, pods: Iterable[PodRecord]) -> ObservedRun:
    """Return a pipeline run with what the Pods of its steps tell: the API knows how it ended, they know why."""
    steps = sorted((pod for pod in pods if pod.run == run.name), key=lambda pod: (pod.created_at, pod.name))
    if run.state == "Succeeded":
        told = (_outcome(pod.outcome) for pod in reversed(steps))
        # A step that was repeated may have told of a failure first.
        return replace(run, outcome=next((one for one in told if one is not None and one.failure is None), None))
    if not steps or run.reason == CANCELLED:
        return run
    if run.completed_at is None:
        newest = steps[-1]
        return replace(run, reason=newest.reason, message=_sentence(newest)) if newest.reason else run
    worst = max(reversed(steps), key=_weight)
    if not worst.reason:
        return run
    outcome = _outcome(worst.outcome)
    failed = outcome is not None and outcome.failure is not None
    return replace(run, outcome=outcome if failed else None, reason=worst.reason, message=_sentence(worst))


def _weight(pod: PodRecord) -> tuple[bool, bool, bool]:
    """Return how much a Pod explains of its run's failure; of equals, the newest does."""
    outcome = _outcome(pod.outcome)
    failure = outcome.failure if outcome is not None else None
    final = failure is not None and not failure.retry
    # Steps that were stopped because another failed end with an exit code and without a word.
    return bool(pod.reason), final, failure is not None or pod.reason not in {"", "Error"}


def _outcome(message: bytes) -> RunOutcome | None:
    if not message.startswith(b"{"):
        return None
    try:
        return RunOutcome.model_validate_json(message)
    except ValidationError:
        return None


def _sentence(pod: PodRecord) -> str:
    """Return a Pod's trouble as a sentence, with the last line that it printed."""
    lines = pod.outcome.decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines and not lines[-1].startswith("{") else ""
    return ": ".join(part for part in (pod.message, last) if part)


def _server(parts: Mapping[str, ServerRecord]) -> ObservedServer | None:
    if not parts:
        return None
    kinds = frozenset(parts)
    main = next((parts[kind] for kind in _MAIN if kind in parts), None)
    if main is None:
        # A removal that came to no end left them, or somebody deleted the Deployment from among them.
        return ObservedServer(run="", kinds=kinds, desired="", available=False, current=False, url="")
    same = all(part.desired == main.desired for part in parts.values())
    return ObservedServer(
        run=main.run,
        kinds=kinds,
        desired=main.desired if same else "",
        available=main.available,
        current=main.current,
        url=main.url,
        reason=main.reason,
        message=main.message,
    )
