"""A run that finds itself done: the job's newest run had the same inputs, so that it would find the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from presage.errors import LakeError
from presage.evaluation.scorecard import Verdict
from presage.frame import Panel
from presage.lake.manifest import PinnedIncumbent, RunManifest, list_manifests
from presage.models.bundle import read_bundle
from presage.spec.forecast import FORECAST
from presage.steps.bars import JobBars
from presage.steps.history import FinishedRun, read_summary
from presage.steps.inputs import inputs_of
from presage.steps.issued import issue_next
from presage.steps.metrics import metrics_results
from presage.steps.outcome import run_outcome
from presage.steps.promote import Champions, held_back, judged, read_champions
from presage.steps.records import DoneRun, incumbent_before, is_issued, tried_before
from presage.steps.rows import JobRows
from presage.steps.sink import write_sinks
from presage.steps.workdir import BUNDLE, JOB, WorkDirectory


def unchanged(data: JobBars | JobRows, work: WorkDirectory, *, now: datetime) -> FinishedRun | None:
    """Return the job's newest run where a new one would find the same; None where one must be made.

    Its directory must be whole, and the tables that it pins be there. One that is damaged is made anew.

    Args:
        data: The job's data.
        work: The work directory.
        now: When the new run would be made, UTC.

    Raises:
        LakeError: The champion file or a manifest cannot be read.
    """
    job = data.job
    manifests = list_manifests(work.runs(job))
    if not manifests or manifests[0].inputs is None:
        return None
    newest, inputs = manifests[0], inputs_of(data)
    directory = work.run(job, newest.run)
    try:
        found = FinishedRun(summary=read_summary(directory), directory=directory)
        read_bundle(directory / BUNDLE)
    except LakeError:
        return None
    champions = read_champions(work.champion(job))
    stands = (
        (directory / JOB).exists()
        and found.summary.digest == found.summary.scorecard.digest() == newest.scorecard_digest
        and is_repeat(manifests, inputs, incumbent_before(work, job, champions, inputs, now), now=now)
        and has_served(newest, found.summary.scorecard.verdict, champions)
        and all(data.lake.stored(pinned.table).holds(pinned.version) for pinned in newest.pinned)
        and (isinstance(data, JobRows) or not known_between(data.built.panel, newest.created_at, now))
    )
    return found if stands else None


def is_repeat(
    manifests: Sequence[RunManifest], inputs: str, incumbent: PinnedIncumbent | None, *, now: datetime
) -> bool:
    """Return whether a run would repeat the newest one. Pure.

    It would where the inputs are the same, nothing was tried since, and the same model is compared with.

    Args:
        manifests: The job's runs, the newest first, at least one.
        inputs: Digest of what the new run is made of.
        incumbent: What it would be compared with.
        now: When it would be made, UTC; a run as of an earlier day repeats none of a later one.
    """
    newest = manifests[0]
    return (
        newest.inputs == inputs
        and newest.created_at <= now
        and newest.incumbent == incumbent
        and tried_before(manifests) == tried_before((newest,))
    )


def has_served(run: RunManifest, verdict: Verdict, champions: Champions | None) -> bool:
    """Return whether the champion file says already what a run's verdict makes of it. Pure."""
    if champions is None or run.inputs is None:
        return False
    after = judged(
        champions,
        verdict,
        run=run.run,
        inputs=run.inputs,
        procedure=run.procedure_digest,
        now=run.created_at,
        digest=run.scorecard_digest,
    )
    return after == champions


def repeat(data: JobBars | JobRows, found: FinishedRun, work: WorkDirectory, *, base: Path) -> DoneRun:
    """Return a run that was found done; its forecast is made where it is missing, and the sinks are written.

    The caller holds the job's lock.

    Args:
        data: The job's data.
        found: What `unchanged` returned.
        work: The work directory.
        base: Folder that relative paths start from.

    Raises:
        LakeConflictError: Others kept writing to a table.
        PresageError: A sink failed.
        StorageError: The work directory cannot be written to.
    """
    job, summary = data.job, found.summary
    champions = read_champions(work.champion(job))
    if champions is None:
        raise LakeError(f"the champion file of {job.metadata.name} is gone.", "Run the job again.")
    champion = champions.current
    beside = work.run(job, champion.run) / FORECAST
    issued = is_issued(data.lake, job, champion) and (job.spec.is_tabular or beside.exists())
    if champion.run == summary.run and not issued:
        # A run that was killed after its verdict left it out.
        issue_next(data, work, champion)
    held = None if champion.run == summary.run else held_back(champions, inputs_of(data))
    outcome = run_outcome(job, work, summary, champion, held)
    write_sinks(job, {**data.results, **metrics_results(job, work)}, base=base)
    return DoneRun(report=None, summary=summary, outcome=outcome, directory=found.directory, held_back=held)


def known_between(panel: Panel, start: datetime, end: datetime) -> bool:
    """Return whether an origin or an outcome of a panel came to be known after a moment and up to another, UTC. Pure.

    A run uses of its bars what is known when it is made.
    """
    after, until = (np.datetime64(moment.replace(tzinfo=None), "us") for moment in (start, end))
    times = (panel.whole.origin, panel.whole.target_known_at)
    return any(bool(((known > after) & (known <= until)).any()) for known in times)
