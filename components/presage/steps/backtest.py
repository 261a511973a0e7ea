"""A back-test over a past period: what the job would have found then, with nothing kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from presage.engine import engine_for
from presage.errors import DataError, JobError
from presage.evaluation.folds import Period
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard
from presage.evaluation.season import season_of
from presage.evaluation.walk_forward import back_test
from presage.lake.tables import Lake
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.steps.ingest import Ingested, ingest
from presage.steps.ingest_rows import IngestedRows, ingest_rows
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.select import build_panel
from presage.steps.supported import require_supported
from presage.steps.workdir import WorkDirectory
from presage.tabular.design import Inputs, inputs_of
from presage.tabular.folds import periods_of
from presage.tabular.judge import judge_rows, with_features
from presage.tabular.leakage import require_no_copies
from presage.tabular.observations import Observations
from presage.tabular.rows import kinds_of
from presage.tabular.walk import walk
from presage.tasks import Engine


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
    """Judge a job on the forecast origins, or the rows, of a past period; each fold trains on what was known before it.

    The sources' rows go to the lake, as in every run. Nothing is promoted or served, and no trial is counted: who looks
    at many periods until one pleases has found nothing.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake.
        now: When it is made, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.
        workers: Tasks at a time; None for what the job's engine says.
        start: First moment of the period, UTC: a bar that starts then is its first origin. Of rows those count whose
            own period, of the job's frequency, starts in it.
        end: Last moment of the period, UTC.
        progress: Told how far it is.

    Raises:
        DataError: A source's data cannot be used as declared, or there is too little before the period or in it.
        JobError: The period ends before it starts, a source that is replaced is not the job's, or a feature is none for
            rows.
        LeakageError: A feature of rows tells the target.
        NotSupportedError: The job asks for what this version cannot do.
        LakeConflictError: A run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    if end < start:
        raise JobError(f"the period ends at {end:%Y-%m-%d}, before its start at {start:%Y-%m-%d}.", "Swap the two.")
    require_supported(job, base)
    work, tabular = WorkDirectory(workdir), job.spec.is_tabular

    def fitted(done: int, total: int) -> None:
        progress("fitting and predicting" if tabular else "fitting and forecasting", done, total)

    period = Period(_moment(start), _moment(end))
    with work.only_run(job), engine_for(job.spec.engine, fitted, workers=workers) as engine:
        lake, placed = Lake(work.lake.as_uri()), replace_sources(job, sources)
        if tabular:
            scorecard = _judge_rows(job, ingest_rows(placed, lake, base=base, now=now), engine, period)
        else:
            scorecard = _judge_bars(job, ingest(placed, lake, base=base, now=now), engine, period)
    return PastScore(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        digest=scorecard.digest(),
        spec_digest=spec_digest(job),
        start=start,
        end=end,
        scorecard=scorecard,
    )


def _judge_bars(job: PredictionJob, ingested: Ingested, engine: Engine, period: Period) -> Scorecard:
    spec = job.spec
    built, season = build_panel(job, ingested.bars), season_of(spec, ingested.bars[spec.target.source].calendar)
    tested = back_test(built.panel, spec, season=season, engine=engine, period=period)
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
    return scorecard


def _judge_rows(job: PredictionJob, ingested: IngestedRows, engine: Engine, period: Period) -> Scorecard:
    """Judge a job on the rows of a period, with none behind it: neither features nor the check for copies see later."""
    spec = job.spec
    begun = periods_of(ingested.observations.time, spec) <= period.end
    observations = ingested.observations.take(np.flatnonzero(begun))
    inputs = _inputs(spec, observations)
    require_no_copies(observations, inputs)
    tested = walk(observations, inputs, spec, engine=engine, period=period)
    scorecard, _ = judge_rows(
        tested,
        spec,
        procedure=procedure_digest(job),
        history=(),
        incumbent=None,
        sources=(ingested.summary,),
    )
    return with_features(scorecard, tested.config)


def _inputs(spec: PredictionJobSpec, observations: Observations) -> Inputs:
    """Return what a job's features are made of, of rows up to the end of a period: a column empty in them is none."""
    table = observations.table
    kinds = kinds_of(table)
    empty = {name for name in kinds if table[name].null_count() == table.height > 0}
    if not spec.features:
        return inputs_of(spec, {name: kind for name, kind in kinds.items() if name not in empty})
    inputs = inputs_of(spec, kinds)
    named = [name for name in inputs.columns if name in empty]
    if named:
        raise DataError(
            f"source {inputs.source!r}: column {named[0]!r} has no value up to the end of the period.",
            "Take it out of spec.features, or give a later --end.",
        )
    return inputs


def _moment(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "us")
