"""The generated files: current, complete, and of one mind with the types."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from presage.errors import JobError
from presage.spec.crd import custom_resource_definition
from presage.spec.generate import generated_files, main
from presage.spec.json_schema import job_json_schema
from presage.spec.load import parse_job
from presage.spec.reference import reference_page
from presage.spec.schema import Shape, job_shape, status_shape

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))
BROKEN = sorted((ROOT / "tests" / "golden" / "jobs").glob("*.yaml"))


def test_the_files_in_the_repository_are_what_the_types_say() -> None:
    assert main(["--check"]) == 0


def test_writing_twice_changes_nothing_and_a_difference_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("wrote ") == len(generated_files())
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--root", str(tmp_path), "--check"]) == 0
    assert capsys.readouterr().out == ""
    page = tmp_path / "docs" / "reference" / "predictionjob.md"
    page.write_text(page.read_text().replace("horizon", "distance"))
    assert main(["--root", str(tmp_path), "--check"]) == 1
    shown = capsys.readouterr()
    assert "+++ docs/reference/predictionjob.md (generated)" in shown.out
    assert "make generate" in shown.err
    assert "distance" in page.read_text()


def test_another_process_generates_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "presage.spec.generate", "--root", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env={"PYTHONHASHSEED": "7", "PATH": ""})
    for name, text in generated_files().items():
        assert (tmp_path / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_editors_accept_every_example(path: Path) -> None:
    jsonschema.Draft202012Validator(job_json_schema()).validate(yaml.safe_load(path.read_text()))


def test_the_schema_is_one_of_its_draft() -> None:
    jsonschema.Draft202012Validator.check_schema(job_json_schema())


@pytest.mark.parametrize(
    "name", ["misspelt-fields", "wrong-values", "missing-fields", "one-of", "model-parameters", "another-kind"]
)
def test_editors_mark_what_is_wrong_with_the_fields(name: str) -> None:
    job = yaml.safe_load((ROOT / "tests" / "golden" / "jobs" / f"{name}.yaml").read_text())
    assert list(jsonschema.Draft202012Validator(job_json_schema()).iter_errors(job))


def nodes(value: object, place: str = "") -> Iterator[tuple[str, dict]]:
    if isinstance(value, dict):
        if "type" in value and isinstance(value["type"], str):
            yield place, value
        for name, part in value.items():
            yield from nodes(part, f"{place}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from nodes(part, place)


def test_the_definition_is_structural() -> None:
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    text = yaml.safe_dump(schema)
    assert "$ref" not in text
    assert "anyOf" not in text
    found = dict(nodes(schema))
    assert len(found) > 200
    fields = {
        place: node for place, node in found.items() if place.endswith(tuple(job_shape().properties["spec"].properties))
    }
    assert all(node.get("description") for node in fields.values())
    assert not any("title" in node or "oneOf" in node for node in found.values())


def test_texts_and_lists_are_bounded_so_that_rules_have_a_cost() -> None:
    def unbounded(shape: Shape, place: str) -> Iterator[str]:
        if shape.type == "string" and not shape.allowed and shape.max_length is None and shape.format != "date-time":
            yield place
        if shape.type == "array" and shape.max_items is None:
            yield place
        for name, part in shape.properties.items():
            yield from unbounded(part, f"{place}.{name}")
        if shape.items:
            yield from unbounded(shape.items, f"{place}[]")

    spec = list(unbounded(job_shape().properties["spec"], "spec"))
    status = list(unbounded(status_shape(), "status"))
    # Neither a rule nor a list looks at these.
    assert [place for place in spec if "nullValues" not in place] == []
    assert status == []


def test_the_page_names_every_field_of_every_type() -> None:
    page = reference_page()

    def fields(shape: Shape) -> Iterator[tuple[str, str]]:
        for name, part in shape.properties.items():
            yield shape.title, name
            yield from fields(part.items or part)

    for title, name in {*fields(job_shape()), *fields(status_shape())}:
        section = page.split(f"# {title}\n")[1].split("\n#")[0]
        assert f"`{name}`" in section, f"{title}.{name}"
    for line in page.splitlines():
        if line.startswith("| ") and "`" in line:
            assert line.rstrip().endswith("|"), line
            assert not line.rstrip(" |").endswith("|  "), f"no meaning: {line}"


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_no_broken_file_passes_for_a_job(path: Path) -> None:
    with pytest.raises(JobError):
        parse_job(path.read_text(), path.name)
