"""What a job's runs found of each contender, as a table: one row a run and contender."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import polars as pl

from presage.evaluation.scorecard import ClassificationMetrics, Contender, Metrics
from presage.frame import TIMESTAMP
from presage.lake.manifest import list_manifests
from presage.sinks.tables import Data
from presage.spec.job import PredictionJob
from presage.steps.history import RunSummary, read_summary
from presage.steps.workdir import WorkDirectory

_OF_PROBABILITIES = tuple(name for name in ClassificationMetrics.model_fields if name != "bins")
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("namespace", "job", "run"), pl.String),
    "time": TIMESTAMP,
    "model": pl.String,
    **dict.fromkeys(("baseline", "promoted"), pl.Boolean),
    "metric": pl.String,
    **dict.fromkeys(("loss", "skill"), pl.Float64),
    "superior": pl.Boolean,
    **dict.fromkeys((*Metrics.model_fields, *_OF_PROBABILITIES), pl.Float64),
}


def metrics_table(job: PredictionJob, work: WorkDirectory) -> pl.DataFrame:
    """Return what the runs that are kept found, the oldest first, one row a run and contender.

    Columns: namespace, job, run, time (when the run was made, UTC), model, baseline, promoted (by this run),
    metric (the gate's), loss (its mean), skill, superior, and the scorecard's metrics (Float64; null where one is
    not defined).

    Raises:
        LakeError: A run's files cannot be read.
    """
    manifests = list_manifests(work.runs(job))
    rows = [
        _row(summary, contender, manifest.created_at)
        for manifest in reversed(manifests)
        for summary in [read_summary(work.run(job, manifest.run))]
        for contender in summary.scorecard.contenders
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def metrics_results(job: PredictionJob, work: WorkDirectory) -> Mapping[Data, Callable[[], Mapping[str, pl.DataFrame]]]:
    """Return what gives the data `metrics` of a sink, as `presage.steps.sink.write_sinks` wants it."""
    return {"metrics": lambda: {job.spec.target.source: metrics_table(job, work)}}


def _row(summary: RunSummary, contender: Contender, made_at: datetime) -> dict[str, object]:
    verdict = summary.scorecard.verdict
    probabilities = contender.classification
    return {
        "namespace": summary.namespace,
        "job": summary.job,
        "run": summary.run,
        "time": made_at,
        "model": contender.name,
        "baseline": contender.baseline,
        "promoted": verdict.promoted and verdict.champion == contender.name,
        "metric": summary.scorecard.metric,
        "loss": contender.loss,
        "skill": contender.skill,
        "superior": contender.superior,
        **contender.metrics.model_dump(),
        **({} if probabilities is None else probabilities.model_dump(include=set(_OF_PROBABILITIES))),
    }
