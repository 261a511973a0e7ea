"""Job files: what is read, and how a file that cannot be is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from presage.errors import JobError
from presage.spec.check import check_references
from presage.spec.job import PredictionJob
from presage.spec.load import LARGEST_FILE, load_job, parse_job, read_job

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))
MINIMAL = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: minimal}
spec:
  frequency: 1d
  target: {source: prices, column: Close}
  sources:
    - {name: prices, availability: {lag: 0s}, file: {uri: prices.csv}}
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_job_of_under_forty_lines(path: Path) -> None:
    job = load_job(path)
    assert job.metadata.name == path.stem
    assert check_references(job) == []
    code = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(code) < 40


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(MINIMAL)
    (tmp_path / "job.json").write_text(json.dumps(yaml.safe_load(MINIMAL), indent="\t"))
    assert load_job(tmp_path / "job.yaml") == load_job(tmp_path / "job.json")


def test_a_mark_of_byte_order_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_job(tmp_path / "job.yaml").metadata.name == "minimal"


def test_what_an_api_server_adds_is_left_out() -> None:
    job = yaml.safe_load(MINIMAL)
    job["metadata"] |= {"uid": "1-2", "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z", "managedFields": []}
    job["status"] = {"phase": "Serving"}
    assert parse_job(json.dumps(job), "job") == parse_job(MINIMAL, "job")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_object_of_an_api_server_is_the_job_that_was_applied(path: Path) -> None:
    held = yaml.safe_load(path.read_text())
    held["metadata"] |= {
        "uid": "1-2",
        "generation": 3,
        "managedFields": [{"manager": "kubectl"}],
        "labels": {f"example.com/label-{number}": "" for number in range(100)},
        "annotations": {f"example.com/note-{number}": 5000 * "x" for number in range(100)},
    }
    held["status"] = {"phase": "Serving", "unheardOf": 1}
    held["spec"] |= {"seed": None, "retention": {"runs": None}}
    assert read_job(held, "default/held") == load_job(path)


def test_an_object_is_refused_by_the_same_checks_as_a_file() -> None:
    held = yaml.safe_load(MINIMAL)
    held["spec"]["target"]["source"] = "price"
    held["spec"]["horizon"] = 1
    with pytest.raises(JobError) as of_object:
        read_job(held, "default/minimal")
    with pytest.raises(JobError) as of_file:
        parse_job(json.dumps(held), "default/minimal")
    assert of_object.value.what == of_file.value.what == "default/minimal is no valid PredictionJob: 2 faults."
    places = {problem.path: problem.allowed for problem in of_file.value.problems}
    assert {problem.path: problem.allowed for problem in of_object.value.problems} == places


@pytest.mark.parametrize("content", [None, [], "job", 1, {}, {"kind": "Pod", "metadata": 1}])
def test_what_is_no_job_is_refused_as_such(content: object) -> None:
    with pytest.raises(JobError, match="no valid PredictionJob"):
        read_job(content, "default/minimal")


def test_a_job_survives_being_written_and_read() -> None:
    job = parse_job(MINIMAL, "job")
    text = yaml.safe_dump(job.model_dump(mode="json", by_alias=True), sort_keys=False)
    assert parse_job(text, "again") == job


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(MINIMAL)
    with pytest.raises(JobError, match=r"no such file.*quickstart\.yaml\?"):
        load_job(tmp_path / "quikstart.yml")
    with pytest.raises(JobError, match="Name an existing file"):
        load_job(tmp_path / "nowhere" / "job.yaml")


def test_files_that_cannot_be_jobs_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="is a directory"):
        load_job(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(JobError, match="is larger than 1048576 bytes"):
        load_job(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: b\nname: Zürich\n".encode("latin-1"))
    with pytest.raises(JobError, match="is not UTF-8 text: byte 0xfc in line 2"):
        load_job(tmp_path / "latin.yaml")


def test_faults_of_fields_and_of_names_come_together_and_by_line() -> None:
    text = MINIMAL.replace("column: Close", "column: Close, horizn: 3").replace("frequency: 1d", "frequency: day")
    text += (
        "  features:\n    - lag: {columns: [price.Close], steps: [1, 1]}\n  schedule: {train: {schedule: 9 9 9 9}}\n"
    )
    with pytest.raises(JobError) as caught:
        parse_job(text, "job.yaml")
    problems = caught.value.problems
    assert [(problem.line, problem.path) for problem in problems] == [
        (6, "spec.frequency"),
        (7, "spec.target.horizn"),
        (11, "spec.features[0].lag.steps[1]"),
        (11, "spec.features[0].lag.columns[0]"),
        (12, "spec.schedule.train.schedule"),
    ]
    assert [problem.nearest for problem in problems] == ["", "horizon", "", "prices.Close", ""]


def test_secrets_whose_keys_would_be_the_same_variables_are_refused() -> None:
    http = "{{url: 'https://a.example/', secretRef: {{name: {1}}}}}"
    source = f"    - {{{{name: {{0}}, availability: {{{{lag: 0s}}}}, http: {http}}}}}\n"
    once = MINIMAL + source.format("one", "my-broker") + source.format("two", "my-broker")
    assert len(parse_job(once, "job").spec.secret_refs) == 2
    with pytest.raises(JobError) as caught:
        parse_job(MINIMAL + source.format("one", "my-broker") + source.format("two", "my.broker"), "job.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (11, "spec.sources[2].http.secretRef.name")
    assert "do not start with MY_BROKER_ as those of 'my-broker' do" in problem.allowed


def test_an_error_survives_a_process_boundary() -> None:
    with pytest.raises(JobError) as caught:
        parse_job("kind: Job", "job.yaml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert again.exit_code == 2


def test_a_job_made_in_code_is_checked_too() -> None:
    job = parse_job(MINIMAL, "job")
    target = job.spec.target.model_copy(update={"source": "vix"})
    changed = job.model_copy(update={"spec": job.spec.model_copy(update={"target": target})})
    assert isinstance(changed, PredictionJob)
    assert [str(problem) for problem in check_references(changed)] == [
        'spec.target.source: found "vix"; allowed: a declared source: prices'
    ]


LINES = MINIMAL.strip().splitlines()


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_text_ends_in_anything_but_a_job_or_a_job_error(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        start = data.draw(st.integers(0, len(lines[place])))
        stop = data.draw(st.integers(start, len(lines[place])))
        lines[place] = lines[place][:start] + data.draw(st.text(max_size=6)) + lines[place][stop:]
    job, problems = None, ()
    try:
        job = parse_job("\n".join(lines), "job.yaml")
    except JobError as error:
        problems = error.problems
    assert isinstance(job, PredictionJob) != bool(problems)
    assert all(problem.path and problem.allowed for problem in problems)
