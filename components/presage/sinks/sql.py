"""Tables of a relational database that are brought up to date in one transaction, by key: repeats do no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Column, Connection, Engine, Insert, MetaData, Table, bindparam, delete, func, inspect, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from presage.errors import DataError, JobError, PresageError, SourceUnavailableError, StorageError
from presage.frame import KEY, SERIES, TIME
from presage.sinks.columns import family, identifier, require_keys_that_fit, sink_columns
from presage.sinks.tables import SinkTable
from presage.sources.database import Database, credentials_of, fault_kind, fault_text, refused
from presage.sources.retries import PassingError, retried
from presage.spec.operations import SqlSink
from presage.spec.sources import SecretRef

_BATCH_ROWS = 5_000
_SPAN = "span of the row"


@dataclass(frozen=True)
class _Target:
    """A table of the database, and the rows that it is to hold."""

    wanted: SinkTable
    table: Table


def write_tables(
    sink: SqlSink,
    tables: Sequence[SinkTable],
    *,
    place: str,
    base: Path,
    secret: Callable[[SecretRef], Mapping[str, str]],
    sleep: Callable[[float], None],
) -> None:
    """Make tables hold some rows: new ones are added, those of the same key replaced, others stay.

    Of a table that is given completely, others of the same series and time are deleted.

    Tables and columns that are missing are made first. The rows of all tables are then written in one transaction: all
    of them are there afterwards, or none. A connection that breaks and a conflict with another session are tried again.

    Args:
        sink: The database.
        tables: What it is to hold.
        place: What names the sink in messages.
        base: Folder that the file of `sqlite:///file` starts from.
        secret: Gives the keys and values of a secret.
        sleep: Waits for so many seconds.

    Raises:
        DataError: A table that is there has other types or another key, or cannot keep a value.
        JobError: There is no such database, or the credentials are wrong or do not suffice.
        MissingExtraError: The driver is not installed.
        StorageError: The database does not answer, is full, or others kept writing the same rows.
    """
    database = Database.parse(sink.uri, base, place)
    shown = f"{place}, {database.shown}"
    for table in tables:
        require_keys_that_fit(table, shown)
    hidden = credentials_of(sink.secret_ref, secret)
    engine = database.engine(hidden, read_only=False)
    writer = _Writer(database, shown)

    def attempt() -> None:
        try:
            writer.write(engine, tables)
        except SQLAlchemyError as error:
            raise _explained(error, shown, fault_text(error, hidden), sink) from error

    try:
        retried(attempt, sleep=sleep)
    except SourceUnavailableError as error:
        raise StorageError(error.what, error.remedy) from error


class _Writer:
    """Writes to one database."""

    def __init__(self, database: Database, shown: str) -> None:
        self._dialect = database.dialect
        self._shown = shown

    def write(self, engine: Engine, tables: Sequence[SinkTable]) -> None:
        """Make what is missing, then write all rows in one transaction."""
        # MariaDB and MySQL end a transaction when a table is made or changed.
        with closing(engine.connect()) as connection:
            targets = [self._prepared(connection, table) for table in tables]
        with engine.begin() as connection:
            for target in targets:
                statement = self._upsert(target.table)
                for batch in self._batches(self._missing(connection, target)):
                    connection.execute(statement, batch)
                if target.wanted.complete:
                    self._delete_others(connection, target)

    def _prepared(self, connection: Connection, wanted: SinkTable) -> _Target:
        table = Table(
            identifier(wanted.name, self._dialect),
            MetaData(),
            *sink_columns(wanted, self._dialect),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        )
        if not inspect(connection).has_table(table.name):
            _make(
                connection,
                lambda: table.create(connection, checkfirst=False),
                lambda: inspect(connection).has_table(table.name),
            )
        for column in table.columns:
            if column.name not in self._types(connection, table):
                self._add(connection, table, column)
        self._require_same(connection, table)
        connection.commit()
        return _Target(wanted, table)

    def _add(self, connection: Connection, table: Table, column: Column[Any]) -> None:
        if column.primary_key:
            raise DataError(
                f"{self._shown}: table {table.name!r} is there, but without a column {column.name!r}.",
                "Give the sink another `table`.",
            )
        name = connection.dialect.identifier_preparer.format_table(table)
        made = CreateColumn(column).compile(dialect=connection.dialect)
        _make(
            connection,
            lambda: connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {made}"),
            lambda: column.name in self._types(connection, table),
        )

    def _require_same(self, connection: Connection, table: Table) -> None:
        there = self._types(connection, table)
        for column in table.columns:
            found, wanted = family(there[column.name], self._dialect), family(column.type, self._dialect)
            if found != wanted:
                raise DataError(
                    f"{self._shown}: column {column.name!r} of table {table.name!r} holds {found}, and {wanted} are to "
                    "be written to it.",
                    "Give the sink another `table`, or rename that column in the database.",
                )
        key = set(inspect(connection).get_pk_constraint(table.name)["constrained_columns"])
        needed = [column.name for column in table.primary_key]
        if key != set(needed):
            raise DataError(
                f"{self._shown}: the primary key of table {table.name!r} is {', '.join(sorted(key)) or 'not there'}, "
                f"not {', '.join(needed)}.",
                "Give the sink another `table`.",
            )

    def _types(self, connection: Connection, table: Table) -> dict[str, TypeEngine[Any]]:
        return {column["name"]: column["type"] for column in inspect(connection).get_columns(table.name)}

    def _missing(self, connection: Connection, target: _Target) -> pl.DataFrame:
        """Return the rows that the database lacks; all, where it cannot be told which."""
        rows, name = target.wanted.rows, target.wanted.grows_by
        if name is None:
            return rows
        column = target.table.columns[f"c{rows.columns.index(name)}"]
        count, newest = connection.execute(select(func.count(), func.max(column))).one()
        if newest is None:
            return rows
        newest = newest if newest.tzinfo is not None else newest.replace(tzinfo=UTC)
        newer = rows.filter(pl.col(name) > newest)
        return newer if rows.height - newer.height == count else rows

    def _delete_others(self, connection: Connection, target: _Target) -> None:
        """Delete the rows whose series and time are among the wanted ones, but whose key is not."""
        columns = [target.table.columns[f"c{target.wanted.rows.columns.index(name)}"] for name in KEY]
        series, time, _ = columns
        there = select(*columns).where(series == bindparam("series"), time.between(bindparam("low"), bindparam("high")))
        same = (column == bindparam(f"key{place}") for place, column in enumerate(columns))
        removal = delete(target.table).where(*same)
        for wanted in _spans(target.wanted.rows.select(KEY)):
            keys = set(wanted.rows())
            times = {key[:2] for key in keys}
            stored = self._stored(wanted)
            named = {"series": stored.item(0, SERIES), "low": stored.item(0, TIME), "high": stored.item(-1, TIME)}
            with connection.execute(there, named) as found:
                others = [row for row in found if (key := tuple(map(_in_utc, row)))[:2] in times and key not in keys]
            for start in range(0, len(others), _BATCH_ROWS):
                part = others[start : start + _BATCH_ROWS]
                connection.execute(removal, [{f"key{place}": cell for place, cell in enumerate(row)} for row in part])

    def _upsert(self, table: Table) -> Insert:
        others = [column for column in table.columns if not column.primary_key]
        if self._dialect == "mysql":
            added = mysql.insert(table)
            return added.on_duplicate_key_update(
                {column.key: added.inserted[column.key] for column in others or table.primary_key}
            )
        insert = postgresql.insert if self._dialect == "postgresql" else sqlite.insert
        put = insert(table)
        key = list(table.primary_key)
        if not others:
            return put.on_conflict_do_nothing(index_elements=key)
        return put.on_conflict_do_update(
            index_elements=key, set_={column.key: put.excluded[column.key] for column in others}
        )

    def _batches(self, rows: pl.DataFrame) -> Iterator[list[dict[str, object]]]:
        rows = self._stored(rows)
        names = [f"c{place}" for place in range(rows.width)]
        for part in rows.iter_slices(_BATCH_ROWS):
            yield [dict(zip(names, row, strict=True)) for row in part.rows()]

    def _stored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with times as the database keeps them."""
        if self._dialect == "postgresql":
            return rows
        zoned = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone]
        return rows.with_columns(pl.col(zoned).dt.replace_time_zone(None))


def _spans(keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield sorted keys, each with all vintages of one series' bars of a span of time."""
    for series in keys.partition_by(SERIES, maintain_order=True):
        numbered = series.with_columns((pl.col(TIME).rle_id() // _BATCH_ROWS).alias(_SPAN))
        yield from numbered.partition_by(_SPAN, maintain_order=True, include_key=False)


def _in_utc(cell: object) -> object:
    """Return a time of a database in UTC; those without a zone are."""
    return cell.replace(tzinfo=UTC) if isinstance(cell, datetime) and cell.tzinfo is None else cell


def _make(connection: Connection, make: Callable[[], object], made: Callable[[], bool]) -> None:
    """Make a table or a column, unless another session was faster."""
    try:
        make()
        connection.commit()
    except DBAPIError:
        connection.rollback()
        if not made():
            raise


def _explained(error: SQLAlchemyError, place: str, said: str, sink: SqlSink) -> PresageError:
    kind = fault_kind(error)
    if kind in ("Lost", "Conflict"):
        return PassingError(f"{place}: the database does not answer, or breaks off: {said}", "Run again later.")
    if kind in ("Full", "ReadOnly"):
        return StorageError(f"{place}: {said}", "Free some space there, or let it be written to, and run again.")
    if kind == "Refused":
        return refused(place, sink.secret_ref)
    remedies = {
        "Forbidden": "Grant the user SELECT, INSERT, UPDATE, DELETE, CREATE and ALTER there.",
        "Missing": "Make the database, or correct the address.",
    }
    if kind in remedies:
        return JobError(f"{place}: {said}", remedies[kind])
    return DataError(f"{place}: {said}", "Give the sink another `table`.")
