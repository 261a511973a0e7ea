"""Runs that are interrupted, killed, or find no room: nothing half done is left, and the next run goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import EXAMPLES, content, presage, start
from conftest import lacking

from presage.lake.manifest import list_manifests

QUICKSTART = EXAMPLES / "quickstart.yaml"


@pytest.fixture(scope="module")
def whole(quickstart_workdir: Path) -> str:
    """Digest of an undisturbed run."""
    (manifest,) = list_manifests(quickstart_workdir / "runs")
    return manifest.scorecard_digest


def runs(workdir: Path) -> list[str]:
    directory = workdir / "runs" / "default.quickstart"
    return [path.name for path in directory.iterdir() if path.is_dir()] if directory.exists() else []


def wait_until_it_fits(workdir: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the run has its draft directory: it is in the middle."""
    deadline = time.monotonic() + 60
    while not any(name.startswith(".draft-") for name in runs(workdir)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_at_once_and_leaves_no_part_of_a_run(workers: str, tmp_path: Path, whole: str) -> None:
    process = start("run", QUICKSTART, "--workdir", tmp_path, "--workers", workers)
    wait_until_it_fits(tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: no part of this run was kept" in err
    assert "Traceback" not in err
    assert out == ""
    assert runs(tmp_path) == []
    assert not (tmp_path / "champions").exists()
    assert presage("run", QUICKSTART, "--workdir", tmp_path, "-o", "json").json()["digest"] == whole


@pytest.mark.parametrize("delay", [0.0, 0.5, 1.5])
def test_a_killed_run_is_no_run_and_the_next_one_finds_the_same(delay: float, tmp_path: Path, whole: str) -> None:
    process = start("run", QUICKSTART, "--workdir", tmp_path)
    wait_until_it_fits(tmp_path, process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    again = presage("run", QUICKSTART, "--workdir", tmp_path, "-o", "json").json()
    assert again["digest"] == whole
    assert not any(name.startswith(".draft-") for name in runs(tmp_path))


def test_sigterm_ends_a_run_as_a_container_expects(tmp_path: Path) -> None:
    process = start("run", QUICKSTART, "--workdir", tmp_path)
    wait_until_it_fits(tmp_path, process)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert runs(tmp_path) == []


def test_a_second_run_of_the_same_job_is_told_to_wait(tmp_path: Path) -> None:
    process = start("run", QUICKSTART, "--workdir", tmp_path)
    try:
        wait_until_it_fits(tmp_path, process)
        os.killpg(process.pid, signal.SIGSTOP)  # so that it cannot end first
        ended = presage("run", QUICKSTART, "--workdir", tmp_path, code=7)
        assert "another run" in ended.err
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with 1.5 MB of room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        lacking(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_what_was_there_is_unchanged(small_disk: Path) -> None:
    (small_disk / "kept.txt").write_text("before")
    ended = presage("run", QUICKSTART, "--workdir", small_disk / "work", code=7)
    assert re.search(r"is full: \d+ bytes are free|[Nn]o space", ended.err)
    assert runs(small_disk / "work") == []
    assert (small_disk / "kept.txt").read_text() == "before"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_work_directory_that_is_or_lies_below_a_file_is_a_wrong_word(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = presage("run", QUICKSTART, "--workdir", tmp_path / place, code=2)
    assert f"{tmp_path / 'file'}" in ended.err
    assert "Give another --workdir" in ended.err
    assert "space" not in ended.err
    assert content(tmp_path) == {"file": b"in the way"}
