"""What a job's runs have in common: what pins one, what it left behind, and which are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import polars as pl

from presage.errors import LakeError
from presage.evaluation.scorecard import Condition, Scorecard
from presage.evaluation.trials import Trial, from_rows
from presage.frame import SERIES
from presage.lake.manifest import MANIFEST, PinnedIncumbent, RunManifest, list_manifests, load_manifest
from presage.lake.retention import retain
from presage.lake.tables import Lake, TableVersion
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.history import RunSummary
from presage.steps.promote import Champion, Champions, incumbent, read_champions, runs_at_hand
from presage.steps.workdir import WorkDirectory, issued_table, job_key
from presage.tabular.rows import ROW

if TYPE_CHECKING:
    from presage.report.data import Report as RunReport
    from presage.report.tabular_data import TableReport

TRIALS = "trials"
Shown = TypeVar("Shown")
Summary = TypeVar("Summary")


@dataclass(frozen=True)
class NewRun:
    """A run in the making.

    Attributes:
        names: The job and the run, as every event of the log has them.
        run: The run's id.
        made_at: When it is made, UTC.
        history: What the job tried before.
        incumbent: The served model's losses, where a candidate is served.
        lock_digest: Digest of the software that it runs on.
        directory: Gets the bundle and what else the run leaves.
    """

    names: Mapping[str, str]
    run: str
    made_at: datetime
    history: Sequence[Trial]
    incumbent: Trial | None
    lock_digest: str
    directory: Path


@dataclass(frozen=True)
class Forecast(Generic[Shown, Summary]):
    """What a bundle forecasts: for people, as the table that is kept, and for programs."""

    shown: Shown
    table: pl.DataFrame
    summary: Summary


@dataclass(frozen=True)
class Judged:
    """What a run found, whatever its task.

    Attributes:
        scorecard: The judgement.
        conditions: The job's conditions after it.
        trials: The job's history of what was tried, this run's candidates included.
        tables: By name, the versions of the lake's tables that the run is made of.
        forecast: Table of the champion's next forecast.
        report: Makes the report, given by keyword what every report says of its run.
    """

    scorecard: Scorecard
    conditions: tuple[Condition, ...]
    trials: tuple[Trial, ...]
    tables: Mapping[str, TableVersion]
    forecast: pl.DataFrame
    report: Callable[..., RunReport | TableReport]


@dataclass(frozen=True)
class DoneRun:
    """A finished run: what it found, for people, programs and the platform, and where its files are.

    Attributes:
        report: What people are shown; None where an earlier run of the same inputs was found done.
        summary: What it found.
        outcome: What the platform is told.
        directory: Its files.
        held_back: Why it does not serve though the gate let it through; None where nothing keeps it from that.
    """

    report: RunReport | TableReport | None
    summary: RunSummary
    outcome: RunOutcome
    directory: Path
    held_back: str | None = None


def trials_table(job: PredictionJob) -> str:
    """Return the name of the table of what a job has tried."""
    return f"{TRIALS}/{job_key(job)}"


def tried_before(manifests: Sequence[RunManifest]) -> TableVersion | None:
    """Return where the trials are that finished runs left: what a killed run wrote after them does not count."""
    versions = [manifest.tables[TRIALS] for manifest in manifests if TRIALS in manifest.tables]
    return max(versions, key=lambda version: version.version, default=None)


def incumbent_before(
    work: WorkDirectory, job: PredictionJob, champions: Champions | None, inputs: str, now: datetime
) -> PinnedIncumbent | None:
    """Return the served model that a run of these inputs is compared with; None where a baseline is served.

    Raises:
        LakeError: The run that promoted it cannot be read.
    """
    champion = incumbent(champions, inputs, now)
    if champion is None or not champion.promoted:
        return None
    if not (work.run(job, champion.run) / MANIFEST).exists():
        return None  # retention took it
    return PinnedIncumbent(
        run=champion.run,
        procedure=champion.procedure,
        model=champion.model,
        trials=load_manifest(work.run(job, champion.run) / MANIFEST).tables[TRIALS],
    )


def read_trials(lake: Lake, version: TableVersion | None, work: WorkDirectory, job: PredictionJob) -> tuple[Trial, ...]:
    """Return the trials of a version of a job's history; none where there is no version.

    Raises:
        LakeError: They cannot be read.
    """
    if version is None:
        return ()
    try:
        return from_rows(lake.read(version))
    except LakeError as error:
        raise type(error)(
            f"The job's history of tried configurations cannot be read: {error.what}",
            f"Restore {work.lake} from a copy, or start the history anew: remove {work.runs(job)}, "
            f"{work.champion(job)} and {work.lake / trials_table(job)}.",
        ) from error


def trial_of(lake: Lake, pinned: PinnedIncumbent | None, work: WorkDirectory, job: PredictionJob) -> Trial | None:
    """Return the served model's losses from the run that promoted it; None where none is compared with.

    Raises:
        LakeError: They cannot be read.
    """
    if pinned is None:
        return None
    key = (pinned.procedure, pinned.model)
    return next((trial for trial in read_trials(lake, pinned.trials, work, job) if trial.key == key), None)


def keep_forecast(lake: Lake, job: PredictionJob, table: pl.DataFrame, champion: Champion) -> None:
    """Append a forecast, or predictions of rows, to the lake; what a model issued before stays as it was."""
    lake.append_unique(
        issued_table(job),
        table.with_columns(
            pl.lit(champion.model).alias("model"),
            pl.lit(champion.run).alias("run"),
            pl.lit(champion.inputs).alias("inputs"),
        ),
        key=(*((ROW,) if job.spec.is_tabular else (SERIES, "issued_at", "target_time")), "model", "inputs"),
    )


def is_issued(lake: Lake, job: PredictionJob, champion: Champion) -> bool:
    """Return whether the lake holds a forecast, or predictions, that a champion's inputs gave."""
    version = lake.current(issued_table(job))
    if version is None:
        return False
    return champion.inputs in lake.read(version, verify=False)["inputs"]


def retire(lake: Lake, work: WorkDirectory, job: PredictionJob) -> None:
    """Forget this job's runs beyond its retention, and free what no kept run of any job needs."""
    keep = job.spec.retention.runs
    own = {manifest.run for manifest in list_manifests(work.runs(job))}
    if len(own) <= keep:
        return
    protected = runs_at_hand(read_champions(work.champion(job)))
    protected |= {manifest.run for manifest in list_manifests(work.all_runs)} - own
    for directory in retain(lake, work.all_runs, keep=keep, protected=protected).runs:
        shutil.rmtree(directory, ignore_errors=True)
