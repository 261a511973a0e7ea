"""Where a command works: a directory, or a copy of a job's part of a bucket whose changes go back when it ends well.

A command whose parts are worth keeping by themselves, as those of a backfill, sends them back one by one. In the bucket
things are laid out as in a work directory (`presage.steps.workdir`). They go back in an order in which an interruption
at any moment leaves the bucket whole: what is referred to comes before what refers to it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from presage.errors import LakeConflictError, NotSupportedError, PresageError
from presage.files import storage_faults
from presage.lake.manifest import MANIFEST
from presage.report.write import REPORT
from presage.spec.forecast import FORECAST
from presage.spec.job import PredictionJob
from presage.steps.bucket import Bucket, BucketPlace, Stored
from presage.steps.lease import Lease, held_lease
from presage.steps.workdir import BUNDLE, JOB, SUMMARY, WorkDirectory, job_key

_AT_A_TIME = 8
_LOG_FOLDER = "_delta_log"
_LAST_CHECKPOINT = "_last_checkpoint"


@dataclass(frozen=True)
class WorkPlace:
    """Where a command works.

    Attributes:
        directory: The directory to work in.
        name: What its user calls it.
        keep: Makes what was changed so far outlive the command, however that ends; to be called while nothing is being
            written. Raises LakeConflictError where another run took over or wrote meanwhile, and StorageError.
    """

    directory: Path
    name: str
    keep: Callable[[], None] = lambda: None

    def called(self, path: Path) -> str:
        """Return what the user calls a path in the directory."""
        return str(path).replace(str(self.directory), self.name, 1)


@contextmanager
def work_in(location: str, job: PredictionJob) -> Iterator[WorkPlace]:
    """Give a directory to run a job in; what the block changes is kept when it ends well, or when it says so.

    Args:
        location: A directory's path, or `s3://bucket/prefix`.
        job: The job.

    Raises:
        JobError: The location is wrong, or there is no such bucket.
        NotSupportedError: The location has another scheme.
        MissingExtraError: A bucket needs the `s3` extra.
        LakeConflictError: Another run of the job is going on in the bucket, or wrote to it.
        StorageError: The store refuses or does not answer, or there is no room for the copy.
    """
    directory = directory_of(location)
    if directory is not None:
        yield WorkPlace(directory, str(directory))
        return
    key = job_key(job)
    with (
        closing(Bucket(BucketPlace.parse(location))) as bucket,
        held_lease(bucket, f"runs/{key}/.lock", job=key) as lease,
        _copied(bucket, key, _is_needed) as copy,
    ):
        upload = _Upload(bucket, key, copy, lease)
        yield replace(copy.place, keep=upload.keep)
        upload.keep()


@contextmanager
def look_in(location: str, job: PredictionJob) -> Iterator[WorkPlace]:
    """Give a directory that tells of a job's finished runs and its champions; it is not for writing.

    Raises:
        PresageError: As `work_in`, but for LakeConflictError: nothing is locked.
    """
    with look_at(location, job_key(job), _tells_of_a_run) as place:
        yield place


@contextmanager
def look_at(location: str, key: str, is_needed: Callable[[str], bool]) -> Iterator[WorkPlace]:
    """Give a directory that holds some of what a job has; it is not for writing.

    Args:
        location: As of `work_in`.
        key: The job, as `job_key` names it.
        is_needed: Says of an object's name in a bucket whether it is fetched.

    Raises:
        PresageError: As `look_in`.
    """
    directory = directory_of(location)
    if directory is not None:
        yield WorkPlace(directory, str(directory))
        return
    with closing(Bucket(BucketPlace.parse(location))) as bucket, _copied(bucket, key, is_needed) as copy:
        yield copy.place


@contextmanager
def whole_run(place: WorkPlace, job: PredictionJob, run: str, names: Collection[str]) -> Iterator[Path]:
    """Give a directory that holds files of a kept run: its own, or another with what the bucket has of them.

    The copy of a bucket holds a run whole that was made in it; of an earlier one it lacks the report.

    Args:
        place: The work directory.
        job: The job.
        run: The run.
        names: The files and folders of the run's directory that are wanted; those that are nowhere are left out.

    Raises:
        JobError: There is no such bucket any more.
        LakeConflictError: A file changed while it was read.
        StorageError: The store refuses or does not answer, or there is no room for the files.
    """
    directory = WorkDirectory(place.directory).run(job, run)
    if directory_of(place.name) is not None or (directory / REPORT).exists():
        yield directory
        return
    with (
        tempfile.TemporaryDirectory(prefix="presage-") as folder,
        closing(Bucket(BucketPlace.parse(place.name))) as bucket,
    ):
        prefix = f"runs/{job_key(job)}/{run}/"
        for name, stored in bucket.list(prefix).items():
            path = PurePosixPath(name.removeprefix(prefix))
            if path.parts[0] in names and ".." not in path.parts:
                _fetch(bucket, name, stored, Path(folder, path))
        yield Path(folder)


def directory_of(location: str) -> Path | None:
    """Return the directory that a location names, None for a bucket; raises NotSupportedError for anything else."""
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme == "s3":
        return None
    if scheme not in ("", "file"):
        raise NotSupportedError(
            f"no work directory can be at {location}.", "Give a directory or s3://bucket/prefix as --workdir."
        )
    return Path(unquote(urlsplit(location).path)) if scheme else Path(location)


def _is_needed(name: str) -> bool:
    """Return whether a run reads an object: of earlier runs it needs no report."""
    path = PurePosixPath(name)
    if path.parts[0] != "runs":
        return True
    return path.name in (MANIFEST, SUMMARY, FORECAST, JOB) or path.parts[3] == BUNDLE


def _tells_of_a_run(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts[0] == "champions" or (path.parts[0] == "runs" and path.name in (MANIFEST, SUMMARY))


@dataclass(frozen=True)
class _Copy:
    """A job's part of a bucket as it was last seen, and the copy of it.

    Attributes:
        place: The copy.
        tags: By name, the tags of the objects that are there.
        stamps: By name, what tells that a file was not written since it was the same as its object.
    """

    place: WorkPlace
    tags: dict[str, str]
    stamps: dict[str, tuple[int, int, int]]


@contextmanager
def _copied(bucket: Bucket, key: str, is_needed: Callable[[str], bool]) -> Iterator[_Copy]:
    with tempfile.TemporaryDirectory(prefix="presage-") as folder:
        place = WorkPlace(Path(folder), str(bucket.place))
        try:
            found = _found(bucket, key)
            needed = [name for name in found if is_needed(name)]
            _each(needed, lambda name: _fetch(bucket, name, found[name], place.directory / name))
            tags = {name: stored.etag for name, stored in found.items()}
            yield _Copy(place, tags, {name: _stamp(place.directory / name) for name in needed})
        except PresageError as error:
            # The copy is gone when its user reads of it.
            error.what = error.what.replace(folder, place.name)
            error.remedy = error.remedy.replace(folder, place.name)
            raise


def _found(bucket: Bucket, key: str) -> dict[str, Stored]:
    """Return the objects of a job, by name; other things that stand beside them are nobody's business here."""
    champion = f"champions/{key}.json"
    found = (
        bucket.list("lake/") | bucket.list(f"runs/{key}/") | bucket.list(f"backfills/{key}/") | bucket.list(champion)
    )
    return {name: one for name, one in found.items() if _is_ours(PurePosixPath(name), key) and not name.endswith("/")}


def _is_ours(path: PurePosixPath, key: str) -> bool:
    if _hidden(path.as_posix()):
        return False
    if path.parts[0] == "backfills":
        return len(path.parts) == 3 and path.parts[1] == key
    depth = {"lake": 2, "runs": 1}.get(path.parts[0])
    if depth is None:
        return path.as_posix() == f"champions/{key}.json"
    return len(path.parts) > 3 and path.parts[depth] == key


def _fetch(bucket: Bucket, name: str, stored: Stored, path: Path) -> None:
    held = bucket.read(name)
    if held is None or held[1] != stored.etag:
        raise LakeConflictError(f"{bucket.place}/{name} changed while it was read.", "Run it again.")
    with storage_faults(path, "TMPDIR"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held[0])
        # Cleaning goes by the age of files.
        os.utime(path, (stored.modified.timestamp(),) * 2)


class _Order(IntEnum):
    """What goes back after what."""

    DATA = 0
    LOG = 1
    CHECKPOINT = 2
    BACKFILL = 3
    RUN = 4
    MANIFEST = 5
    FORECAST = 6
    CHAMPION = 7


def _order(name: str) -> _Order:
    path = PurePosixPath(name)
    if path.parts[0] == "champions":
        return _Order.CHAMPION
    if path.parts[0] == "backfills":
        return _Order.BACKFILL
    if path.parts[0] == "runs":
        return {MANIFEST: _Order.MANIFEST, FORECAST: _Order.FORECAST}.get(path.name, _Order.RUN)
    if path.parent.name == _LOG_FOLDER:
        return _Order.CHECKPOINT if path.name == _LAST_CHECKPOINT else _Order.LOG
    return _Order.DATA


@dataclass(frozen=True)
class _Upload:
    """The way back of what a block changed in a copy."""

    bucket: Bucket
    key: str
    copy: _Copy
    lease: Lease

    def keep(self) -> None:
        """Write what changed since the last time, and delete what is gone.

        Raises:
            LakeConflictError: Another run took over, or wrote an object that this one has not seen.
        """
        changed = self._changed()
        for order in _Order:
            batch = [name for name in changed if _order(name) is order]
            if batch:
                self.lease.confirm()
            if order is _Order.LOG:
                # A version must not be there before the one that it follows.
                for name in sorted(batch):
                    self._write(name)
            else:
                _each(batch, self._write)
        gone = self._gone()
        if gone:
            self.lease.confirm()
        # A manifest is forgotten before the files that it names.
        for name in sorted(gone, key=lambda name: _order(name) is not _Order.MANIFEST):
            self.bucket.delete(name)
            del self.copy.tags[name]

    def _changed(self) -> list[str]:
        directory = self.copy.place.directory
        names = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
        return [name for name in names if not _hidden(name) and self.copy.stamps.get(name) != _stamp(directory / name)]

    def _write(self, name: str) -> None:
        path = self.copy.place.directory / name
        stamp = _stamp(path)
        tag = self.bucket.write(name, path.read_bytes(), over=self.copy.tags.get(name))
        if tag is None:
            raise LakeConflictError(
                f"another run wrote {self.bucket.place}/{name} meanwhile.", "Nothing more of this run was kept."
            )
        self.copy.tags[name] = tag
        self.copy.stamps[name] = stamp

    def _gone(self) -> list[str]:
        """Return the names of objects whose file was deleted, or whose run has no manifest, finished or not."""
        directory = self.copy.place.directory

        def kept(name: str) -> bool:
            parts = PurePosixPath(name).parts
            if parts[0] == "runs":
                return (directory / "runs" / self.key / parts[2] / MANIFEST).exists()
            return (directory / name).exists()

        return [name for name in self.copy.tags if not kept(name)]


def _hidden(name: str) -> bool:
    """Return whether a name is that of a lock or a draft, which are a machine's own."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") for part in parts) or parts[:2] == ("lake", "_locks")


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _each(names: Iterable[str], act: Callable[[str], None]) -> None:
    """Do something with each name, some at a time; the first error ends it."""
    pool = ThreadPoolExecutor(_AT_A_TIME)
    try:
        for done in [pool.submit(act, name) for name in names]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
