"""The types as one typed tree: what the CRD, the editors' schema, the reference and error messages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from presage.spec.base import SpecModel
from presage.spec.job import PredictionJob
from presage.spec.models import PARAMETERS, ModelName
from presage.spec.places import KEY, Place
from presage.spec.status import PredictionJobStatus

TypeName = Literal["object", "array", "string", "integer", "number", "boolean", "null"]


class Validation(BaseModel):
    """A rule between fields, as the API server wants it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    rule: str
    message: str
    field_path: str = ""


class Shape(BaseModel):
    """One node of a schema: JSON Schema 2020-12 and Kubernetes' extensions, references resolved.

    A field that JSON Schema may hold and that is missing here is an error, so that nothing of a type gets lost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    reference: str = Field("", alias="$ref")
    definitions: dict[str, Shape] = Field({}, alias="$defs")
    title: str = ""
    """Name of the type, where the node is an object."""
    description: str = ""
    """What the field means."""
    about: str = Field("", exclude=True)
    """What the field's type means."""
    type: TypeName | None = None
    format: str = ""
    enum: tuple[str, ...] = ()
    const: str | None = None
    pattern: str = ""
    pattern_error_message: str = ""
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    exclusive_minimum: int | float | None = None
    exclusive_maximum: int | float | None = None
    items: Shape | None = None
    min_items: int | None = None
    max_items: int | None = None
    properties: dict[str, Shape] = {}
    required: tuple[str, ...] = ()
    property_names: Shape | None = None
    additional_properties: Shape | bool | None = None
    max_properties: int | None = None
    any_of: tuple[Shape, ...] = ()
    one_of: tuple[Shape, ...] = ()
    default: JsonValue = None
    examples: tuple[JsonValue, ...] = ()
    validations: tuple[Validation, ...] = Field((), alias="x-kubernetes-validations")
    list_type: str = Field("", alias="x-kubernetes-list-type")
    list_keys: tuple[str, ...] = Field((), alias="x-kubernetes-list-map-keys")
    preserve_unknown: bool = Field(default=False, alias="x-kubernetes-preserve-unknown-fields")

    @property
    def values(self) -> Shape | None:
        """The shape of a map's values; None for anything but a map."""
        return self.additional_properties if isinstance(self.additional_properties, Shape) else None

    @property
    def meaning(self) -> str:
        """What the field means, and what its type means where that says more."""
        if self.about.startswith(self.description.rstrip(".")):
            return self.about or self.description
        return f"{self.description} {self.about}".strip()

    @property
    def allowed(self) -> tuple[str, ...]:
        """The texts that are allowed, where they can be listed."""
        return (self.const,) if self.const is not None else self.enum

    def at(self, place: Place) -> Shape | None:
        """Return the shape of what stands at a place, or None where the schema knows nothing of it."""
        if not place:
            return self
        first, rest = place[0], place[1:]
        if rest == (KEY,):
            return self.property_names
        inner = self.items if isinstance(first, int) else self.properties.get(first, self.values)
        return inner.at(rest) if inner else None


@cache
def job_shape() -> Shape:
    """Return the shape of a whole job file."""
    return shape_of(PredictionJob)


@cache
def status_shape() -> Shape:
    """Return the shape of a job's status."""
    return shape_of(PredictionJobStatus)


@cache
def parameter_shapes() -> Mapping[ModelName, Shape]:
    """Return the shapes of the forecasters' parameters, under their snake_case names."""
    return {name: shape_of(parameters, by_alias=False) for name, parameters in PARAMETERS.items()}


def shape_of(model: type[SpecModel], *, by_alias: bool = True) -> Shape:
    """Return the shape of a type, all references resolved."""
    shape = Shape.model_validate(model.model_json_schema(by_alias=by_alias))
    return _resolved(shape.model_copy(update={"definitions": {}}), shape.definitions)


def _resolved(shape: Shape, definitions: Mapping[str, Shape]) -> Shape:
    options = [option for option in shape.any_of if option.type != "null"]
    if len(options) == 1:
        return _resolved(_with_outer(options[0], shape), definitions)
    if shape.reference:
        target = definitions[shape.reference.rpartition("/")[2]]
        about = _one_line(target.description)
        return _resolved(_with_outer(target, shape).model_copy(update={"about": about}), definitions)
    changes: dict[str, object] = {
        "title": shape.title if shape.properties or shape.additional_properties is False else "",
        "description": _one_line(shape.description),
        # Spelled out in full: the API server tries a default against the rules before it fills in what is inside.
        "default": _without_nulls(shape.default),
        "properties": {name: _resolved(part, definitions) for name, part in shape.properties.items()},
    }
    if shape.items:
        changes["items"] = _resolved(shape.items, definitions)
    if shape.values:
        changes["additional_properties"] = _resolved(shape.values, definitions)
    return shape.model_copy(update=changes)


def _with_outer(inner: Shape, outer: Shape) -> Shape:
    """Return the inner shape with what the field that holds it says of it."""
    kept = {name: getattr(outer, name) for name in ("description", "default", "list_type", "list_keys", "examples")}
    return inner.model_copy(update={name: value for name, value in kept.items() if value not in ("", (), None)})


def _without_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _one_line(text: str) -> str:
    return " ".join(text.split())
