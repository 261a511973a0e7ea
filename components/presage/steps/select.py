"""The second step: from bars to the frame, and the feature config that training reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from presage.bars import Bars
from presage.errors import DataError
from presage.evaluation.final_fit import training_window
from presage.features.build import build_frames
from presage.features.config import FeatureConfig, to_json
from presage.features.selection import select
from presage.files import write_atomically
from presage.frame import SERIES, Frame, Panel, stack
from presage.spec.job import PredictionJob
from presage.steps.workdir import FEATURES


@dataclass(frozen=True)
class Built:
    """The series of the job's target.

    Attributes:
        panel: Those that can be learnt.
        left_out: By name, why one of many cannot.
    """

    panel: Panel
    left_out: Mapping[str, str]


def build_panel(job: PredictionJob, bars: Mapping[str, Bars]) -> Built:
    """Return the series of the job's target; one of many that cannot be learnt is left out.

    Raises:
        DataError: A column is missing, or no series of the target can be learnt.
        JobError: A feature refers to a source that the job does not list.
    """
    target = bars[job.spec.target.source]
    names = target.rows[SERIES].unique().sort().to_list()
    if len(names) < 2:
        return Built(Panel.of(build_frames(job.spec, bars)), {})
    parts = {name: _by_series(source) for name, source in bars.items()}
    frames: list[Frame] = []
    faults: dict[str, DataError] = {}
    for series in names:
        own = {name: parts[name].get(series, source) for name, source in bars.items()}
        try:
            frames += build_frames(job.spec, own)
        except DataError as error:
            faults[series] = error
    if not frames:
        raise faults[names[0]]
    return Built(Panel.of(frames), {name: error.what for name, error in faults.items()})


def _by_series(bars: Bars) -> dict[str, Bars]:
    """Return the bars of each series by its name."""
    parts = bars.rows.partition_by(SERIES, as_dict=True, maintain_order=True)
    return {str(name): replace(bars, rows=rows) for (name,), rows in parts.items()}


def select_features(job: PredictionJob, panel: Panel, *, now: datetime, directory: Path) -> FeatureConfig:
    """Select features on the newest training window, as known at `now`, and write the config into a directory."""
    known = panel.known_by(np.datetime64(now.replace(tzinfo=None), "us"))
    window = stack(training_window(known, job.spec.evaluation).frames)
    config = select(window, transform=job.spec.target.transform, selection=job.spec.selection, seed=job.spec.seed)
    write_atomically(directory / FEATURES, to_json(config))
    return config
