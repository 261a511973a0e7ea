"""A run: ingest, select, train, judge, promote, forecast; it appears whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.engine import local_engine
from presage.errors import LakeError
from presage.evaluation.judge import conditions
from presage.evaluation.season import default_season
from presage.evaluation.trials import Trial, from_rows, to_rows
from presage.files import write_atomically
from presage.frame import Frame, to_table
from presage.lake.manifest import MANIFEST, RunManifest, list_manifests, load_manifest, save_manifest
from presage.lake.retention import retain
from presage.lake.tables import Lake, TableVersion
from presage.models.bundle import read_bundle
from presage.report.data import Report as RunReport
from presage.report.write import write_report
from presage.spec.base import parse_frequency
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.spec.outcome import RunOutcome
from presage.steps.forecast import forecast_summary, forecast_table, keep_forecast, next_forecast, write_forecast
from presage.steps.history import RunSummary
from presage.steps.ingest import Ingested, ingest
from presage.steps.lock import lock_digest
from presage.steps.outcome import run_outcome
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.promote import Champions, incumbent, promote, read_champions
from presage.steps.select import build_frame, select_features
from presage.steps.supported import require_supported
from presage.steps.train import train
from presage.steps.workdir import BUNDLE, SUMMARY, WorkDirectory, job_key

_TRIALS = "trials"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DoneRun:
    """A finished run: what it found, for people, programs and the platform, and where its files are."""

    report: RunReport
    summary: RunSummary
    outcome: RunOutcome
    directory: Path


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
    work = WorkDirectory(workdir)
    engine = local_engine(
        job.spec.engine if workers is None else job.spec.engine.model_copy(update={"workers": workers}),
        lambda done, total: progress("fitting and forecasting", done, total),
    )
    with work.only_run(job):
        lake = Lake(work.lake.as_uri())
        progress("reading sources", 0, 1)
        ingested = ingest(replace_sources(job, sources), lake, base=base, now=now)
        progress("reading sources", 1, 1)
        frame = build_frame(job, ingested.bars)
        inputs = _inputs_digest(job, ingested)
        run_id = f"{now:%Y%m%dT%H%M%SZ}-{inputs[:8]}"
        names = {"job": job_key(job), "run": run_id}
        for source in ingested.summaries:
            _LOG.info(
                "source read", extra={**names, "source": source.name, "bars": source.rows, "digest": source.digest}
            )
        with work.new_run(job, run_id) as directory:
            config = select_features(job, frame, now=now, directory=directory)
            calendar = ingested.bars[job.spec.target.source].calendar
            trained = train(
                job,
                frame,
                ingested,
                season=job.spec.evaluation.season
                or default_season(parse_frequency(job.spec.frequency), weekdays=calendar == "Weekdays"),
                history=_tried_before(lake, work, job),
                incumbent=_incumbent(lake, work, job, inputs, now),
                engine=engine,
                now=now,
                directory=directory,
            )
            scorecard = trained.scorecard
            forecast = next_forecast(frame, *read_bundle(directory / BUNDLE))
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
                forecast=forecast,
                config=config,
            )
            write_report(directory, report)
            verdict = scorecard.verdict
            write_forecast(
                directory,
                forecast_summary(job, forecast, run=run_id, model=verdict.champion, promoted=verdict.promoted),
            )
            write_atomically(directory / SUMMARY, summary.model_dump_json(indent=2) + "\n")
            trials = lake.write(_trials_table(job), to_rows(trained.trials))
            manifest = RunManifest(
                run=run_id,
                job=job.metadata.name,
                namespace=job.metadata.namespace,
                spec_digest=summary.spec_digest,
                procedure_digest=summary.procedure_digest,
                tables={**ingested.tables, **_derived(lake, job, ingested, frame), _TRIALS: trials},
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
            keep_forecast(lake, job, forecast_table(forecast), champions.current)
        _LOG.info(
            "run finished",
            extra=names
            | {"digest": summary.digest, "promoted": verdict.promoted, "reason": verdict.reason}
            | {"champion": champions.current.model},
        )
        _retire(lake, work, job)
        outcome = run_outcome(job, work, summary, champions.current)
    return DoneRun(report=report, summary=summary, outcome=outcome, directory=work.run(job, run_id))


def _derived(lake: Lake, job: PredictionJob, ingested: Ingested, frame: Frame) -> dict[str, TableVersion]:
    """Write the bars and the frame that the run was made of; what they already hold is not written again."""
    tables = {
        f"bars/{name}": lake.write(f"bars/{job_key(job)}/{name}", bars.rows) for name, bars in ingested.bars.items()
    }
    tables["frame"] = lake.write(f"frames/{job_key(job)}", to_table(frame))
    return tables


def _trials_table(job: PredictionJob) -> str:
    return f"{_TRIALS}/{job_key(job)}"


def _tried_before(lake: Lake, work: WorkDirectory, job: PredictionJob) -> tuple[Trial, ...]:
    """Return the trials that finished runs left: what a killed run wrote after them does not count."""
    versions = [manifest.tables[_TRIALS] for manifest in list_manifests(work.runs(job)) if _TRIALS in manifest.tables]
    newest = max(versions, key=lambda version: version.version, default=None)
    return () if newest is None else _read_trials(lake, newest, work, job)


def _incumbent(lake: Lake, work: WorkDirectory, job: PredictionJob, inputs: str, now: datetime) -> Trial | None:
    """Return the served model's losses from the run that promoted it; None where a baseline is served."""
    champion = incumbent(read_champions(work.champion(job)), inputs, now)
    if champion is None or not champion.promoted:
        return None
    version = load_manifest(work.run(job, champion.run) / MANIFEST).tables[_TRIALS]
    key = (champion.procedure, champion.model)
    return next((trial for trial in _read_trials(lake, version, work, job) if trial.key == key), None)


def _read_trials(lake: Lake, version: TableVersion, work: WorkDirectory, job: PredictionJob) -> tuple[Trial, ...]:
    try:
        return from_rows(lake.read(version))
    except LakeError as error:
        raise LakeError(
            f"The job's history of tried configurations cannot be read: {error.what}",
            f"Restore {work.lake} from a copy, or start the history anew: remove {work.runs(job)}, "
            f"{work.champion(job)} and {work.lake / _trials_table(job)}.",
        ) from error


def _inputs_digest(job: PredictionJob, ingested: Ingested) -> str:
    """Return what pins a run's result, as hexadecimal digits: spec, data, seed, software."""
    parts = [spec_digest(job), str(job.spec.seed), lock_digest()]
    parts += [f"{name} {version.digest}" for name, version in sorted(ingested.tables.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _retire(lake: Lake, work: WorkDirectory, job: PredictionJob) -> None:
    """Forget this job's runs beyond its retention, and free what no kept run of any job needs."""
    keep = job.spec.retention.runs
    own = {manifest.run for manifest in list_manifests(work.runs(job))}
    if len(own) <= keep:
        return
    protected = _served(read_champions(work.champion(job)))
    protected |= {manifest.run for manifest in list_manifests(work.all_runs)} - own
    for directory in retain(lake, work.all_runs, keep=keep, protected=protected).runs:
        shutil.rmtree(directory, ignore_errors=True)


def _served(champions: Champions | None) -> set[str]:
    """Return the runs that serve: the champion's, and the one before it, with which a repeat is compared."""
    if champions is None:
        return set()
    before = incumbent(champions, champions.current.inputs, champions.current.since)
    return {champions.current.run} | ({before.run} if before else set())
