"""The JSON Schema of job files, draft 2020-12, that editors complete and check by."""

from __future__ import annotations

from pydantic import JsonValue

from presage.spec.schema import Shape, job_shape, parameter_shapes

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ONLY_KUBERNETES = "x-kubernetes-"


def job_json_schema() -> dict[str, JsonValue]:
    """Return the schema, as JSON-able values in the order in which it is written.

    Each object type is one definition. It says the same as the types do, but for the rules between fields of different
    objects, which `presage validate` checks.
    """
    definitions: dict[str, JsonValue] = {}
    root = _schema(job_shape(), definitions)
    model = definitions["Model"]
    if isinstance(model, dict):
        model["allOf"] = _parameters(definitions)
    return {
        "$schema": _DRAFT,
        **root,
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _parameters(definitions: dict[str, JsonValue]) -> JsonValue:
    """Return what ties a model's parameters to its name."""
    rules: list[JsonValue] = []
    for name, shape in parameter_shapes().items():
        parameters: JsonValue = {"maxProperties": 0}
        if shape.properties:
            definitions[shape.title] = _schema(shape, definitions)
            parameters = {"$ref": f"#/$defs/{shape.title}"}
        rules.append(
            {
                "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
                "then": {"properties": {"parameters": parameters}},
            }
        )
    return rules


def _schema(shape: Shape, definitions: dict[str, JsonValue]) -> dict[str, JsonValue]:
    schema: dict[str, JsonValue] = {
        name: value
        for name, value in shape.model_dump(mode="json", by_alias=True, exclude_defaults=True).items()
        if not name.startswith(_ONLY_KUBERNETES)
    }
    if shape.properties:
        schema["properties"] = {name: _part(part, definitions) for name, part in shape.properties.items()}
    if shape.items:
        schema["items"] = _part(shape.items, definitions)
    if shape.values:
        schema["additionalProperties"] = _part(shape.values, definitions)
    return schema


def _part(shape: Shape, definitions: dict[str, JsonValue]) -> JsonValue:
    """Return a field's schema: an object type is referred to, with what the field itself says of it beside."""
    if not shape.title:
        return _schema(shape, definitions)
    own = {"description": shape.description, "default": shape.default}
    if shape.title not in definitions:
        definitions[shape.title] = {}  # a place held, so that the order does not depend on the depth
        plain = shape.model_copy(update={"description": shape.about or shape.description, "default": None})
        definitions[shape.title] = _schema(plain, definitions)
    reference: dict[str, JsonValue] = {"$ref": f"#/$defs/{shape.title}"}
    return reference | {name: value for name, value in own.items() if value not in ("", None)}
