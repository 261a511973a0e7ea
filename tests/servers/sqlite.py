"""A SQLite file with the same face as the servers."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from servers.tables import load_table


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
        """Make a table anew of rows; columns are DOUBLE PRECISION where `types` names no other, times are text."""
        text = rows.with_columns(pl.col(pl.Datetime, pl.Date).cast(pl.String))
        load_table(self.connect(), name, text, types, mark="?")

    def connect(self) -> sqlite3.Connection:
        """Return a connection."""
        return sqlite3.connect(self.path)
