"""The first step of a job over rows: from its source to the lake, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from presage.errors import DataError
from presage.evaluation.scorecard import SourceSummary
from presage.frame import TIME
from presage.lake.tables import Lake, TableVersion
from presage.spec.job import PredictionJob
from presage.steps.reading import raw_table, request_for
from presage.tabular.design import Design
from presage.tabular.held import first_published, keep_rows
from presage.tabular.observations import Observations, observe
from presage.tabular.rows import Kind, kinds_of, read_table


@dataclass(frozen=True)
class IngestedRows:
    """What a run knows of its source.

    Attributes:
        version: Version of its table in the lake.
        observations: Its rows as they stand now.
        summary: What it gave.
    """

    version: TableVersion
    observations: Observations
    summary: SourceSummary


def ingest_rows(
    job: PredictionJob, lake: Lake, *, base: Path, now: datetime, design: Design | None = None
) -> IngestedRows:
    """Read the target's source, keep its rows in the lake, and return what is known at `now`.

    Args:
        job: The job.
        lake: The lake.
        base: Folder that relative paths start from.
        now: When the rows are got, UTC; later rows are left out.
        design: What a fitted model reads: its columns are kept, as what they held, and what tells the outcome may be
            missing. None to tell columns from their cells.

    Raises:
        DataError: The source's data cannot be used as declared, or no row is as old as `now`.
        LakeConflictError: Others kept writing to the table.
        StorageError: The lake cannot be written to.
    """
    target = job.spec.target
    source = job.spec.source(target.source)
    request = request_for(job, base=base, now=now)
    telling: dict[str, Kind] = dict.fromkeys(filter(None, (target.column, target.relative_to)), "number")
    given = read_table(
        source,
        request,
        target=target.column,
        kinds=None if design is None else telling | design.kinds,
        may_lack=() if design is None else set(telling).difference(design.kinds),
    )
    columns = [*kinds_of(given.rows), f"rows of {target.column}, one whenever published"]
    version = keep_rows(lake, raw_table(job, source, columns), given.rows, target=target.column, ingested_at=now)
    return known_rows(job, lake, version, repeated=given.repeated, dropped=given.dropped, now=now)


def known_rows(
    job: PredictionJob, lake: Lake, version: TableVersion, *, repeated: int, dropped: int, now: datetime
) -> IngestedRows:
    """Return what the lake holds of a job's source and was known at `now`.

    Args:
        job: The job.
        lake: The lake.
        version: Version of the source's table.
        repeated: Rows of the read that were equal to another.
        dropped: Rows of it that were left out.
        now: When it is known, UTC.

    Raises:
        DataError: No row is as old as `now`.
        LakeError: The version is gone, or its content has another digest.
    """
    target = job.spec.target
    source = job.spec.source(target.source)
    rows = first_published(lake.read(version), target.column)
    observations = observe(rows, job.spec, now)
    if not len(observations):
        raise DataError(
            f"source {source.name!r}: its first row is of {rows[TIME][0]:%Y-%m-%dT%H:%MZ}, after "
            f"{now:%Y-%m-%dT%H:%MZ}.",
            "Give rows of the past, or a later --as-of.",
        )
    summary = SourceSummary(
        name=source.name,
        rows=len(observations),
        start=observations.table[TIME][0],
        end=observations.table[TIME][-1],
        gaps=0,
        filled=0,
        duplicates=repeated,
        dropped=dropped,
        lag=source.availability.lag,
        revised=source.availability.revised,
        units=source.units,
        digest=observations.digest,
    )
    return IngestedRows(version=version, observations=observations, summary=summary)
