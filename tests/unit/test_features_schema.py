"""What a bundle says of the frame is enough to build it again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from feature_bars import real_bars, spec_of

from presage.features.build import build_frames
from presage.features.schema import feature_texts
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.steps.frame_schema import frame_schema

SOURCES = {"sp500": {"lag": "0s"}, "vix": {"lag": "0s"}}
FEATURES = [
    {"lag": {"columns": ["sp500.range_volatility", "vix.vix"], "steps": [1, 3]}},
    {"difference": {"columns": ["vix.vix"]}},
    {"percentChange": {"columns": ["sp500.Close"], "periods": [5]}},
    {"logChange": {"columns": ["vix.vix", "sp500.Close"], "periods": [5]}},
    {"rolling": {"columns": ["sp500.range_volatility"], "windows": [5, 22], "statistics": ["mean", "zscore"]}},
    {"exponentialMean": {"columns": ["vix.vix"], "spans": [10]}},
    {"ratio": {"numerator": "vix.vix", "denominator": "sp500.range_volatility"}},
    {"premium": {"price": "sp500.Close", "reference": "vix.vix"}},
    {"rangeVolatility": {"sources": ["sp500"], "windows": [5]}},
    {"calendar": {"parts": ["day_of_week", "month"]}},
]


@pytest.fixture(scope="module")
def bars() -> dict[str, object]:
    return {"sp500": real_bars("sp500", "2016"), "vix": real_bars("vix", "2015")}


def job_of(spec: PredictionJobSpec) -> PredictionJob:
    head = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": "house"}}
    return PredictionJob.model_validate(
        {**head, "spec": spec.model_dump(by_alias=True, mode="json", exclude_none=True)}
    )


@pytest.mark.parametrize("features", [FEATURES, []], ids=["every kind", "by default"])
def test_each_text_alone_makes_its_feature_bit_by_bit(bars, features):
    spec = spec_of("sp500.range_volatility", sources=SOURCES, horizon=1, features=features)
    (frame,) = build_frames(spec, bars)
    texts = feature_texts(spec, bars)
    assert tuple(texts) == frame.feature_names
    for place, (name, text) in enumerate(texts.items()):
        alone = spec_of("sp500.range_volatility", sources=SOURCES, horizon=1, features=[json.loads(text)])
        (again,) = build_frames(alone, bars)
        column = again.features[:, again.feature_names.index(name)]
        assert np.array_equal(column, frame.features[:, place], equal_nan=True)


def test_the_schema_has_the_features_that_are_kept_in_their_order(bars):
    job = job_of(spec_of("sp500.range_volatility", sources=SOURCES, horizon=1, features=FEATURES))
    kept = ("calendar.month_sin", "vix.vix.lag_3")
    schema = frame_schema(job, bars, series=("sp500",), features=kept)
    assert schema.target == "sp500.range_volatility"
    assert schema.series == ("sp500",)
    assert [feature.name for feature in schema.features] == list(kept)
    assert {feature.dtype for feature in schema.features} == {"float64"}
    assert json.loads(schema.features[1].definition) == {
        "lag": {"columns": ["sp500.range_volatility", "vix.vix"], "steps": [1, 3]}
    }
