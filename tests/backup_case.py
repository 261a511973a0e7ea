"""Backups and restores of stores, and places in which something happens at a chosen moment of a backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from deltalake import DeltaTable

from presage.lake.manifest import list_manifests
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.backup import Backup, back_up, open_backup
from presage.steps.history import read_summary
from presage.steps.promote import read_champions
from presage.steps.recovery import restore
from presage.steps.store import FolderStore, Opened, Store
from presage.steps.workdir import WorkDirectory

NOW = datetime(2026, 11, 22, 2, 17, tzinfo=UTC)


class Eventful:
    """A store in which something happens once, right before one of the calls that read it.

    Attributes:
        calls: How often it was read so far.
    """

    def __init__(self, store: Store, moment: int, happen: Callable[[], object]) -> None:
        self._store, self._moment, self._happen = store, moment, happen
        self._guard = Lock()
        self.calls = 0

    def __str__(self) -> str:
        return str(self._store)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def list(self, folder: str = "") -> Mapping:
        self._called()
        return self._store.list(folder)

    @contextmanager
    def reading(self, name: str) -> Iterator[Opened | None]:
        self._called()
        with self._store.reading(name) as opened:
            yield opened

    def _called(self) -> None:
        # Other readers wait, so that it happens at one moment.
        with self._guard:
            self.calls += 1
            if self.calls == self._moment:
                self._happen()


def made(source: Store, place: Store, *, now: datetime = NOW, keep: int = 0, files: Sequence[Path] = ()) -> Backup:
    """Back a place up under the name `lakes`."""
    return back_up({"lakes": source}, files, place, now=now, keep=keep, progress=lambda *_: None)


def restored(place: Store, target: Store, *, name: str = "lakes") -> int:
    """Restore it from the newest backup."""
    folder, backup = open_backup(place)
    return restore(folder, backup, {name: target}, progress=lambda *_: None)


def folder_store(folder: Path) -> FolderStore:
    """Return the store of a folder."""
    return FolderStore(folder)


def require_whole(folder: Path, job: PredictionJob) -> list[str]:
    """Require that all that a work directory speaks of is there, and return its runs."""
    work = WorkDirectory(folder)
    lake = Lake(str(work.lake))
    for log in work.lake.glob("**/_delta_log"):
        DeltaTable(log.parent).to_pyarrow_table()
    manifests = list_manifests(work.runs(job))
    for manifest in manifests:
        assert read_summary(work.run(job, manifest.run)).digest == manifest.scorecard_digest
        for version in manifest.pinned:
            lake.read(version)
    champions = read_champions(work.champion(job))
    assert champions is not None
    runs = [manifest.run for manifest in manifests]
    assert champions.current.run in runs
    return runs
