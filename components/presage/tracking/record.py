"""What MLflow is told of a run, in Presage's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class MetricValue:
    """A number of a run.

    Attributes:
        name: Name, such as `ridge.mae`.
        value: The number, finite.
        step: Its place in a row of numbers of this name, such as a fold's; 0 where there is one only.
    """

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Dataset:
    """What a source gave a run.

    Attributes:
        name: Name of the source.
        digest: SHA-256 of its rows, hexadecimal digits.
        rows: How many.
        start: Start of the first bar, UTC.
        end: Start of the last bar, UTC.
    """

    name: str
    digest: str
    rows: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class RunRecord:
    """All that MLflow is told of a run.

    Attributes:
        experiment: Name of the experiment.
        model: Name of the registered model.
        run: The run's id, which names it there.
        started_at: When it began, UTC.
        ended_at: When it ended, UTC.
        parameters: What was judged, and how.
        metrics: What was found.
        tags: What pins the run, and the gate's decision.
        version_tags: Tags of its version of the registered model.
        datasets: What it learnt from.
        directory: Holds its files.
        files: Names of those files that are attached; a folder is attached whole.
        bundle: Name of the folder among them that the registered version is of.
    """

    experiment: str
    model: str
    run: str
    started_at: datetime
    ended_at: datetime
    parameters: Mapping[str, str]
    metrics: tuple[MetricValue, ...]
    tags: Mapping[str, str]
    version_tags: Mapping[str, str]
    datasets: tuple[Dataset, ...]
    directory: Path
    files: tuple[str, ...]
    bundle: str
