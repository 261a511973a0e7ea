"""Places in a document: how they are named, spelled and found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pydantic import JsonValue

Place = tuple[str | int, ...]
"""Where something stands: names of fields and positions in lists, from the top."""

KEY = "[key]"
"""The last part of a place that means the name of a map's entry rather than its value, as pydantic has it."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def spelled(place: Place) -> str:
    """Return a place as a field path, such as `spec.sources[0].availability.lag`; `file` for the whole document."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part == KEY:
            text += " (the name)"
        elif _NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text or "file"


def select(value: JsonValue, *patterns: str) -> Iterator[tuple[Place, JsonValue]]:
    """Give all places that match a pattern of names, positions and `*`, with what stands there.

    Args:
        value: A document.
        *patterns: Such as `spec.sources.*.name`; what is not there or of another kind is passed over.
    """
    for pattern in patterns:
        found: list[tuple[Place, JsonValue]] = [((), value)]
        for part in pattern.split("."):
            found = [
                ((*place, name), inner)
                for place, outer in found
                for name, inner in _parts(outer)
                if part in ("*", str(name))
            ]
        yield from found


def _parts(value: JsonValue) -> Iterator[tuple[str | int, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)
