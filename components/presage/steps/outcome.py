"""What a finished run and a forecast tell the platform that started them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from presage.evaluation.scorecard import SourceSummary
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import OutcomeCondition, RunOutcome
from presage.spec.status import Champion, ScorecardSummary
from presage.steps.forecast import read_forecast
from presage.steps.history import RunSummary, read_summary
from presage.steps.promote import ROLLED_BACK
from presage.steps.promote import Champion as ServedChampion
from presage.steps.workdir import WorkDirectory

_LONGEST_MESSAGE = 1024
# What serves and whether that is all the job needs, the operator sees for itself.
_OF_THE_PLATFORM = frozenset({"Serving", "Ready"})


def run_outcome(
    job: PredictionJob,
    work: WorkDirectory,
    summary: RunSummary,
    champion: ServedChampion,
    held_back: str | None = None,
) -> RunOutcome:
    """Return how a run ended.

    Args:
        job: The job.
        work: The work directory, as the run left it.
        summary: What the run found.
        champion: What the champion file says since.
        held_back: Why the run does not serve though the gate let it through: a run of its inputs was rolled back.

    Raises:
        LakeError: The champion's run cannot be read.
    """
    conditions = tuple(
        OutcomeCondition(type=one.type, status="False", reason=ROLLED_BACK, message=held_back)
        if one.type == "Promoted" and held_back is not None
        else OutcomeCondition(type=one.type, status=one.status, reason=one.reason, message=one.message)
        for one in summary.conditions
        if one.type not in _OF_THE_PLATFORM
    )
    return forecast_outcome(job, work, champion).model_copy(
        update={"run": summary.run, "conditions": conditions, "scorecard": scorecard_summary(summary)}
    )


def forecast_outcome(job: PredictionJob, work: WorkDirectory, champion: ServedChampion) -> RunOutcome:
    """Return how a forecast ended; raises LakeError where the champion's run cannot be read."""
    directory = work.run(job, champion.run)
    issued = read_forecast(directory)
    return RunOutcome(
        run=champion.run,
        spec_digest=spec_digest(job),
        champion=Champion(
            model=champion.model,
            run=champion.run,
            since=champion.since,
            reason=champion.reason,
            promoted=champion.promoted,
            message=champion.message[:_LONGEST_MESSAGE],
            by=champion.by,
            digest=read_summary(directory).digest,
        ),
        stale_after=None if issued is None else issued.stale_after,
    )


def scorecard_summary(summary: RunSummary) -> ScorecardSummary:
    """Return a run's scorecard in short: what is served, and what the back-test found of it."""
    served = summary.scorecard.contender(summary.scorecard.verdict.champion)
    return ScorecardSummary(
        model=served.name,
        skill=_rounded(served.skill),
        coverage=_rounded(served.metrics.coverage),
        digest=summary.digest,
        run=summary.run,
        data=data_digest(summary.scorecard.sources),
    )


def data_digest(sources: Sequence[SourceSummary]) -> str:
    """Return the SHA-256 over the digests of all sources, by name, as `sha256:` and 64 hexadecimal digits."""
    lines = sorted(f"{source.name} {source.digest}" for source in sources)
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _rounded(value: float | None) -> float | None:
    # A share that rounds to nothing has no sign.
    return None if value is None else round(value, 3) + 0.0
