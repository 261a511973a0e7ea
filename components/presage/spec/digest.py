"""Digests: whether two jobs ask for the same, however they are written."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import JsonValue

from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.spec.sources import Source

_PROCEDURE = (
    "task",
    "frequency",
    "calendar",
    "target",
    "sources",
    "features",
    "selection",
    "models",
    "evaluation",
    "seed",
)

# What comes after a run. Its engine and resources are not among it: they decide whether it ends well.
_OPERATION = frozenset({"serving", "monitoring", "schedule", "retention"})

# What a kind of source calls its data by; files and addresses are places only.
_NAMES = {
    "dataset": {"name"},
    "sql": {"table", "query"},
    "http": {"symbols"},
    "exchange": {"name", "symbols"},
    "kafka": {"topic"},
    "nats": {"stream", "subject"},
    "clickhouse": {"table", "query"},
}


def spec_digest(job: PredictionJob) -> str:
    """Return the SHA-256 of a job's spec, as `sha256:` and 64 hexadecimal digits.

    The job's name, the file's format, the order of fields and defaults that are spelled out do not change it; every
    value does, and so does the order of lists.
    """
    return _digest(_canonical(job.spec))


def procedure_digest(job: PredictionJob) -> str:
    """Return the SHA-256 of what makes a job's forecasts and their judgement, in the same form.

    That is its task, frequency, calendar, target, features, selection, models, evaluation and seed, and its sources as
    they are read and what they name, such as a data set or a symbol, wherever they are. How the job is promoted,
    served, watched, scheduled, run and kept does not count: a change of these is no new trial.
    """
    content = _canonical(job.spec)
    procedure = {name: content[name] for name in _PROCEDURE}
    procedure["sources"] = [
        source.model_dump(mode="json", by_alias=True, exclude=_location(source)) for source in job.spec.sources
    ]
    return _digest(procedure)


def run_digest(job: PredictionJob) -> str:
    """Return the SHA-256 of what a run and its sinks depend on, in the same form.

    A job whose digest changes is run anew; how it is served, watched, scheduled and kept may change without.
    """
    return _digest({name: value for name, value in _canonical(job.spec).items() if name not in _OPERATION})


def _location(source: Source) -> dict[str, Literal[True] | set[str]]:
    """Return the fields of a source that say where its data is, not what it is."""
    named = _NAMES.get(source.kind)
    if named is None or (source.http is not None and not source.http.symbols):
        return {source.kind: True}
    return {source.kind: set(type(getattr(source, source.kind)).model_fields) - named}


def _canonical(spec: PredictionJobSpec) -> dict[str, JsonValue]:
    content: dict[str, JsonValue] = spec.model_dump(mode="json", by_alias=True)
    content["models"] = [
        {"name": model.name, "parameters": model.settings.model_dump(mode="json")}
        | ({"search": model.search.model_dump(mode="json", by_alias=True)} if model.search else {})
        | ({"scope": model.scope} if model.scope != "Auto" else {})
        for model in spec.models
    ]
    return content


def _digest(content: dict[str, JsonValue]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
