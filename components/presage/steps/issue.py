"""The forecast cadence: refresh the data and issue the champion's next forecast."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.errors import JobError, LakeError
from presage.files import write_atomically
from presage.lake.tables import Lake
from presage.models.bundle import read_bundle
from presage.report.data import IssuedForecast
from presage.spec.digest import procedure_digest
from presage.spec.forecast import ForecastSummary
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.forecast import forecast_summary, forecast_table, keep_forecast, next_forecast, write_forecast
from presage.steps.ingest import ingest
from presage.steps.outcome import forecast_outcome
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.promote import read_champions
from presage.steps.run import run_job
from presage.steps.select import build_frame
from presage.steps.workdir import BUNDLE, WorkDirectory


@dataclass(frozen=True)
class Issued:
    """A forecast in the forms of the report, of programs and of the platform."""

    forecast: IssuedForecast
    summary: ForecastSummary
    outcome: RunOutcome


def issue_forecast(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    sources: Mapping[str, str],
    out: Path | None,
    progress: Report,
) -> Issued:
    """Issue the champion's next forecast: keep it in the lake and beside the bundle, and in a Parquet file if named.

    A job without a champion, or whose procedure has changed since, is run first.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the forecast is made, UTC.
        sources: By name, the URIs of sources that are read from another place.
        out: Parquet file to write, with the columns of `forecast_table`.
        progress: Told how far the step is.

    Raises:
        PresageError: As `run_job`; LakeError where the champion's bundle is damaged; JobError where `out` is a
            directory, StorageError where it cannot be written to.
    """
    if out is not None and out.is_dir():
        raise JobError(f"cannot write to {out}: it is a directory.", "Give --out the name of a file.")
    work = WorkDirectory(workdir)
    champions = read_champions(work.champion(job))
    if champions is None or champions.current.procedure != procedure_digest(job):
        run_job(job, base=base, workdir=workdir, now=now, sources=sources, workers=None, progress=progress)
        champions = read_champions(work.champion(job))
    if champions is None:
        raise LakeError("the run left no champion.", "Run the job again.")
    champion = champions.current
    placed = replace_sources(job, sources)
    with work.only_run(job):
        lake = Lake(work.lake.as_uri())
        frame = build_frame(placed, ingest(placed, lake, base=base, now=now).bars)
        directory = work.run(job, champion.run)
        forecast = next_forecast(frame, *read_bundle(directory / BUNDLE))
        table = forecast_table(forecast)
        keep_forecast(lake, job, table, champion)
        summary = forecast_summary(job, forecast, run=champion.run, model=champion.model, promoted=champion.promoted)
        write_forecast(directory, summary)
        outcome = forecast_outcome(job, work, champion)
    if out is not None:
        written = io.BytesIO()
        table.write_parquet(written)
        write_atomically(out, written.getvalue(), option="--out")
    return Issued(forecast=forecast, summary=summary, outcome=outcome)
