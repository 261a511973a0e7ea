"""What a bundle says of the frame that its forecaster reads: enough to build such a frame again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from presage.bars import Bars
from presage.features.schema import feature_texts
from presage.models.bundle import FrameFeature, FrameSchema
from presage.spec.job import PredictionJob


def frame_schema(
    job: PredictionJob, bars: Mapping[str, Bars], *, series: Sequence[str], features: Sequence[str]
) -> FrameSchema:
    """Return the schema of a job's frame.

    Args:
        job: The job.
        bars: Bars of each source, by its name.
        series: Names of the target's series, in their order.
        features: Names of the features that the forecaster reads, in its order.
    """
    target = job.spec.target
    texts = feature_texts(job.spec, bars)
    return FrameSchema(
        target=f"{target.source}.{target.column}",
        unit=job.spec.source(target.source).units.get(target.column, ""),
        series=tuple(series),
        features=tuple(FrameFeature(name=name, definition=texts[name]) for name in features),
    )
