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
from presage.report.data import IssuedForecast
from presage.spec.digest import procedure_digest
from presage.spec.forecast import ForecastSummary
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.bars import JobBars, read_bars
from presage.steps.issued import issue_next
from presage.steps.outcome import forecast_outcome
from presage.steps.progress import Report
from presage.steps.promote import read_champions
from presage.steps.rows import JobRows, read_rows
from presage.steps.run import run_job
from presage.steps.sink import write_sinks
from presage.steps.workdir import BUNDLE, WorkDirectory
from presage.tabular.model import read_model
from presage.tabular.predictions import RowForecast, RowForecastSummary


@dataclass(frozen=True)
class Issued:
    """A forecast in the forms of the report, of programs and of the platform: of each series, or of open rows."""

    forecasts: tuple[IssuedForecast, ...] | RowForecast
    summary: ForecastSummary | RowForecastSummary
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

    A job without a champion, or whose procedure has changed since, is run first; a job over rows then on the source of
    the job file, for one that is replaced may lack the target.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the forecast is made, UTC.
        sources: By name, the URIs of sources that are read from another place.
        out: Parquet file to write, with the columns of `forecasts_table` or of `prediction_table`.
        progress: Told how far the step is.

    Raises:
        PresageError: As `run_job`; LakeError where the champion's bundle is damaged; JobError where `out` is a
            directory, StorageError where it cannot be written to.
    """
    if out is not None and out.is_dir():
        raise JobError(f"cannot write to {out}: it is a directory.", "Give --out the name of a file.")
    tabular = job.spec.is_tabular
    work = WorkDirectory(workdir)
    champions = read_champions(work.champion(job))
    if champions is None or champions.current.procedure != procedure_digest(job):
        trained_on = {} if tabular else sources
        run_job(job, base=base, workdir=workdir, now=now, sources=trained_on, workers=None, progress=progress)
        champions = read_champions(work.champion(job))
    if champions is None:
        raise LakeError("the run left no champion.", "Run the job again.")
    champion = champions.current
    with work.only_run(job):
        lake = Lake(work.lake.as_uri())
        data: JobBars | JobRows
        if tabular:
            design = read_model(work.run(job, champion.run) / BUNDLE).design if sources else None
            data = read_rows(job, lake, base=base, now=now, sources=sources, design=design)
        else:
            data = read_bars(job, lake, base=base, now=now, sources=sources)
        forecast = issue_next(data, work, champion)
        outcome = forecast_outcome(job, work, champion)
        write_sinks(job, data.results, base=base)
    if out is not None:
        written = io.BytesIO()
        forecast.table.write_parquet(written)
        write_atomically(out, written.getvalue(), option="--out")
    return Issued(forecasts=forecast.shown, summary=forecast.summary, outcome=outcome)
