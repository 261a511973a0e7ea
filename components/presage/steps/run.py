"""A run: ingest, select, train, judge, promote, forecast; it appears whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from presage.engine import engine_for
from presage.evaluation.judge import conditions
from presage.evaluation.season import default_season
from presage.evaluation.trials import to_rows
from presage.files import write_atomically
from presage.frame import Panel, to_table
from presage.lake.manifest import RunManifest, save_manifest
from presage.lake.tables import Lake, TableVersion
from presage.models.bundle import read_bundle
from presage.report.data import Report as RunReport
from presage.report.write import write_report
from presage.spec.base import parse_frequency
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.steps.forecast import forecast_summary, forecasts_table, keep_forecast, next_forecasts, write_forecast
from presage.steps.history import RunSummary
from presage.steps.ingest import Ingested, ingest
from presage.steps.lock import lock_digest
from presage.steps.outcome import run_outcome
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.promote import promote
from presage.steps.records import TRIALS, DoneRun, inputs_digest, retire, served_trial, trials_table, tried_before
from presage.steps.select import build_panel, select_features
from presage.steps.sink import sink_results, write_sinks
from presage.steps.supported import require_supported
from presage.steps.table import run_table
from presage.steps.train import train
from presage.steps.workdir import BUNDLE, SUMMARY, WorkDirectory, job_key

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
) -> DoneRun:
    """Turn a job into a judged forecast.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the run is made, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.
        workers: Tasks at a time; None for what the job's engine says.
        progress: Told how far the run is.

    Raises:
        DataError: A source's data cannot be used as declared, or there is too little.
        JobError: A source that is replaced is not the job's.
        NotSupportedError: The job asks for what this version cannot do.
        LakeConflictError: Another run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    require_supported(job)
    if job.spec.is_tabular:
        return run_table(job, base=base, workdir=workdir, now=now, sources=sources, workers=workers, progress=progress)
    work = WorkDirectory(workdir)
    settings = job.spec.engine if workers is None else job.spec.engine.model_copy(update={"workers": workers})

    def fitted(done: int, total: int) -> None:
        progress("fitting and forecasting", done, total)

    with work.only_run(job), engine_for(settings, fitted) as engine:
        lake = Lake(work.lake.as_uri())
        progress("reading sources", 0, 1)
        ingested = ingest(replace_sources(job, sources), lake, base=base, now=now)
        progress("reading sources", 1, 1)
        built = build_panel(job, ingested.bars)
        inputs = inputs_digest(job, {name: version.digest for name, version in ingested.tables.items()})
        run_id = f"{now:%Y%m%dT%H%M%SZ}-{inputs[:8]}"
        names = {"job": job_key(job), "run": run_id}
        for source in ingested.summaries:
            _LOG.info(
                "source read", extra={**names, "source": source.name, "bars": source.rows, "digest": source.digest}
            )
        with work.new_run(job, run_id) as directory:
            config = select_features(job, built.panel, now=now, directory=directory)
            calendar = ingested.bars[job.spec.target.source].calendar
            trained = train(
                job,
                built,
                ingested,
                season=job.spec.evaluation.season
                or default_season(parse_frequency(job.spec.frequency), weekdays=calendar == "Weekdays"),
                history=tried_before(lake, work, job),
                incumbent=served_trial(lake, work, job, inputs, now),
                engine=engine,
                now=now,
                directory=directory,
            )
            scorecard = trained.scorecard
            bundle, files = read_bundle(directory / BUNDLE)
            forecasts = next_forecasts(built.panel, bundle, files)
            summary = RunSummary(
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                run=run_id,
                digest=scorecard.digest(),
                spec_digest=spec_digest(job),
                procedure_digest=procedure_digest(job),
                conditions=conditions(scorecard),
                scorecard=scorecard,
            )
            report = RunReport(
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                run=run_id,
                digest=summary.spec_digest,
                created_at=now,
                scorecard=scorecard,
                conditions=summary.conditions,
                back_test=trained.back_test,
                bars=ingested.bars[job.spec.target.source],
                forecasts=forecasts,
                config=config,
            )
            write_report(directory, report)
            verdict = scorecard.verdict
            write_forecast(
                directory,
                forecast_summary(
                    job,
                    forecasts,
                    run=run_id,
                    model=verdict.champion,
                    promoted=verdict.promoted,
                    panel=bool(bundle.panel),
                ),
            )
            write_atomically(directory / SUMMARY, summary.model_dump_json(indent=2) + "\n")
            trials = lake.write(trials_table(job), to_rows(trained.trials))
            manifest = RunManifest(
                run=run_id,
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                spec_digest=summary.spec_digest,
                procedure_digest=summary.procedure_digest,
                tables={**ingested.tables, **_derived(lake, job, ingested, built.panel), TRIALS: trials},
                seed=job.spec.seed,
                lock_digest=lock_digest(),
                created_at=now,
                scorecard_digest=summary.digest,
            )
            save_manifest(directory, manifest)
        champions = promote(
            work.champion(job),
            verdict,
            run=run_id,
            inputs=inputs,
            procedure=summary.procedure_digest,
            now=now,
        )
        if champions.current.run == run_id:
            keep_forecast(lake, job, forecasts_table(forecasts), champions.current)
        _LOG.info(
            "run finished",
            extra=names
            | {"digest": summary.digest, "promoted": verdict.promoted, "reason": verdict.reason}
            | {"champion": champions.current.model},
        )
        retire(lake, work, job)
        outcome = run_outcome(job, work, summary, champions.current)
        write_sinks(job, sink_results(job, lake, ingested, built.panel), base=base)
    return DoneRun(report=report, summary=summary, outcome=outcome, directory=work.run(job, run_id))


def _derived(lake: Lake, job: PredictionJob, ingested: Ingested, panel: Panel) -> dict[str, TableVersion]:
    """Write the bars and the frames that the run was made of; what they already hold is not written again."""
    tables = {
        f"bars/{name}": lake.write(f"bars/{job_key(job)}/{name}", bars.rows) for name, bars in ingested.bars.items()
    }
    tables["frame"] = lake.write(f"frames/{job_key(job)}", to_table(panel))
    return tables
