"""What `presage verify` looks at whatever a job predicts: its newest run, its tables, the gate and the disk."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from presage.errors import LakeError, PresageError
from presage.evaluation.scorecard import Contender, Scorecard
from presage.lake.manifest import RunManifest
from presage.lake.retention import retain
from presage.lake.tables import Lake, TableVersion
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.steps.history import FinishedRun
from presage.steps.workdir import WorkDirectory

State = Literal["pass", "warn", "fail"]

RUN_AGAIN = "Run the job: presage run FILE."
ISSUE = "Issue one: presage forecast FILE."
_EVERY_RUN = 1 << 31
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


@dataclass(frozen=True)
class Installation:
    """What a job left, and the moment to judge it by.

    Attributes:
        job: The job.
        work: Its work directory.
        lake: The lake there.
        manifest: What the newest run pins.
        scorecard: What the newest run found.
        now: The moment, UTC.
    """

    job: PredictionJob
    work: WorkDirectory
    lake: Lake
    manifest: RunManifest
    scorecard: Scorecard
    now: datetime


def failed(name: str, error: PresageError) -> Check:
    """Return the check that an error ended."""
    return Check(name=name, state="fail", message=error.what, remedy=error.remedy or RUN_AGAIN)


def check_run(job: PredictionJob, run: FinishedRun) -> Check:
    """Compare the job file with the one that the newest run was made of."""
    summary = run.summary
    if summary.spec_digest != spec_digest(job):
        message = f"the job file is not the one that the newest run, {summary.run}, was made of"
        return Check(name="run", state="warn", message=message, remedy=RUN_AGAIN)
    return Check(name="run", state="pass", message=f"{summary.run}, made of this job file")


def check_tables(lake: Lake, manifest: RunManifest) -> Check:
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


def check_gate(scorecard: Scorecard) -> Check:
    """Tell what the gate decided."""
    verdict = scorecard.verdict
    state: State = "pass" if verdict.promoted else "warn"
    remedy = "" if verdict.promoted else f"{verdict.champion} is served meanwhile; see presage report FILE."
    return Check(name="gate", state=state, message=f"{verdict.reason}: {verdict.message}", remedy=remedy)


def check_intervals(job: PredictionJob, scorecard: Scorecard) -> Check:
    """Judge the interval of what is served that the gate watches, by the band that the gate judges by."""
    verdict = scorecard.verdict
    served = scorecard.contender(verdict.champion)
    level = job.spec.promotion.coverage.level
    held = next((one for one in served.coverage if math.isclose(one.level, level)), None)
    if held is None:
        return Check(name="quality", state="warn", message=f"{skill(served)}; it has no {100 * level:g} % interval")
    message = (
        f"{skill(served)}; its {100 * level:g} % interval held {100 * held.coverage:.1f} % of outcomes, "
        f"allowed are {100 * held.lower:.1f} to {100 * held.upper:.1f} %"
    )
    if held.inside:
        return Check(name="quality", state="pass", message=message)
    remedy = "Do not rely on its intervals; see presage report FILE."
    return Check(name="quality", state="fail" if verdict.promoted else "warn", message=message, remedy=remedy)


def skill(contender: Contender) -> str:
    """Return who a contender is and how much better than the best baseline, in words."""
    return contender.name if contender.skill is None else f"{contender.name}: skill {100 * contender.skill:.1f} %"


def check_disk(work: WorkDirectory, lake: Lake) -> tuple[Check, int, int]:
    """Tell how much room there is; return also the bytes that are used, and those that no kept run needs."""
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


def lateness(length: timedelta) -> str:
    """Return a span of time in words: days from two of them on, else hours, else minutes."""
    hours = length // timedelta(hours=1)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours >= 2 else f"{length // timedelta(minutes=1)} minutes"
