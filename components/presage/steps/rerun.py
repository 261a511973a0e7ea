"""A run made again from what it pinned: the spec, the data as it was known, the seed, and what had been tried.

Nothing is read but the run and the lake, and nothing of it is kept.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from presage.engine import LocalEngine
from presage.lake.tables import Lake
from presage.models.bundle import read_bundle
from presage.report.tables import predictions_csv, row_predictions_csv
from presage.report.tabular_data import TableReport
from presage.report.write import PREDICTIONS
from presage.steps.bars import JobBars
from presage.steps.difference import first_difference
from presage.steps.inputs import inputs_of
from presage.steps.kept_run import KeptRun
from presage.steps.lock import lock_differences, lock_digest
from presage.steps.progress import Report
from presage.steps.records import Judged, NewRun
from presage.steps.restore import restore_data, restore_history
from presage.steps.walked import walk_all
from presage.steps.workdir import BUNDLE, FEATURES, job_key

State = Literal["same", "differs", "not compared"]
_ONE_KIND = "the same bytes are promised on the same software and kind of machine only"


class RerunCheck(BaseModel):
    """One of the things that make a run, or that it found."""

    model_config = ConfigDict(frozen=True)

    name: Literal["spec", "data", "seed", "software", "machine", "scorecard", "bundle"]
    state: State
    found: str
    """What it is, or what differs."""


class Rerun(BaseModel):
    """What a rerun found."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    run: str
    """The run that was made again."""
    created_at: datetime
    """When it was made first, UTC."""
    match: bool
    """Whether the rerun found the same."""
    digest_then: str
    digest_now: str
    difference: str | None
    """The first difference; None where they match."""
    checks: tuple[RerunCheck, ...]

    @property
    def verdict(self) -> str:
        """The answer, as one line."""
        return f"match: {self.digest_now}" if self.match else f"differs: {self.difference}"


@dataclass(frozen=True)
class _Again:
    """What was made again.

    Attributes:
        judged: The judgement.
        inputs: Digest of what it is made of, with the software of the run.
        files: By name the SHA-256 of each file that the run promises to repeat.
    """

    judged: Judged
    inputs: str
    files: Mapping[str, str]


def rerun(
    run: KeptRun,
    *,
    workers: int | None,
    lock: Mapping[str, str],
    cpu: str,
    progress: Report,
    warn: Callable[[str], None],
) -> Rerun:
    """Make a run again and compare it with what it left.

    The tasks run on this machine, whatever engine the job names: where they run does not change what they find.

    Args:
        run: The run.
        workers: Tasks at a time; None for what the job's engine says.
        lock: The software of this process.
        cpu: The kind of this machine's processor.
        progress: Told how far the rerun is.
        warn: Told at once, in a sentence, that the software differs.

    Raises:
        DataExpiredError: Data that the run pinned is no longer kept.
        LakeError: Data is not what the run pinned.
        MissingExtraError: A library that the job needs is not installed.
    """
    manifest, job = run.manifest, run.job
    read_bundle(run.directory / BUNDLE)
    changed = lock_differences(manifest.lock, lock)
    if changed:
        warn(f"the software is not that of the run: {'; '.join(changed)}")
    count = job.spec.engine.workers if workers is None else workers
    with tempfile.TemporaryDirectory(prefix="presage-") as folder:
        again = _make_again(run, Path(folder), count, progress)
    then, now = run.summary.scorecard, again.judged.scorecard
    difference = first_difference(then, now)
    repeats = not changed and manifest.cpu == cpu
    checks = (
        RerunCheck(name="spec", state="same", found=manifest.spec_digest),
        _data_check(run, again),
        RerunCheck(name="seed", state="same", found=str(manifest.seed)),
        _check("software", "; ".join(changed), lock_digest(lock)),
        _check("machine", "" if manifest.cpu == cpu else f"{manifest.cpu} then, {cpu} now", cpu),
        _check("scorecard", difference or "", now.digest()),
        _file_check(files_of(run.directory), again.files)
        if repeats
        else RerunCheck(name="bundle", state="not compared", found=_ONE_KIND),
    )
    judging = [one for one in checks if one.name in ("scorecard", "data", "bundle") and one.state == "differs"]
    judging.sort(key=lambda one: one.name != "scorecard")
    return Rerun(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        run=manifest.run,
        created_at=manifest.created_at,
        match=not judging,
        digest_then=then.digest(),
        digest_now=now.digest(),
        difference=judging[0].found if judging else None,
        checks=checks,
    )


def files_of(directory: Path) -> dict[str, str]:
    """Return by name the SHA-256 of the files of a run that the same software on the same machine repeats."""
    files = [path for path in (directory / BUNDLE).rglob("*") if path.is_file()]
    files += [path for path in (directory / FEATURES, directory / PREDICTIONS) if path.exists()]
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
    }


def _make_again(run: KeptRun, folder: Path, workers: int, progress: Report) -> _Again:
    manifest, job = run.manifest, run.job
    progress("restoring data", 0, 1)
    data = restore_data(run)
    if isinstance(data, JobBars):
        # What is made of its bars goes elsewhere than to the lake.
        data = replace(data, lake=Lake((folder / "lake").as_uri()))
    history, incumbent = restore_history(run)
    progress("restoring data", 1, 1)
    engine = LocalEngine(workers, lambda done, total: progress("fitting and forecasting", done, total))
    directory = folder / "run"
    directory.mkdir()
    new = NewRun(
        names={"job": job_key(job), "rerun": manifest.run},
        run=manifest.run,
        made_at=manifest.created_at,
        history=history,
        incumbent=incumbent,
        lock_digest=manifest.lock_digest,
        directory=directory,
    )
    judged = data.judge(new, walk_all(data, engine))
    report = judged.report(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        run=manifest.run,
        digest=manifest.spec_digest,
        created_at=manifest.created_at,
        scorecard=judged.scorecard,
        conditions=judged.conditions,
    )
    champion = judged.scorecard.verdict.champion
    if isinstance(report, TableReport):
        predictions = row_predictions_csv(report.back_test, champion)
    else:
        predictions = predictions_csv(report.back_test, champion)
    (directory / PREDICTIONS).write_text(predictions, encoding="utf-8", newline="")
    return _Again(judged, inputs_of(data, manifest.lock), files_of(directory))


def _data_check(run: KeptRun, again: _Again) -> RerunCheck:
    """Return whether the bars and frames that were made again are those that the run made."""
    pinned, made = run.manifest.tables, again.judged.tables
    for name in made:
        if name in pinned and made[name].digest != pinned[name].digest:
            found = f"{name}: {pinned[name].digest} then, {made[name].digest} now"
            return RerunCheck(name="data", state="differs", found=found)
    if again.inputs != run.manifest.inputs:
        found = f"inputs: {run.manifest.inputs} then, {again.inputs} now"
        return RerunCheck(name="data", state="differs", found=found)
    known = f"as known at {run.manifest.created_at:%Y-%m-%d %H:%M} UTC"
    rows = ", ".join(f"{one.name} {one.rows:,} rows" for one in run.summary.scorecard.sources)
    return RerunCheck(name="data", state="same", found=f"{rows}; {known}")


def _file_check(then: Mapping[str, str], now: Mapping[str, str]) -> RerunCheck:
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            one, other = (f"sha256:{files[name]}" if name in files else "absent" for files in (then, now))
            return RerunCheck(name="bundle", state="differs", found=f"{name}: {one} then, {other} now")
    return RerunCheck(name="bundle", state="same", found=f"{len(then)} files, byte for byte")


def _check(name: Literal["software", "machine", "scorecard"], differs: str, same: str) -> RerunCheck:
    return RerunCheck(name=name, state="differs" if differs else "same", found=differs or same)
