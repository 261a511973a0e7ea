"""Retention: the newest runs of each job are kept, with every version of every table that they pin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deltalake import CommitProperties, DeltaTable

from presage.lake.manifest import RunManifest, find_manifests, load_manifest
from presage.lake.notes import NOTE, read_notes
from presage.lake.storage import storage_errors
from presage.lake.tables import Lake

MANY_FILES = 50
GRACE = timedelta(hours=1)


@dataclass(frozen=True)
class Retained:
    """What retention removed, or would remove.

    Attributes:
        runs: Directories of the runs that are no longer kept. Their manifests are gone; what else they hold is the
            caller's to delete.
        compacted: Tables whose many small files were put together.
        files: Number of Delta files that were deleted.
        freed: Their size in bytes; 0 on an object store, where sizes are not asked for.
    """

    runs: tuple[Path, ...]
    compacted: tuple[str, ...]
    files: int
    freed: int


def retain(
    lake: Lake,
    manifests: Path,
    keep: int,
    *,
    protected: Collection[str] = (),
    grace: timedelta = GRACE,
    dry_run: bool = False,
) -> Retained:
    """Forget old runs and delete the Delta files that no kept run needs.

    First the manifests of old runs go, then tables of many small files are compacted, then files are deleted: killed at
    any moment, it leaves no manifest that names a missing file, and the next call goes on. The newest version of a
    table always stays.

    Args:
        lake: The lake.
        manifests: Directory below which the manifests of *all* jobs of the lake are.
        keep: Newest runs of each job to keep, at least 1.
        protected: Ids of runs that are kept whatever their age, such as those of champions.
        grace: Whole hours for which files stay after a newer version took their place, for runs still without manifest.
        dry_run: Whether to change nothing and only tell.

    Returns:
        What was removed; with `dry_run`, what would be.

    Raises:
        LakeError: A manifest or a table cannot be read. Nothing is removed then that a kept run needs.
        LakeConflictError: Another process kept writing to a table.
        StorageError: The disk is read-only or closed to this user.
    """
    found = [(path, load_manifest(path)) for path in find_manifests(manifests)]
    kept, old = _split(found, keep, frozenset(protected))
    if not dry_run:
        for path in old:
            with storage_errors(str(path)):
                path.unlink()
    pinned = defaultdict[str, set[int]](set)
    for manifest in kept:
        for version in manifest.pinned:
            pinned[version.table].add(version.version)
    known = {version.table for _, manifest in found for version in manifest.pinned}
    compacted = []
    files = freed = 0
    for table in sorted(known.union(lake.tables())):
        if not dry_run and _compact(lake, table):
            compacted.append(table)
        count, size = _vacuum(lake, table, pinned[table], grace, dry_run=dry_run)
        files += count
        freed += size
    return Retained(runs=tuple(path.parent for path in old), compacted=tuple(compacted), files=files, freed=freed)


def _split(
    found: list[tuple[Path, RunManifest]], keep: int, protected: frozenset[str]
) -> tuple[list[RunManifest], list[Path]]:
    """Return the manifests to keep and the paths of those to forget."""
    if keep < 1:
        raise ValueError("at least one run is kept")
    newest = sorted(found, key=lambda pair: (pair[1].created_at, pair[1].run), reverse=True)
    seen = defaultdict[tuple[str, str], int](int)
    kept, old = [], []
    for path, manifest in newest:
        job = (manifest.namespace, manifest.job)
        seen[job] += 1
        if seen[job] <= keep or manifest.run in protected:
            kept.append(manifest)
        else:
            old.append(path)
    return kept, old


def _compact(lake: Lake, table: str) -> bool:
    """Put the small files of a table together where it has many; return whether it had."""
    stored = lake.stored(table)
    with lake.locked(table), storage_errors(stored.uri):
        delta = stored.open()
        if delta is None or len(delta.file_uris()) - len(delta.partitions()) <= MANY_FILES:
            return False
        before = delta.version()
        notes = read_notes(delta)
        note = notes.after(None, None if notes.months is None else {}).text()
        delta.optimize.compact(commit_properties=CommitProperties(custom_metadata={NOTE: note}))
        return delta.version() > before


def _vacuum(lake: Lake, table: str, pinned: set[int], grace: timedelta, *, dry_run: bool) -> tuple[int, int]:
    """Delete the files of a table that neither its newest nor a pinned version has; return their number and bytes."""
    stored = lake.stored(table)
    with lake.locked(table), storage_errors(stored.uri):
        delta = stored.open()
        if delta is None:
            return 0, 0
        newest = delta.version()
        needed = sorted({version for version in pinned if version < newest} | {newest})
        unused = _unused(delta, needed, grace, dry_run=True)
        sizes = [0] * len(unused)
        if lake.directory is not None:
            paths = [lake.directory / table / name for name in unused]
            # Delta goes on to list files that it has deleted before.
            sizes = [path.stat().st_size for path in paths if path.exists()]
        if sizes and not dry_run:
            _unused(delta, needed, grace, dry_run=False)
        return len(sizes), sum(sizes)


def _unused(delta: DeltaTable, needed: list[int], grace: timedelta, *, dry_run: bool) -> list[str]:
    return delta.vacuum(
        retention_hours=int(grace / timedelta(hours=1)),
        dry_run=dry_run,
        enforce_retention_duration=False,
        full=True,
        keep_versions=needed,
    )
