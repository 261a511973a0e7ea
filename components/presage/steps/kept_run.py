"""A kept run by its name: where it is, what it left, and whether that is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from presage.errors import DataExpiredError, JobError, LakeError, NotSupportedError
from presage.lake.manifest import MANIFEST, RunManifest, list_manifests, load_manifest
from presage.lake.tables import Lake
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.steps.bucket import Bucket, BucketPlace
from presage.steps.history import RunSummary, read_job, read_summary
from presage.steps.lock import lock_digest
from presage.steps.mirror import directory_of, look_at
from presage.steps.promote import Champions, read_champions
from presage.steps.workdir import WorkDirectory

_RUNS = "runs"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_ISSUED = ("forecasts", "predictions")
_LISTED = 5
_RESTORE = "Restore the run's directory from a copy."


@dataclass(frozen=True)
class RunName:
    """What names a run.

    Attributes:
        run: Its id.
        key: The job, as `job_key` names it; None where only the id is given.
        location: The work directory that its path leads to; None where no path is given.
    """

    run: str
    key: str | None = None
    location: str | None = None

    @classmethod
    def parse(cls, text: str) -> RunName:
        """Return the name that a text is: a run's id, `NAMESPACE.JOB/RUN`, or the path of a run's directory.

        Raises:
            JobError: It is none of these.
        """
        cut = text.rstrip("/")
        if "://" not in cut and Path(cut).is_dir():
            cut = str(Path(cut).absolute())
        parts = cut.split("/")
        named = all(_NAME.fullmatch(part) for part in parts[-2:])
        if len(parts) == 1 and named:
            return cls(cut)
        if len(parts) == 2 and named and "." in parts[0]:
            return cls(run=parts[1], key=parts[0])
        if len(parts) >= 3 and named and parts[-3] == _RUNS:
            return cls(run=parts[-1], key=parts[-2], location="/".join(parts[:-3]) or ("/" if cut[0] == "/" else "."))
        raise JobError(
            f"{text!r} names no run.", "Give a run's id, NAMESPACE.JOB/RUN, or the path of a run's directory."
        )


@dataclass(frozen=True)
class KeptRun:
    """A finished run, all of whose files say the same of it.

    Attributes:
        work: The work directory.
        directory: Its files.
        manifest: What pins it.
        summary: What it found.
        job: The job as it was run.
    """

    work: WorkDirectory
    directory: Path
    manifest: RunManifest
    summary: RunSummary
    job: PredictionJob


@contextmanager
def kept_run(name: RunName, location: str) -> Iterator[KeptRun]:
    """Give a run of a work directory or of a bucket, of which what the run is made of is copied; nothing is written.

    Args:
        name: The run.
        location: The work directory, where the name has none.

    Raises:
        JobError: There is no such run, or there are several.
        DataExpiredError: There was one, and it is no longer kept.
        LakeError: Its files are damaged.
        NotSupportedError: An earlier Presage made it, and kept no job with it.
        PresageError: As `look_in`.
    """
    place = name.location or location
    directory = directory_of(place)
    if directory is not None:
        yield open_kept(WorkDirectory(directory), name)
        return
    keys = (name.key,) if name.key else _keys_in_bucket(place, name.run)
    key = _one_key(keys, name.run, place)
    if key is None:
        raise _no_such(name.run, place, ())
    with look_at(place, key, lambda path: _is_of(PurePosixPath(path), name.run)) as copy:
        yield open_kept(WorkDirectory(copy.directory), RunName(name.run, key))


def open_kept(work: WorkDirectory, name: RunName) -> KeptRun:
    """Return a run of a work directory, checked; raises as `kept_run`."""
    found = sorted(path.parent for path in work.all_runs.glob(f"{name.key or '*'}/{name.run}/{MANIFEST}"))
    key = _one_key(tuple(path.parent.name for path in found), name.run, str(work.root))
    if key is None:
        _require_never_kept(work, name)
        others = list_manifests(work.all_runs / name.key if name.key else work.all_runs)
        raise _no_such(name.run, str(work.root), tuple(one.run for one in others))
    directory = found[0]
    manifest = load_manifest(directory / MANIFEST)
    job = read_job(directory)
    if job is None:
        if manifest.version != "v1":
            raise LakeError(f"run {name.run} in {directory} has lost its job.json.", _RESTORE)
        raise NotSupportedError(
            f"run {name.run} was made by an earlier Presage, which did not keep the job with it.",
            "Run the job again: the new run can be rerun.",
        )
    kept = KeptRun(work, directory, manifest, read_summary(directory), job)
    _require_whole(kept)
    return kept


def _require_whole(run: KeptRun) -> None:
    """Raise LakeError unless the job, the scorecard and the lock are those that the manifest pins."""
    manifest, summary = run.manifest, run.summary
    digests = (
        ("job.json", spec_digest(run.job), manifest.spec_digest),
        ("job.json", f"seed {run.job.spec.seed}", f"seed {manifest.seed}"),
        ("summary.json", summary.digest, manifest.scorecard_digest),
        ("the scorecard in summary.json", summary.scorecard.digest(), manifest.scorecard_digest),
        ("the lock in manifest.json", lock_digest(manifest.lock), manifest.lock_digest),
    )
    for what, found, pinned in digests:
        if found != pinned:
            made_by = manifest.lock.get("presage", "?")
            raise LakeError(
                f"run {manifest.run} in {run.directory}: {what} is not what was pinned: {found}, not {pinned}.",
                f"{_RESTORE} If nobody changed it, use Presage {made_by}, which made the run.",
            )


def _require_never_kept(work: WorkDirectory, name: RunName) -> None:
    """Raise DataExpiredError where something that is left tells of the run."""
    for path in sorted((work.root / "champions").glob(f"{name.key or '*'}.json")):
        champions = read_champions(path)
        if champions is not None and _tells_of(champions, name.run):
            raise _expired(name.run, path.stem)
    for manifest in list_manifests(work.all_runs):
        key = f"{manifest.namespace}.{manifest.job}"
        if manifest.incumbent is not None and manifest.incumbent.run == name.run and name.key in (None, key):
            raise _expired(name.run, key)
    if not work.lake.is_dir():
        return
    lake = Lake(work.lake.as_uri())
    for table in lake.tables():
        kind, _, key = table.partition("/")
        version = lake.current(table) if kind in _ISSUED and name.key in (None, key) else None
        if version is not None and name.run in lake.read(version, verify=False)["run"].unique():
            raise _expired(name.run, key)


def _tells_of(champions: Champions, run: str) -> bool:
    return any(one.run == run for one in champions.known)


def _expired(run: str, key: str) -> DataExpiredError:
    return DataExpiredError(
        f"run {run} of {key} is no longer kept: retention has passed it.",
        "Rerun a newer one; spec.retention.runs says how many are kept.",
    )


def _no_such(run: str, place: str, kept: tuple[str, ...]) -> JobError:
    listed = f"There are, the newest first: {', '.join(kept[:_LISTED])}." if kept else "Run a job there first."
    return JobError(f"there is no run {run} in {place}.", listed)


def _one_key(keys: tuple[str, ...], run: str, place: str) -> str | None:
    """Return the job of a run; None where there is none; raises JobError where there are several."""
    if len(keys) > 1:
        raise JobError(f"{len(keys)} jobs in {place} have a run {run}.", f"Give one: {keys[0]}/{run}.")
    return keys[0] if keys else None


def _keys_in_bucket(location: str, run: str) -> tuple[str, ...]:
    """Return the jobs of a bucket that have a run, or whose champion file tells of it."""
    with closing(Bucket(BucketPlace.parse(location))) as bucket:
        paths = [PurePosixPath(name) for name in bucket.list(f"{_RUNS}/")]
        keys = sorted({path.parts[1] for path in paths if path.parts[2:] == (run, MANIFEST)})
        if keys:
            return tuple(keys)
        files = {PurePosixPath(name).stem: bucket.read(name) for name in bucket.list("champions/")}
        return tuple(sorted(key for key, held in files.items() if held is not None and run.encode() in held[0]))


def _is_of(path: PurePosixPath, run: str) -> bool:
    """Return whether an object of a job is one that a run is made of, or tells that it was there."""
    return path.parts[0] in ("lake", "champions") or (path.parts[0] == _RUNS and path.parts[2] == run)
