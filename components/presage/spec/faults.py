"""What the types refuse in a document, fault by fault, in a user's words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from presage.errors import Problem
from presage.spec.job import PredictionJob
from presage.spec.models import PARAMETERS
from presage.spec.places import Place, spelled
from presage.spec.schema import Shape, job_shape, parameter_shapes
from presage.spec.words import describe, nearest, show


@dataclass(frozen=True)
class Fault:
    """One fault of a document, at its place.

    Attributes:
        place: Where it is.
        found: What stands there; empty where something is missing.
        allowed: What may stand there.
        nearest: The nearest valid name, where one is close.
    """

    place: Place
    found: str
    allowed: str
    nearest: str = ""

    def problem(self, line: int = 0) -> Problem:
        """Return the fault as an error shows it."""
        return Problem(spelled(self.place), self.found, self.allowed, self.nearest, line)


def read_types(content: Mapping[str, JsonValue]) -> tuple[PredictionJob | None, list[Fault]]:
    """Return the job that a document's content is, or None and all that the types refuse in it."""
    unfit = list(_one_of_faults(dict(content), job_shape(), ()))
    try:
        # JSON, because strict validation of Python values would want tuples; names in the file are camelCase only.
        job = PredictionJob.model_validate_json(json.dumps(content), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return None, [*_faults(error, job_shape(), ()), *unfit]
    return job, []


def _faults(error: ValidationError, root: Shape, place: Place) -> Iterator[Fault]:
    for details in error.errors(include_url=False):
        yield from _translated(details, root, place)


def _translated(details: ErrorDetails, root: Shape, prefix: Place) -> Iterator[Fault]:
    inner, found, kind = details["loc"], details["input"], details["type"]
    context = details.get("ctx", {})
    place = (*prefix, *inner)
    if kind == "one_of":
        return  # found without pydantic, which looks for it only where all fields are right
    if kind == "parameters":
        name = found["name"]
        try:
            PARAMETERS[name].model_validate(found.get("parameters", {}), strict=True, by_alias=False, by_name=True)
        except ValidationError as error:
            yield from _faults(error, parameter_shapes()[name], (*place, "parameters"))
    elif kind == "field":
        name = context["field"]
        given = found.get(name)
        message = details["msg"] if name in found else f"{_allowed(root.at((*inner, name)))} ({details['msg']})"
        yield Fault((*place, name), "" if given is None else show(given), message)
    elif kind == "extra_forbidden":
        names = _names(root.at(inner[:-1]))
        yield Fault(place, "an unknown field", ", ".join(names) or "no fields", nearest(str(inner[-1]), names))
    elif kind == "missing":
        yield Fault(place, "", f"{_allowed(root.at(inner))} (required)")
    elif kind == "too_short" and len(found) >= context["min_length"]:
        return  # entries that are wrong themselves do not count for pydantic
    else:
        shape = root.at(inner)
        if shape is None and (outer := root.at(inner[:-1])) and outer.any_of:
            # Each type of a choice is a fault of its own to pydantic, with the type's name behind the place.
            shape, place = outer, place[:-1]
        names = shape.allowed if shape and isinstance(found, str) else ()
        yield Fault(place, show(found) + _hint(found, shape), _allowed(shape), nearest(str(found), names))


def _one_of_faults(value: JsonValue, shape: Shape, place: Place) -> Iterator[Fault]:
    if isinstance(value, list) and shape.items:
        for number, entry in enumerate(value):
            yield from _one_of_faults(entry, shape.items, (*place, number))
    if not isinstance(value, dict):
        return
    for name, part in value.items():
        if inner := shape.properties.get(name):
            yield from _one_of_faults(part, inner, (*place, name))
    names = [option.required[0] for option in shape.one_of]
    given = [name for name in names if name in value]
    misspelt = [name for name in value if name not in shape.properties and nearest(name, shape.properties) in names]
    if names and len(given) + len(misspelt) != 1:
        yield Fault(place, " and ".join(given) or "none of them", f"exactly one of {', '.join(names)}")


def _names(shape: Shape | None) -> tuple[str, ...]:
    return tuple(shape.properties) if shape else ()


def _allowed(shape: Shape | None) -> str:
    return describe(shape) if shape else "something else"


def _hint(found: JsonValue, shape: Shape | None) -> str:
    if shape is None or shape.type != "string":
        scalar = shape is not None and shape.type in ("integer", "number", "boolean")
        return ", which is text" if scalar and isinstance(found, str) else ""
    if isinstance(found, bool):
        return ", as YAML reads yes, no, on, off, y and n without quotes"
    return ", a number without quotes" if isinstance(found, int | float) else ""
