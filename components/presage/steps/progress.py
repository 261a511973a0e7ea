"""How a step says how far it is."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Called with a step's name, how many of its parts are done, and how many there are."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note of progress."""
        ...
