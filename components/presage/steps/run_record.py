"""What MLflow is told of a finished run: its scorecard, manifest and spec as parameters, metrics, tags and files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import BaseModel

from presage.evaluation.scorecard import Contender, Scorecard
from presage.lake.manifest import MANIFEST, RunManifest
from presage.report.write import REPORT, SCORECARD
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.steps.history import FinishedRun, read_job
from presage.steps.workdir import BUNDLE, FEATURES, JOB, SUMMARY, job_key
from presage.tracking.record import Dataset, MetricValue, RunRecord

FILES = (REPORT, SCORECARD, SUMMARY, JOB, FEATURES, MANIFEST, BUNDLE)
"""What of a run's directory is attached."""


def experiment_name(job: PredictionJob) -> str:
    """Return the name of a job's experiment: namespace, a slash, the job's name."""
    return f"{job.metadata.namespace}/{job.metadata.name}"


def model_name(job: PredictionJob) -> str:
    """Return the name of a job's registered model: namespace, a dot, the job's name."""
    return job_key(job)


def run_record(job: PredictionJob, manifest: RunManifest, found: FinishedRun) -> RunRecord:
    """Return what MLflow is told of a run.

    Args:
        job: The job as it is now. Where the run does not keep its own, as those of an earlier Presage, and its spec was
            another, the parameters of its forecasters are left out.
        manifest: The run's manifest.
        found: The run's summary and the directory that holds all its files.
    """
    summary, scorecard = found.summary, found.summary.scorecard
    verdict = scorecard.verdict
    ended = datetime.fromtimestamp((found.directory / MANIFEST).stat().st_mtime, UTC)
    return RunRecord(
        experiment=experiment_name(job),
        model=model_name(job),
        run=manifest.run,
        started_at=manifest.created_at,
        ended_at=max(manifest.created_at, ended),
        parameters=dict(_parameters(read_job(found.directory) or job, manifest, scorecard)),
        metrics=tuple(_metrics(scorecard)),
        tags={
            "presage.job": summary.job,
            "presage.namespace": summary.namespace,
            "presage.spec_digest": summary.spec_digest,
            "presage.procedure_digest": summary.procedure_digest,
            "presage.scorecard_digest": summary.digest,
            "presage.lock_digest": manifest.lock_digest,
            "presage.seed": str(manifest.seed),
            "presage.promoted": str(verdict.promoted).lower(),
            "presage.reason": verdict.reason,
            "presage.message": verdict.message,
            "presage.model": verdict.champion,
        },
        version_tags={
            "presage.digest": summary.digest,
            "presage.model": verdict.champion,
            "presage.reason": verdict.reason,
        },
        datasets=tuple(
            Dataset(one.name, one.digest.removeprefix("sha256:"), one.rows, one.start, one.end)
            for one in scorecard.sources
        ),
        directory=found.directory,
        files=tuple(name for name in FILES if (found.directory / name).exists()),
        bundle=BUNDLE,
    )


def _parameters(job: PredictionJob, manifest: RunManifest, scorecard: Scorecard) -> Iterator[tuple[str, str]]:
    for name in ("task", "target", "transform", "horizon", "frequency", "metric", "folds"):
        yield name, str(getattr(scorecard, name))
    yield "seed", str(manifest.seed)
    yield "candidates", ", ".join(one.name for one in scorecard.contenders if not one.baseline)
    if spec_digest(job) != manifest.spec_digest:
        return
    for model in job.spec.models:
        for name, value in model.settings.model_dump(mode="json").items():
            yield f"{model.name}.{name}", value if isinstance(value, str) else json.dumps(value)
        if model.search is not None:
            yield f"{model.name}.search", model.search.model_dump_json(exclude_defaults=True)


def _metrics(scorecard: Scorecard) -> Iterator[MetricValue]:
    """Give the numbers of a scorecard: of what serves, of the best baseline, of each contender, and of the test."""
    roles = {"champion": scorecard.champion.name, "baseline": scorecard.baseline.name}
    for contender in scorecard.contenders:
        yield from _of_contender(contender, contender.name)
        for role, name in roles.items():
            if name == contender.name:
                yield from _of_contender(contender, role)
    yield MetricValue("origins", scorecard.evidence.origins)
    yield from _number("effective_origins", scorecard.evidence.effective)
    yield MetricValue("tried", scorecard.tried)
    if scorecard.test is not None:
        yield from _number("p_value", scorecard.test.p_value)


def _of_contender(contender: Contender, name: str) -> Iterator[MetricValue]:
    yield from _number(f"{name}.loss", contender.loss)
    yield from _number(f"{name}.skill", contender.skill)
    yield from _numbers(name, contender.metrics)
    if contender.classification is not None:
        yield from _numbers(name, contender.classification)
    for fold in contender.folds:
        yield from _number(f"{name}.fold_loss", fold.loss, fold.fold)
        yield from _number(f"{name}.fold_skill", fold.skill, fold.fold)


def _numbers(name: str, metrics: BaseModel) -> Iterator[MetricValue]:
    for field in type(metrics).model_fields:
        yield from _number(f"{name}.{field}", getattr(metrics, field))


def _number(name: str, value: object, step: int = 0) -> Iterator[MetricValue]:
    """Give a number under its name; nothing for what is none, or is not defined."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield MetricValue(name, float(value), step)
