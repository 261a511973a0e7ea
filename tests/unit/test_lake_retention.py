"""Retention keeps what kept runs pin, and frees the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from presage.errors import LakeError
from presage.frame import KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.manifest import RunManifest, list_manifests, save_manifest
from presage.lake.retention import retain
from presage.lake.tables import Lake, TableVersion

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NO_GRACE = timedelta(0)


def rows(number: int, count: int = 200) -> pl.DataFrame:
    times = pl.Series([NOW + timedelta(minutes=place) for place in range(count)], dtype=TIMESTAMP)
    values = pl.Series([float(number * count + place) for place in range(count)])
    return pl.DataFrame({SERIES: ["x"] * count, TIME: times, KNOWN_AT: times, "value": values})


class Runs:
    """Runs of one job: each replaces a derived table and adds a vintage to a raw one, and pins both versions."""

    def __init__(self, root: Path, job: str = "job") -> None:
        self.lake = Lake(str(root / "lake"))
        self.directory = root / "runs"
        self.job = job
        self.pinned: list[dict[str, TableVersion]] = []

    def run(self, number: int) -> None:
        moment = NOW + timedelta(days=number)
        tables = {
            "raw": self.lake.merge(f"raw/{self.job}", rows(number, 3), ingested_at=moment),
            "bars": self.lake.write(f"bars/{self.job}", rows(number)),
        }
        manifest = RunManifest(
            run=f"run{number}",
            job=self.job,
            namespace="default",
            spec_digest="s",
            procedure_digest="p",
            tables=tables,
            seed=0,
            lock_digest="l",
            created_at=moment,
        )
        save_manifest(self.directory / self.job / manifest.run, manifest)
        self.pinned.append(tables)

    def readable(self, table: str) -> list[int]:
        found = []
        for number, tables in enumerate(self.pinned):
            try:
                self.lake.read(tables[table])
            except LakeError:
                continue
            found.append(number)
        return found

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.lake.directory.rglob("*.parquet"))


@pytest.fixture(params=["plain", "with a space, ü and #"])
def runs(tmp_path, request) -> Runs:
    made = Runs(tmp_path / request.param)
    for number in range(6):
        made.run(number)
    return made


def test_kept_runs_stay_readable_and_the_others_are_freed(runs):
    before = runs.size()
    retained = retain(runs.lake, runs.directory, keep=2, grace=NO_GRACE)
    assert [manifest.run for manifest in list_manifests(runs.directory)] == ["run5", "run4"]
    assert [path.name for path in retained.runs] == ["run3", "run2", "run1", "run0"]
    assert runs.readable("bars") == [4, 5]
    assert runs.readable("raw") == [0, 1, 2, 3, 4, 5]  # rows are only added: the newest version has them all
    assert (retained.files, retained.freed) == (4, before - runs.size())
    assert retained.freed > 0


def test_a_second_call_finds_nothing_to_do(runs):
    retain(runs.lake, runs.directory, keep=2, grace=NO_GRACE)
    versions = [runs.lake.stored(table).open().version() for table in runs.lake.tables()]
    again = retain(runs.lake, runs.directory, keep=2, grace=NO_GRACE)
    assert (again.runs, again.compacted, again.files, again.freed) == ((), (), 0, 0)
    assert [runs.lake.stored(table).open().version() for table in runs.lake.tables()] == versions


def test_a_dry_run_tells_the_same_and_changes_nothing(runs):
    before = sorted(runs.lake.directory.rglob("*.*"))
    planned = retain(runs.lake, runs.directory, keep=2, grace=NO_GRACE, dry_run=True)
    assert sorted(runs.lake.directory.rglob("*.*")) == before
    assert len(list_manifests(runs.directory)) == 6
    assert retain(runs.lake, runs.directory, keep=2, grace=NO_GRACE) == planned


def test_protected_runs_are_kept_whatever_their_age(runs):
    retain(runs.lake, runs.directory, keep=1, protected={"run1"}, grace=NO_GRACE)
    assert [manifest.run for manifest in list_manifests(runs.directory)] == ["run5", "run1"]
    assert runs.readable("bars") == [1, 5]


def test_each_job_keeps_its_own_runs(runs):
    other = Runs(runs.directory.parent, "other")
    for number in range(-3, 0):
        other.run(number)
    retain(runs.lake, runs.directory, keep=2, grace=NO_GRACE)
    assert [manifest.run for manifest in list_manifests(runs.directory)] == ["run5", "run4", "run-1", "run-2"]
    assert (runs.readable("bars"), other.readable("bars")) == ([4, 5], [1, 2])


def test_young_files_stay_for_runs_that_have_no_manifest_yet(runs):
    (runs.directory / "job" / "run5" / "manifest.json").unlink()
    runs.lake.write("bars/job", rows(9))
    retained = retain(runs.lake, runs.directory, keep=1)
    assert (retained.files, retained.freed) == (0, 0)
    assert runs.readable("bars") == [0, 1, 2, 3, 4, 5]
    retain(runs.lake, runs.directory, keep=1, grace=NO_GRACE)
    assert runs.readable("bars") == [4]


def test_what_a_killed_writer_left_behind_is_swept_up(runs):
    leftover = runs.lake.directory / "bars" / "job" / "part-0-leftover.parquet"
    leftover.write_bytes(b"half a file")
    retained = retain(runs.lake, runs.directory, keep=100, grace=NO_GRACE)
    assert not leftover.exists()
    assert (retained.files, retained.freed) == (1, 11)
    assert runs.readable("bars") == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("monthly", [False, True])
def test_many_small_files_become_few_and_pinned_versions_stay(tmp_path, monthly):
    runs = Runs(tmp_path)
    runs.lake.merge("raw/job", rows(0, 3), ingested_at=NOW, monthly=monthly)
    runs.run(0)
    for number in range(1, 55):
        newest = runs.lake.merge("raw/job", rows(number, 3), ingested_at=NOW + timedelta(days=number))
    pinned = runs.pinned[0]["raw"]
    retained = retain(runs.lake, runs.directory, keep=1, grace=NO_GRACE)
    assert retained.compacted == ("raw/job",)
    assert len(runs.lake.stored("raw/job").open().file_uris()) == 1
    assert runs.lake.read(pinned).height == 3
    same = runs.lake.merge("raw/job", rows(54, 3), ingested_at=NOW + timedelta(days=99))
    assert (same.digest, same.rows) == (newest.digest, newest.rows)
    with pytest.raises(LakeError):
        runs.lake.read(newest)


def test_a_manifest_that_cannot_be_read_stops_everything(runs):
    (runs.directory / "job" / "run0" / "manifest.json").write_text("{")
    before = sorted(runs.lake.directory.rglob("*.parquet"))
    with pytest.raises(LakeError, match="manifest"):
        retain(runs.lake, runs.directory, keep=1, grace=NO_GRACE)
    assert sorted(runs.lake.directory.rglob("*.parquet")) == before
    assert len(sorted(runs.directory.rglob("manifest.json"))) == 6


def test_tables_that_were_deleted_by_hand_are_passed_over(runs):
    for path in sorted((runs.lake.directory / "bars").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    retained = retain(runs.lake, runs.directory, keep=1, grace=NO_GRACE)
    assert len(retained.runs) == 5
    assert runs.readable("raw") == [0, 1, 2, 3, 4, 5]


def test_at_least_one_run_is_kept(runs):
    with pytest.raises(ValueError, match="at least one run"):
        retain(runs.lake, runs.directory, keep=0)
    assert len(list_manifests(runs.directory)) == 6
