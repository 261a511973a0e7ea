"""What is asked of a database for a source: one SELECT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, TextClause, column, or_, select, table, text

from presage.sources.bookmarks import Bookmark
from presage.sources.queries import readable_query
from presage.sources.spans import Span
from presage.spec.sources import SqlSource


def relation(options: SqlSource, name: tuple[str | None, str] | None, place: str) -> FromClause:
    """Return the table (its schema and its name), or the query as if it were a table."""
    if name is not None:
        return table(name[1], schema=name[0])
    return _text(readable_query(options.query or "", place)).columns().subquery("presage_rows")


def all_columns(rows: FromClause) -> Select[Any]:
    """Return a SELECT of no rows that has all columns."""
    return select(text("*")).select_from(rows).limit(0)


def example(rows: FromClause, name: str) -> Select[Any]:
    """Return a SELECT of one value of a column."""
    return select(column(name)).select_from(rows).where(column(name).is_not(None)).limit(1)


def statement(
    options: SqlSource, rows: FromClause, names: Sequence[str], bookmark: Bookmark | None, span: Span | None
) -> Select[Any] | TextClause:
    """Return the SELECT of a source's rows.

    A growing column is read in its order from the bookmark's value on, together with rows that have none, so that they
    are seen. Rows of a span come in the order of time. All others come in the order in which the database gives them;
    a query of its own order keeps it.

    Args:
        options: The source's table or query.
        rows: The same, as what can be selected from.
        names: Columns to read.
        bookmark: Where an earlier read stands; None for all rows.
        span: Bounds of the time; None for none, and then a growing column orders the rows.
    """
    if span is None and options.incremental_column is None and options.query is not None:
        return _text(readable_query(options.query, ""))
    chosen = select(*_columns(names)).select_from(rows)
    if span is not None:
        time: ColumnElement[Any] = column(span.column)
        return chosen.where(or_((time >= span.low) & (time < span.high), time.is_(None))).order_by(time)
    if options.incremental_column is None:
        return chosen
    growing: ColumnElement[Any] = column(options.incremental_column)
    if bookmark is not None:
        chosen = chosen.where(or_(growing >= bookmark.value, growing.is_(None)))
    return chosen.order_by(growing)


def _columns(names: Sequence[str]) -> list[ColumnElement[Any]]:
    return [column(name) for name in names]


def _text(query: str) -> TextClause:
    # A colon begins a parameter, but these statements have none; a comment at the end must not hide what follows.
    return text(query.replace(":", r"\:") + "\n")
