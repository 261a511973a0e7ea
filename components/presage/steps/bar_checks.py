"""What `presage verify` looks at in a job that forecasts bars: schemas, how new the data are, and the forecast."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from presage.errors import DataError, JobError, LakeError
from presage.features.definitions import require_columns
from presage.frame import KNOWN_AT, SERIES, TIME
from presage.lake.tables import Lake, TableVersion
from presage.spec.job import PredictionJob
from presage.spec.sources import Source
from presage.steps.checks import ISSUE, RUN_AGAIN, Check, Installation, State, failed, lateness
from presage.steps.forecast import read_forecast
from presage.steps.promote import read_champions
from presage.steps.staleness import bar_due, newest_bar


def check_schemas(seen: Installation) -> Check:
    """Look whether the raw tables have what the target and the features need."""
    columns = {}
    for source in seen.job.spec.sources:
        version = seen.manifest.tables.get(source.name)
        found = None if version is None else _columns(seen.lake, version)
        if found is None:
            message = f"the newest run has no rows of source {source.name!r}"
            return Check(name="schemas", state="fail", message=message, remedy=RUN_AGAIN)
        columns[source.name] = [name for name in found if name not in (SERIES, TIME, KNOWN_AT)]
        absent = {SERIES, TIME, KNOWN_AT}.difference(found)
        if absent:
            message = f"the rows of source {source.name!r} lack {', '.join(sorted(absent))}"
            return Check(name="schemas", state="fail", message=message, remedy="Restore the lake from a copy.")
    try:
        require_columns(seen.job.spec, columns)
    except (DataError, JobError) as error:
        return failed("schemas", error)
    total = sum(map(len, columns.values()))
    message = f"{total} columns of {len(columns)} sources have what the target and the features need"
    return Check(name="schemas", state="pass", message=message)


def _columns(lake: Lake, version: TableVersion) -> tuple[str, ...] | None:
    try:
        return lake.columns(version)
    except LakeError:
        return None


def check_source(seen: Installation, source: Source) -> Check:
    """Compare the newest closed bar of a source with the moment at which the one behind the next is due.

    Of several series, each is looked at among the bars that the run pins.
    """
    name = f"data {source.name}"
    job, lake, manifest, now = seen.job, seen.lake, seen.manifest, seen.now
    pinned = manifest.tables.get(source.name)
    try:
        newest = None if pinned is None else _newest_time(lake, pinned.table, now)
        bars = manifest.tables.get(f"bars/{source.name}")
        daily = None if bars is None else lake.read(bars, verify=False)
    except LakeError as error:
        return failed(name, error)
    if newest is None:
        return Check(name=name, state="fail", message="the lake holds no row of it", remedy=RUN_AGAIN)
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
    return Check(name=name, state=state, message=f"{message}: stale for {lateness(now - due)}", remedy=remedy)


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


def check_forecast(seen: Installation) -> Check:
    """Look whether the champion's newest forecast is there and still good."""
    try:
        champions = read_champions(seen.work.champion(seen.job))
        found = None if champions is None else read_forecast(seen.work.run(seen.job, champions.current.run))
    except LakeError as error:
        return failed("forecast", error)
    if found is None:
        return Check(name="forecast", state="fail", message="there is none", remedy=ISSUE)
    message = f"{found.model}, issued {found.issued_at:%Y-%m-%d %H:%M} UTC"
    if found.stale_after is None:
        return Check(name="forecast", state="pass", message=message)
    message += f", good until {found.stale_after:%Y-%m-%d %H:%M}"
    if seen.now > found.stale_after:
        late = lateness(seen.now - found.stale_after)
        return Check(name="forecast", state="fail", message=f"{message}: stale for {late}", remedy=ISSUE)
    return Check(name="forecast", state="pass", message=message)
