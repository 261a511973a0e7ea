"""Schemas and values in words, for error messages and the reference page."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable

from pydantic import JsonValue

from presage.spec.schema import Shape

_LONGEST = 60


def show(value: JsonValue) -> str:
    """Return a value as it would stand in a file, cut where it is long."""
    if value is None:
        return "nothing"
    if value in ([], {}):
        return "an empty list" if isinstance(value, list) else "an empty mapping"
    if isinstance(value, dict):
        return f"a mapping of {_count(len(value), 'field')}"
    if isinstance(value, list):
        return f"a list of {_count(len(value), 'entry', 'entries')}"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def describe(shape: Shape) -> str:
    """Return what may stand at a node, such as `a whole number from 1 to 1000`."""
    if shape.allowed:
        return shape.allowed[0] if len(shape.allowed) == 1 else f"one of {', '.join(shape.allowed)}"
    if shape.pattern_error_message:
        return shape.pattern_error_message
    if shape.any_of:
        return " or ".join(describe(option) for option in shape.any_of)
    match shape.type:
        case "boolean":
            return "true or false"
        case "integer" | "number":
            noun = "a whole number" if shape.type == "integer" else "a number"
            return f"{noun} {_range(shape)}".strip()
        case "array":
            return f"a list {_amount(shape.min_items, shape.max_items, 'entry', 'entries')}".strip()
        case "object" if shape.values:
            return "a mapping of names to text" if shape.values.type == "string" else "a mapping"
        case "object":
            return f"a mapping of {', '.join(shape.properties)}" if shape.properties else "an empty mapping"
        case _ if shape.format == "date-time":
            return "a time, RFC 3339"
        case _:
            return f"text {_amount(shape.min_length, shape.max_length, 'character', 'characters')}".strip()


def nearest(found: str, names: Iterable[str]) -> str:
    """Return the name that is most like the one found, whatever its case; empty where none is close."""
    by_folded = {name.casefold().replace("_", "").replace("-", ""): name for name in names}
    folded = found.casefold().replace("_", "").replace("-", "")
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else ""


def _range(shape: Shape) -> str:
    above, below = shape.exclusive_minimum, shape.exclusive_maximum
    lowest, highest = shape.minimum, shape.maximum
    if lowest is not None and highest is not None:
        return f"from {lowest:g} to {_plain(highest)}"
    parts = [
        f"from {lowest:g}" if lowest is not None else "",
        f"above {above:g}" if above is not None else "",
        f"at most {_plain(highest)}" if highest is not None else "",
        f"below {below:g}" if below is not None else "",
    ]
    return " and ".join(part for part in parts if part)


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _amount(least: int | None, most: int | None, one: str, many: str) -> str:
    if least and most:
        return f"of {_count(least, one, many)}" if least == most else f"of {least} to {most} {many}"
    if most is not None:
        return f"of at most {_count(most, one, many)}"
    return f"of at least {_count(least, one, many)}" if least else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
