"""Whether a source takes every row of a table, or has to leave some out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from presage.errors import DataError
from presage.spec.sources import Source


class _Read(Protocol):
    @property
    def dropped(self) -> int:
        """Rows left out because they cannot be true."""
        ...


Rows = TypeVar("Rows", bound=_Read)


def settle(source: Source, read: Callable[[Source], Rows]) -> tuple[Source, Rows, str]:
    """Return the source that reads a table, its rows, and why some are dropped; empty where none has to be.

    Args:
        source: The source, which refuses rows that cannot be true.
        read: Reads the table by a source.

    Raises:
        DataError: The table cannot be read even without such rows.
    """
    try:
        return source, read(source), ""
    except DataError as error:
        rows = read(dropping(source))
        count = "1 row" if rows.dropped == 1 else f"{rows.dropped:,} rows"
        first, _, _ = error.what.removeprefix(f"source {source.name!r}, ").partition(". ")
        return dropping(source), rows, f"{count} cannot be true, such as {first.removesuffix('.')}"


def dropping(source: Source) -> Source:
    """Return a source that leaves out rows that cannot be true."""
    return source.model_copy(update={"invalid_rows": "Drop"})
