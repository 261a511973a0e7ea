"""What a job's runs have in common: what pins one, what it left behind, and which are kept."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.errors import LakeError
from presage.evaluation.trials import Trial, from_rows
from presage.lake.manifest import MANIFEST, list_manifests, load_manifest
from presage.lake.retention import retain
from presage.lake.tables import Lake, TableVersion
from presage.report.data import Report as RunReport
from presage.report.tabular_data import TableReport
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.history import RunSummary
from presage.steps.lock import lock_digest
from presage.steps.promote import Champions, incumbent, read_champions
from presage.steps.workdir import WorkDirectory, job_key

TRIALS = "trials"


@dataclass(frozen=True)
class DoneRun:
    """A finished run: what it found, for people, programs and the platform, and where its files are."""

    report: RunReport | TableReport
    summary: RunSummary
    outcome: RunOutcome
    directory: Path


def trials_table(job: PredictionJob) -> str:
    """Return the name of the table of what a job has tried."""
    return f"{TRIALS}/{job_key(job)}"


def tried_before(lake: Lake, work: WorkDirectory, job: PredictionJob) -> tuple[Trial, ...]:
    """Return the trials that finished runs left: what a killed run wrote after them does not count."""
    versions = [manifest.tables[TRIALS] for manifest in list_manifests(work.runs(job)) if TRIALS in manifest.tables]
    newest = max(versions, key=lambda version: version.version, default=None)
    return () if newest is None else _read_trials(lake, newest, work, job)


def served_trial(lake: Lake, work: WorkDirectory, job: PredictionJob, inputs: str, now: datetime) -> Trial | None:
    """Return the served model's losses from the run that promoted it; None where a baseline is served."""
    champion = incumbent(read_champions(work.champion(job)), inputs, now)
    if champion is None or not champion.promoted:
        return None
    version = load_manifest(work.run(job, champion.run) / MANIFEST).tables[TRIALS]
    key = (champion.procedure, champion.model)
    return next((trial for trial in _read_trials(lake, version, work, job) if trial.key == key), None)


def inputs_digest(job: PredictionJob, data: Mapping[str, str]) -> str:
    """Return what pins a run's result, as hexadecimal digits: spec, data, seed, software.

    Args:
        job: The job.
        data: By source's name, the digest of its rows.
    """
    parts = [spec_digest(job), str(job.spec.seed), lock_digest()]
    parts += [f"{name} {digest}" for name, digest in sorted(data.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def retire(lake: Lake, work: WorkDirectory, job: PredictionJob) -> None:
    """Forget this job's runs beyond its retention, and free what no kept run of any job needs."""
    keep = job.spec.retention.runs
    own = {manifest.run for manifest in list_manifests(work.runs(job))}
    if len(own) <= keep:
        return
    protected = _served(read_champions(work.champion(job)))
    protected |= {manifest.run for manifest in list_manifests(work.all_runs)} - own
    for directory in retain(lake, work.all_runs, keep=keep, protected=protected).runs:
        shutil.rmtree(directory, ignore_errors=True)


def _read_trials(lake: Lake, version: TableVersion, work: WorkDirectory, job: PredictionJob) -> tuple[Trial, ...]:
    try:
        return from_rows(lake.read(version))
    except LakeError as error:
        raise LakeError(
            f"The job's history of tried configurations cannot be read: {error.what}",
            f"Restore {work.lake} from a copy, or start the history anew: remove {work.runs(job)}, "
            f"{work.champion(job)} and {work.lake / trials_table(job)}.",
        ) from error


def _served(champions: Champions | None) -> set[str]:
    """Return the runs that serve: the champion's, and the one before it, with which a repeat is compared."""
    if champions is None:
        return set()
    before = incumbent(champions, champions.current.inputs, champions.current.since)
    return {champions.current.run} | ({before.run} if before else set())
