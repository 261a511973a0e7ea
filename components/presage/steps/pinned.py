"""A job's data as a pin: what a later step, in another process or container, needs to see the same rows.

A pin names versions of the lake's tables by their content, and the software that read them. On the same software the
same data has the same pin, whenever it was read, so that a pipeline that caches by its inputs finds what it has done
before, and nothing that other software has.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from presage.bars import Bars
from presage.bars.contract import CalendarName, Gap
from presage.errors import LakeError
from presage.evaluation.scorecard import SourceSummary
from presage.frame import moment
from presage.lake.tables import Lake, TableVersion
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob
from presage.steps.bars import JobBars
from presage.steps.ingest import Ingested
from presage.steps.ingest_rows import IngestedRows
from presage.steps.lock import lock_digest
from presage.steps.rows import JobRows
from presage.steps.select import build_panel
from presage.tabular.held import first_published
from presage.tabular.observations import Observations, observe


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PinnedBars(_Part):
    """What the table of a source's bars does not say."""

    frequency: str
    calendar: CalendarName
    time_zone: str
    gaps: tuple[Gap, ...]
    duplicates: int


class Pin(_Part):
    """A job's data."""

    version: Literal["v1"] = "v1"
    tables: dict[str, TableVersion]
    """The lake's tables, by the run's own name for each."""
    sources: tuple[SourceSummary, ...]
    """What each source gave."""
    lock: str
    """Digest of the software that learns from it."""
    bars: dict[str, PinnedBars] = {}
    """By source's name, of a Forecast."""
    known_at: AwareDatetime | None = None
    """Of rows: the newest moment at which one of them happened or became known, UTC."""
    replaced: bool = False
    """Of rows: whether they were read from another place than the job names."""


def pin(data: JobBars | JobRows) -> Pin:
    """Return the pin of a job's data; the bars and frames are written to the lake.

    Raises:
        LakeConflictError: Others kept writing to a table.
        StorageError: The lake cannot be written to.
    """
    if isinstance(data, JobRows):
        source = data.job.spec.target.source
        return Pin(
            tables={source: data.ingested.version},
            sources=(data.ingested.summary,),
            lock=lock_digest(),
            known_at=_newest(data.ingested.observations),
            replaced=data.replaced,
        )
    bars = data.ingested.bars
    return Pin(
        tables={**data.ingested.tables, **data.derived()},
        sources=data.ingested.summaries,
        lock=lock_digest(),
        bars={
            name: PinnedBars(
                frequency=str(one.frequency),
                calendar=one.calendar,
                time_zone=one.time_zone,
                gaps=one.gaps,
                duplicates=one.duplicates,
            )
            for name, one in bars.items()
        },
    )


def parse_pin(text: str) -> Pin:
    """Return the pin of a text, JSON; raises LakeError for a text that is none."""
    try:
        return Pin.model_validate_json(text)
    except ValidationError as error:
        raise LakeError("the data of an earlier step cannot be read.", "Run the pipeline again.") from error


def pinned(job: PredictionJob, lake: Lake, text: str, *, now: datetime) -> JobBars | JobRows:
    """Return a job's data from the text of its pin.

    Args:
        job: The job.
        lake: The lake.
        text: The pin, as JSON.
        now: When it is used, UTC.

    Raises:
        LakeError: The text is no pin, other software made it, or the lake does not hold what it names.
        DataError: No series can be learnt.
    """
    held = parse_pin(text)
    if held.lock != lock_digest():
        raise LakeError("an earlier step ran on other software than this one.", "Run the pipeline again.")
    if held.known_at is not None:
        return _rows(job, lake, held, held.known_at, now)
    bars = {
        name: Bars(
            source=name,
            frequency=parse_frequency(one.frequency),
            calendar=one.calendar,
            time_zone=one.time_zone,
            rows=lake.read(held.tables[f"bars/{name}"]),
            gaps=one.gaps,
            duplicates=one.duplicates,
        )
        for name, one in held.bars.items()
    }
    tables = {name: held.tables[name] for name in bars}
    ingested = Ingested(tables=tables, bars=bars, summaries=held.sources)
    return JobBars(job=job, lake=lake, ingested=ingested, built=build_panel(job, bars))


def _rows(job: PredictionJob, lake: Lake, held: Pin, known_at: datetime, now: datetime) -> JobRows:
    target = job.spec.target
    version = held.tables[target.source]
    observations = observe(first_published(lake.read(version), target.column), job.spec, known_at)
    ingested = IngestedRows(version=version, observations=observations, summary=held.sources[0])
    return JobRows(job=job, lake=lake, ingested=ingested, known_at=now, replaced=held.replaced)


def _newest(observations: Observations) -> datetime:
    """Return the newest moment that tells what is known of rows: at any later one, the same is."""
    known = observations.known_at[~np.isnat(observations.known_at)]
    return moment(np.concatenate([observations.time, known]).max())
