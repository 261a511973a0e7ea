"""What a job's runs amount to: the history in its status, the newest verdict, the champion. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from presage.spec.outcome import RunOutcome
from presage.spec.status import Champion, RunKind, RunSummary, ScorecardSummary
from presage_operator.observed import ObservedJob, ObservedRun

RUNS_AT_MOST = 100
CANCELLED_AT_MOST = 10
"""How many cancelled runs that are gone are told of: nothing rests on them."""
CHAMPIONS_AT_MOST = 20
MESSAGE_BYTES = 300
"""Longest message of a run, reason of a champion and words of it: all together, they must fit the object."""
NAME_BYTES = 64
"""Longest name of who rolled back."""
OUTCOME_WAIT = timedelta(seconds=30)
"""How long a Job that ended well may be seen before its Pod: they come by watches of their own."""
KINDS: tuple[RunKind, ...] = ("Rollback", "Train", "Forecast")
"""What runs are for, the most urgent first."""
FINISHED = frozenset({"Succeeded", "Failed", "Cancelled"})
OUTCOME_LOST = "OutcomeLost"
DELETED = "Deleted"
FINAL_EXIT_CODE = "PodFailurePolicy"
"""Reason of a Job that ended with an exit code that no repeat mends."""
JOB_REASONS = frozenset({"", "BackoffLimitExceeded", FINAL_EXIT_CODE, "DeadlineExceeded", "PipelineFailed"})
"""What a Job or a pipeline run says of its failure; its Pods say more, as long as they are there."""


def history(job: ObservedJob, runs: Iterable[ObservedRun], now: datetime) -> tuple[RunSummary, ...]:
    """Return the summaries of all runs that are known, the newest first.

    What the status says of a run that is gone stays; a run that was under way when it went was cancelled.
    """
    seen = {run.name: run for run in runs}
    known = {summary.name: summary for summary in job.status.runs}
    merged = [_summary(run, known.get(name), now) for name, run in seen.items()]
    for name, summary in known.items():
        if name in seen:
            continue
        if summary.state in FINISHED:
            merged.append(summary)
        else:
            gone = {"state": "Cancelled", "reason": DELETED, "completion_time": now}
            merged.append(summary.model_copy(update=gone))
    # The API server stamps whole seconds: of runs of one second, those that the status does not tell of are newer.
    places = {summary.name: place for place, summary in enumerate(job.status.runs)}
    return tuple(
        sorted(merged, key=lambda one: (_seconds(one.start_time), -places.get(one.name, -1), one.name), reverse=True)
    )


def kept(known: tuple[RunSummary, ...], there: frozenset[str]) -> tuple[RunSummary, ...]:
    """Return the summaries that the status has room for, the newest first.

    Those that decisions rest on come first, then those whose child is there: else it would seem new once more. Of
    cancelled runs that are gone, only the newest few stay.
    """
    cancelled = [one.name for one in known if one.state == "Cancelled" and one.name not in there]
    dropped = frozenset(cancelled[CANCELLED_AT_MOST:])
    known = tuple(one for one in known if one.name not in dropped)
    needed = {
        one.name
        for cadence in KINDS
        for one in (newest(known, cadence), newest_success(known, cadence))
        if one is not None
    }
    ranked = sorted(known, key=lambda one: (one.name not in needed, one.name not in there))[:RUNS_AT_MOST]
    names = {one.name for one in ranked}
    return tuple(one for one in known if one.name in names)


def newest(summaries: Iterable[RunSummary], cadence: RunKind) -> RunSummary | None:
    """Return the newest run of a cadence that was not cancelled."""
    return next((one for one in summaries if one.cadence == cadence and one.state != "Cancelled"), None)


def newest_success(summaries: Iterable[RunSummary], cadence: RunKind | None = None) -> RunSummary | None:
    """Return the run that ended well last, of one cadence or of both; the summaries come the newest first."""
    ended = [one for one in summaries if one.state == "Succeeded" and cadence in {None, one.cadence}]
    return max(ended, key=lambda one: _seconds(one.completion_time), default=None)


def settles(summaries: Iterable[RunSummary], run_digest: str) -> bool:
    """Return whether the training that ended well last was of this spec: its verdict and its champion stand."""
    last = newest_success(summaries, "Train")
    return last is not None and last.run_digest == run_digest


def active(runs: Iterable[ObservedRun], cadence: RunKind | None = None) -> tuple[ObservedRun, ...]:
    """Return the runs that are under way, of one cadence or of both, the oldest first."""
    found = (run for run in runs if run.completed_at is None and not run.deleting and cadence in {None, run.cadence})
    return tuple(sorted(found, key=lambda run: (run.created_at, run.name)))


def newest_outcome(
    summaries: Iterable[RunSummary], runs: Iterable[ObservedRun], cadence: RunKind | None = None
) -> RunOutcome | None:
    """Return what the run told that ended well last; None where that cannot be read any more.

    Then the status knows it already. An earlier run's word is never taken for it: its champion is no longer served.
    """
    last = newest_success(summaries, cadence)
    return next((_outcome(run) for run in runs if last is not None and run.name == last.name), None)


def outcome_due(run: ObservedRun) -> datetime | None:
    """Return until when a run that ended well may still tell its outcome; None where nothing is waited for."""
    if run.state != "Succeeded" or run.completed_at is None or _outcome(run) is not None:
        return None
    return run.completed_at + OUTCOME_WAIT


def champions(job: ObservedJob, outcome: RunOutcome | None) -> tuple[Champion, ...]:
    """Return what was served, the newest first, with the champion of the newest outcome at its head."""
    before = job.status.champions
    if outcome is None or outcome.champion is None:
        return before
    now = outcome.champion
    if before and (before[0].run, before[0].model) == (now.run, now.model):
        return before
    words = {
        "reason": sentence(now.reason, MESSAGE_BYTES) or "Unknown",
        "message": now.message and sentence(now.message, MESSAGE_BYTES),
        "by": now.by and sentence(now.by, NAME_BYTES),
    }
    return (now.model_copy(update=words), *before)[:CHAMPIONS_AT_MOST]


def scorecard(job: ObservedJob, outcome: RunOutcome | None) -> ScorecardSummary | None:
    """Return the newest scorecard in short, from the newest outcome of a training."""
    return outcome.scorecard if outcome and outcome.scorecard else job.status.scorecard


def sentence(text: str, longest: int) -> str:
    """Return a text as one line of so many bytes at most, without what no terminal should be sent."""
    shown = text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(shown.split())
    if len(line.encode(errors="replace")) <= longest:
        return line
    return line.encode(errors="replace")[: longest - len("…".encode())].decode(errors="ignore") + "…"


def _outcome(run: ObservedRun) -> RunOutcome | None:
    """Return what a run told; the failure of a Pod before its last is none of a run that ended well."""
    outcome = run.outcome
    return None if outcome is not None and outcome.failure is not None and run.state == "Succeeded" else outcome


def _summary(run: ObservedRun, before: RunSummary | None, now: datetime) -> RunSummary:
    outcome = _outcome(run)
    if before is not None and outcome is None and _told(run, before):
        return before
    state, reason, message = run.state, run.reason, run.message
    retry = state == "Failed" and reason != FINAL_EXIT_CODE
    due = outcome_due(run)
    if due is not None and now < due:
        state = "Running"
    elif due is not None:
        # A repeat finds the same and says it again.
        message = "the run ended well, but its Pod was gone before it was read"
        state, reason, retry = "Failed", OUTCOME_LOST, True
    elif outcome is not None and outcome.failure is not None:
        reason, message, retry = outcome.failure.reason, outcome.failure.message, outcome.failure.retry
    finished = state in FINISHED
    return RunSummary(
        name=run.name,
        cadence=run.cadence,
        trigger=run.trigger,
        state=state,
        attempt=run.attempt,
        run_digest=run.run_digest or None,
        run=outcome.run if outcome else None,
        reason=reason[:128],
        message=sentence(message, MESSAGE_BYTES),
        retry=retry and state == "Failed",
        start_time=run.created_at,
        completion_time=run.completed_at if finished else None,
        spec_digest=outcome.spec_digest if outcome else None,
        scorecard_digest=outcome.scorecard.digest if outcome and outcome.scorecard else None,
    )


def _told(run: ObservedRun, before: RunSummary) -> bool:
    """Return whether the status tells of a run's end what its Pods, which are gone since, no longer do."""
    if run.completed_at is None or before.start_time != run.created_at:
        return False
    return before.state in {"Succeeded", "Failed"} and (run.state == "Succeeded" or run.reason in JOB_REASONS)


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
