"""Digests of jobs: equal for what means the same, different for what does not."""

from __future__ import annotations

import json

import pytest
import yaml

from presage.spec.digest import procedure_digest, run_digest, spec_digest
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.spec.load import parse_job

TEXT = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: digest}
spec:
  frequency: 1d
  target: {source: prices, column: Close}
  sources:
    - {name: prices, availability: {lag: 0s}, columns: {Close: close}, file: {uri: prices.csv}}
    - {name: vix, availability: {lag: 1d}, dataset: {name: arch/vix}}
  features: [{lag: {columns: [prices.Close], steps: [1]}}]
  models: [{name: ridge}, {name: xgboost, parameters: {max_depth: 4}}]
"""


def changed(path: str, value: object) -> PredictionJob:
    job = yaml.safe_load(TEXT)
    *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = job
    for part in outer:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    inner[last] = value
    return parse_job(json.dumps(job), "job")


JOB = parse_job(TEXT, "job")


def test_a_digest_names_its_algorithm_and_does_not_change_between_releases_unnoticed() -> None:
    assert spec_digest(JOB).startswith("sha256:")
    assert len(spec_digest(JOB)) == len(procedure_digest(JOB)) == 71
    assert spec_digest(JOB) != procedure_digest(JOB)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "another"),
        ("metadata.labels", {"team": "desk"}),
        ("spec.target.horizon", 1),
        ("spec.target.transform", "Level"),
        ("spec.evaluation", {"folds": 12, "intervals": {"learningRate": 0.01}}),
        ("spec.models.0.parameters", {"alpha": 1}),
        ("spec.models.0.parameters", {"alpha": 1.0}),
        ("spec.sources.0.file.format", "Auto"),
        ("spec.resources", {"requests": {"memory": "1Gi", "cpu": "500m"}}),
    ],
)
def test_names_and_spelled_out_defaults_do_not_change_it(path: str, value: object) -> None:
    assert spec_digest(changed(path, value)) == spec_digest(JOB)
    assert procedure_digest(changed(path, value)) == procedure_digest(JOB)


def test_the_order_of_fields_does_not_change_it() -> None:
    def reversed_fields(part: object) -> object:
        if isinstance(part, dict):
            return {name: reversed_fields(part[name]) for name in reversed(part)}
        return [reversed_fields(inner) for inner in part] if isinstance(part, list) else part

    assert spec_digest(parse_job(json.dumps(reversed_fields(yaml.safe_load(TEXT))), "job")) == spec_digest(JOB)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.serving", {"enabled": False}),
        ("spec.monitoring", {"rollback": True}),
        ("spec.schedule", {"train": {"schedule": "@daily"}}),
        ("spec.engine", {"workers": 4}),
        ("spec.sinks", [{"name": "out", "files": {"uri": "out"}}]),
        ("spec.resources.limits", {"memory": "8Gi"}),
        ("spec.retention", {"runs": 3}),
        ("spec.promotion", {"significance": 0.01}),
        ("spec.sources.0.file", {"uri": "elsewhere.csv"}),
    ],
)
def test_how_a_job_is_run_changes_the_spec_but_not_the_procedure(path: str, value: object) -> None:
    assert spec_digest(changed(path, value)) != spec_digest(JOB)
    assert procedure_digest(changed(path, value)) == procedure_digest(JOB)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.frequency", "1w"),
        ("spec.calendar", "Weekdays"),
        ("spec.target.horizon", 2),
        ("spec.target.transform", "LogChange"),
        ("spec.sources.1.availability.lag", "2d"),
        ("spec.sources.1.dataset.name", "arch/wti"),
        ("spec.sources.0.columns", {"Close": "adjusted"}),
        ("spec.sources.0.timeZone", "Asia/Tokyo"),
        ("spec.features.0.lag.steps", [2]),
        ("spec.selection", {"maxFeatures": 3}),
        ("spec.models.1.parameters", {"max_depth": 5}),
        ("spec.models", [{"name": "xgboost", "parameters": {"max_depth": 4}}, {"name": "ridge"}]),
        ("spec.evaluation", {"folds": 6}),
        ("spec.seed", 1),
    ],
)
def test_what_makes_the_forecasts_changes_both(path: str, value: object) -> None:
    assert spec_digest(changed(path, value)) != spec_digest(JOB)
    assert procedure_digest(changed(path, value)) != procedure_digest(JOB)


CHANGES: dict[str, tuple[str, object]] = {
    "task": ("spec.task", "Regression"),
    "frequency": ("spec.frequency", "1w"),
    "calendar": ("spec.calendar", "Weekdays"),
    "target": ("spec.target.horizon", 2),
    "sources": ("spec.sources.0.file", {"uri": "elsewhere.csv"}),
    "features": ("spec.features.0.lag.steps", [2]),
    "selection": ("spec.selection", {"maxFeatures": 3}),
    "models": ("spec.models.1.parameters", {"max_depth": 5}),
    "evaluation": ("spec.evaluation", {"folds": 6}),
    "promotion": ("spec.promotion", {"significance": 0.01}),
    "serving": ("spec.serving", {"enabled": False}),
    "monitoring": ("spec.monitoring", {"maxStaleness": "3d"}),
    "schedule": ("spec.schedule", {"train": {"schedule": "@daily"}}),
    "engine": ("spec.engine", {"workers": 4}),
    "sinks": ("spec.sinks", [{"name": "out", "files": {"uri": "out"}}]),
    "resources": ("spec.resources.limits", {"memory": "8Gi"}),
    "retention": ("spec.retention", {"runs": 3}),
    "seed": ("spec.seed", 1),
}
"""A change of every field of a spec."""
WITHOUT_A_RUN = {"serving", "monitoring", "schedule", "retention"}


def test_every_field_of_a_spec_is_changed_below() -> None:
    assert set(CHANGES) == set(PredictionJobSpec.model_fields)


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_a_job_runs_anew_where_its_result_may_differ_and_only_there(field: str) -> None:
    path, value = CHANGES[field]
    assert spec_digest(changed(path, value)) != spec_digest(JOB)
    assert (run_digest(changed(path, value)) == run_digest(JOB)) == (field in WITHOUT_A_RUN)


def test_names_and_spelled_out_defaults_ask_for_no_new_run() -> None:
    for path, value in (("metadata.name", "another"), ("spec.target.horizon", 1), ("spec.engine", {"workers": 1})):
        assert run_digest(changed(path, value)) == run_digest(JOB)
