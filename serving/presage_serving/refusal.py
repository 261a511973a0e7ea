"""What the server says when it cannot answer: a status code and a sentence."""

from __future__ import annotations

from pydantic import ValidationError

_LONGEST = 500


class Refusal(Exception):  # noqa: N818  # the peer is told; nothing failed
    """A request that is not answered.

    Args:
        status: Status code of HTTP.
        sentence: Why, and what would be answered.
        headers: Headers that the status code asks for.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 1] + "…"
        self.headers = headers or {}


def malformed(error: ValidationError, remedy: str) -> Refusal:
    """Return the refusal of a body that is no request, with the path of its first fault.

    Args:
        error: What the body's type found.
        remedy: What a request holds, as a sentence.
    """
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if fault["type"] == "json_invalid":
        return Refusal(400, f"the body is no JSON: {fault['msg'].removeprefix('Invalid JSON: ')}.")
    said = fault["msg"].replace("Tuple", "List")
    return Refusal(400, f"{field_path(fault['loc'])}: {said[:1].lower()}{said[1:]}. {remedy}")


def field_path(parts: tuple[int | str, ...]) -> str:
    """Return the place of a field in a body, such as `inputs[0].data[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "the body"
