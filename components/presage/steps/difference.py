"""The first thing in which two scorecards differ, as their digest sees them."""

from __future__ import annotations

import json

from presage.evaluation.scorecard import SIGNIFICANT_DIGITS, Json, Scorecard, rounded

_ABSENT = "absent"
_TEXT_AT_MOST = 120


def first_difference(then: Scorecard, now: Scorecard) -> str | None:
    """Return the first difference in reading order, such as `contenders[2] ridge.metrics.mae: 0.2231 then, 0.2232 now`.

    Floats are compared as the digest rounds them. None where the digests are the same.
    """
    return _difference(then.model_dump(mode="json"), now.model_dump(mode="json"), "")


def _difference(then: Json, now: Json, path: str) -> str | None:
    if rounded(then) == rounded(now):
        return None
    if isinstance(then, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*then, *now)):
            place = f"{path}.{name}" if path else name
            if name not in then or name not in now:
                return _told(place, then.get(name), now.get(name), name in then, name in now)
            found = _difference(then[name], now[name], place)
            if found is not None:
                return found
    if isinstance(then, list) and isinstance(now, list):
        for number, (one, other) in enumerate(zip(then, now, strict=False)):
            found = _difference(one, other, f"{path}[{number}]{_name(one)}")
            if found is not None:
                return found
        return f"{path}: {len(then)} then, {len(now)} now"
    return _told(path, then, now)


def _name(value: Json) -> str:
    """Return the name of a part of a list, behind a space, where it has one."""
    name = value.get("name") if isinstance(value, dict) else None
    return f" {name}" if isinstance(name, str) else ""


def _told(path: str, then: Json, now: Json, was: bool = True, still: bool = True) -> str:
    return f"{path}: {_text(then) if was else _ABSENT} then, {_text(now) if still else _ABSENT} now"


def _text(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    if isinstance(value, str | bool | int) or value is None:
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _TEXT_AT_MOST else f"{text[:_TEXT_AT_MOST]}..."
    return f"{len(value)} parts"
