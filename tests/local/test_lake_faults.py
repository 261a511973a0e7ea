"""The lake under real faults: writers that meet, a writer that is killed, disks that are full or read-only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from conftest import lacking

from presage.errors import StorageError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.manifest import RunManifest, list_manifests, save_manifest
from presage.lake.tables import Lake

NOW = datetime(2024, 6, 1, tzinfo=UTC)
BATCHES = 30
WRITER = """
import sys
from contextlib import nullcontext
from contextlib import suppress
from datetime import UTC, datetime, timedelta
import polars as pl
from presage.frame import KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.tables import Lake

class UnlockedLake(Lake):
    def locked(self, table):
        return nullcontext()

root, seed, batches, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
lake = {"locked": Lake, "unlocked": UnlockedLake}[kind](root, seed=seed)
now = datetime(2024, 6, 1, tzinfo=UTC)
print("ready", flush=True)
for number in range(batches):
    places = range(number * 50, number * 50 + 100)
    for series in ("shared", f"own{seed}"):
        times = pl.Series([now + timedelta(minutes=place) for place in places], dtype=TIMESTAMP)
        values = pl.Series([float(place) for place in places])
        rows = pl.DataFrame({SERIES: [series] * 100, TIME: times, KNOWN_AT: times, "value": values})
        lake.merge("raw/x", rows, ingested_at=now + timedelta(days=seed), monthly=True)
    print(number, flush=True)
"""


def writer(root: Path, seed: int, batches: int = BATCHES, kind: str = "locked") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(root), str(seed), str(batches), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(number: int, series: str = "shared", count: int = 100) -> pl.DataFrame:
    places = range(number * 50, number * 50 + count)
    times = pl.Series([NOW + timedelta(minutes=place) for place in places], dtype=TIMESTAMP)
    values = pl.Series([float(place) for place in places])
    return pl.DataFrame({SERIES: [series] * count, TIME: times, KNOWN_AT: times, "value": values})


def everything(*series: str, batches: int = BATCHES) -> pl.DataFrame:
    return pl.concat(rows(number, name) for name in series for number in range(batches)).unique().sort(KEY)


def newest(lake: Lake) -> pl.DataFrame:
    return lake.read(lake.merge("raw/x", rows(0).clear(), ingested_at=NOW)).drop(INGESTED_AT)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "batches"), [("locked", 30), ("unlocked", 10)])
def test_two_processes_that_write_at_once_lose_and_repeat_nothing(tmp_path, kind, batches):
    writers = [writer(tmp_path, seed, batches, kind) for seed in (1, 2)]
    for process in writers:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert newest(Lake(str(tmp_path))).equals(everything("own1", "own2", "shared", batches=batches))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "delay"), [(1, 0.0), (1, 0.02), (2, 0.0), (3, 0.01), (4, 0.02), (5, 0.03), (6, 0.045)]
)
def test_a_writer_that_is_killed_leaves_whole_batches_and_the_next_one_completes_them(tmp_path, lines, delay):
    process = writer(tmp_path, 1)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    lake = Lake(str(tmp_path), lock_timeout=5.0)
    left = newest(lake)
    shared, own = (left.filter(pl.col(SERIES) == name) for name in ("shared", "own1"))
    assert shared.height in {0, *range(100, 50 * BATCHES + 51, 50)}
    assert shared.height - own.height in {0, 50, 100}
    assert shared.height >= 50 * (lines - 1)

    batches = min(BATCHES, shared.height // 50 + 4)
    again = writer(tmp_path, 1, batches)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert newest(lake).equals(everything("own1", "shared", batches=batches))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MB and 60 files."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        lacking("a small disk needs root and the mount command")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=60", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        lacking("a small disk needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def fill(place: Path) -> None:
    with (place / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


def use_up_files(place: Path) -> None:
    with suppress(OSError):
        for number in range(100):
            (place / f"ballast{number}").touch()


def make_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def make_writable(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    for ballast in place.glob("ballast*"):
        ballast.unlink()


@pytest.mark.parametrize(
    ("fault", "words"),
    [(fill, "is full"), (use_up_files, "the disk is full"), (make_read_only, "the disk is read-only")],
    ids=["full", "no more files", "read-only"],
)
def test_a_disk_that_refuses_leaves_the_lake_as_it_was(small_disk, fault, words):
    lake = Lake(str(small_disk / "lake"))
    version = lake.merge("raw/x", rows(0), ingested_at=NOW)
    written = lake.write("bars/x", rows(0))
    fault(small_disk)
    before = files(lake.directory)
    for attempt in (
        lambda: lake.merge("raw/x", rows(1), ingested_at=NOW),
        lambda: lake.merge("raw/new", rows(1), ingested_at=NOW),
        lambda: lake.write("bars/x", rows(1)),
        lambda: lake.append_unique("forecasts", rows(1), KEY),
    ):
        with pytest.raises(StorageError, match=words) as caught:
            attempt()
        assert str(small_disk) in caught.value.what
        assert "Nothing was changed" in caught.value.remedy
    assert {name: content for name, content in files(lake.directory).items() if "_locks" not in name} == {
        name: content for name, content in before.items() if "_locks" not in name
    }
    assert lake.read(version).drop(INGESTED_AT).equals(rows(0))
    assert lake.read(written).equals(rows(0))

    make_writable(small_disk)
    assert lake.merge("raw/x", rows(1), ingested_at=NOW).rows == 150


@pytest.mark.parametrize("spare", [1, 2, 3, 4, 5, 6])
def test_a_disk_that_fills_up_half_way_through_a_write_leaves_what_the_lake_says_as_it_was(small_disk, spare):
    lake = Lake(str(small_disk / "lake"))
    version = lake.merge("raw/x", rows(0), ingested_at=NOW)
    use_up_files(small_disk)
    for ballast in sorted(small_disk.glob("ballast*"))[:spare]:
        ballast.unlink()
    refusals = []
    for table in ("raw/x", "raw/y"):
        try:
            lake.merge(table, rows(1), ingested_at=NOW)
        except StorageError as error:
            refusals.append(error.what)
    assert refusals
    assert all("the disk is full" in refusal for refusal in refusals)
    assert lake.read(version).drop(INGESTED_AT).equals(rows(0))
    make_writable(small_disk)
    assert lake.merge("raw/x", rows(1), ingested_at=NOW).rows == 150
    assert lake.merge("raw/y", rows(1), ingested_at=NOW).rows == 100


def test_a_batch_that_is_larger_than_the_disk_is_refused_before_it_is_written(small_disk):
    lake = Lake(str(small_disk / "lake"))
    version = lake.merge("raw/x", rows(0), ingested_at=NOW)
    before = files(lake.directory)
    with pytest.raises(StorageError, match=r"bytes are free, \d+ may be needed"):
        lake.merge("raw/x", rows(0, count=200_000), ingested_at=NOW)
    assert files(lake.directory) == before
    assert lake.merge("raw/x", rows(0), ingested_at=NOW) == version


def test_a_manifest_that_finds_no_room_leaves_the_earlier_one(small_disk):
    manifest = RunManifest(
        run="run1",
        job="job",
        namespace="default",
        spec_digest="s",
        procedure_digest="p",
        tables={},
        seed=0,
        lock_digest="l",
        created_at=NOW,
    )
    directory = small_disk / "runs" / "run1"
    save_manifest(directory, manifest)
    fill(small_disk)
    with pytest.raises(StorageError, match=f"cannot write to {directory}/manifest.json: No space left"):
        save_manifest(directory, manifest.model_copy(update={"scorecard_digest": "x" * 5000}))
    assert list_manifests(small_disk) == (manifest,)
    assert [path.name for path in directory.iterdir()] == ["manifest.json"]
