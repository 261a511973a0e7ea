"""Whether anything of the future reaches what a job learns from: in full on demand, and a cheap sample in every run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from presage.bars import Bars
from presage.engine import engine_for
from presage.errors import LeakageError
from presage.evaluation.season import season_of
from presage.features.definitions import Definition
from presage.frame import INGESTED_AT, SERIES, TIME, Panel, moment
from presage.lake.tables import Lake
from presage.leakage import bars as bar_leaks
from presage.leakage import rows as row_leaks
from presage.leakage.finding import Finding, leak, require_clean
from presage.leakage.knowledge import BarKnowledge, RawKnowledge
from presage.leakage.known_at import check_contradictions, check_known_at, early_rows
from presage.leakage.shuffled import check_shuffled
from presage.leakage.truncation import Sample, check_truncation, choose_cutoffs
from presage.sources.columns import series_column, time_column
from presage.sources.formats import join
from presage.sources.registry import adapter
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.spec.sources import Source
from presage.steps.ingest import Ingested, ingest
from presage.steps.ingest_rows import IngestedRows, ingest_rows
from presage.steps.places import replace_sources
from presage.steps.progress import Report
from presage.steps.reading import can_go_on, request_for
from presage.steps.select import build_panel
from presage.steps.supported import require_supported
from presage.steps.workdir import WorkDirectory
from presage.tabular.design import Inputs, inputs_of
from presage.tabular.held import first_published
from presage.tabular.leakage import require_no_copies
from presage.tabular.observations import Observations, observe
from presage.tabular.rows import kinds_of
from presage.tasks import Engine

CUTOFFS = 8
SERIES_LOOKED_AT = 12
"""Series of a panel that the command looks at."""
CUTOFFS_IN_A_RUN = 2
SERIES_IN_A_RUN = 2


class LeakReport(BaseModel):
    """What a search for leaks found."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    checked_at: datetime
    """The moment that it was made for, UTC."""
    clean: bool
    """Whether no check failed."""
    verdict: str
    """The verdict as one line."""
    checks: tuple[Finding, ...]
    """What each check found; one that found several leaks is there once a leak."""


def check_leaks(
    job: PredictionJob,
    *,
    base: Path,
    workdir: Path,
    now: datetime,
    sources: Mapping[str, str],
    cutoffs: int,
    seed: int,
    workers: int | None,
    progress: Report,
) -> LeakReport:
    """Look for leaks in all ways that there are, on the whole history.

    The sources' rows go to the lake, as in every run; nothing else is kept.

    Args:
        job: The job.
        base: Folder that relative paths start from.
        workdir: Directory of the lake.
        now: The moment to stand at, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.
        cutoffs: Moments at which the features are built anew.
        seed: Seed of what is sampled and shuffled.
        workers: Tasks at a time; None for what the job's engine says.
        progress: Told how far it is.

    Raises:
        DataError: A source's data cannot be used as declared, or no series can be learnt.
        JobError: A source that is replaced is not the job's, or a feature is none for rows.
        NotSupportedError: The job asks for what this version cannot do.
        LakeConflictError: A run of the job is going on.
        StorageError: The work directory cannot be written to.
    """
    require_supported(job, base)
    work = WorkDirectory(workdir)
    with work.only_run(job), engine_for(job.spec.engine, workers=workers) as engine:
        lake, placed = Lake(work.lake.as_uri()), replace_sources(job, sources)
        if job.spec.is_tabular:
            rows = ingest_rows(placed, lake, base=base, now=now)
            looks = _rows(job, lake, rows, cutoffs=cutoffs, seed=seed, engine=engine)
        else:
            ingested = ingest(placed, lake, base=base, now=now)
            looks = _bars(placed, lake, ingested, base=base, now=now, cutoffs=cutoffs, seed=seed, engine=engine)
        checks = []
        for finding in looks:
            checks.append(finding)
            progress("looking for leaks", len(checks), len(checks) + 1)
    leaks = [one for one in checks if one.state == "fail"]
    columns = ", ".join(dict.fromkeys(one.column or one.name for one in leaks))
    return LeakReport(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        checked_at=now,
        clean=not leaks,
        verdict=f"LEAKS: {columns}" if leaks else "NO LEAK FOUND",
        checks=tuple(checks),
    )


def require_no_leaks(
    spec: PredictionJobSpec,
    bars: Mapping[str, Bars],
    panel: Panel,
    *,
    definitions: Sequence[Definition] | None = None,
) -> None:
    """Look at a small sample of what a run is about to learn from.

    The features around a few moments are built anew from the bars that were known then; bars that were known before
    they ended, columns that tell the outcome and columns that were scaled on their whole history are looked for.

    Args:
        spec: The job.
        bars: Bars of each source, by its name.
        panel: The series that they make.
        definitions: The features; default: the job's.

    Raises:
        LeakageError: Something of the future was found: the column, the first row, the cause and what to do.
    """
    sample, part = bar_leaks.sample_of(
        spec, bars, panel, series=SERIES_IN_A_RUN, seed=spec.seed, definitions=definitions
    )
    require_clean(tuple(bar_leaks.check_bars_known_at(sample)))
    require_clean(bar_leaks.check_scales(sample, {name: one.rows for name, one in sample.bars.items()}))
    require_clean(bar_leaks.check_columns(sample, season_of(spec, bars[spec.target.source].calendar)))
    since = bar_leaks.scored_since(panel, spec)
    moments = choose_cutoffs(part.frames, bars, since=since, count=CUTOFFS_IN_A_RUN, seed=spec.seed)
    for frame in part.frames:
        for cutoff in bar_leaks.cutoffs_within(moments, frame):
            seen = Sample(spec, bar_leaks.window(sample, frame, cutoff), sample.definitions, (frame.series,))
            full = seen.frame(seen.bars, frame.series)
            if full is not None:
                require_clean(check_truncation(seen, BarKnowledge(seen.bars), (full,), np.array([cutoff])))


def require_no_row_leaks(observations: Observations, inputs: Inputs) -> None:
    """Look at the rows that a run is about to learn from.

    Args:
        observations: The rows.
        inputs: What features are made of.

    Raises:
        LeakageError: A column tells the target, or was scaled on its whole history.
    """
    require_no_copies(observations, inputs)
    require_clean(row_leaks.check_likeness(observations, inputs))
    require_clean(row_leaks.check_scales(observations, inputs))


def _bars(
    job: PredictionJob,
    lake: Lake,
    ingested: Ingested,
    *,
    base: Path,
    now: datetime,
    cutoffs: int,
    seed: int,
    engine: Engine,
) -> Iterator[Finding]:
    spec, bars = job.spec, ingested.bars
    panel = build_panel(job, bars).panel
    sample, part = bar_leaks.sample_of(spec, bars, panel, series=SERIES_LOOKED_AT, seed=seed)
    rows = {}
    for source in spec.sources:
        finding, rows[source.name] = _look_at_rows(lake, ingested, source, sample)
        yield finding
        told = next(one for one in ingested.summaries if one.name == source.name)
        if told.duplicates and not can_go_on(source):
            yield _contradictions(job, source, sample, base=base, now=now)
    moments = choose_cutoffs(part.frames, bars, since=bar_leaks.scored_since(panel, spec), count=cutoffs, seed=seed)
    knowledge = RawKnowledge(spec, lake, ingested.tables, bars, sample.series)
    yield from check_truncation(sample, knowledge, part.frames, moments)
    season = season_of(spec, bars[spec.target.source].calendar)
    yield from bar_leaks.check_columns(sample, season)
    yield from bar_leaks.check_scales(sample, rows)
    yield check_shuffled(part, spec, season=season, engine=engine, seed=seed)


def _look_at_rows(lake: Lake, ingested: Ingested, source: Source, sample: Sample) -> tuple[Finding, pl.DataFrame]:
    """Return what the raw rows of a source say of when they were known, and the rows, where they are the bars."""
    version, bars = ingested.tables[source.name], sample.bars[source.name]
    period = bars.frequency if source.frequency is None else parse_frequency(source.frequency)
    early, count = [], 0
    for part in lake.scan(version, verify=False):
        early.append(part.filter(pl.Series(early_rows(part, period, source.time_zone))))
        count += part.height
    columns = bar_leaks.columns_of(sample, source.name)
    finding = check_known_at(source.name, pl.concat(early), columns=columns, rows=count)
    whole = bars.rows if period.approximate < bars.frequency.approximate else lake.read(version, verify=False)
    return finding, whole.drop(INGESTED_AT, strict=False)


def _contradictions(job: PredictionJob, source: Source, sample: Sample, *, base: Path, now: datetime) -> Finding:
    """Read a source again whose rows repeat a key, and tell whether they say the same."""
    table = join(list(adapter(source).read(source, request_for(job, base=base, now=now))), source)
    keys = {TIME: time_column(source, table), SERIES: series_column(source, table)}
    keys["published"] = source.availability.column
    columns = [source.columns.get(name, name) for name in bar_leaks.columns_of(sample, source.name)]
    told = {name: key for name, key in keys.items() if key is not None}
    return check_contradictions(source.name, table.data, told, columns)


def _rows(
    job: PredictionJob, lake: Lake, ingested: IngestedRows, *, cutoffs: int, seed: int, engine: Engine
) -> Iterator[Finding]:
    spec, observations = job.spec, ingested.observations
    try:
        inputs = inputs_of(spec, kinds_of(observations.table))
    except LeakageError as error:
        column = error.what.removeprefix("feature ").partition(":")[0]
        yield leak("features", "target among the features", error.what, column=column)
        return
    yield from row_leaks.check_copies(observations, inputs)
    yield from row_leaks.check_scales(observations, inputs)
    settled = observations.settled
    moments = row_leaks.choose_row_cutoffs(settled, count=cutoffs, seed=seed)
    raw = first_published(lake.read(ingested.version), spec.target.column)

    def known(cutoff: np.datetime64) -> Observations:
        return observe(row_leaks.as_known(raw, spec.target.column, cutoff), spec, moment(cutoff))

    yield from row_leaks.check_design(observations, known, inputs, spec, moments)
    yield row_leaks.check_shuffled_rows(observations, inputs, spec, engine=engine, seed=seed)
