"""Cells as messages show them."""

from __future__ import annotations

_LONGEST = 60


def quoted(cell: object) -> str:
    """Return a cell in quotes where it is text, cut after 60 characters: a single cell can be megabytes long."""
    if isinstance(cell, str) and len(cell) > _LONGEST:
        return repr(cell[:_LONGEST] + "…")
    text = repr(cell)
    return text if isinstance(cell, str) or len(text) <= _LONGEST else text[:_LONGEST] + "…"
