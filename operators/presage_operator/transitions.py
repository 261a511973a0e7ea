"""Events: what to tell people when a job's state changes, from the status before and after. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from presage.spec.status import JobCondition, PredictionJobStatus, RunSummary
from presage_operator.runs import sentence

LONGEST_NOTE = 1024
"""Bytes; the API server takes no longer ones."""
_TOLD = ("Promoted", "Serving", "Ready", "Stalled")


@dataclass(frozen=True, slots=True)
class Note:
    """An event in the words of Kubernetes."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    message: str


def transitions(before: PredictionJobStatus, after: PredictionJobStatus) -> tuple[Note, ...]:
    """Return what changed: runs that started or ended, conditions whose status turned."""
    known = {run.name: run for run in before.runs}
    notes = [note for run in reversed(after.runs) if (note := _run(known.get(run.name), run))]
    held = {one.type: one for one in before.conditions}
    turned = (one for one in after.conditions if one.type in _TOLD and _turned(held.get(one.type), one))
    return (*notes, *(_condition(one) for one in turned))


def _run(before: RunSummary | None, after: RunSummary) -> Note | None:
    name = f"{after.cadence.lower()} run {after.name}"
    if before is not None and before.state == after.state:
        return None
    if after.state == "Failed":
        message = f"{name} failed: {after.message or after.reason}"
        return Note("Warning", after.reason or "RunFailed", "Run", sentence(message, LONGEST_NOTE))
    if after.state == "Succeeded":
        return Note("Normal", "RunSucceeded", "Run", f"{name} succeeded")
    if after.state == "Cancelled":
        return Note("Normal", "RunCancelled", "Run", f"{name} was cancelled")
    if before is None:
        return Note("Normal", "RunStarted", "Run", f"{name} was started ({after.trigger})")
    return None


def _turned(before: JobCondition | None, after: JobCondition) -> bool:
    """Return whether a condition turned; that one is not yet met, or not in the way, is no news at first."""
    if after.status == "Unknown":
        return False
    if before is None or before.status == "Unknown":
        return after.status == "True" or after.type == "Promoted"
    return before.status != after.status


def _condition(condition: JobCondition) -> Note:
    good = (condition.status == "True") != (condition.type == "Stalled")
    # A model that is not promoted is an answer, not a fault.
    usual = good or condition.type == "Promoted"
    message = f"{condition.type} is {condition.status}: {condition.message}"
    return Note("Normal" if usual else "Warning", condition.reason, condition.type, sentence(message, LONGEST_NOTE))
