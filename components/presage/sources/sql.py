"""Tables and queries of relational databases: SQLite, MariaDB and MySQL, PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

from presage.errors import MissingExtraError
from presage.sources.contract import Request, Table
from presage.spec.sources import Source


def read(source: Source, request: Request) -> Iterator[Table]:
    """Read the table, or what the query gives; see `presage.sources.relation`."""
    try:
        from presage.sources.relation import tables  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"source {source.name!r} needs the Python package {error.name}, which is not installed.",
            "Install presage[sql].",
        ) from error
    return tables(source, request)
