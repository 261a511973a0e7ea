"""Who was champion of a job, from when until when, and why."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from presage.lake.manifest import list_manifests
from presage.spec.job import PredictionJob
from presage.steps.promote import read_champions
from presage.steps.workdir import WorkDirectory


class ServedChampion(BaseModel):
    """A champion's time in office."""

    model_config = ConfigDict(frozen=True)

    model: str
    run: str
    """Run whose bundle it is."""
    promoted: bool
    """Whether it is a promoted model; else it is the best baseline."""
    since: datetime
    """UTC."""
    until: datetime | None
    """When another took its place, UTC; None where it serves."""
    reason: str
    """Reason of the gate, or RolledBack."""
    message: str
    """The gate's reason in numbers, or the words of who rolled back to it."""
    by: str | None
    """Who rolled back to it."""
    rolled_back: bool
    """Whether it was a rollback that took its place away."""
    digest: str | None
    """Digest of the scorecard behind it; None where nothing tells it any more."""
    kept: bool
    """Whether its run is still there, so that it can be rolled back to."""


class ChampionHistory(BaseModel):
    """What served a job, the newest first."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    champions: tuple[ServedChampion, ...]


def champion_history(job: PredictionJob, *, workdir: Path) -> ChampionHistory:
    """Return what served a job, the newest first; nothing where no run has ended well.

    Raises:
        LakeError: The champion file or a run's manifest cannot be read.
    """
    work = WorkDirectory(workdir)
    champions = read_champions(work.champion(job))
    known = () if champions is None else champions.known
    manifests = {manifest.run: manifest for manifest in list_manifests(work.runs(job))} if known else {}
    # Files of an earlier version do not say until when: there, the next one's start does.
    ends = [None, *(one.since for one in known)]
    served = []
    for one, end in zip(known, ends, strict=False):
        manifest = manifests.get(one.run)
        served.append(
            ServedChampion(
                model=one.model,
                run=one.run,
                promoted=one.promoted,
                since=one.since,
                until=one.until or end,
                reason=one.reason,
                message=one.message,
                by=one.by,
                rolled_back=one.rolled_back,
                digest=one.digest or (manifest.scorecard_digest if manifest else None),
                kept=manifest is not None,
            )
        )
    return ChampionHistory(job=job.metadata.name, namespace=job.metadata.namespace, champions=tuple(served))
