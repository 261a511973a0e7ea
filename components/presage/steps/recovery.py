"""Restoring a backup into empty places: every object is verified, and what refers to others comes last."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from presage.errors import JobError, LakeError, PresageError
from presage.steps.backup import FILES, BackedUp, BackedUpPlace, Backup
from presage.steps.progress import Report
from presage.steps.snapshot import Measured, Rank, each, rank
from presage.steps.store import DRAFT, Store

MARK = ".restore.json"
"""Object of a place that is being restored: what a killed restore left may be restored anew."""
_LOG = logging.getLogger(__name__)


def restore(folder: Store, backup: Backup, targets: Mapping[str, Store], *, progress: Report) -> int:
    """Write what a backup holds into empty places, and return how many objects that were.

    Data come first, then the logs that name them, then manifests, then champions: nobody finds a run that is not there
    whole. A restore that fails takes away what it wrote. One that was killed leaves a mark, and the same restore may
    then be made again.

    Args:
        folder: Where the backup is.
        backup: What it holds.
        targets: Places by the names that they have in the backup; single files are `files`.
        progress: Told of the objects.

    Raises:
        JobError: The backup has no place of a name, or a target is not empty.
        LakeError: An object of the backup is damaged or gone.
        StorageError: A store refuses or does not answer.
    """
    held = {place.name: place for place in backup.places}
    for name, target in targets.items():
        if name not in held:
            raise JobError(
                f"the backup of {backup.time} holds no {'files' if name == FILES else repr(name)}.",
                f"It holds: {', '.join(held)}.",
            )
        _require_empty(target, held[name], backup)
    begun: list[str] = []
    try:
        for name, target in targets.items():
            begun.append(name)
            _restore_place(folder.below(name), held[name], target, backup, progress)
    except BaseException:
        for name in begun:
            _take_away(targets[name], held[name])
        raise
    return sum(len(held[name].objects) for name in targets)


def _require_empty(target: Store, place: BackedUpPlace, backup: Backup) -> None:
    there = target.list()
    if not there:
        return
    with target.reading(MARK) as opened:
        mark = None if opened is None else opened.stream.read()
    drafts = {name for name in there if PurePosixPath(name).name.startswith(DRAFT)}
    others = there.keys() - {one.name for one in place.objects} - drafts - {MARK}
    if mark == _mark(backup) and not others:
        for name in drafts:
            target.delete(name)
        return
    example = min(others or there)
    raise JobError(
        f"{target} is not empty: there is {example}.",
        "Give an empty place, or stop the jobs there and move away what it holds.",
    )


def _restore_place(source: Store, place: BackedUpPlace, target: Store, backup: Backup, progress: Report) -> None:
    mark = _mark(backup)
    target.save(MARK, io.BytesIO(mark), size=len(mark))
    objects = {one.name: one for one in place.objects}
    for turn in Rank:
        mine = [name for name in objects if rank(name) is turn]
        each(mine, lambda name: _copy(source, objects[name], target), said=f"restore {place.name}", progress=progress)
    target.delete(MARK)
    _LOG.info("place restored", extra={"place": str(target), "objects": len(objects), "backup": backup.time})


def _copy(source: Store, one: BackedUp, target: Store) -> None:
    with source.reading(one.name) as opened:
        if opened is None:
            raise LakeError(f"{source}/{one.name} is gone from the backup.", "Restore another backup.")
        content = Measured(opened.stream)
        target.save(one.name, content, size=one.size)
    if (content.size, content.sha256) != (one.size, one.sha256):
        raise LakeError(
            f"{source}/{one.name} is not what was backed up: its SHA-256 is {content.sha256[:12]} and not "
            f"{one.sha256[:12]}.",
            "Restore another backup; nothing of this one was kept.",
        )


def _take_away(target: Store, place: BackedUpPlace) -> None:
    """Delete what a restore wrote, the mark last; a store that is gone keeps the mark too."""
    with suppress(PresageError):
        ours = target.list().keys() & {one.name for one in place.objects}
        for name in sorted(ours, key=rank, reverse=True):
            target.delete(name)
        target.delete(MARK)


def _mark(backup: Backup) -> bytes:
    return json.dumps({"backup": backup.time}).encode()
