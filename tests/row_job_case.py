"""A job over rows made for tests: a file of trips whose newest rows wait for their price."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from table_case import START, make_table

from presage.spec.job import PredictionJob
from presage.steps.records import DoneRun
from presage.steps.run import run_job

DAYS, TRIPS, WAITING = 120, 4, 6
NOW = START + timedelta(days=DAYS, hours=-4)
"""Hours after the newest trip."""


def make_job(task: str = "Regression", **parts: object) -> PredictionJob:
    """A small job on `trips.csv`: a Regression of `price`, or a Classification of whether it is above 10."""
    regression = task == "Regression"
    source = {"name": "trips", "file": {"uri": "trips.csv"}, "time": "at", "availability": {"lag": "0s"}}
    spec: dict[str, object] = {
        "task": task,
        "frequency": "1d",
        "target": {"source": "trips", "column": "price"} | ({} if regression else {"above": 10}),
        "sources": [source | dict(parts.pop("source", {}))],
        "selection": {"method": "None"},
        "models": [{"name": "ridge" if regression else "logistic_regression"}],
        "evaluation": {"folds": 3, "metric": "MAE" if regression else "LogLoss"},
        "promotion": {"effectSize": 0.5, "replications": 200},
    }
    metadata = {"name": "trips"}
    document = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": metadata}
    return PredictionJob.model_validate({**document, "spec": spec | parts})


def trips(*, waiting: int = WAITING, days: int = DAYS) -> pl.DataFrame:
    """The trips of the first days, of which the last ones have no price yet."""
    table = make_table(11, signal=2.0, days=DAYS, trips=TRIPS).drop("dear").head(days * TRIPS)
    open_ones = pl.int_range(pl.len()) >= table.height - waiting
    return table.with_columns(price=pl.when(open_ones).then(None).otherwise("price"))


def run(job: PredictionJob, folder: Path, *, workdir: Path, now: datetime = NOW) -> DoneRun:
    """Run a job on the file that stands in a folder."""
    return run_job(job, base=folder, workdir=workdir, now=now, sources={}, workers=None, progress=lambda *_: None)
