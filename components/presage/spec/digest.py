"""Digests: whether two jobs ask for the same, however they are written."""

from __future__ import annotations

import hashlib
import json

from pydantic import JsonValue

from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.spec.sources import SOURCE_KINDS

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


def spec_digest(job: PredictionJob) -> str:
    """Return the SHA-256 of a job's spec, as `sha256:` and 64 hexadecimal digits.

    The job's name, the file's format, the order of fields and defaults that are spelled out do not change it; every
    value does, and so does the order of lists.
    """
    return _digest(_canonical(job.spec))


def procedure_digest(job: PredictionJob) -> str:
    """Return the SHA-256 of what makes a job's forecasts and their judgement, in the same form.

    That is its task, frequency, calendar, target, features, selection, models, evaluation and seed, and its sources as
    they are read, wherever they are. How the job is promoted, served, watched, scheduled, run and kept does not count:
    a change of these is no new trial.
    """
    content = _canonical(job.spec)
    procedure = {name: content[name] for name in _PROCEDURE}
    procedure["sources"] = [
        source.model_dump(mode="json", by_alias=True, exclude=set(SOURCE_KINDS)) for source in job.spec.sources
    ]
    return _digest(procedure)


def _canonical(spec: PredictionJobSpec) -> dict[str, JsonValue]:
    content: dict[str, JsonValue] = spec.model_dump(mode="json", by_alias=True)
    content["models"] = [
        {"name": model.name, "parameters": model.settings.model_dump(mode="json")} for model in spec.models
    ]
    return content


def _digest(content: dict[str, JsonValue]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
