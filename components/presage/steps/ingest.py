"""The first step: from sources to the lake's raw tables, and from those to bars."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.bars import FILLED, Bars, build_bars
from presage.evaluation.scorecard import SourceSummary
from presage.features.definitions import require_columns
from presage.frame import SERIES, TIME, value_columns
from presage.lake.tables import Lake, TableVersion
from presage.sources.contract import Request
from presage.sources.rows import SourceRows, read_rows
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob
from presage.spec.sources import Source
from presage.steps.workdir import job_key


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


def ingest(job: PredictionJob, lake: Lake, *, base: Path, now: datetime) -> Ingested:
    """Refresh the raw tables of all sources and make bars of what is known at `now`.

    Every source is read and checked before any table is touched, so that one bad source leaves the lake as it was.

    Args:
        job: The job.
        lake: The lake.
        base: Folder that relative paths start from.
        now: When the rows are got, UTC; rows known later are left out.

    Raises:
        DataError: A source's data cannot be used as declared.
        LakeConflictError: Others kept writing to a table.
        StorageError: The lake cannot be written to.
    """
    frequency = parse_frequency(job.spec.frequency)
    request = Request(base=base, frequency=frequency, end=now)
    given = {source.name: read_rows(source, request) for source in job.spec.sources}
    require_columns(job.spec, {name: value_columns(rows.rows) for name, rows in given.items()})
    tables = {}
    bars = {}
    for source in job.spec.sources:
        rows = given[source.name]
        intraday = parse_frequency(source.frequency or job.spec.frequency).intraday
        version = lake.merge(
            raw_table(job, source, value_columns(rows.rows)), rows.rows, ingested_at=now, monthly=intraday
        )
        tables[source.name] = version
        bars[source.name] = build_bars(
            source,
            lake.read(version, as_of=now),
            frequency=frequency,
            calendar=job.spec.calendar if source.name == job.spec.target.source else "Auto",
            now=now,
            duplicates=rows.duplicates,
        )
    summaries = tuple(
        _summary(source, given[source.name], bars[source.name], tables[source.name]) for source in job.spec.sources
    )
    return Ingested(tables=tables, bars=bars, summaries=summaries)


def raw_table(job: PredictionJob, source: Source, columns: Sequence[str]) -> str:
    """Return the name of a source's raw table.

    It depends on where the source is, how it is read and which columns it has, so that another source, or a column that
    is new to an old one, never looks like a revision.
    """
    identity = source.model_dump_json(exclude={"name", "fill", "units", "aggregation"}, exclude_none=True)
    identity += "\n".join(sorted(columns))
    return f"raw/{job_key(job)}/{source.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _summary(source: Source, given: SourceRows, bars: Bars, version: TableVersion) -> SourceSummary:
    newest = bars.rows.unique((SERIES, TIME), keep="last", maintain_order=True)
    times = newest[TIME]
    return SourceSummary(
        name=source.name,
        rows=newest.height,
        start=times.min(),
        end=times.max(),
        gaps=sum(gap.periods for gap in bars.gaps),
        filled=int(newest[FILLED].sum()),
        duplicates=given.duplicates,
        dropped=given.dropped,
        lag=source.availability.lag,
        revised=source.availability.revised,
        units=source.units,
        digest=version.digest,
    )
