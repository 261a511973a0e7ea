"""A model of rows in a bundle: what its manifest says of what it reads and of what was learnt beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from table_case import make_spec, make_table, observations

from presage.engine import LocalEngine
from presage.models.bundle import read_bundle
from presage.spec.features import Feature
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.tabular.design import inputs_of
from presage.tabular.model import read_model, write_model
from presage.tabular.rows import kinds_of
from presage.tabular.walk import entrants, fit_final, walk

NOW = datetime(2022, 6, 1, tzinfo=UTC)
LOCK = "sha256:" + "2" * 64


def written(directory: Path, spec: PredictionJobSpec, data: pl.DataFrame) -> dict:
    seen = observations(data, spec)
    inputs = inputs_of(spec, kinds_of(seen.table))
    walked = walk(seen, inputs, spec, engine=LocalEngine(1))
    final = fit_final(walked, inputs, spec, entrants(spec)[1])
    head = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": "trips"}}
    text = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    job = PredictionJob.model_validate({**head, "spec": text})
    write_model(directory, job, final, walked.probabilities, now=NOW, lock_digest=LOCK)
    return json.loads((directory / "bundle.json").read_text())


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    return make_table(6, signal=2.0, days=80).drop("dear")


def test_every_feature_says_which_column_or_part_of_the_time_makes_it(tmp_path, data):
    spec = make_spec(
        models=[{"name": "ridge"}],
        selection={"method": "None"},
        features=[
            {"columns": {"columns": ["trips.shop", "trips.miles"]}},
            {"calendar": {"parts": ["hour"]}},
        ],
        source={"units": {"price": "USD"}},
        seed=5,
    )
    content = written(tmp_path / "bundle", spec, data)
    assert (content["version"], content["lock_digest"], content["seed"]) == ("v3", LOCK, 5)
    frame = content["frame"]
    assert (frame["target"], frame["unit"], frame["series"]) == ("trips.price", "USD", [])
    assert [one["name"] for one in frame["features"]] == content["features"]
    made = {one["name"]: json.loads(one["definition"]) for one in frame["features"]}
    assert made["trips.miles"] == {"columns": {"columns": ["trips.miles"]}}
    shops = [name for name in made if name.startswith(("trips.shop=", "trips.shop~"))]
    assert len(shops) > 1
    assert all(made[name] == {"columns": {"columns": ["trips.shop"]}} for name in shops)
    assert made["calendar.hour_sin"] == made["calendar.hour_cos"] == {"calendar": {"parts": ["hour"]}}
    assert all(Feature.model_validate_json(one["definition"]) for one in frame["features"])
    assert content["transforms"] == [{"file": "design.json", "kind": "Categories", "columns": ["shop"]}]
    read_bundle(tmp_path / "bundle")
    assert read_model(tmp_path / "bundle").design.categories["shop"]


def test_where_no_category_is_learnt_nothing_is_learnt_beside_the_model(tmp_path, data):
    spec = make_spec(models=[{"name": "ridge"}], features=[{"columns": {"columns": ["trips.miles"]}}])
    content = written(tmp_path / "bundle", spec, data)
    assert content["transforms"] == []
    assert "design.json" in content["files"]
