"""Columns of a sink's table: their types in each database, their names, and whether an older table has the same."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Double, Float, Integer, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

from presage.errors import DataError
from presage.frame import TIMESTAMP
from presage.sinks.tables import SinkTable
from presage.sources.database import Dialect

_KEY_LENGTH = 255
_IDENTIFIER_BYTES: dict[Dialect, int] = {"mysql": 64, "postgresql": 63, "sqlite": 1_000}
_DIGITS = 8


def sink_columns(table: SinkTable, dialect: Dialect) -> list[Column[Any]]:
    """Return the columns of a table; `key` of each is its place among the rows' columns, such as `c0`.

    Raises:
        DataError: A column has a type that no table can keep.
    """
    return [
        Column(
            identifier(name, dialect),
            _type(table, name, dialect),
            key=f"c{place}",
            primary_key=name in table.key,
            nullable=name not in table.key,
            autoincrement=False,
        )
        for place, name in enumerate(table.rows.columns)
    ]


def identifier(name: str, dialect: Dialect) -> str:
    """Return a name as a database can keep it.

    One that is too long is cut, and ends in digits that tell it from others. MariaDB and MySQL have an underscore for a
    backtick and a percent sign.
    """
    if dialect == "mysql":
        # Its driver takes a percent sign for a parameter, and a backtick confuses who reads a table's definition.
        name = name.replace("`", "_").replace("%", "_")
    limit = _IDENTIFIER_BYTES[dialect]
    if len(name.encode()) <= limit:
        return name
    digits = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name.encode()[: limit - _DIGITS - 1].decode(errors='ignore')}_{digits}"


def require_keys_that_fit(table: SinkTable, place: str) -> None:
    """Raise DataError for a text of the key that is longer than a key can be, or ends in a space.

    Databases compare keys as if the spaces at their end were not there.
    """
    for name in table.key:
        if table.rows.schema[name] != pl.String:
            continue
        cells = table.rows[name]
        bad = (cells.str.len_chars() > _KEY_LENGTH) | cells.str.ends_with(" ")
        if bad.any():
            cell = cells.filter(bad)[0]
            raise DataError(
                f"{place}: {name} {cell[:60]!r} cannot be a key: it is longer than {_KEY_LENGTH} characters, or ends "
                "in a space.",
                "Give it another name in the source.",
            )


def family(kind: TypeEngine[Any], dialect: Dialect) -> str:
    """Return what a column of a type keeps, in words; two types of one family keep the same without loss."""
    if isinstance(kind, Boolean | mysql.TINYINT):
        return "true or false"
    if isinstance(kind, Integer):
        return "whole numbers"
    if isinstance(kind, Double | mysql.DOUBLE) or (dialect == "sqlite" and isinstance(kind, Float)):
        return "numbers"
    if isinstance(kind, DateTime | mysql.DATETIME):
        if dialect == "mysql" and (isinstance(kind, mysql.TIMESTAMP) or getattr(kind, "fsp", None) != 6):
            return f"times as {kind}"
        return "times with a zone" if dialect == "postgresql" and kind.timezone else "times"
    if isinstance(kind, Date):
        return "dates"
    return "texts" if isinstance(kind, String) else str(kind)


def _type(table: SinkTable, name: str, dialect: Dialect) -> TypeEngine[Any]:
    dtype = table.rows.schema[name]
    if dtype == pl.String:
        return _text_type(dialect, key=name in table.key)
    if dtype.is_float() or dtype == pl.Null:
        return Double()
    if dtype.is_integer():
        return BigInteger()
    if isinstance(dtype, pl.Datetime):
        if dialect == "mysql":
            return mysql.DATETIME(fsp=6)
        return postgresql.TIMESTAMP(timezone=dtype == TIMESTAMP) if dialect == "postgresql" else DateTime()
    kinds: dict[pl.DataType, TypeEngine[Any]] = {pl.Boolean(): Boolean(), pl.Date(): Date()}
    if dtype in kinds:
        return kinds[dtype]
    raise DataError(f"table {table.name!r}: column {name!r} is {dtype}, which no sink keeps.", "Take it out.")


def _text_type(dialect: Dialect, *, key: bool) -> TypeEngine[Any]:
    if dialect == "mysql":
        # Its usual comparison takes BTC and btc for the same.
        return mysql.VARCHAR(_KEY_LENGTH, charset="utf8mb4", collation="utf8mb4_bin") if key else mysql.LONGTEXT()
    return String(_KEY_LENGTH) if key else Text()
