"""A SQLite file with the same face as the servers."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Sqlite:
    """A file.

    Attributes:
        path: Where it is.
    """

    path: Path
    user: str = ""
    password: str = ""

    @property
    def uri(self) -> str:
        """Address of the database, as a job names it."""
        return f"sqlite:///{self.path}"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements and return the rows of the last one."""
        with closing(self.connect()) as connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows

    def load(self, name: str, rows: pl.DataFrame, types: Mapping[str, str] | None = None) -> None:
        """Make a table anew of rows; columns are DOUBLE where `types` does not name another type, times are text."""
        columns = ", ".join(f'"{column}" {(types or {}).get(column, "DOUBLE")}' for column in rows.columns)
        marks = ", ".join("?" * rows.width)
        text = rows.with_columns(pl.col(pl.Datetime, pl.Date).cast(pl.String))
        with closing(self.connect()) as connection:
            connection.execute(f'DROP TABLE IF EXISTS "{name}"')
            connection.execute(f'CREATE TABLE "{name}" ({columns})')
            connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', text.rows())
            connection.commit()

    def connect(self) -> sqlite3.Connection:
        """Return a connection."""
        return sqlite3.connect(self.path)
