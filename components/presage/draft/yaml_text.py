"""Pieces of YAML text: values that mean themselves whatever they hold, and comments beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import shorten

import yaml

from presage.spec.document import read_document

_WIDTH = 120
_PLAIN = re.compile(r"[^\W\d][\w .%/-]*|/[\w ./-]+")


def scalar(text: str) -> str:
    """Return a text as YAML that reads back as that text, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) and text.isprintable() and read_document(f"[{text}]").value == [text]:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).removesuffix("\n")


def sequence(entries: Iterable[str | int]) -> str:
    """Return a list on one line."""
    return f"[{', '.join(scalar(entry) if isinstance(entry, str) else str(entry) for entry in entries)}]"


def mapping(entries: Iterable[tuple[str, str]]) -> str:
    """Return a mapping on one line; names and values are YAML already."""
    return f"{{{', '.join(f'{name}: {value}' for name, value in entries)}}}"


def line(indent: int, text: str, why: str = "") -> list[str]:
    """Return a line with a comment beside it, or above it where the line would be longer than 120 characters.

    Args:
        indent: Spaces before it.
        text: The line, of YAML.
        why: The comment; what cannot be printed is left out of it, and so is what is too long.
    """
    margin = " " * indent
    said = _printable(why)
    if not said:
        return [f"{margin}{text}"]
    beside = f"{margin}{text}  # {said}"
    return [beside] if len(beside) <= _WIDTH else [remark(indent, why), f"{margin}{text}"]


def remark(indent: int, text: str) -> str:
    """Return a line that is a comment; what cannot be printed is left out of it, and so is what is too long."""
    return f"{' ' * indent}# {shorten(_printable(text), _WIDTH - indent - 2, placeholder=' ...')}"


def _printable(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
