"""The first step: from sources to the lake's raw tables, and from those to bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from presage.bars import FILLED, Bars
from presage.bars.stream import build_bars_of_parts
from presage.evaluation.scorecard import SourceSummary
from presage.features.definitions import require_columns
from presage.frame import SERIES, TIME
from presage.lake.tables import Lake, TableVersion
from presage.sources.contract import Request
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob
from presage.spec.sources import Source
from presage.steps.holes import RECENT, by_month, can_be_asked_for_spans, holes
from presage.steps.reading import CHUNK_BYTES, Kept, SourceRead, begin_read, begin_span, keep, request_for


@dataclass(frozen=True)
class Ingested:
    """What a run knows of its sources.

    Attributes:
        tables: By source's name, the version of its raw table.
        bars: By source's name.
        summaries: In the job's order.
    """

    tables: Mapping[str, TableVersion]
    bars: Mapping[str, Bars]
    summaries: tuple[SourceSummary, ...]


def ingest(
    job: PredictionJob,
    lake: Lake,
    *,
    base: Path,
    now: datetime,
    chunk_bytes: int = CHUNK_BYTES,
    sleep: Callable[[float], None] = time.sleep,
) -> Ingested:
    """Refresh the raw tables of all sources and make bars of what is known at `now`.

    The first chunk of every source is read and checked before any table is touched, so that one bad source leaves the
    lake as it was; what is wrong in a later chunk leaves the chunks before it in the lake, where the next run goes on.
    Sources that can be asked for a span are asked again for what is missing in the last 30 days.

    Args:
        job: The job.
        lake: The lake.
        base: Folder that relative paths start from.
        now: When the rows are got, UTC; rows known later are left out.
        chunk_bytes: Size in memory of what is fetched before it is kept.
        sleep: Waits for so many seconds.

    Raises:
        DataError: A source's data cannot be used as declared.
        LakeConflictError: Others kept writing to a table.
        StorageError: The lake cannot be written to.
    """
    request = request_for(job, base=base, now=now, sleep=sleep)
    reads = [begin_read(job, source, lake, request, chunk_bytes=chunk_bytes) for source in job.spec.sources]
    require_columns(job.spec, {read.source.name: list(read.columns) for read in reads})
    tables = {}
    bars = {}
    summaries = []
    for read in reads:
        kept = _keep_all(read, lake)
        made = known_bars(job, read.source, lake, kept, now=now)
        filled = _fill_recent(read, lake, request, made, kept)
        if filled.version.digest != kept.version.digest:
            made = known_bars(job, read.source, lake, filled, now=now)
        name = read.source.name
        tables[name], bars[name] = filled.version, made
        summaries.append(source_summary(read.source, filled, made))
    return Ingested(tables=tables, bars=bars, summaries=tuple(summaries))


def known_bars(job: PredictionJob, source: Source, lake: Lake, kept: Kept, *, now: datetime) -> Bars:
    """Return the bars of what the lake holds of a source and was known at `now`.

    Raises:
        DataError: No bar is closed yet.
    """
    return build_bars_of_parts(
        source,
        lake.scan(kept.version, as_of=now, newest_first=True),
        frequency=parse_frequency(job.spec.frequency),
        calendar=job.spec.calendar if source.name == job.spec.target.source else "Auto",
        now=now,
        duplicates=kept.duplicates,
    )


def _keep_all(read: SourceRead, lake: Lake) -> Kept:
    *_, kept = keep(read, lake)
    return kept


def _fill_recent(read: SourceRead, lake: Lake, request: Request, bars: Bars, kept: Kept) -> Kept:
    """Ask a source again for the bars that are missing in the last 30 days; return what the lake holds then."""
    if not can_be_asked_for_spans(read.source):
        return kept
    for span in by_month(holes(bars, request.end - RECENT)):
        found = _keep_all(begin_span(read, replace(request, start=span.start, end=span.end)), lake)
        kept = Kept(
            found.version,
            kept.chunks + found.chunks,
            kept.duplicates + found.duplicates,
            kept.dropped + found.dropped,
        )
    return kept


def source_summary(source: Source, kept: Kept, bars: Bars) -> SourceSummary:
    """Return what a source gave, of the bars of what the lake holds of it."""
    newest = bars.rows.unique((SERIES, TIME), keep="last", maintain_order=True)
    times = newest[TIME]
    return SourceSummary(
        name=source.name,
        rows=newest.height,
        start=times.min(),
        end=times.max(),
        gaps=sum(gap.periods for gap in bars.gaps),
        filled=int(newest[FILLED].sum()),
        duplicates=kept.duplicates,
        dropped=kept.dropped,
        lag=source.availability.lag,
        revised=source.availability.revised,
        units=source.units,
        digest=kept.version.digest,
    )
