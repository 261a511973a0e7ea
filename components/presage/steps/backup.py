"""Backups: whole copies of places, each in a folder of its time, with an index of every object and its digest.

<place>/<UTC time>/<name>/...     what was copied of a place
<place>/<UTC time>/files/...      single files, such as a database's dump
<place>/<UTC time>/backup.json    the index, written last: without it there is no backup, only what a killed one left
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError

from presage.errors import JobError, LakeConflictError, LakeError, NotSupportedError
from presage.files import storage_faults
from presage.steps.progress import Report
from presage.steps.snapshot import Copied, Measured, snapshot
from presage.steps.store import Store

FILES = "files"
"""Name under which a backup has single files."""
INDEX = "backup.json"
PUSH_JOB = "presage-backup"
"""Label `job` of what is pushed of backups."""
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_VERSION = "v1"
_PUSH_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is no name of an object")
    return name


class BackedUp(BaseModel):
    """An object of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(_relative)]
    """Its name in its place."""
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of its content, hexadecimal."""


class BackedUpPlace(BaseModel):
    """A place of a backup, or its single files."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(_relative)]
    """Its name in the backup."""
    location: str
    """Where it was copied from."""
    objects: tuple[BackedUp, ...]
    """What was copied."""


class Backup(BaseModel):
    """What a backup holds: its `backup.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal["v1"] = "v1"
    created_at: AwareDatetime
    """When it was begun, UTC."""
    places: tuple[BackedUpPlace, ...]
    """What was copied; single files are the place `files`."""

    @property
    def time(self) -> str:
        """Its time, as its folder is called."""
        return _folder(self.created_at)

    @property
    def objects(self) -> int:
        """Number of its objects."""
        return sum(len(place.objects) for place in self.places)

    @property
    def size(self) -> int:
        """Bytes of its objects."""
        return sum(one.size for place in self.places for one in place.objects)


def back_up(
    sources: Mapping[str, Store], files: Sequence[Path], place: Store, *, now: datetime, keep: int, progress: Report
) -> Backup:
    """Copy places and files into a new backup, and remove backups that are no longer kept.

    Jobs may go on in the places: `presage.steps.snapshot` says why the copy is whole all the same. Files are copied
    first: a database's dump names what is in a bucket.

    Args:
        sources: Places by their names in the backup.
        files: Files beside them.
        place: Where the backups are.
        now: The backup's time, UTC.
        keep: Newest whole backups to keep, this one among them; 0 for all. Others are removed once it is whole.
        progress: Told of the objects.

    Returns:
        What the backup holds.

    Raises:
        JobError: A file is not there, or two have one name.
        LakeConflictError: Another backup is going on in the place, or was made this second; or a job's retention kept
            deleting what was seen.
        StorageError: A store or a disk refuses or does not answer.
    """
    dumps = _by_name(files)
    with place.alone() as confirm:
        _remove_unfinished(place)
        time = _folder(now)
        if time in place.folders():
            raise LakeConflictError(f"{place} has a backup of {time}.", "Try again in a second.")
        folder = place.below(time)
        parts = [_copied_files(dumps, folder)] if dumps else []
        for name, source in sources.items():
            copied = snapshot(source, folder.below(name), progress=progress)
            parts.append(_part(name, str(source), copied))
        backup = Backup(created_at=now.replace(microsecond=0), places=tuple(parts))
        confirm()
        content = backup.model_dump_json().encode()
        folder.save(INDEX, io.BytesIO(content), size=len(content))
        _LOG.info("backup made", extra={"place": str(folder), "objects": backup.objects, "bytes": backup.size})
        if keep:
            for old in whole_backups(place)[:-keep]:
                confirm()
                _remove(place, old)
    return backup


def whole_backups(place: Store) -> list[str]:
    """Return the times of a place's backups that have an index, the oldest first."""
    return [time for time in _times(place) if _is_whole(place.below(time))]


def open_backup(place: Store) -> tuple[Store, Backup]:
    """Return the folder and the index of the newest backup of a place, or of the one that the place itself is.

    Raises:
        JobError: There is none.
        LakeError: Its index cannot be read.
        NotSupportedError: A newer Presage made it.
        StorageError: The place refuses or does not answer.
    """
    folder = place
    if not _is_whole(place):
        times = whole_backups(place)
        if not times:
            raise JobError(f"there is no whole backup in {place}.", "Give the place that `presage backup --to` had.")
        folder = place.below(times[-1])
    with folder.reading(INDEX) as opened:
        content = b"" if opened is None else opened.stream.read()
    try:
        return folder, Backup.model_validate_json(content)
    except ValidationError as error:
        if any(fault["loc"] == ("version",) for fault in error.errors()):
            raise NotSupportedError(
                f"{folder}/{INDEX} is of another version than {_VERSION}.", "Restore it with the Presage that made it."
            ) from error
        raise LakeError(f"{folder}/{INDEX} cannot be read: it is damaged.", "Restore an older backup.") from error


def push_backup(url: str, backup: Backup, *, namespace: str, ended_at: datetime) -> str:
    """Tell a Pushgateway that a backup ended well; return what went wrong, empty where nothing did.

    The group is `job="presage-backup"` and `namespace`.

    Args:
        url: Address of the gateway, which `presage.steps.push.require_pushgateway` takes.
        backup: What was backed up.
        namespace: Where the backups belong to.
        ended_at: When it ended, UTC.
    """
    from prometheus_client import CollectorRegistry, Gauge, push_to_gateway  # noqa: PLC0415  # an extra

    registry = CollectorRegistry()
    gauges = {
        "presage_backup_last_success_timestamp_seconds": (
            "When a backup last ended well, since 1970, UTC.",
            ended_at.timestamp(),
        ),
        "presage_backup_bytes": ("Bytes of that backup.", float(backup.size)),
        "presage_backup_objects": ("Objects of that backup.", float(backup.objects)),
    }
    for name, (said, value) in gauges.items():
        Gauge(name, said, registry=registry).set(value)
    try:
        push_to_gateway(
            url, job=PUSH_JOB, registry=registry, grouping_key={"namespace": namespace}, timeout=_PUSH_SECONDS
        )
    except (OSError, HTTPException) as error:
        _LOG.warning("metrics not pushed", extra={"gateway": url, "fault": str(error)})
        return f"the metrics of this backup were not pushed to {url}: {error}."
    return ""


def _folder(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _times(place: Store) -> list[str]:
    return sorted(name for name in place.folders() if _TIME.fullmatch(name))


def _is_whole(folder: Store) -> bool:
    with folder.reading(INDEX) as opened:
        return opened is not None


def _remove_unfinished(place: Store) -> None:
    for time in _times(place):
        if not _is_whole(place.below(time)):
            _LOG.info("unfinished backup removed", extra={"place": str(place.below(time))})
            _remove(place, time)


def _remove(place: Store, time: str) -> None:
    """Delete a backup; the index goes first, so that what an interruption leaves is none."""
    place.below(time).delete(INDEX)
    place.remove(time)


def _by_name(files: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        if not path.is_file():
            raise JobError(f"--file {path}: there is no such file.", "Correct the path.")
        if path.name in found:
            raise JobError(f"--file {path}: {found[path.name]} has the same name.", "Rename one of them.")
        found[path.name] = path
    return found


def _copied_files(files: Mapping[str, Path], folder: Store) -> BackedUpPlace:
    copied = {}
    for name, path in files.items():
        with storage_faults(path), path.open("rb") as file:
            content = Measured(file)
            folder.below(FILES).save(name, content, size=path.stat().st_size)
        copied[name] = Copied("", content.size, content.sha256)
    return _part(FILES, "", copied)


def _part(name: str, location: str, copied: Mapping[str, Copied]) -> BackedUpPlace:
    objects: Iterable[BackedUp] = (
        BackedUp(name=one, size=held.size, sha256=held.sha256) for one, held in sorted(copied.items())
    )
    return BackedUpPlace(name=name, location=location, objects=tuple(objects))
