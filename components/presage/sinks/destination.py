"""Which table a sink writes, however its address and the table's name are spelled."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from presage.sinks.parquet import bucket_prefix, local_directory
from presage.spec.operations import Sink

Destination: TypeAlias = tuple[str, ...]
"""What two sinks have in common where they write the same table."""

_PORTS = {"mysql": 3306, "postgresql": 5432}
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def destination(sink: Sink, table: str, base: Path) -> Destination:
    """Return what tells a table that a sink writes from all others.

    Names that differ in large and small letters only are the same where the place may hold them for the same: in files
    of a disk, SQLite and MariaDB or MySQL, but neither in PostgreSQL nor in a bucket.

    Args:
        sink: The sink, whose address `check_sink` takes.
        table: Name of the table.
        base: Folder that relative paths start from.

    Raises:
        JobError: The sink's address is none, or holds credentials.
    """
    place = f"sink {sink.name!r}"
    if sink.files is not None:
        directory = local_directory(sink.files.uri, base, place)
        if directory is None:
            return ("s3", *bucket_prefix(sink.files.uri, place), table)
        return ("file", str(directory.resolve()), table.casefold())
    if sink.sql is None:
        return ()
    from presage.sinks.columns import identifier  # noqa: PLC0415  # an extra
    from presage.sources.database import Database  # noqa: PLC0415  # as above

    database = Database.parse(sink.sql.uri, base, place)
    kind, name, held = database.dialect, identifier(table, database.dialect), database.url.database or ""
    if kind == "sqlite":
        return (kind, str(Path(held).resolve()), name.casefold())
    host = (database.url.host or "").lower().rstrip(".")
    server = f"{'localhost' if host in _LOOPBACK else host}:{database.url.port or _PORTS[kind]}"
    return (kind, server, held, name) if kind == "postgresql" else (kind, server, held.casefold(), name.casefold())
