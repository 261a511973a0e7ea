"""The real ClickHouse engine, embedded in this process, over a folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import polars as pl
from clickhouse_connect import get_client


def run_chdb(folder: Path, *statements: str) -> None:
    """Run statements, and close the engine again: a process has one folder at a time."""
    with closing(get_client(interface="chdb", path=str(folder))) as client:
        for statement in statements:
            client.command(statement)


def load_chdb(folder: Path, name: str, rows: pl.DataFrame, types: Mapping[str, str] | None = None) -> None:
    """Make a table of rows; columns are Nullable(Float64) where `types` does not name another type."""
    columns = ", ".join(f"`{column}` {(types or {}).get(column, 'Nullable(Float64)')}" for column in rows.columns)
    with closing(get_client(interface="chdb", path=str(folder))) as client:
        client.command(f"CREATE TABLE `{name}` ({columns}) ENGINE = MergeTree ORDER BY tuple()")
        client.insert(name, rows.rows(), column_names=rows.columns)
