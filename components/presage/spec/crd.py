"""The CustomResourceDefinition of PredictionJob: a structural schema of apiextensions.k8s.io/v1.

An optional field is not `nullable` there: the API server takes a null for a field left out then, as the loader does,
and `has()` in a rule means the same in both places.
"""

from __future__ import annotations

from pydantic import JsonValue

from presage.spec.job import API_VERSION, KIND
from presage.spec.schema import Shape, job_shape, status_shape

PLURAL = "predictionjobs"
PHASE_FIELD = "status.phase"
"""The field that jobs are selected by; it is empty of one that no operator has looked at."""
GROUP, _, VERSION = API_VERSION.partition("/")
_MOST_COPIES = 64

_KEPT = {
    "type",
    "format",
    "enum",
    "pattern",
    "min_length",
    "max_length",
    "minimum",
    "maximum",
    "min_items",
    "max_items",
    "max_properties",
    "required",
    "default",
    "validations",
    "list_type",
    "list_keys",
    "preserve_unknown",
}


def custom_resource_definition() -> dict[str, JsonValue]:
    """Return the CustomResourceDefinition, as JSON-able values in the order in which it is written."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["pj"],
                "categories": ["all", "ml"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "selectableFields": [{"jsonPath": f".{PHASE_FIELD}"}],
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def structural(shape: Shape, copies: int = 1) -> dict[str, JsonValue]:
    """Return a shape as a node of a structural schema: no references, no titles, no choice between types.

    Args:
        shape: The shape.
        copies: How often it may stand in an object. A text with a pattern gets a rule that says in words what the
            pattern says in signs, but where there may be so many that all rules would cost more than the server allows.
    """
    text = shape.meaning
    schema: dict[str, JsonValue] = {"description": text} if text else {}
    schema |= shape.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=_KEPT)
    if shape.const is not None:
        schema["enum"] = [shape.const]
    # OpenAPI 3.0 says whether a bound is itself excluded; JSON Schema 2020-12 has bounds of two kinds.
    if shape.exclusive_minimum is not None:
        schema |= {"minimum": shape.exclusive_minimum, "exclusiveMinimum": True}
    if shape.exclusive_maximum is not None:
        schema |= {"maximum": shape.exclusive_maximum, "exclusiveMaximum": True}
    if shape.pattern_error_message and copies <= _MOST_COPIES:
        rule = f"self.matches(r'{shape.pattern}')"
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": f"must be {shape.pattern_error_message}"}]
    if shape.items:
        schema["items"] = structural(shape.items, copies * (shape.max_items or 1))
    if shape.values and not shape.preserve_unknown:
        schema["additionalProperties"] = structural(shape.values, copies * (shape.max_properties or 1))
    if shape.properties:
        schema["properties"] = {name: structural(part, copies) for name, part in shape.properties.items()}
    return schema


def _root() -> JsonValue:
    job = job_shape()
    name = job.properties["metadata"].properties["name"]
    return {
        "description": job.description,
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            # Of metadata the API server lets a schema restrict the name alone.
            "metadata": {"type": "object", "properties": {"name": structural(name)}},
            "spec": _of_one_writer(structural(job.properties["spec"])),
            "status": _of_one_writer(structural(status_shape())),
        },
    }


def _of_one_writer(schema: dict[str, JsonValue]) -> JsonValue:
    """Return a schema whose content is the whole of one writer's: nobody's fields are merged into it."""
    # The server then keeps no book of who owns which field. For each write that took more time than all the rest.
    return schema | {"x-kubernetes-map-type": "atomic"}


def _columns() -> JsonValue:
    def condition(type_: str, field: str) -> str:
        return f'.status.conditions[?(@.type=="{type_}")].{field}'

    return [
        {"name": "Ready", "type": "string", "jsonPath": condition("Ready", "status")},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Model", "type": "string", "jsonPath": ".status.scorecard.model"},
        {"name": "Skill", "type": "number", "jsonPath": ".status.scorecard.skill"},
        {"name": "Coverage", "type": "number", "jsonPath": ".status.scorecard.coverage"},
        {"name": "Reason", "type": "string", "jsonPath": condition("Ready", "reason")},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "URL", "type": "string", "jsonPath": ".status.url", "priority": 1},
        # As text: a column of type date tells an age, and this moment is yet to come.
        {"name": "Next-Run", "type": "string", "jsonPath": ".status.nextRun", "priority": 1},
    ]
