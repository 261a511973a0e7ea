"""The second step: from bars to the frame, and the feature config that training reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from presage.bars import Bars
from presage.errors import NotSupportedError
from presage.evaluation.contenders import training_window
from presage.features.build import build_frames
from presage.features.config import FeatureConfig, to_json
from presage.features.selection import select
from presage.files import write_atomically
from presage.frame import Frame
from presage.spec.job import PredictionJob
from presage.steps.workdir import FEATURES


def build_frame(job: PredictionJob, bars: Mapping[str, Bars]) -> Frame:
    """Return the frame of the job's target series.

    Raises:
        DataError: A column is missing, or the target cannot be learnt.
        NotSupportedError: The target's source holds more than one series.
    """
    frames = build_frames(job.spec, bars)
    if len(frames) > 1:
        names = ", ".join(frame.series for frame in frames[:3])
        raise NotSupportedError(
            f"spec.target.source {job.spec.target.source!r} holds {len(frames)} series ({names}, ...).",
            "This version forecasts one series a job; choose one with a source that holds that series only.",
        )
    return frames[0]


def select_features(job: PredictionJob, frame: Frame, *, now: datetime, directory: Path) -> FeatureConfig:
    """Select features on the newest training window, as known at `now`, and write the config into a directory."""
    known = frame.known_by(np.datetime64(now.replace(tzinfo=None), "us"))
    window = training_window(known, job.spec.evaluation)
    config = select(window, transform=job.spec.target.transform, selection=job.spec.selection, seed=job.spec.seed)
    write_atomically(directory / FEATURES, to_json(config))
    return config
