"""A table as plain values, shown alike on the page and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "name", "sentence"]


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    Attributes:
        name: Heading.
        unit: Unit of its numbers, empty where they have none.
        kind: Numbers stand on the right; names and times on the left, unbroken; sentences may be broken into lines.
        narrow: Whether it is shown where there is little room.
    """

    name: str
    unit: str = ""
    kind: Kind = "number"
    narrow: bool = True


FilledColumn = tuple[Column, Sequence[str]]


@dataclass(frozen=True)
class Grid:
    """Rows of cells.

    Attributes:
        title: What the rows are.
        columns: The columns.
        rows: Cells as text, one a column.
        marked: Place of the row to be set off, if any.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None

    @classmethod
    def of(cls, title: str, *filled: FilledColumn, marked: int | None = None) -> Grid:
        """Return the grid of columns, each of which comes with its cells."""
        columns = tuple(column for column, _ in filled)
        return cls(title, columns, tuple(zip(*(cells for _, cells in filled), strict=True)), marked)
