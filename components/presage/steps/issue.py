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
from presage.steps.forecast import forecast_summary, forecasts_table, keep_forecast, next_forecasts, write_forecast
from presage.steps.ingest import ingest
from presage.steps.issue_table import IssuedRows, issue_table
from presage.steps.outcome import forecast_outcome
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.promote import read_champions
from presage.steps.run import run_job
from presage.steps.select import build_panel
from presage.steps.sink import sink_results, write_sinks
from presage.steps.workdir import BUNDLE, WorkDirectory


@dataclass(frozen=True)
class Issued:
    """The forecast of each series in the forms of the report, of programs and of the platform."""

    forecasts: tuple[IssuedForecast, ...]
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
) -> Issued | IssuedRows:
    """Issue the champion's next forecast: keep it in the lake and beside the bundle, and in a Parquet file if named.

    A job without a champion, or whose procedure has changed since, is run first.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the forecast is made, UTC.
        sources: By name, the URIs of sources that are read from another place.
        out: Parquet file to write, with the columns of `forecasts_table`.
        progress: Told how far the step is.

    Raises:
        PresageError: As `run_job`; LakeError where the champion's bundle is damaged; JobError where `out` is a
            directory, StorageError where it cannot be written to.
    """
    if job.spec.is_tabular:
        return issue_table(job, base=base, workdir=workdir, now=now, sources=sources, out=out, progress=progress)
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
        ingested = ingest(placed, lake, base=base, now=now)
        panel = build_panel(placed, ingested.bars).panel
        directory = work.run(job, champion.run)
        bundle, files = read_bundle(directory / BUNDLE)
        forecasts = next_forecasts(panel, bundle, files)
        table = forecasts_table(forecasts)
        keep_forecast(lake, job, table, champion)
        summary = forecast_summary(
            job,
            forecasts,
            run=champion.run,
            model=champion.model,
            promoted=champion.promoted,
            panel=bool(bundle.panel),
        )
        write_forecast(directory, summary)
        outcome = forecast_outcome(job, work, champion)
        write_sinks(job, sink_results(job, lake, ingested, panel), base=base)
    if out is not None:
        written = io.BytesIO()
        table.write_parquet(written)
        write_atomically(out, written.getvalue(), option="--out")
    return Issued(forecasts=forecasts, summary=summary, outcome=outcome)
