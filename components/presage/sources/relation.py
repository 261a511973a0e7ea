"""The rows of a table or a query of a relational database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from presage.errors import DataError, PresageError
from presage.sources.contract import Request, Table
from presage.sources.database import Database, FaultKind, credentials_of, fault_kind, fault_text, refused
from presage.sources.retries import PassingError, retried
from presage.sources.rowstream import RowStream, bookmark_of, columns_to_read
from presage.sources.select import all_columns, example, relation, statement
from presage.sources.spans import span_of
from presage.spec.sources import Source, SqlSource

_BLOCK_ROWS = 1_000
# How pymysql calls a column of type TIMESTAMP, whose values it gives without a zone, in that of the session.
_MYSQL_TIMESTAMP = 7


def tables(source: Source, request: Request) -> Iterator[Table]:
    """Read a table, or what a query gives.

    The session may only read. With a growing column and no `start` the read goes on at the bookmark, in the order of
    that column, and each table has its own bookmark. With a `start` it is bounded by the time column where that column
    holds times, comes in their order, and leaves the bookmark as it was.

    Args:
        source: A source of kind `sql`.
        request: Where its file is looked for, the span, the bookmark, and the secret's values.

    Raises:
        DataError: There is no such database, table or column, or the database refuses to read it.
        JobError: The address is none, the query is no SELECT, or the credentials are missing or wrong.
        MissingExtraError: The driver is not installed.
        SourceUnavailableError: The database does not answer, or stops to.
    """
    options = source.sql
    if options is None:
        raise ValueError(f"source {source.name!r} is no database")
    place = f"source {source.name!r}"
    database = Database.parse(options.uri, request.base, place)
    what = f"{database.shown}, {'query' if options.table is None else f'table {options.table!r}'}"
    if database.dialect == "sqlite" and not Path(str(database.url.database)).is_file():
        raise DataError(f"{place}, {database.shown}: there is no such file.", "Correct the path.")
    hidden = credentials_of(options.secret_ref, request.secret)
    reader = _Reader(source, options, request, what, hidden)
    engine = database.engine(hidden, read_only=True)
    connection = retried(lambda: reader.connect(engine), sleep=request.sleep)
    with reader.faults(), closing(connection):
        yield from reader.tables(connection)


class _Reader:
    """What one read of a source needs to know."""

    def __init__(
        self, source: Source, options: SqlSource, request: Request, what: str, hidden: Mapping[str, str]
    ) -> None:
        self._source = source
        self._options = options
        self._request = request
        self._what = what
        self._hidden = hidden

    def connect(self, engine: Engine) -> Connection:
        """Return a connection; raises PassingError where the next attempt may succeed."""
        with self.faults():
            return engine.connect()

    def tables(self, connection: Connection) -> Iterator[Table]:
        """Give the rows."""
        source, options, request = self._source, self._options, self._request
        rows = relation(options, self._table_name(connection), f"source {source.name!r}")
        present = list(connection.execute(all_columns(rows)).keys())
        self._refuse_twins(present)
        names = columns_to_read(source, present, options.incremental_column, self._what)
        span = None
        if request.start is not None:
            sample = connection.execute(example(rows, source.time)).scalar()
            span = span_of(source, request, sample, loose_types=connection.dialect.name == "sqlite")
        asked = statement(options, rows, names, bookmark_of(source, request), span)
        result = connection.execution_options(stream_results=True, max_row_buffer=_BLOCK_ROWS).execute(asked)
        zoned = _zoned(result) if connection.dialect.name in ("mysql", "mariadb") else frozenset()

        def cell(place: int, value: object) -> object:
            return value.replace(tzinfo=UTC) if place in zoned and isinstance(value, datetime) else value

        stream = RowStream(source, request, self._what, tuple(result.keys()), options.incremental_column)
        try:
            yield from stream.tables(result.partitions(_BLOCK_ROWS), cell)
        finally:
            _end(connection, result)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what the database refuses into errors that a user can read."""
        place = f"source {self._source.name!r}, {self._what}"
        try:
            yield
        except UnicodeDecodeError as error:
            raise DataError(
                f"{place}: a cell is no text in UTF-8 ({error.reason}).", "Correct the encoding of the database."
            ) from error
        except SQLAlchemyError as error:
            raise _explained(fault_kind(error), place, fault_text(error, self._hidden), self._options) from error

    def _table_name(self, connection: Connection) -> tuple[str | None, str] | None:
        name = self._options.table
        if name is None:
            return None
        inspector = inspect(connection)
        schema, _, rest = name.partition(".")
        for candidate in ((None, name), (schema, rest)) if rest else ((None, name),):
            if inspector.has_table(candidate[1], schema=candidate[0]):
                return candidate
        known = inspector.get_table_names() + inspector.get_view_names()
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise DataError(f"source {self._source.name!r}, {self._what}: there is no such table{hint}", "Correct `table`.")

    def _refuse_twins(self, present: list[str]) -> None:
        for name in present:
            if present.count(name) > 1:
                raise DataError(
                    f"source {self._source.name!r}, {self._what}: column {name!r} comes twice.",
                    "Rename one of the two.",
                )


def _end(connection: Connection, result: CursorResult[Any]) -> None:
    """End a read, also in its middle, and the connection with it: it may be in the middle of an answer."""
    cursor = result.cursor
    # pymysql would read all the rest first, or fail where the connection is gone.
    unread = getattr(cursor, "_result", None)
    if unread is not None:
        unread.unbuffered_active = False
    with suppress(Exception):
        cursor.close()
    connection.invalidate()


def _zoned(result: CursorResult[Any]) -> frozenset[int]:
    """Return the places of columns whose times are in UTC although they come without a zone."""
    described = result.cursor.description or ()
    return frozenset(place for place, column in enumerate(described) if column[1] == _MYSQL_TIMESTAMP)


def _explained(kind: FaultKind, place: str, said: str, options: SqlSource) -> PresageError:
    if kind in ("Lost", "Conflict", "Full"):
        return PassingError(f"{place}: the database does not answer, or breaks off: {said}", "Try again later.")
    if kind == "Refused":
        return refused(place, options.secret_ref)
    remedies: dict[FaultKind, str] = {
        "Forbidden": "Grant the user SELECT on it.",
        "Missing": "Correct the name in the job.",
        "ReadOnly": "Write a SELECT that only reads.",
    }
    return DataError(f"{place}: {said}", remedies.get(kind, "Correct the table or the query."))
