"""Whether what a job left can be relied on: its data, lake, newest run, forecast and disk, in one table of checks."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from presage.bars.gaps import choose_calendar
from presage.errors import DataError, JobError, LakeError, PresageError
from presage.evaluation.scorecard import Scorecard
from presage.features.definitions import require_columns
from presage.frame import KNOWN_AT, SERIES, TIME
from presage.lake.manifest import MANIFEST, RunManifest, load_manifest
from presage.lake.retention import retain
from presage.lake.tables import Lake, TableVersion
from presage.spec.base import Frequency, parse_duration, parse_frequency
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.spec.periods import is_weekday, next_weekday, period_end, period_start, shift
from presage.spec.sources import Source
from presage.steps.forecast import read_forecast
from presage.steps.history import FinishedRun, open_run
from presage.steps.promote import read_champions
from presage.steps.supported import require_forecast
from presage.steps.workdir import WorkDirectory

State = Literal["pass", "warn", "fail"]

_EVERY_RUN = 1 << 31
_RUN_AGAIN = "Run the job: presage run FILE."
_SCARCE = 0.05
"""Share of a disk that is free, below which is little."""


class Check(BaseModel):
    """What one look at the installation found."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """What was looked at, such as `tables` or `data btc`."""
    state: State
    """Whether it is as it should be; `warn` needs no haste."""
    message: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where nothing is to be done."""


class Verification(BaseModel):
    """All checks of a job, and the verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    checked_at: datetime
    """When, UTC."""
    ready: bool
    """Whether no check failed."""
    verdict: str
    """The verdict as one line."""
    checks: tuple[Check, ...]
    """In the order in which things build on each other."""
    bytes_used: int
    """Size of the work directory's files."""
    bytes_to_clean: int
    """Size of the files that no kept run needs."""


def verify(job: PredictionJob, *, workdir: Path, now: datetime) -> Verification:
    """Look at what a job left in its work directory; nothing is changed, and no source is asked.

    Args:
        job: The job.
        workdir: Directory of the lake and the runs.
        now: The moment to judge by, UTC.

    Raises:
        NotSupportedError: The lake cannot stand at the work directory's path, or the job's task is not Forecast.
        StorageError: The work directory cannot be read.
    """
    require_forecast(job, "verify")
    work = WorkDirectory(workdir)
    checks: list[Check] = []
    used = to_clean = 0
    try:
        run = open_run(job, workdir=workdir)
        manifest = load_manifest(run.directory / MANIFEST)
    except (JobError, LakeError) as error:
        checks.append(Check(name="run", state="fail", message=error.what, remedy=error.remedy))
    else:
        lake = Lake(work.lake.as_uri())
        checks += [_newest_run(job, run), _tables(lake, manifest)]
        checks += _schemas(job, lake, manifest)
        checks += [_data(job, source, lake, manifest, now) for source in job.spec.sources]
        checks += [_gate(run.summary.scorecard), _quality(job, run.summary.scorecard), _forecast(job, work, now)]
        disk, used, to_clean = _disk(work, lake)
        checks.append(disk)
    failed = [check for check in checks if check.state == "fail"]
    return Verification(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        checked_at=now,
        ready=not failed,
        verdict=f"NOT READY: {', '.join(check.name for check in failed)}" if failed else "ALL SYSTEMS READY",
        checks=tuple(checks),
        bytes_used=used,
        bytes_to_clean=to_clean,
    )


def _newest_run(job: PredictionJob, run: FinishedRun) -> Check:
    summary = run.summary
    if summary.spec_digest != spec_digest(job):
        message = f"the job file is not the one that the newest run, {summary.run}, was made of"
        return Check(name="run", state="warn", message=message, remedy=_RUN_AGAIN)
    return Check(name="run", state="pass", message=f"{summary.run}, made of this job file")


def _tables(lake: Lake, manifest: RunManifest) -> Check:
    """Read every table that the newest run pins, and compare its digest."""
    faults = [fault for version in manifest.tables.values() if (fault := _table_fault(lake, version)) is not None]
    count = len(manifest.tables)
    if faults:
        more = f" {len(faults) - 1} more of {count} tables cannot be relied on either." if len(faults) > 1 else ""
        return Check(name="tables", state="fail", message=faults[0].what + more, remedy=faults[0].remedy)
    rows = sum(version.rows for version in manifest.tables.values())
    return Check(name="tables", state="pass", message=f"{count} tables with {rows:,} rows are what the run pinned")


def _table_fault(lake: Lake, version: TableVersion) -> PresageError | None:
    try:
        for _ in lake.scan(version):
            pass
    except LakeError as error:
        return error
    return None


def _schemas(job: PredictionJob, lake: Lake, manifest: RunManifest) -> Iterator[Check]:
    columns = {}
    for source in job.spec.sources:
        version = manifest.tables.get(source.name)
        found = None if version is None else _quietly(lake, version)
        if found is None:
            message = f"the newest run has no rows of source {source.name!r}"
            yield Check(name="schemas", state="fail", message=message, remedy=_RUN_AGAIN)
            return
        columns[source.name] = [name for name in found if name not in (SERIES, TIME, KNOWN_AT)]
        absent = {SERIES, TIME, KNOWN_AT}.difference(found)
        if absent:
            message = f"the rows of source {source.name!r} lack {', '.join(sorted(absent))}"
            yield Check(name="schemas", state="fail", message=message, remedy="Restore the lake from a copy.")
            return
    try:
        require_columns(job.spec, columns)
    except (DataError, JobError) as error:
        yield Check(name="schemas", state="fail", message=error.what, remedy=error.remedy or _RUN_AGAIN)
        return
    total = sum(map(len, columns.values()))
    message = f"{total} columns of {len(columns)} sources have what the target and the features need"
    yield Check(name="schemas", state="pass", message=message)


def _quietly(lake: Lake, version: TableVersion) -> tuple[str, ...] | None:
    try:
        return lake.columns(version)
    except LakeError:
        return None


def _data(job: PredictionJob, source: Source, lake: Lake, manifest: RunManifest, now: datetime) -> Check:
    """Compare the newest closed bar of a source with the moment at which the one behind the next is due.

    Of several series, each is looked at among the bars that the run pins.
    """
    name = f"data {source.name}"
    pinned = manifest.tables.get(source.name)
    try:
        newest = None if pinned is None else _newest_time(lake, pinned.table, now)
        bars = manifest.tables.get(f"bars/{source.name}")
        daily = None if bars is None else lake.read(bars, verify=False)
    except LakeError as error:
        return Check(name=name, state="fail", message=error.what, remedy=error.remedy)
    if newest is None:
        return Check(name=name, state="fail", message="the lake holds no row of it", remedy=_RUN_AGAIN)
    bar = newest_bar(job, source, newest)
    due = bar_due(job, source, bar, daily)
    message = f"newest bar {bar:%Y-%m-%d %H:%M} UTC, another due by {due:%Y-%m-%d %H:%M}"
    if now <= due:
        behind = "" if daily is None else _behind(job, source, daily, manifest.created_at)
        if not behind:
            return Check(name=name, state="pass", message=message)
        remedy = f"Look whether source {source.name!r} still has something to give of it."
        return Check(name=name, state="warn", message=f"{message}; {behind}", remedy=remedy)
    remedy = f"Refresh it: presage forecast FILE. If it stays so, source {source.name!r} has nothing new to give."
    state: State = "fail" if source.name == job.spec.target.source else "warn"
    return Check(name=name, state=state, message=f"{message}: stale for {_duration(now - due)}", remedy=remedy)


def _behind(job: PredictionJob, source: Source, bars: pl.DataFrame, moment: datetime) -> str:
    """Return which series were stale at the moment of a run whose bars these are, where others were not; else ''.

    Each is judged by its own bars, for some may have no weekends where others do.
    """
    parts = bars.select(SERIES, TIME).sort(SERIES, TIME).partition_by(SERIES)
    stale = [
        (part.item(-1, TIME), part.item(0, SERIES))
        for part in parts
        if bar_due(job, source, part.item(-1, TIME), part) < moment
    ]
    if not stale or len(stale) == len(parts):
        return ""
    since, series = min(stale)
    who = f"series {series!r}" if len(stale) == 1 else f"{len(stale)} of {len(parts)} series, {series!r} the longest,"
    return f"stale at the newest run: {who} with no bar after {since:%Y-%m-%d %H:%M}"


def _newest_time(lake: Lake, table: str, now: datetime) -> datetime | None:
    """Return the time of the newest row of a table that was known at a moment; it need not be of a run yet."""
    version = lake.current(table)
    if version is None:
        return None
    newest: datetime | None = None
    for part in lake.scan(version, as_of=now, newest_first=True, verify=False):
        newest = part.get_column(TIME).max()  # type: ignore[assignment]
        if newest is not None:
            break
    return newest


def newest_bar(job: PredictionJob, source: Source, newest: datetime) -> datetime:
    """Return the start of the newest bar that rows up to one at `newest` can have closed, UTC."""
    row, length = _lengths(job, source)
    bar = period_start(newest, length, source.time_zone)
    ends = period_end(bar, length, source.time_zone)
    return bar if period_end(newest, row, source.time_zone) >= ends else shift(bar, -1, length, source.time_zone)


def bar_due(job: PredictionJob, source: Source, bar: datetime, bars: pl.DataFrame | None) -> datetime:
    """Return until when a bar may be the newest one, UTC.

    That is `monitoring.maxStaleness` after it was known. By default it is the end of two bars behind it, which are no
    weekend's where bars have none, and the source's lag.
    """
    _, length = _lengths(job, source)
    lag = parse_duration(source.availability.lag)
    zone = source.time_zone
    longest = job.spec.monitoring.max_staleness
    if longest is not None:
        return period_end(bar, length, zone) + lag + parse_duration(longest)
    calendar = job.spec.calendar if source.name == job.spec.target.source else "Auto"
    behind = shift(bar, 1, length, zone)
    if bars is not None and bars.height and choose_calendar(bars, length, calendar, zone) == "Weekdays":
        behind = behind if is_weekday(behind, zone) else next_weekday(behind, zone)
    return shift(behind, 2, length, zone) + lag


def _lengths(job: PredictionJob, source: Source) -> tuple[Frequency, Frequency]:
    """Return the lengths of a row and of a bar of a source."""
    frequency = parse_frequency(job.spec.frequency)
    row = frequency if source.frequency is None else parse_frequency(source.frequency)
    return row, frequency if row.approximate < frequency.approximate else row


def _gate(scorecard: Scorecard) -> Check:
    verdict = scorecard.verdict
    state: State = "pass" if verdict.promoted else "warn"
    remedy = "" if verdict.promoted else f"{verdict.champion} is served meanwhile; see presage report FILE."
    return Check(name="gate", state=state, message=f"{verdict.reason}: {verdict.message}", remedy=remedy)


def _quality(job: PredictionJob, scorecard: Scorecard) -> Check:
    """Judge the interval of what is served that the gate watches, by the band that the gate judges by."""
    verdict = scorecard.verdict
    served = scorecard.contender(verdict.champion)
    told = served.name if served.skill is None else f"{served.name}: skill {100 * served.skill:.1f} %"
    level = job.spec.promotion.coverage.level
    held = next((one for one in served.coverage if math.isclose(one.level, level)), None)
    if held is None:
        return Check(name="quality", state="warn", message=f"{told}; it has no {100 * level:g} % interval")
    message = (
        f"{told}; its {100 * level:g} % interval held {100 * held.coverage:.1f} % of outcomes, "
        f"allowed are {100 * held.lower:.1f} to {100 * held.upper:.1f} %"
    )
    if held.inside:
        return Check(name="quality", state="pass", message=message)
    remedy = "Do not rely on its intervals; see presage report FILE."
    return Check(name="quality", state="fail" if verdict.promoted else "warn", message=message, remedy=remedy)


def _forecast(job: PredictionJob, work: WorkDirectory, now: datetime) -> Check:
    remedy = "Issue one: presage forecast FILE."
    try:
        champions = read_champions(work.champion(job))
        found = None if champions is None else read_forecast(work.run(job, champions.current.run))
    except LakeError as error:
        return Check(name="forecast", state="fail", message=error.what, remedy=error.remedy)
    if found is None:
        return Check(name="forecast", state="fail", message="there is none", remedy=remedy)
    message = f"{found.model}, issued {found.issued_at:%Y-%m-%d %H:%M} UTC"
    if found.stale_after is None:
        return Check(name="forecast", state="pass", message=message)
    message += f", good until {found.stale_after:%Y-%m-%d %H:%M}"
    if now > found.stale_after:
        late = _duration(now - found.stale_after)
        return Check(name="forecast", state="fail", message=f"{message}: stale for {late}", remedy=remedy)
    return Check(name="forecast", state="pass", message=message)


def _disk(work: WorkDirectory, lake: Lake) -> tuple[Check, int, int]:
    used = sum(path.stat().st_size for path in work.root.rglob("*") if path.is_file())
    disk = shutil.disk_usage(work.root)
    try:
        to_clean = retain(lake, work.all_runs, keep=_EVERY_RUN, dry_run=True).freed
    except PresageError as error:
        return Check(name="disk", state="warn", message=error.what, remedy=error.remedy), used, 0
    message = f"{_bytes(used)} used, {_bytes(to_clean)} of it could be cleaned, {_bytes(disk.free)} free"
    scarce = disk.free < max(used, _SCARCE * disk.total)
    remedy = "Keep fewer runs (spec.retention.runs), or make room." if scarce else ""
    return Check(name="disk", state="warn" if scarce else "pass", message=message, remedy=remedy), used, to_clean


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _duration(length: timedelta) -> str:
    hours = length // timedelta(hours=1)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours >= 2 else f"{length // timedelta(minutes=1)} minutes"
