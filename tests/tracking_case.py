"""A small job whose runs MLflow is told of, and MLflow's own client to read what came."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from arch.data import sp500

from presage.spec.job import PredictionJob
from presage.steps.mirror import WorkPlace
from presage.steps.records import DoneRun
from presage.steps.run import run_job

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

QUIET = {
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def make_job(name: str = "index", model: str = "ridge", **spec: object) -> PredictionJob:
    """A job on the S&P 500, which stands in `index.csv`."""
    parts: dict[str, object] = {
        "frequency": "1d",
        "target": {"source": "index", "column": "range_volatility"},
        "sources": [{"name": "index", "file": {"uri": "index.csv"}, "time": "Date", "availability": {"lag": "0s"}}],
        "models": [{"name": model}],
        "evaluation": {"folds": 3, "testSize": 250},
    }
    document = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": name}}
    return PredictionJob.model_validate({**document, "spec": parts | spec})


def give(folder: Path, rows: int = 3000) -> None:
    """Write the first rows of the index."""
    sp500.load().iloc[:rows][["High", "Low"]].reset_index().to_csv(folder / "index.csv", index=False)


def run(job: PredictionJob, folder: Path, now: datetime) -> DoneRun:
    """Run a job on the file that stands in a folder, with the work directory `work` beside it."""
    return run_job(job, base=folder, workdir=folder / "work", now=now, sources={}, workers=1, progress=lambda *_: None)


def place_of(folder: Path) -> WorkPlace:
    """The work directory in that folder."""
    return WorkPlace(folder / "work", str(folder / "work"))


@contextmanager
def mlflow_client(uri: str) -> Iterator[MlflowClient]:
    """Give MLflow's own client, which says nothing."""
    before = dict(os.environ)
    os.environ.update(QUIET)
    try:
        with warnings.catch_warnings(action="ignore"):
            from mlflow import MlflowClient

            yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    finally:
        os.environ.clear()
        os.environ.update(before)


def told_runs(client: MlflowClient, experiment: str) -> list[Run]:
    """All runs of an experiment, whole or not, the oldest first."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))


def files_of(client: MlflowClient, run_id: str, place: Path) -> dict[str, bytes]:
    """The artefacts of a run, by path."""
    folder = Path(client.download_artifacts(run_id, "", str(place)))
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
