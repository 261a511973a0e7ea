"""Rows that a database gives one after the other, as tables of bounded size with their bookmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from presage.sources.bookmarks import Bookmark, Row, parse_bookmark, require_growing
from presage.sources.cells import to_column
from presage.sources.columns import needed_columns, require_columns
from presage.sources.contract import Part, Request, Table
from presage.spec.sources import Source

_TABLE_ROWS = 50_000
_TABLE_BYTES = 64 << 20


@dataclass(frozen=True)
class RowStream:
    """Rows as they come.

    Attributes:
        source: The source.
        request: What was asked for.
        place: What is read, as the user knows it.
        names: The columns.
        growing: Name of the column that only grows and that orders the rows, None for none.
    """

    source: Source
    request: Request
    place: str
    names: tuple[str, ...]
    growing: str | None

    def tables(
        self, blocks: Iterable[Sequence[Row]], cell: Callable[[int, object], object] = lambda _, value: value
    ) -> Iterator[Table]:
        """Return the rows as tables; what the last read ended with, and nothing else, is none.

        Without a growing column, or for a span, the bookmark stays what it was.

        Args:
            blocks: The rows, some at a time; by the growing column where there is one.
            cell: Gives, for a column's place, what a value stands for.

        Raises:
            DataError: A row has no value in the growing column, or the bookmark is none of this kind of source.
        """
        growing = self.names.index(self.growing) if self.growing is not None and self.request.start is None else None
        last = bookmark_of(self.source, self.request)
        reached = Bookmark("") if last is None else Bookmark(last.value)
        before = 0
        for rows in _bounded(blocks):
            kept = self.request.bookmark
            if growing is not None:
                require_growing(
                    rows, growing, source=self.source, column=self.names[growing], where=self.place, before=before
                )
                reached = reached.read(rows, growing)
                kept = reached.text()
            before += len(rows)
            if reached != last:
                columns = [
                    to_column(name, [cell(place, row[place]) for row in rows]) for place, name in enumerate(self.names)
                ]
                yield Table(pl.DataFrame(columns), (Part(self.place, len(rows)),), bookmark=kept)


def bookmark_of(source: Source, request: Request) -> Bookmark | None:
    """Return where a read goes on, None for one of a span or from the beginning."""
    return parse_bookmark(request.bookmark, source) if request.start is None else None


def columns_to_read(source: Source, present: Sequence[str], growing: str | None, place: str) -> tuple[str, ...]:
    """Return which of the columns that are there a source needs.

    Raises:
        DataError: One is missing.
    """
    needed = needed_columns(source, Table(pl.DataFrame(schema=dict.fromkeys(present, pl.Null)), ()))
    if growing is not None:
        needed[growing] = "incrementalColumn"
    require_columns(source, needed, present, place)
    return tuple(name for name in present if not source.columns or name in needed)


def _bounded(blocks: Iterable[Sequence[Row]]) -> Iterator[list[Row]]:
    """Give the rows in lists that have a bounded number and, unless a single block has more, size."""
    rows: list[Row] = []
    size = 0
    for block in blocks:
        rows.extend(block)
        size += sum(len(cell) for row in block for cell in row if isinstance(cell, str | bytes))
        if len(rows) >= _TABLE_ROWS or size >= _TABLE_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows
