"""A back-test over a past period: what the job would have found then, with nothing kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from presage.engine import engine_for
from presage.errors import JobError
from presage.evaluation.folds import Period
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard
from presage.evaluation.season import default_season
from presage.evaluation.walk_forward import back_test
from presage.lake.tables import Lake
from presage.spec.base import parse_frequency
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.steps.ingest import ingest
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.select import build_panel
from presage.steps.supported import require_forecast, require_supported
from presage.steps.workdir import WorkDirectory


class PastScore(BaseModel):
    """What a back-test over a past period found, as programs read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    namespace: str
    digest: str
    """Digest of the scorecard: two back-tests with the same one found the same."""
    spec_digest: str
    start: datetime
    """First moment of the period, UTC."""
    end: datetime
    """Last moment of the period, UTC."""
    scorecard: Scorecard


def run_backtest(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    sources: Mapping[str, str],
    workers: int | None,
    start: datetime,
    end: datetime,
    progress: Report,
) -> PastScore:
    """Judge a job on the forecast origins of a past period; each fold trains on what was known before it.

    The sources' rows go to the lake, as in every run. Nothing is promoted or served, and no trial is counted: who looks
    at many periods until one pleases has found nothing.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake.
        now: When it is made, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.
        workers: Tasks at a time; None for what the job's engine says.
        start: First moment of the period, UTC: a bar that starts then is its first origin.
        end: Last moment of the period, UTC.
        progress: Told how far it is.

    Raises:
        DataError: A source's data cannot be used as declared, or there is too little before the period or in it.
        JobError: The period ends before it starts, or a source that is replaced is not the job's.
        NotSupportedError: The job asks for what this version cannot do.
        LakeConflictError: A run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    if end < start:
        raise JobError(f"the period ends at {end:%Y-%m-%d}, before its start at {start:%Y-%m-%d}.", "Swap the two.")
    require_forecast(job, "backtest")
    require_supported(job)
    spec, work = job.spec, WorkDirectory(workdir)
    settings = spec.engine if workers is None else spec.engine.model_copy(update={"workers": workers})

    def fitted(done: int, total: int) -> None:
        progress("fitting and forecasting", done, total)

    with work.only_run(job), engine_for(settings, fitted) as engine:
        ingested = ingest(replace_sources(job, sources), Lake(work.lake.as_uri()), base=base, now=now)
        built = build_panel(job, ingested.bars)
        calendar = ingested.bars[spec.target.source].calendar
        season = spec.evaluation.season or default_season(
            parse_frequency(spec.frequency), weekdays=calendar == "Weekdays"
        )
        tested = back_test(built.panel, spec, season=season, engine=engine, period=Period(_moment(start), _moment(end)))
    scorecard, _ = judge(
        tested,
        spec,
        procedure=procedure_digest(job),
        history=(),
        incumbent=None,
        sources=ingested.summaries,
        config=tested.selections[tested.folds[-1].number],
        unit=spec.source(spec.target.source).units.get(spec.target.column, ""),
        season=season,
        left_out=built.left_out,
    )
    return PastScore(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        digest=scorecard.digest(),
        spec_digest=spec_digest(job),
        start=start,
        end=end,
        scorecard=scorecard,
    )


def _moment(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "us")
