"""What a run tells the platform at its end: a Pod's termination message, a few kilobytes of JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from presage.spec.base import SpecModel
from presage.spec.status import Champion, ConditionType, DigestText, RunText, ScorecardSummary

OUTCOME_VARIABLE = "PRESAGE_OUTCOME"
"""Variable that names the file that a run tells it in."""
LARGEST_MESSAGE = 4096
"""Bytes; the kubelet cuts a termination message there."""

ReasonText = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
"""One CamelCase word for programs."""


class OutcomeCondition(SpecModel):
    """A condition that the run settled; the operator adds when and of which generation."""

    type: ConditionType
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: ReasonText
    """Why, as one CamelCase word for programs."""
    message: str
    """Why, as a sentence for people."""


class Failure(SpecModel):
    """Why a run failed."""

    reason: ReasonText
    """Kind of the error, such as DataError."""
    message: str
    """What was wrong, where, and the remedy."""
    retry: bool
    """Whether the same run may succeed later."""


class RunOutcome(SpecModel):
    """How a run or a forecast ended."""

    version: Literal["v1"] = "v1"
    run: RunText | None = None
    """Run in the lake that it made or forecast from: the model's version."""
    spec_digest: DigestText | None = None
    """Digest of the spec that was run."""
    conditions: Annotated[tuple[OutcomeCondition, ...], Field(max_length=8)] = ()
    """DataReady to Promoted, where a verdict was reached."""
    scorecard: ScorecardSummary | None = None
    """The scorecard, in short."""
    champion: Champion | None = None
    """What is served from now on."""
    stale_after: datetime | None = None
    """When the issued forecast is too old to be relied on, UTC."""
    failure: Failure | None = None
    """Why it failed, where it did."""


def to_message(outcome: RunOutcome) -> bytes:
    """Return an outcome as JSON that fits a termination message; its sentences are cut where they must be."""
    longest = LARGEST_MESSAGE
    while True:
        text = _cut(outcome, longest).model_dump_json(by_alias=True, exclude_none=True).encode()
        # Sentences of one character fit: what is left is short by its types.
        if len(text) <= LARGEST_MESSAGE or longest == 1:
            return text
        longest //= 2


def _cut(outcome: RunOutcome, longest: int) -> RunOutcome:
    """Return an outcome whose sentences have a number of characters at most."""

    def short(text: str) -> str:
        return text if len(text) <= longest else text[: longest - 1] + "…"

    failure, champion = outcome.failure, outcome.champion
    return outcome.model_copy(
        update={
            "conditions": tuple(one.model_copy(update={"message": short(one.message)}) for one in outcome.conditions),
            "champion": champion
            and champion.model_copy(
                update={"reason": short(champion.reason), "message": champion.message and short(champion.message)}
            ),
            "failure": failure and failure.model_copy(update={"message": short(failure.message)}),
        }
    )
