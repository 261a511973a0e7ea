"""The step that judges all entrants: it makes the run and its champion, or keeps the one that serves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.evaluation.walk import Walk
from presage.files import storage_faults
from presage.lake.tables import Lake
from presage.report.write import PREDICTIONS, REPORT
from presage.spec.job import PredictionJob
from presage.steps.history import RunSummary
from presage.steps.mirror import whole_run, work_in
from presage.steps.pinned import pinned
from presage.steps.records import DoneRun
from presage.steps.run import conclude
from presage.steps.track import track_finished, tracking_place
from presage.steps.unchanged import repeat, unchanged
from presage.steps.walked import Walked, read_selections, read_walks
from presage.steps.workdir import BUNDLE, WorkDirectory
from presage.tracking.place import TRACKING_VARIABLE
from presage_pipelines.shown import Ranking, ranking
from presage_pipelines.steps.given import BASE, job_of, moment_of


@dataclass(frozen=True)
class Promoted:
    """A run that is kept.

    Attributes:
        summary: What it found.
        ranking: How its champion ranks, where it is a Classification.
    """

    summary: RunSummary
    ranking: Ranking | None


def promote(
    job: str,
    workdir: str,
    data: str,
    as_of: str,
    *,
    features: Path,
    walks: Sequence[Path],
    report: Path,
    model: Path,
) -> Promoted:
    """Judge a walk-forward, keep the run, and promote its champion or not.

    Where the newest run had the same inputs, that one is found done, and nothing is judged anew. The MLflow that
    PRESAGE_TRACKING names is told of the run once it is kept; where it cannot be, that is a warning.

    Args:
        job: The job, as text.
        workdir: A directory's path, or `s3://bucket/prefix`.
        data: The pin, as JSON.
        as_of: When the run is made, UTC.
        features: What `select` wrote.
        walks: What `train` wrote of each entrant.
        report: File to write: the report, HTML.
        model: Directory to write: the bundle.

    Raises:
        PresageError: As `presage.steps.run.conclude` and `presage.steps.track.tracking_place`.
    """
    parsed, now = job_of(job), moment_of(as_of)
    by_name: dict[str, Walk] = {}
    for path in walks:
        by_name |= read_walks(path)
    walked = Walked(read_selections(features), by_name)
    with work_in(workdir, parsed) as place:
        asked = os.environ.get(TRACKING_VARIABLE)
        told = tracking_place(asked, place) if asked else None
        done = _kept(WorkDirectory(place.directory), parsed, data, walked, now)
        place.keep()
        # Of a run that was found done, the copy of a bucket has the bundle only.
        with (
            whole_run(place, parsed, done.summary.run, (REPORT, PREDICTIONS)) as whole,
            storage_faults(model, "the artefact's path"),
        ):
            _copy(whole / REPORT, report)
            shutil.rmtree(model, ignore_errors=True)
            shutil.copytree(done.directory / BUNDLE, model)
            ranked = ranking(done.summary.scorecard, whole / PREDICTIONS)
        track_finished(parsed, place, told)
        return Promoted(done.summary, ranked)


def _kept(work: WorkDirectory, job: PredictionJob, data: str, walked: Walked, now: datetime) -> DoneRun:
    with work.only_run(job):
        found = pinned(job, Lake(work.lake.as_uri()), data, now=now)
        same = unchanged(found, work, now=now)
        if same is not None:
            return repeat(found, same, work, base=BASE)
        return conclude(found, walked, work=work, base=BASE, now=now)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
