"""Tables in the databases of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import polars as pl


def load_table(
    connection: Any,
    name: str,
    rows: pl.DataFrame,
    types: Mapping[str, str] | None,
    *,
    quote: str = '"',
    mark: str = "%s",
) -> None:
    """Make a table anew of rows over a connection, and close it; `types` names those of columns that are no doubles."""
    table = f"{quote}{name}{quote}"
    columns = [f"{quote}{column}{quote} {(types or {}).get(column, 'DOUBLE PRECISION')}" for column in rows.columns]
    with closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
        cursor.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join([mark] * rows.width)})", rows.rows())
        connection.commit()
