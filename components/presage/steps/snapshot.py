"""A copy of a place as it was at one time, made while jobs go on there.

Jobs write what is referred to before what refers to it: data, then the log entries that name them, then the manifest
that pins these versions, then the champion. So the copy goes the other way round. What refers is listed and copied
first, and only then the place is listed for what it refers to: all of that is there by then. What is written later is
copied too where it is seen, and nothing that was copied speaks of what was not.

Retention deletes meanwhile. A last listing tells what is gone of all that was seen: of a job that lost anything, what
changed is copied again, until one of its passes lost nothing. A run and its data outlive a listing by far, for only
what newer runs took the place of is deleted, and its data an hour later.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from pathlib import PurePosixPath

from presage.errors import LakeConflictError
from presage.lake.manifest import MANIFEST
from presage.spec.forecast import FORECAST
from presage.steps.bucket import Stored
from presage.steps.progress import Report
from presage.steps.store import Readable, Store

_AT_A_TIME = 2
_PASSES = 10
_KEY = r"[a-z0-9-]+\.[a-z0-9.-]+"
_OF_A_JOB = re.compile(
    rf"(?P<root>(?:[^/]+/)*?)(?:(?:runs|backfills|lake/[^/]+)/(?P<key>{_KEY})/|champions/(?P<champion>{_KEY})\.json$)"
)
_A_MACHINES_OWN = re.compile(r"(?:^|/)(?:lake/_locks/|champions/\.)")


class Rank(IntEnum):
    """What refers to what: an object to others of its rank or below, and it is written after these."""

    DATA = 0
    RECORD = 1
    POINTER = 2
    CHAMPION = 3


@dataclass(frozen=True)
class Copied:
    """An object that was copied.

    Attributes:
        etag: Its tag in the store that it came from.
        size: Bytes.
        sha256: SHA-256 of its content, hexadecimal.
    """

    etag: str
    size: int
    sha256: str


class Measured:
    """Content on its way, which counts its bytes and digests them."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of what was read so far, hexadecimal."""
        return self._digest.hexdigest()

    def read(self, amount: int = -1, /) -> bytes:
        """Return as many bytes, fewer at the end only, as those that write an object in parts rely on."""
        chunks, wanted = [], amount
        while wanted:
            chunk = self._stream.read(wanted)
            if not chunk:
                break
            self._digest.update(chunk)
            self.size += len(chunk)
            wanted -= len(chunk) if amount > 0 else 0
            chunks.append(chunk)
        return b"".join(chunks)


def rank(name: str) -> Rank:
    """Return the rank of an object by its name. Pure."""
    found, path = _OF_A_JOB.match(name), PurePosixPath(name)
    if found is None:
        return Rank.DATA
    if found["champion"]:
        return Rank.CHAMPION
    folder, parts = path.parent.name, PurePosixPath(name[len(found["root"]) :]).parts
    if parts[0] == "backfills" or path.name == "_last_checkpoint":
        return Rank.POINTER
    if parts[0] == "runs":
        return Rank.POINTER if len(parts) == 4 and path.name in (MANIFEST, FORECAST) else Rank.RECORD
    return Rank.RECORD if folder == "_delta_log" else Rank.DATA


def job_of(name: str) -> str | None:
    """Return the job that an object is of, with the folder of its work directory; None where it is of none. Pure."""
    found = _OF_A_JOB.match(name)
    return found["root"] + (found["key"] or found["champion"]) if found else None


def is_copied(name: str) -> bool:
    """Return whether an object is copied: locks and drafts are a machine's own. Pure."""
    found = _OF_A_JOB.match(name)
    hidden = found is not None and any(part.startswith(".") for part in name[len(found["root"]) :].split("/"))
    return not (hidden or _A_MACHINES_OWN.search(name))


def snapshot(source: Store, target: Store, *, progress: Report) -> dict[str, Copied]:
    """Copy a place as it was at one time, and return what was copied, by name.

    Args:
        source: The place. Jobs may go on there.
        target: Where the copy is made; an empty place.
        progress: Told of the objects.

    Raises:
        LakeConflictError: Retention kept deleting what was seen of a job.
        StorageError: A store refuses or does not answer.
    """
    copied: dict[str, Copied] = {}
    jobs: Collection[str] | None = None
    for _ in range(_PASSES):
        jobs = _copy_changes(source, target, copied, jobs, progress)
        if not jobs:
            return copied
    raise LakeConflictError(
        f"runs of {', '.join(sorted(jobs or ()))} were deleted each of {_PASSES} times that {source} was looked at.",
        "Try again when fewer of them end.",
    )


def _copy_changes(
    source: Store, target: Store, copied: dict[str, Copied], jobs: Collection[str] | None, progress: Report
) -> set[str]:
    """Copy what is new and changed of some jobs, None for all objects, and return those of which something is gone."""
    listed: dict[str, Stored] = {}

    def copy(name: str) -> None:
        with source.reading(name) as opened:
            if opened is None:
                return
            content = Measured(opened.stream)
            target.save(name, content, size=listed[name].size)
            copied[name] = Copied(opened.etag, content.size, content.sha256)

    seen: set[str] = set()
    there: set[str] = set()
    for turn in reversed(Rank):
        listed = _listed(source, jobs)
        seen.update(listed)
        mine = [name for name in listed if rank(name) is turn]
        there.update(mine)
        changed = [name for name in mine if name not in copied or copied[name].etag != listed[name].etag]
        each(changed, copy, said=f"copy {source}", progress=progress)
    gone = seen - _listed(source, jobs).keys()
    for name in [name for name in copied if _is_of(name, jobs) and name not in there]:
        target.delete(name)
        del copied[name]
    return {job for name in gone if (job := job_of(name)) is not None}


def _listed(source: Store, jobs: Collection[str] | None) -> dict[str, Stored]:
    return {name: stored for name, stored in source.list().items() if is_copied(name) and _is_of(name, jobs)}


def _is_of(name: str, jobs: Collection[str] | None) -> bool:
    return jobs is None or job_of(name) in jobs


def each(names: Iterable[str], act: Callable[[str], None], *, said: str, progress: Report) -> None:
    """Do something with each name, two at a time; the first error ends it."""
    pool = ThreadPoolExecutor(_AT_A_TIME)
    try:
        waiting = [pool.submit(act, name) for name in names]
        for number, done in enumerate(waiting, 1):
            done.result()
            progress(said, number, len(waiting))
    finally:
        pool.shutdown(cancel_futures=True)
