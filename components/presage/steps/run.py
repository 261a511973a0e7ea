"""A run: ingest, select, train, judge, promote, forecast; it appears whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from presage.engine import engine_for
from presage.evaluation.trials import to_rows
from presage.files import write_atomically
from presage.lake.manifest import RunManifest, list_manifests, save_manifest
from presage.lake.tables import Lake
from presage.report.tabular_data import TableReport
from presage.report.tabular_write import write_table_report
from presage.report.write import write_report
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.steps.bars import JobBars, read_bars
from presage.steps.history import RunSummary, write_job
from presage.steps.inputs import inputs_of
from presage.steps.lock import lock_digest, machine_kind, read_lock
from presage.steps.metrics import metrics_results
from presage.steps.outcome import run_outcome
from presage.steps.progress import Report
from presage.steps.promote import held_back, promote, read_champions
from presage.steps.records import (
    TRIALS,
    DoneRun,
    NewRun,
    incumbent_before,
    keep_forecast,
    read_trials,
    retire,
    trial_of,
    trials_table,
    tried_before,
)
from presage.steps.rows import JobRows, read_rows
from presage.steps.sink import write_sinks
from presage.steps.supported import require_supported
from presage.steps.unchanged import repeat, unchanged
from presage.steps.walked import Walked, walk_all
from presage.steps.workdir import SUMMARY, WorkDirectory, job_key

_LOG = logging.getLogger(__name__)


def run_job(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    sources: Mapping[str, str],
    workers: int | None,
    progress: Report,
    cache: bool = True,
) -> DoneRun:
    """Turn a job into a judged forecast, or into a judged model of rows and predictions of those that are open.

    A run whose inputs are those of the job's newest one finds what that one found: it is that one that is returned.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the run is made, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.
        workers: Tasks at a time; None for what the job's engine says.
        progress: Told how far the run is.
        cache: Whether a run that is found done is returned; else it is made anew.

    Raises:
        DataError: A source's data cannot be used as declared, or there is too little.
        JobError: A source that is replaced is not the job's, or a feature is none for rows.
        LeakageError: A feature of rows tells the target.
        NotSupportedError: The job asks for what this version cannot do.
        LakeConflictError: Another run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    require_supported(job, base)
    tabular = job.spec.is_tabular
    work = WorkDirectory(workdir)

    def fitted(done: int, total: int) -> None:
        progress("fitting and predicting" if tabular else "fitting and forecasting", done, total)

    with work.only_run(job):
        lake = Lake(work.lake.as_uri())
        progress("reading sources", 0, 1)
        read = read_rows if tabular else read_bars
        data = read(job, lake, base=base, now=now, sources=sources)
        progress("reading sources", 1, 1)
        found = unchanged(data, work, now=now) if cache else None
        if found is not None:
            _LOG.info("run unchanged", extra={"job": job_key(job), "run": found.summary.run})
            return repeat(data, found, work, base=base)
        with engine_for(job.spec.engine, fitted, workers=workers) as engine:
            walked = walk_all(data, engine)
        return conclude(data, walked, work=work, base=base, now=now, replaced=sources)


def conclude(
    data: JobBars | JobRows,
    walked: Walked,
    *,
    work: WorkDirectory,
    base: Path,
    now: datetime,
    replaced: Collection[str] = (),
) -> DoneRun:
    """Judge a walk-forward, keep the run, promote its champion or not, and write the sinks.

    The caller holds the job's lock.

    Args:
        data: The job's data.
        walked: The walk-forward of all entrants over it.
        work: The work directory.
        base: Folder that relative paths start from.
        now: When the run is made, UTC.
        replaced: Names of the sources that were read from another place than the job says.

    Raises:
        DataError: There is too little to judge on.
        LakeConflictError: Others kept writing to a table.
        StorageError: The work directory cannot be written to.
    """
    job, lake = data.job, data.lake
    lock = read_lock()
    inputs = inputs_of(data, lock)
    tried = tried_before(list_manifests(work.runs(job)))
    compared = incumbent_before(work, job, read_champions(work.champion(job)), inputs, now)
    run_id = work.new_name(job, f"{now:%Y%m%dT%H%M%SZ}-{inputs[:8]}")
    names = {"job": job_key(job), "run": run_id}
    with work.new_run(job, run_id) as directory:
        judged = data.judge(
            NewRun(
                names=names,
                run=run_id,
                made_at=now,
                history=read_trials(lake, tried, work, job),
                incumbent=trial_of(lake, compared, work, job),
                lock_digest=lock_digest(lock),
                directory=directory,
            ),
            walked,
        )
        scorecard, verdict = judged.scorecard, judged.scorecard.verdict
        summary = RunSummary(
            job=job.metadata.name,
            namespace=job.metadata.namespace,
            run=run_id,
            digest=scorecard.digest(),
            spec_digest=spec_digest(job),
            procedure_digest=procedure_digest(job),
            conditions=judged.conditions,
            scorecard=scorecard,
        )
        report = judged.report(
            job=summary.job,
            namespace=summary.namespace,
            run=run_id,
            digest=summary.spec_digest,
            created_at=now,
            scorecard=scorecard,
            conditions=summary.conditions,
        )
        if isinstance(report, TableReport):
            write_table_report(directory, report)
        else:
            write_report(directory, report)
        write_job(directory, job)
        write_atomically(directory / SUMMARY, summary.model_dump_json(indent=2) + "\n")
        trials = lake.write(trials_table(job), to_rows(judged.trials))
        manifest = RunManifest(
            run=run_id,
            job=summary.job,
            namespace=summary.namespace,
            spec_digest=summary.spec_digest,
            procedure_digest=summary.procedure_digest,
            tables={**judged.tables, TRIALS: trials},
            seed=job.spec.seed,
            lock_digest=lock_digest(lock),
            created_at=now,
            scorecard_digest=summary.digest,
            inputs=inputs,
            lock=lock,
            cpu=machine_kind(),
            tried=tried,
            incumbent=compared,
            replaced=tuple(replaced),
        )
        save_manifest(directory, manifest)
    champions = promote(
        work.champion(job),
        verdict,
        run=run_id,
        inputs=inputs,
        procedure=summary.procedure_digest,
        now=now,
        digest=summary.digest,
    )
    if champions.current.run == run_id:
        keep_forecast(lake, job, judged.forecast, champions.current)
    _LOG.info(
        "run finished",
        extra=names
        | {"digest": summary.digest, "promoted": verdict.promoted, "reason": verdict.reason}
        | {"champion": champions.current.model},
    )
    retire(lake, work, job)
    held = None if champions.current.run == run_id else held_back(champions, inputs)
    outcome = run_outcome(job, work, summary, champions.current, held)
    write_sinks(job, {**data.results, **metrics_results(job, work)}, base=base)
    return DoneRun(report=report, summary=summary, outcome=outcome, directory=work.run(job, run_id), held_back=held)
