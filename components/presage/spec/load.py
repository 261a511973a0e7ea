"""Job files: text in, a frozen PredictionJob out, or one error that lists every fault."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import JsonValue

from presage.errors import JobError, Problem
from presage.spec.check import document_faults, relation_faults
from presage.spec.document import Document, read_document
from presage.spec.faults import Fault, read_types
from presage.spec.job import API_VERSION, KIND, PredictionJob
from presage.spec.words import nearest, show

LARGEST_FILE = 1024 * 1024
"""Bytes; an API server takes no more than about as much."""

_SERVER_FIELDS = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_SHARED_FIELDS = ("annotations", "labels")
_REMEDY = "docs/reference/predictionjob.md lists every field and its default."


def load_job(path: Path) -> PredictionJob:
    """Return the job of a YAML or JSON file.

    A file that `kubectl get -o yaml` wrote is as good: what the API server added to it is left out.

    Args:
        path: The file: one document, UTF-8, 1 MiB at most.

    Raises:
        JobError: The file cannot be read or is wrong; `problems` lists every fault of its content.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise JobError(f"{path}: there is no such file.", _files_beside(path)) from error
    except IsADirectoryError as error:
        raise JobError(f"{path} is a directory.", "Name a job file in it.") from error
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror}.", "Name a file that you may read.") from error
    if len(data) > LARGEST_FILE:
        raise JobError(f"{path} is larger than {LARGEST_FILE} bytes.", "A job file holds a job, not its data.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JobError(
            f"{path} is not UTF-8 text: byte {data[error.start]:#04x} in line {line}.", "Save it as UTF-8."
        ) from error
    return parse_job(text, str(path))


def parse_job(text: str, where: str) -> PredictionJob:
    """Return the job that a text holds.

    Fields are checked by themselves and names against each other, all at once; what must agree between fields, such as
    `promotion.coverage.level` and `evaluation.intervals.levels`, once the fields are right.

    Args:
        text: YAML or JSON, one document.
        where: What to call it in errors, such as its path.

    Raises:
        JobError: The text is wrong; `problems` lists every fault, by line.
    """
    return _read(read_document(text), where)


def read_job(content: JsonValue, where: str) -> PredictionJob:
    """Return the job that an object of an API server is, by the checks of `parse_job`.

    Its labels and annotations are left out: more than the job's author write there, and as many as they like. A field
    that is null counts as one that is not given, as it does in a file.

    Args:
        content: The object, from JSON.
        where: What to call it in errors, such as its namespace and name.

    Raises:
        JobError: The object is wrong; `problems` lists every fault.
    """
    if isinstance(content, dict):
        content = _without(content, _SHARED_FIELDS)
    return _read(Document(_given(content), {}, ()), where)


def _read(document: Document, where: str) -> PredictionJob:
    content = document.value
    if content is None and not document.problems:
        raise _error(where, [Fault((), "nothing", "one PredictionJob").problem()])
    job = None
    faults: list[Fault] = []
    if isinstance(content, dict):
        faults = list(_header_faults(content))
        if not faults:
            content = _as_applied(content)
            job, faults = read_types(content)
            faults += document_faults(content)
    elif content is not None:
        faults = [Fault((), show(content), "a mapping of apiVersion, kind, metadata, spec")]
    if job is not None and not faults:
        faults = list(relation_faults(job))
    problems = _problems(document, faults)
    if job is None or problems:
        raise _error(where, problems)
    return job


def _header_faults(content: dict[str, JsonValue]) -> list[Fault]:
    """Return what tells that a document is no PredictionJob of this version: the rest of it then means nothing."""
    wrong = [
        Fault((name,), show(content[name]), expected, nearest(str(content[name]), [expected]))
        for name, expected in (("apiVersion", API_VERSION), ("kind", KIND))
        if name in content and content[name] != expected
    ]
    if not wrong and "kind" not in content and "spec" not in content:
        return [
            Fault((), "something else", f"a PredictionJob: apiVersion: {API_VERSION}, kind: {KIND}, metadata, spec")
        ]
    return wrong


def _as_applied(content: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a document without what only an API server writes."""
    return _without({name: value for name, value in content.items() if name != "status"}, _SERVER_FIELDS)


def _without(content: dict[str, JsonValue], fields: Collection[str]) -> dict[str, JsonValue]:
    """Return a document without some fields of its metadata."""
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        return content
    return content | {"metadata": {name: value for name, value in metadata.items() if name not in fields}}


def _given(value: JsonValue) -> JsonValue:
    """Return a value without the fields that are null."""
    if isinstance(value, dict):
        return {name: _given(part) for name, part in value.items() if part is not None}
    return [_given(part) for part in value] if isinstance(value, list) else value


def _problems(document: Document, faults: list[Fault]) -> list[Problem]:
    by_place: dict[str, Problem] = {}
    for problem in (*document.problems, *(fault.problem(document.line(fault.place)) for fault in faults)):
        # Of several faults of one place the first is the plainest: what the types say comes before what names do.
        by_place.setdefault(problem.path, problem)
    return sorted(by_place.values(), key=lambda problem: problem.line)


def _error(where: str, problems: list[Problem]) -> JobError:
    count = "1 fault" if len(problems) == 1 else f"{len(problems)} faults"
    return JobError(f"{where} is no valid PredictionJob: {count}.", _REMEDY, problems)


def _files_beside(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml", ".json")]
    except OSError:
        return "Name an existing file."
    close = nearest(path.name, sorted(names))
    return f"Did you mean {path.with_name(close)}?" if close else "Name an existing file."
