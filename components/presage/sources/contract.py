"""The adapter contract: an adapter fetches a table; what its rows mean is judged for all adapters alike, in `rows`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from presage.spec.sources import Source


@dataclass(frozen=True)
class Part:
    """Rows of a table that come from one place, such as a file.

    Attributes:
        name: The place as the user knows it.
        rows: How many rows of the table come from it.
        first_line: Line of its first row, from 1, where it is lines of text; None where it is not.
    """

    name: str
    rows: int
    first_line: int | None = None


@dataclass(frozen=True)
class Table:
    """What an adapter fetched.

    Attributes:
        data: Rows in the order of the source, under the source's own column names, of any dtype; text cells that mean
            "no value" are null.
        parts: Where the rows come from, in their order; their `rows` sum to the height of `data`.
        time: The column that holds the time where the job leaves `time` at its default; None where only the job knows.
    """

    data: pl.DataFrame
    parts: tuple[Part, ...]
    time: str | None = None

    def where(self, row: int) -> str:
        """Return the place of a row (from 0) of `data`, such as `prices.csv, line 7` or `prices.parquet, row 6`."""
        start = 0
        for part in self.parts:
            if row < start + part.rows:
                return _place(part, self.data[start:row], row - start)
            start += part.rows
        raise IndexError(row)


class Adapter(Protocol):
    """How the rows of one kind of source are fetched; a module with a function `read` is one."""

    def read(self, source: Source, base: Path) -> Table:
        """Fetch the table of a source of this adapter's kind.

        Args:
            source: The source.
            base: Folder that relative paths start from, usually the job file's.

        Raises:
            DataError: What the source names does not exist or cannot be read as declared.
            MissingExtraError: The adapter needs a package that is not installed.
            SourceUnavailableError: The source does not answer.
        """
        ...


def _place(part: Part, above: pl.DataFrame, row: int) -> str:
    if part.first_line is None:
        return f"{part.name}, row {row + 1}"
    # A quoted cell may hold line breaks: its row takes several lines.
    breaks = sum(cells.str.count_matches("\n", literal=True).sum() for cells in above if cells.dtype == pl.String)
    return f"{part.name}, line {part.first_line + row + breaks}"
