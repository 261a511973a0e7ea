"""A sink of any kind, checked before a run and written after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from presage.errors import MissingExtraError
from presage.sinks.parquet import local_directory, write_files
from presage.sinks.tables import SinkTable
from presage.spec.operations import Sink
from presage.spec.sources import SecretRef


def check_sink(sink: Sink) -> None:
    """Raise what is wrong with a sink that can be told without asking it.

    Raises:
        JobError: Its address is none, or holds credentials.
        MissingExtraError: What it needs is not installed.
    """
    place = f"sink {sink.name!r}"
    if sink.files is not None:
        if local_directory(sink.files.uri, Path(), place) is None:
            _require("boto3", place, "s3")
    elif sink.sql is not None:
        _require("sqlalchemy", place, "sql")
        from presage.sources.database import Database  # noqa: PLC0415  # an extra

        Database.parse(sink.sql.uri, Path(), place).engine({}, read_only=False).dispose()


def write_sink(
    sink: Sink,
    tables: Sequence[SinkTable],
    *,
    base: Path,
    secret: Callable[[SecretRef], Mapping[str, str]],
    sleep: Callable[[float], None],
) -> None:
    """Write tables to a sink; see `presage.sinks.sql` and `presage.sinks.parquet` for the rules and the errors."""
    place = f"sink {sink.name!r}"
    if sink.files is not None:
        write_files(sink.files, tables, place=place, base=base, secret=secret)
    elif sink.sql is not None:
        _require("sqlalchemy", place, "sql")
        from presage.sinks.sql import write_tables  # noqa: PLC0415  # an extra

        write_tables(sink.sql, tables, place=place, base=base, secret=secret, sleep=sleep)


def _require(module: str, place: str, extra: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{place} needs the Python package {error.name}, which is not installed.", f"Install presage[{extra}]."
        ) from error
