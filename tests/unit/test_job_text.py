"""A job as the text that a Pod's annotation or a pipeline's parameter carries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from presage.spec.digest import procedure_digest, run_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage.spec.load import parse_job

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml"))
TEXT = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: sp500, namespace: desk, labels: {team: rates}, annotations: {note: private}}
spec:
  frequency: 1d
  target: {source: sp500, column: range_volatility, minimum: 0}
  sources: [{name: sp500, dataset: {name: arch/sp500}, timeZone: America/New_York, availability: {lag: 0s}}]
"""
JOB = parse_job(TEXT, "job")


def with_spec(**changes: object) -> PredictionJob:
    content = yaml.safe_load(TEXT)
    content["spec"] |= changes
    return PredictionJob.model_validate(content)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_s_text_reads_to_the_same_digests(path: Path) -> None:
    job = parse_job(path.read_text(), str(path))
    read = parse_job(job_text(job), "job.json")
    assert [digest(read) for digest in (spec_digest, run_digest, procedure_digest)] == [
        digest(job) for digest in (spec_digest, run_digest, procedure_digest)
    ]


def test_text_that_yaml_reads_otherwise_than_json_stays_what_it_is() -> None:
    awkward = 'yes "1e-3" \\ 😀 é \x7f \x85 \u2028 \u2029 \ufeff : # \t \n'
    job = with_spec(
        sources=[
            {
                "name": "sp500",
                "availability": {"lag": "0s"},
                "file": {"uri": "a b*.csv", "nullValues": ["", "~", "no", awkward]},
                "columns": {awkward: "x", "on": "y"},
                "units": {awkward: awkward},
            }
        ],
        target={"source": "sp500", "column": "on"},
        models=[{"name": "xgboost", "parameters": {"learning_rate": 1e-05, "reg_lambda": 1e20}}],
    )
    read = parse_job(job_text(job), "job.json")
    assert read.spec == job.spec
    assert spec_digest(read) == spec_digest(job)


@pytest.mark.parametrize(
    "text", ["a$(AWS_SECRET_ACCESS_KEY)b", "$$(X)", "{{workflow.name}}", "{{{$.inputs}}}", "$5 {a}"]
)
def test_no_part_of_a_job_is_taken_for_a_variable_on_its_way(text: str) -> None:
    source = {"name": "sp500", "sql": {"uri": "postgresql://db/market", "query": text}, "availability": {"lag": "1d"}}
    job = with_spec(sources=[source])
    given = job_text(job)
    assert "$(" not in given
    assert "{{" not in given
    assert spec_digest(parse_job(given, "the parameter")) == spec_digest(job)


def test_a_job_as_the_api_server_filled_it_in_reads_to_the_same_digests() -> None:
    filled = parse_job(JOB.model_dump_json(by_alias=True, exclude_none=True), "job")
    read = parse_job(job_text(filled), "job.json")
    assert (spec_digest(read), run_digest(read)) == (spec_digest(JOB), run_digest(JOB))


def test_the_text_names_the_job_and_leaves_its_labels_and_annotations_out() -> None:
    content = json.loads(job_text(JOB))
    assert content["metadata"] == {"name": "sp500", "namespace": "desk"}
    assert set(content) == {"apiVersion", "kind", "metadata", "spec"}
