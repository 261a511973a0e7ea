"""Filling a lake: what a regular run leaves out, in chunks of a month, so that memory is bounded and a kill costs one.

A backfill first reads on as a regular run does, which on an empty lake is everything. Then it asks each source that can
be asked for spans for what its bars lack, or for a whole span that is named. The rows go through the same merge as
those of a run: both give the same lake.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from presage.bars import Bars
from presage.errors import JobError
from presage.features.definitions import require_columns
from presage.files import write_atomically
from presage.frame import TIME
from presage.lake.tables import Lake
from presage.sources.contract import NOTHING_BEFORE, Request
from presage.spec.job import PredictionJob
from presage.steps.holes import Span, by_month, can_be_asked_for_spans, holes
from presage.steps.ingest import known_bars
from presage.steps.places import replace_sources, require_sources
from presage.steps.progress import Report
from presage.steps.reading import CHUNK_BYTES, Kept, SourceRead, begin_read, begin_span, keep, request_for
from presage.steps.supported import require_forecast
from presage.steps.workdir import WorkDirectory, job_key

_LOG = logging.getLogger(__name__)
# How long a read that was broken off may wait to be gone on with.
_GOES_ON = timedelta(days=1)


class FilledSource(BaseModel):
    """What a backfill did for a source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Name of the source."""
    spans: int | None
    """Spans of at most a month that it was asked for; None for a source that cannot be asked for spans."""
    before: int
    """Rows that the lake held before, all vintages counted."""
    rows: int
    """Rows that it holds now."""
    start: datetime
    """Start of the first bar, UTC."""
    end: datetime
    """Start of the last bar, UTC."""
    missing: int
    """Bars between them that are still missing."""
    digest: str
    """SHA-256 of the rows."""


class Backfill(BaseModel):
    """What a backfill did."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    sources: tuple[FilledSource, ...]
    """In the job's order."""


def backfill(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    names: Sequence[str],
    sources: Mapping[str, str],
    start: datetime | None,
    end: datetime | None,
    progress: Report,
    chunk_bytes: int = CHUNK_BYTES,
    sleep: Callable[[float], None] = time.sleep,
    on_kept: Callable[[], None] = lambda: None,
) -> Backfill:
    """Fill the raw tables of a job's sources; no run is made.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake and the runs.
        now: When the rows are got, UTC.
        names: The sources to fill; none for all.
        sources: By name, the URIs of sources that are read from another place.
        start: Given, or with `end`, the span from here on is read again whether or not bars of it are missing; by
            default from the first bar on.
        end: Where that span ends, UTC; default: now.
        progress: Told how far it is.
        chunk_bytes: Size in memory of what is fetched before it is kept.
        sleep: Waits for so many seconds.
        on_kept: Called whenever more has been kept in the work directory, which nobody writes to meanwhile.

    Raises:
        JobError: The job has no source of a name, or the span ends before it starts.
        DataError: A source's data cannot be used as declared; what was kept before stays.
        LakeConflictError: A run of the job is going on.
        NotSupportedError: The job's task is not Forecast.
        StorageError: The work directory cannot be written to.
    """
    require_forecast(job, "backfill")
    job = replace_sources(job, sources)
    require_sources(job, names)
    until = now if end is None else min(end, now)
    if start is not None and start >= until:
        raise JobError(
            f"the span to fill ends at {until:%Y-%m-%d %H:%M}, before it starts at {start:%Y-%m-%d %H:%M}.",
            "Give an earlier --start or a later --end.",
        )
    work = WorkDirectory(workdir)
    request = request_for(job, base=base, now=now, sleep=sleep)
    with work.only_run(job):
        lake = Lake(work.lake.as_uri())
        reads = [
            begin_read(job, source, lake, request, chunk_bytes=chunk_bytes)
            for source in job.spec.sources
            if source.name in names or not names
        ]
        if len(reads) == len(job.spec.sources):
            require_columns(job.spec, {read.source.name: list(read.columns) for read in reads})
        filled = []
        for read in reads:
            name = read.source.name
            held = lake.current(read.table)
            kept = _read_on(read, lake, progress, on_kept)
            bars = known_bars(job, read.source, lake, kept, now=now)
            asked = None
            if can_be_asked_for_spans(read.source):
                named = start is not None or end is not None
                first = _first(bars) if start is None else max(start, NOTHING_BEFORE)
                spans = (Span(first, until),) if named else holes(bars)
                marks = _Progress.of(work, job, read, spans[0] if named else None, now)
                ask = _Asking(read, lake, request, marks, progress, on_kept)
                asked = ask.all(by_month(spans), chunk_bytes)
                kept = replace(kept, version=lake.current(read.table) or kept.version)
                bars = known_bars(job, read.source, lake, kept, now=now) if asked else bars
            filled.append(_filled(name, asked, 0 if held is None else held.rows, kept, bars))
    return Backfill(job=job.metadata.name, namespace=job.metadata.namespace, sources=tuple(filled))


def _read_on(read: SourceRead, lake: Lake, progress: Report, on_kept: Callable[[], None]) -> Kept:
    name = read.source.name
    progress(f"reading {name}", 0, 1)
    for kept in keep(read, lake):
        on_kept()
        _LOG.info("chunk kept", extra={"source": name, "chunk": kept.chunks, "rows": kept.version.rows})
        progress(f"reading {name}", kept.chunks, kept.chunks + 1)
    progress(f"reading {name}", 1, 1)
    return kept


class _Done(BaseModel):
    """How far a named span has been read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["v1"] = "v1"
    table: str
    start: AwareDatetime
    until: AwareDatetime
    begun: AwareDatetime


@dataclass(frozen=True)
class _Progress:
    """How far a named span of a source has been read, kept in a file until all of it was.

    Holes need no such file: what is filled is no hole any more. A read that was broken off more than a day ago is begun
    anew, for the source may have changed since, and so is one into another table.
    """

    path: Path
    table: str
    span: Span | None
    now: datetime

    @classmethod
    def of(cls, work: WorkDirectory, job: PredictionJob, read: SourceRead, span: Span | None, now: datetime) -> Self:
        return cls(work.root / "backfills" / job_key(job) / f"{read.source.name}.json", read.table, span, now)

    def until(self) -> datetime | None:
        """Return up to where the span was read before; None where it was not begun."""
        done = self._done()
        if self.span is None or done is None or done.table != self.table or done.start != self.span.start:
            return None
        recent = timedelta(0) <= self.now - done.begun <= _GOES_ON
        # Without --end the span ends at another moment each time.
        return done.until if recent and done.until <= self.span.end else None

    def keep(self, until: datetime) -> None:
        if self.span is not None:
            before = self._done()
            begun = before.begun if before is not None and self.until() is not None else self.now
            done = _Done(table=self.table, start=self.span.start, until=until, begun=begun)
            write_atomically(self.path, done.model_dump_json() + "\n")

    def _done(self) -> _Done | None:
        try:
            return _Done.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return None

    def finish(self) -> None:
        if self.span is not None:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Asking:
    """Asking a source for spans."""

    read: SourceRead
    lake: Lake
    request: Request
    done: _Progress
    progress: Report
    on_kept: Callable[[], None]

    def all(self, spans: Sequence[Span], chunk_bytes: int) -> int:
        """Ask for one span after the other; return how many."""
        name = self.read.source.name
        before = self.done.until()
        left = [span for span in spans if before is None or span.end > before]
        for number, span in enumerate(left):
            self.progress(f"filling {name}", number, len(left))
            part = begin_span(self.read, replace(self.request, start=span.start, end=span.end), chunk_bytes=chunk_bytes)
            for kept in keep(part, self.lake):  # noqa: B007  # the last one is told of
                self.on_kept()
            self.done.keep(span.end)
            self.on_kept()
            _LOG.info(
                "span kept",
                extra={"source": name, "start": span.start.isoformat(), "end": span.end.isoformat()}
                | {"rows": kept.version.rows},
            )
        self.progress(f"filling {name}", len(left), len(left))
        self.done.finish()
        return len(left)


def _first(bars: Bars) -> datetime:
    first: datetime = bars.rows.get_column(TIME).min()  # type: ignore[assignment]
    return first


def _filled(name: str, asked: int | None, before: int, kept: Kept, bars: Bars) -> FilledSource:
    times = bars.rows.get_column(TIME)
    return FilledSource(
        name=name,
        spans=asked,
        before=before,
        rows=kept.version.rows,
        start=times.min(),
        end=times.max(),
        missing=sum(gap.periods - gap.filled for gap in bars.gaps),
        digest=kept.version.digest,
    )
