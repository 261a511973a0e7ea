"""How each feature of a job is defined: the entry of `spec.features` that makes it, as text."""

from __future__ import annotations

from collections.abc import Mapping

from presage.bars import FILLED, Bars
from presage.features.definitions import default_features, define, with_derived
from presage.frame import value_columns
from presage.spec.features import Feature
from presage.spec.job import PredictionJobSpec


def feature_texts(spec: PredictionJobSpec, bars: Mapping[str, Bars]) -> dict[str, str]:
    """Return by a feature's name, in the frame's order, the JSON text of the job's feature that makes it.

    Args:
        spec: The job.
        bars: Bars of each source, by its name.

    Raises:
        DataError: A source lacks a column.
        JobError: A feature refers to a source that the job does not list.
    """
    columns = {
        name: with_derived([column for column in value_columns(source.rows) if column != FILLED])
        for name, source in bars.items()
    }
    return {
        definition.name: feature_text(feature)
        for feature in spec.features or default_features(spec.target)
        for definition in define((feature,), spec.target, columns)
    }


def feature_text(feature: Feature) -> str:
    """Return a feature as JSON text, as a job's file may have it."""
    return feature.model_dump_json(by_alias=True, exclude_none=True)
