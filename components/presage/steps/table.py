"""Runs and forecasts of tasks Regression and Classification: rows predicted from themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from presage.engine import engine_for
from presage.errors import NotSupportedError
from presage.evaluation.conditions import conditions
from presage.evaluation.numbers import count
from presage.evaluation.scorecard import Condition, Scorecard
from presage.evaluation.trials import merge, to_rows
from presage.features.config import to_json
from presage.files import write_atomically
from presage.lake.manifest import RunManifest, save_manifest
from presage.lake.tables import Lake
from presage.report.tabular_data import TableReport
from presage.report.tabular_write import write_table_report
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.steps.history import RunSummary
from presage.steps.lock import lock_digest
from presage.steps.outcome import run_outcome
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.promote import promote
from presage.steps.records import (
    TRIALS,
    DoneRun,
    inputs_digest,
    retire,
    served_trial,
    trials_table,
    tried_before,
)
from presage.steps.supported import require_supported
from presage.steps.table_lake import ingest_rows, keep_predictions
from presage.steps.workdir import BUNDLE, FEATURES, SUMMARY, WorkDirectory, job_key
from presage.tabular.design import inputs_of
from presage.tabular.judge import judge_rows, with_features
from presage.tabular.leakage import require_no_copies
from presage.tabular.model import read_model, write_model
from presage.tabular.predictions import (
    predict_open,
)
from presage.tabular.rows import kinds_of
from presage.tabular.walk import entrants, fit_final, walk

_LOG = logging.getLogger(__name__)


def run_table(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    sources: Mapping[str, str],
    workers: int | None,
    progress: Report,
) -> DoneRun:
    """Turn a job into a judged model of rows, and predict the rows whose outcome is not known.

    Args:
        job: The job; its task is Regression or Classification.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the run is made, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.
        workers: Tasks at a time; None for what the job's engine says.
        progress: Told how far the run is.

    Raises:
        DataError: The source's data cannot be used as declared, or there is too little.
        JobError: A source that is replaced is not the job's, or a feature is none for rows.
        LeakageError: A feature tells the target.
        NotSupportedError: The job asks for what this version cannot do.
        LakeConflictError: Another run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    require_supported(job)
    _require_one_source(job)
    work = WorkDirectory(workdir)
    settings = job.spec.engine if workers is None else job.spec.engine.model_copy(update={"workers": workers})

    def fitted(done: int, total: int) -> None:
        progress("fitting and predicting", done, total)

    with work.only_run(job), engine_for(settings, fitted) as engine:
        lake = Lake(work.lake.as_uri())
        progress("reading sources", 0, 1)
        ingested = ingest_rows(replace_sources(job, sources), lake, base=base, now=now)
        progress("reading sources", 1, 1)
        observations, name = ingested.observations, job.spec.target.source
        inputs = inputs_of(job.spec, kinds_of(observations.table))
        require_no_copies(observations, inputs)
        pinned = inputs_digest(job, {name: ingested.summary.digest})
        run_id = f"{now:%Y%m%dT%H%M%SZ}-{pinned[:8]}"
        names = {"job": job_key(job), "run": run_id}
        _LOG.info("source read", extra={**names, "source": name, "rows": ingested.version.rows})
        with work.new_run(job, run_id) as directory:
            walked = walk(observations, inputs, job.spec, engine=engine)
            history = tried_before(lake, work, job)
            scorecard, trials = judge_rows(
                walked,
                job.spec,
                procedure=procedure_digest(job),
                history=history,
                incumbent=served_trial(lake, work, job, pinned, now),
                sources=(ingested.summary,),
            )
            verdict = scorecard.verdict
            champion = next(one for one in entrants(job.spec) if one.name == verdict.champion)
            final = fit_final(walked, inputs, job.spec, champion)
            scorecard = with_features(scorecard, final)
            write_model(directory / BUNDLE, job, final, walked.probabilities, now=now)
            write_atomically(directory / FEATURES, to_json(final.config))
            forecast = predict_open(observations, read_model(directory / BUNDLE), now=now)
            summary = RunSummary(
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                run=run_id,
                digest=scorecard.digest(),
                spec_digest=spec_digest(job),
                procedure_digest=procedure_digest(job),
                conditions=_conditions(scorecard),
                scorecard=scorecard,
            )
            report = TableReport(
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                run=run_id,
                digest=summary.spec_digest,
                created_at=now,
                scorecard=scorecard,
                conditions=summary.conditions,
                back_test=walked,
                open_rows=len(forecast),
                config=final.config,
            )
            write_table_report(directory, report)
            write_atomically(directory / SUMMARY, summary.model_dump_json(indent=2) + "\n")
            manifest = RunManifest(
                run=run_id,
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                spec_digest=summary.spec_digest,
                procedure_digest=summary.procedure_digest,
                tables={
                    name: ingested.version,
                    TRIALS: lake.write(trials_table(job), to_rows(merge(history, trials))),
                },
                seed=job.spec.seed,
                lock_digest=lock_digest(),
                created_at=now,
                scorecard_digest=summary.digest,
            )
            save_manifest(directory, manifest)
        champions = promote(
            work.champion(job), verdict, run=run_id, inputs=pinned, procedure=summary.procedure_digest, now=now
        )
        if champions.current.run == run_id:
            keep_predictions(lake, job, forecast, champions.current)
        _LOG.info(
            "run finished",
            extra=names
            | {"digest": summary.digest, "promoted": verdict.promoted, "reason": verdict.reason}
            | {"champion": champions.current.model},
        )
        retire(lake, work, job)
        outcome = run_outcome(job, work, summary, champions.current)
    return DoneRun(report=report, summary=summary, outcome=outcome, directory=work.run(job, run_id))


def _require_one_source(job: PredictionJob) -> None:
    others = [source.name for source in job.spec.sources if source.name != job.spec.target.source]
    if others:
        raise NotSupportedError(
            f"spec.sources: task {job.spec.task} predicts a row of {job.spec.target.source!r} from itself, and "
            f"{others[0]!r} holds other rows.",
            "Join its columns to the rows, and leave it out.",
        )


def _conditions(scorecard: Scorecard) -> tuple[Condition, ...]:
    """Return the conditions of a run, in words of rows and periods."""
    rows = ", ".join(f"{source.name} {count(source.rows)} rows" for source in scorecard.sources)
    scored = (
        f"{count(scorecard.rows or 0)} rows of {count(scorecard.evidence.origins)} periods scored by {scorecard.metric}"
    )
    messages = {"DataReady": rows, "Evaluated": scored}
    return tuple(
        one.model_copy(update={"message": messages[one.type]}) if one.type in messages else one
        for one in conditions(scorecard)
    )
