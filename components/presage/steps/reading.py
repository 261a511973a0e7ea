"""Rows of one source on their way into the lake: chunk by chunk, each kept together with the bookmark behind it.

A chunk is as many of an adapter's tables as fit into some memory, at least one. It is merged, and its bookmark stands
in the same commit: a read that is killed goes on behind the last chunk that was kept. A chunk that was fetched but not
kept is fetched again; what is merged twice changes nothing.

A source that is read whole each time has its columns in its raw table's name, so that a column that is new never looks
like a revision. A source that can go on at a bookmark does so in one table, and its columns must stay what they were.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path

import polars as pl

from presage.errors import DataError
from presage.frame import KNOWN_AT, SERIES, TIME, TIMESTAMP, value_columns
from presage.lake.tables import Lake, TableVersion
from presage.lake.vintages import Continued
from presage.sources.contract import Request, Table
from presage.sources.formats import join
from presage.sources.registry import adapter
from presage.sources.rows import to_rows
from presage.sources.secrets import environment_secret
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob
from presage.spec.sources import Source
from presage.steps.workdir import job_key

CHUNK_BYTES = 32 << 20
"""Size in memory of a chunk's tables from which on no further one joins them."""


@dataclass(frozen=True)
class Chunk:
    """What some tables of a source say.

    Attributes:
        table: The tables, joined.
        rows: Their rows, without `ingested_at`; None where no row has a value.
        duplicates: Rows left out because a later one has the same key.
        dropped: Rows left out because they cannot be true.
    """

    table: Table
    rows: pl.DataFrame | None
    duplicates: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class SourceRead:
    """A read of one source that has begun: its first chunk is checked, and nothing is written yet.

    Attributes:
        source: The source.
        table: Name of its raw table.
        since: Version of that table before the read; -1 where there was none.
        columns: The value columns of its rows.
        ingested_at: When the rows are got, UTC.
        monthly: Whether the table is kept by months.
        chunks: What is read, in order.
        goes_on: Whether a later read goes on behind this one.
    """

    source: Source
    table: str
    since: int
    columns: tuple[str, ...]
    ingested_at: datetime
    monthly: bool
    chunks: Iterator[Chunk]
    goes_on: bool = True


@dataclass(frozen=True)
class Kept:
    """What the lake holds of a source after some chunks of a read.

    Attributes:
        version: The newest version of its raw table.
        chunks: Chunks that were kept.
        duplicates: Rows of them that were left out because a later one has the same key.
        dropped: Rows of them that were left out because they cannot be true.
    """

    version: TableVersion
    chunks: int = 0
    duplicates: int = 0
    dropped: int = 0


def request_for(
    job: PredictionJob, *, base: Path, now: datetime, sleep: Callable[[float], None] = time.sleep
) -> Request:
    """Return what a job's sources are asked with: all up to a moment, UTC, each with its own secrets.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        now: When the rows are got, UTC.
        sleep: Waits for so many seconds.
    """
    return Request(
        base=base,
        frequency=parse_frequency(job.spec.frequency),
        end=now,
        sleep=sleep,
        secret=partial(environment_secret, beside=job.spec.secret_refs),
    )


def begin_read(
    job: PredictionJob, source: Source, lake: Lake, request: Request, *, chunk_bytes: int = CHUNK_BYTES
) -> SourceRead:
    """Fetch and check the first chunk of what is new in a source, or of all where it has no bookmark.

    Args:
        job: The job.
        source: One of its sources.
        lake: The lake.
        request: What is asked of the source, with neither start nor bookmark.
        chunk_bytes: Size of a chunk in memory.

    Raises:
        DataError: The source's data cannot be used as declared, or it gave no rows and the lake has none.
        PresageError: As the source's adapter.
    """
    table = raw_table(job, source)
    held = lake.newest(table) if can_go_on(source) else None
    if held is not None:
        request = replace(request, bookmark=held.bookmark)
    known = held.columns if held is not None and request.bookmark else None
    chunks = _read(source, request, chunk_bytes, known=known)
    first = next(chunks, None)
    if not can_go_on(source):
        table = raw_table(job, source, value_columns(_rows(source, first)))
        held = lake.newest(table)
    columns = held.columns if held is not None else tuple(value_columns(_rows(source, first)))
    if first is not None:
        first = _aligned(source, first, columns)
    return SourceRead(
        source=source,
        table=table,
        since=-1 if held is None else held.version,
        columns=columns,
        ingested_at=request.end,
        monthly=request.period(source).intraday,
        chunks=chunks if first is None else chain((first,), chunks),
    )


def begin_span(read: SourceRead, request: Request, *, chunk_bytes: int = CHUNK_BYTES) -> SourceRead:
    """Return a further part of a read: the rows of the span that a request asks for, which a bookmark is not moved by.

    Nothing is fetched yet.
    """
    chunks = _read(read.source, replace(request, bookmark=""), chunk_bytes, known=read.columns)
    return replace(read, chunks=chunks, goes_on=False)


def keep(read: SourceRead, lake: Lake) -> Iterator[Kept]:
    """Merge chunk after chunk and give what the lake holds after each; once for a read that has nothing new.

    Raises:
        DataError: A chunk's data cannot be used as declared, or its columns changed.
        PresageError: As the source's adapter; what was kept before stays.
    """
    continued = Continued(read.since, published=read.source.availability.column is not None)
    nothing = _no_rows(read.columns)
    done = 0
    duplicates = dropped = 0
    for chunk in read.chunks:
        chunk = _aligned(read.source, chunk, read.columns)  # noqa: PLW2901  # the first one is aligned already
        version = lake.merge(
            read.table,
            nothing if chunk.rows is None else chunk.rows,
            ingested_at=read.ingested_at,
            monthly=read.monthly,
            bookmark=chunk.table.bookmark if read.goes_on else None,
            continued=continued,
        )
        done += 1
        duplicates += chunk.duplicates
        dropped += chunk.dropped
        yield Kept(version, done, duplicates, dropped)
    if not done:
        held = lake.current(read.table)
        yield Kept(held or lake.merge(read.table, nothing, ingested_at=read.ingested_at, monthly=read.monthly))


def can_go_on(source: Source) -> bool:
    """Return whether a source is of a kind that leaves bookmarks."""
    database = source.sql or source.clickhouse
    if database is not None:
        return database.incremental_column is not None
    return source.file is None and source.dataset is None


def raw_table(job: PredictionJob, source: Source, columns: Sequence[str] = ()) -> str:
    """Return the name of a source's raw table.

    It depends on where the source is, how it is read and how long a row's period is, so that neither another source
    nor rows of another length look like revisions.

    Args:
        job: The job.
        source: The source.
        columns: Its value columns, for a source that is read whole.
    """
    identity = source.model_dump_json(exclude={"name", "fill", "units", "aggregation"}, exclude_none=True)
    identity += "\n".join(sorted(columns))
    if source.frequency is None:
        identity += f"\nfrequency {job.spec.frequency}"
    return f"raw/{job_key(job)}/{source.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _read(source: Source, request: Request, chunk_bytes: int, *, known: Sequence[str] | None) -> Iterator[Chunk]:
    """Give chunk after chunk; `known` are the value columns of what was read before, None where nothing was."""
    tables: list[Table] = []
    size = 0
    for table in adapter(source).read(source, request):
        tables.append(table)
        size += int(table.data.estimated_size())
        if size >= chunk_bytes:
            chunk = _chunk(source, tables, request, known)
            yield chunk
            known = known if known is not None or chunk.rows is None else value_columns(chunk.rows)
            tables, size = [], 0
    if tables:
        yield _chunk(source, tables, request, known)


def _chunk(source: Source, tables: Sequence[Table], request: Request, known: Sequence[str] | None) -> Chunk:
    """Return what tables say; that no row has a value is an error only where nothing was read before."""
    table = join(tables, source)
    if known is not None and not any(_has_values(table, source.columns.get(name, name)) for name in known):
        return Chunk(table, None)
    given = to_rows(source, table, frequency=request.frequency)
    return Chunk(table, given.rows, given.duplicates, given.dropped)


def _has_values(table: Table, name: str) -> bool:
    return name in table.data.columns and table.data[name].null_count() < table.data.height


def _aligned(source: Source, chunk: Chunk, columns: Sequence[str]) -> Chunk:
    """Return a chunk with exactly these value columns.

    A column of the source that has no value in the chunk may be taken for text, or text for it.

    Raises:
        DataError: The chunk has a value in another column, or the source lacks one.
    """
    if chunk.rows is None:
        return chunk
    rows = chunk.rows
    present = value_columns(rows)
    added = [name for name in present if name not in columns and rows[name].null_count() < rows.height]
    absent = [name for name in columns if name not in present]
    lacking = [
        name
        for name in absent
        if source.columns.get(name, name) not in chunk.table.data.columns
        or _has_values(chunk.table, source.columns.get(name, name))
    ]
    if added or lacking:
        changes = [f"{', '.join(map(repr, added))} came" if added else ""]
        changes += [f"{', '.join(map(repr, lacking))} went" if lacking else ""]
        place = chunk.table.parts[0].name if chunk.table.parts else "the table"
        raise DataError(
            f"source {source.name!r}, {place}: its columns are not those of the rows before: "
            f"{' and '.join(filter(None, changes))}.",
            "Name the columns to keep in `columns`: a source that is read otherwise begins anew.",
        )
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)
    return replace(chunk, rows=rows.drop(name for name in present if name not in columns))


def _rows(source: Source, chunk: Chunk | None) -> pl.DataFrame:
    if chunk is None or chunk.rows is None:
        raise DataError(f"source {source.name!r}: it gave no rows.", "Check that it has rows of the span asked for.")
    return chunk.rows


def _no_rows(columns: Sequence[str]) -> pl.DataFrame:
    keys = {SERIES: pl.String(), TIME: TIMESTAMP, KNOWN_AT: TIMESTAMP}
    return pl.DataFrame(schema=keys | dict.fromkeys(columns, pl.Float64()))
