"""The reference page of PredictionJob: every field with its type, default and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import JsonValue

from presage.spec.crd import VERSION
from presage.spec.models import PARAMETERS
from presage.spec.schema import Shape, job_shape, parameter_shapes, status_shape
from presage.spec.words import describe

_INTRODUCTION = f"""# PredictionJob reference

`presage.dev/{VERSION}`. One file says what to predict, from which sources, and how it must prove itself; the same file
runs on a laptop (`presage run job.yaml`) and on a cluster (`kubectl apply -f job.yaml`). `presage validate job.yaml`
checks it: each fault with its line, what was found and what is allowed. A line

    # yaml-language-server: $schema=../schemas/predictionjob.{VERSION}.json

at its top, with the path to `manifests/schemas/`, lets an editor complete and check it.

Fields are camelCase; unknown ones are refused, and one without a value counts as left out. **Bold** fields are
required. Times are UTC unless a field names a zone. Unquoted `yes`, `no`, `on`, `off`, `y` and `n` are truth values in
YAML: a column of such a name needs quotes.
"""


def reference_page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION, "## Contents\n"]
    job = job_shape()
    types = list(_types(job))
    parts.append("\n".join(f"- [{shape.title}](#{_anchor(shape)}): {_about(shape)}" for shape in types))
    parts.append(
        "- [Parameters of models](#parameters-of-models)\n- [Kinds of text](#kinds-of-text)\n- [Status](#status)\n"
    )
    parts.extend(_section(shape, "##") for shape in types)
    parts.append(_parameters())
    parts.append(_texts(types))
    status = status_shape()
    parts.append("## Status\n\nWhat the operator writes on a cluster. A job file holds none of it.\n")
    parts.extend(_section(shape, "###") for shape in _types(status))
    return "\n".join(parts).rstrip() + "\n"


def _types(root: Shape) -> Iterator[Shape]:
    """Give each object type once, an outer one before the inner ones."""
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        shape = waiting.pop(0)
        if shape.title in seen:
            continue
        seen.add(shape.title)
        yield shape
        inner = [_innermost(part) for part in shape.properties.values()]
        waiting = [part for part in inner if part.title] + waiting


def _innermost(shape: Shape) -> Shape:
    return _innermost(shape.items) if shape.items else shape


def _section(shape: Shape, heading: str) -> str:
    lines = [f"{heading} {shape.title}\n", _about(shape), ""]
    lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [_row(name, part, required=name in shape.required) for name, part in shape.properties.items()]
    rules = [f"- Rule: {validation.message}." for validation in shape.validations]
    return "\n".join([*lines, "", *rules, *([""] if rules else [])])


def _row(name: str, shape: Shape, *, required: bool) -> str:
    shown = f"**`{name}`**" if required else f"`{name}`"
    default = "required" if required else _default(shape)
    cells = (shown, _type(shape), default, shape.description)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(shape: Shape) -> str:
    if shape.items:
        amount = describe(shape).removeprefix("a list").removesuffix("entries").removesuffix("entry").strip()
        return f"list {amount}: {_type(shape.items)}" if amount else f"list: {_type(shape.items)}"
    if shape.title:
        return f"[{shape.title}](#{_anchor(shape)})"
    if shape.preserve_unknown:
        return "mapping of a [model's own parameters](#parameters-of-models)"
    if shape.values:
        return f"mapping of names to {_type(shape.values)}"
    if shape.allowed:
        return ", ".join(f"`{name}`" for name in shape.allowed)
    kind, colon, _ = shape.pattern_error_message.partition(":")
    return f"[{kind}](#kinds-of-text)" if colon else describe(shape)


def _default(shape: Shape) -> str:
    if shape.default is None:
        return ""
    short = _shortest(shape.default, shape)
    if short == {} and shape.properties:
        return "its own defaults"
    return f"`{json.dumps(short, ensure_ascii=False)}`"


def _shortest(value: JsonValue, shape: Shape) -> JsonValue:
    """Return a default without what the fields inside have as their own defaults."""
    if isinstance(value, dict) and shape.properties:
        parts = {name: (part, shape.properties[name]) for name, part in value.items()}
        return {name: _shortest(part, inner) for name, (part, inner) in parts.items() if part != inner.default}
    if isinstance(value, list) and shape.items:
        return [_shortest(part, shape.items) for part in value]
    return value


def _parameters() -> str:
    lines = ["## Parameters of models\n", "Under `parameters` of a model, with these snake_case names.\n"]
    shapes = parameter_shapes()
    lines += ["| model | parameter | type | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, shape in shapes.items():
        for field, part in shape.properties.items():
            lines.append(f"| `{name}` | `{field}` | {_type(part)} | {_default(part)} | {part.description} |")
    without = [f"`{name}`" for name, type_ in PARAMETERS.items() if not type_.model_fields]
    return "\n".join([*lines, "", f"{', '.join(without)} take no parameters.", ""])


def _texts(types: list[Shape]) -> str:
    leaves = [_innermost(part) for shape in types for part in shape.properties.values()]
    by_kind = {leaf.pattern_error_message: leaf for leaf in leaves if ":" in leaf.pattern_error_message}
    lines = ["## Kinds of text\n", "| kind | what it is | pattern |", "| --- | --- | --- |"]
    for kind, _, meaning in (message.partition(":") for message in sorted(by_kind)):
        pattern = by_kind[f"{kind}:{meaning}"].pattern.replace("|", "\\|")
        lines.append(f"| {kind} | {meaning.strip()} | `{pattern}` |")
    return "\n".join([*lines, ""])


def _about(shape: Shape) -> str:
    return shape.about or shape.description


def _anchor(shape: Shape) -> str:
    return shape.title.lower()
