"""The forecast cadence of a job over rows: refresh the data and predict the rows whose outcome is not known."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.errors import JobError, LakeError
from presage.files import write_atomically
from presage.lake.tables import Lake
from presage.spec.digest import procedure_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.outcome import forecast_outcome
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.promote import read_champions
from presage.steps.table import run_table
from presage.steps.table_lake import ingest_rows, keep_predictions
from presage.steps.workdir import BUNDLE, WorkDirectory
from presage.tabular.model import read_model
from presage.tabular.predictions import (
    RowForecast,
    RowForecastSummary,
    predict_open,
    prediction_summary,
    prediction_table,
)


@dataclass(frozen=True)
class IssuedRows:
    """Predictions of open rows in the forms of people, programs and the platform."""

    forecasts: RowForecast
    summary: RowForecastSummary
    outcome: RunOutcome


def issue_table(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    sources: Mapping[str, str],
    out: Path | None,
    progress: Report,
) -> IssuedRows:
    """Issue the champion's predictions of open rows: keep them in the lake, and in a Parquet file if named.

    A job without a champion, or whose procedure has changed since, is run first, on the sources of the job file. A
    source that is replaced may lack the target.

    Args:
        job: The job; its task is Regression or Classification.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the predictions are made, UTC.
        sources: By name, the URIs of sources that are read from another place.
        out: Parquet file to write, with the columns of `prediction_table`.
        progress: Told how far the step is.

    Raises:
        PresageError: As `run_table`; LakeError where the champion's bundle is damaged; JobError where `out` is a
            directory, StorageError where it cannot be written to.
    """
    if out is not None and out.is_dir():
        raise JobError(f"cannot write to {out}: it is a directory.", "Give --out the name of a file.")
    work = WorkDirectory(workdir)
    champions = read_champions(work.champion(job))
    if champions is None or champions.current.procedure != procedure_digest(job):
        run_table(job, base=base, workdir=workdir, now=now, sources={}, workers=None, progress=progress)
        champions = read_champions(work.champion(job))
    if champions is None:
        raise LakeError("the run left no champion.", "Run the job again.")
    champion = champions.current
    with work.only_run(job):
        lake = Lake(work.lake.as_uri())
        model = read_model(work.run(job, champion.run) / BUNDLE)
        placed = replace_sources(job, sources)
        given = ingest_rows(placed, lake, base=base, now=now, design=model.design if sources else None)
        forecast = predict_open(given.observations, model, now=now)
        keep_predictions(lake, job, forecast, champion)
        outcome = forecast_outcome(job, work, champion)
    if out is not None:
        written = io.BytesIO()
        prediction_table(forecast).write_parquet(written)
        write_atomically(out, written.getvalue(), option="--out")
    summary = prediction_summary(
        forecast,
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        run=champion.run,
        model=champion.model,
        promoted=champion.promoted,
    )
    return IssuedRows(forecasts=forecast, summary=summary, outcome=outcome)
