"""The command's manners: its streams, widths, hints and the codes that it ends with."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from commands import ENVIRONMENT, EXAMPLES, PRESAGE, ROOT, presage, start

from presage.errors import JobError, StorageError
from presage.files import storage_faults, write_atomically

QUICKSTART = EXAMPLES / "quickstart.yaml"


@pytest.fixture(scope="module")
def done(quickstart_workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory that holds a run."""
    return Path(shutil.copytree(quickstart_workdir, tmp_path_factory.mktemp("done") / "work"))


def in_shell(words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell, whose redirections it meets."""
    return subprocess.run(
        ["sh", "-c", f"{PRESAGE} {words}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )


def wait_until_it_hears(process: subprocess.Popen[str]) -> None:
    """Wait until Python is up and the command has said what a stop signal does."""
    deadline = time.monotonic() + 60
    bit = 1 << (signal.SIGTERM - 1)
    while True:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.partition("SigCgt:")[2].split()[0], 16) & bit:
            return
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_a_signal_while_the_command_loads_ends_it_without_a_traceback(
    delay: float, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = start("run", QUICKSTART, "--workdir", tmp_path)
    wait_until_it_hears(process)
    time.sleep(delay)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert ("interrupted" in err) == (number == signal.SIGINT)


def test_help_tells_every_exit_code() -> None:
    said = presage("--help").out
    for code in ("130 interrupted", "143 terminated"):
        assert code in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize("words", ["validate FILE", "validate FILE -o json", "report FILE", "forecast FILE", "--help"])
def test_output_that_finds_no_room_is_said_and_output_that_nobody_reads_is_not(words: str, done: Path) -> None:
    command = words.replace("FILE", str(QUICKSTART))
    if words.startswith(("report", "forecast")):
        command += f" --workdir {done}"
    full = in_shell(f"{command} > /dev/full")
    assert full.returncode == 7
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    assert "unexpected" not in full.stderr
    for closed in (">&-", "2>&-", ">&- 2>&- <&-"):
        ended = in_shell(f"{command} {closed}")
        assert ended.returncode == 0, ended.stderr
        assert "Error" not in ended.stderr
    assert in_shell(f"{command} 2> /dev/full").returncode in {0, 7}


def test_a_percent_sign_in_the_work_directory_is_a_wrong_word(tmp_path: Path) -> None:
    ended = presage("run", QUICKSTART, "--workdir", tmp_path / "50%", code=2)
    assert "Give another --workdir" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_forecast_file_that_cannot_be_written_speaks_of_out(tmp_path: Path, done: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path, tmp_path / "file" / "forecast.parquet"):
        ended = presage("forecast", QUICKSTART, "--workdir", done, "--out", out, code=2)
        assert "--out" in ended.err
        assert "--workdir" not in ended.err
    presage("forecast", QUICKSTART, "--workdir", done, "--out", "/dev/null")
    assert Path("/dev/null").is_char_device()
    presage("forecast", QUICKSTART, "--workdir", done, "--out", tmp_path / "new" / "forecast.parquet")
    assert len(pl.read_parquet(tmp_path / "new" / "forecast.parquet")) > 0


@pytest.mark.parametrize(
    ("number", "leaf", "remedy"),
    [
        (errno.ENOSPC, StorageError, "Free some space or give another --workdir"),
        (errno.EDQUOT, StorageError, "Free some space or give another --workdir"),
        (errno.EROFS, StorageError, "Grant permission to write there or give another --workdir"),
        (errno.EACCES, StorageError, "Grant permission to write there or give another --workdir"),
        (errno.EIO, StorageError, "Give another --workdir"),
        (errno.ENOTDIR, JobError, "Give another --workdir"),
        (errno.EISDIR, JobError, "Give another --workdir"),
    ],
)
def test_what_the_system_refuses_has_the_remedy_that_fits(number: int, leaf: type[Exception], remedy: str) -> None:
    with pytest.raises(leaf, match=f"{os.strerror(number)}. {remedy};"), storage_faults(Path("work"), "--workdir"):
        raise OSError(number, os.strerror(number))


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        write_atomically(tmp_path / "pipe", "text")
        assert reader.communicate(timeout=10)[0] == b"text"
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(("columns", "widest"), [("80", 80), ("160", 160), ("", 100), ("wide", 100), ("0", 100)])
def test_a_table_in_a_pipe_is_as_wide_as_columns_says(columns: str, widest: int, done: Path) -> None:
    lines = presage("report", QUICKSTART, "--workdir", done, COLUMNS=columns).out.splitlines()
    assert widest - 25 < max(map(len, lines)) <= widest


def test_a_plan_shows_its_digests_whole_at_80_columns(tmp_path: Path) -> None:
    plan = presage("run", QUICKSTART, "--dry-run", "-o", "json").json()
    shown = presage("run", QUICKSTART, "--dry-run", COLUMNS="80").out
    assert plan["spec_digest"] in shown
    assert plan["procedure_digest"] in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown


def test_the_hint_after_a_draft_can_be_pasted(tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    rows = pl.DataFrame({"time": pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2021, 12, 31), eager=True)})
    rows.with_columns(price=pl.int_range(pl.len()) + 100.5).write_csv(table)
    draft = tmp_path / "sp ace" / "draft.yaml"
    ended = presage("init", table, "--out", draft)
    assert shlex.split(ended.err.strip().rpartition("next: ")[2]) == ["presage", "run", str(draft)]


def test_a_combination_of_nothing_is_refused_before_data_is_read(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: lonely}
spec:
  frequency: 1d
  target: {source: prices, column: Close, transform: LogChange, horizon: 1}
  sources: [{name: prices, file: {uri: absent.csv}, time: Date, availability: {lag: 0s}}]
  models: [{name: naive}, {name: mean_combination}]
"""
    )
    ended = presage("run", job, "--workdir", tmp_path / "work", code=2)
    assert "List the forecasters to combine" in ended.err
    assert not (tmp_path / "work").exists()


def test_a_source_that_is_no_pair_is_a_wrong_word(tmp_path: Path) -> None:
    for command in ("run", "forecast"):
        ended = presage(command, QUICKSTART, "--source", "prices", "--workdir", tmp_path, code=2)
        assert "'prices' is not NAME=URI" in ended.err


def absent(folder: Path, *packages: str) -> str:
    """Make a folder for PYTHONPATH in which packages are as if they were not installed."""
    for name in packages:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n")
    return str(folder)


def test_the_commands_of_other_packages_are_listed_and_not_imported(tmp_path: Path) -> None:
    without = absent(tmp_path, "aiohttp", "boto3", "kopf", "kubernetes", "orjson", "starlette", "uvicorn")
    said = " ".join(presage("--help", PYTHONPATH=without).out.replace("│", " ").split())
    assert "serve Serve a run's newest forecast over KServe's protocols" in said
    assert "operator" in said
    presage("run", QUICKSTART, "--workdir", tmp_path / "work", "-o", "json", PYTHONPATH=without)


def test_a_command_of_another_package_takes_its_own_words(tmp_path: Path) -> None:
    said = presage("serve", "--help").out
    assert "Usage: presage serve" in said
    assert "--model-dir" in said
    ended = presage("serve", "--model-dir", tmp_path, "--unheard-of", "1", code=2)
    assert "No such option: --unheard-of" in ended.err
    assert "presage serve" in ended.err


def test_a_command_whose_extra_is_not_installed_says_which_it_is(tmp_path: Path) -> None:
    words = ("serve", "--model-name", "quickstart", "--model-dir", tmp_path)
    ended = presage(*words, code=2, PYTHONPATH=absent(tmp_path, "starlette", "uvicorn"))
    assert "pip install 'presage[serving]'" in ended.err
    assert "starlette" in ended.err or "uvicorn" in ended.err


def test_a_command_that_cannot_even_be_imported_says_which_extra_it_needs(tmp_path: Path) -> None:
    package = tmp_path / "presage_gardening"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "command.py").write_text('import spade\n\ndef dig():\n    """Dig a hole.\n\n    Deep."""\n')
    metadata = tmp_path / "presage_gardening-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: presage-gardening\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[presage.commands]\ndig = presage_gardening.command:dig\n")
    assert "Dig a hole." in presage("--help", PYTHONPATH=str(tmp_path)).out
    ended = presage("dig", "--deep", code=2, PYTHONPATH=str(tmp_path))
    assert "presage dig needs the Python package spade" in ended.err
    assert "pip install 'presage[gardening]'" in ended.err
    (tmp_path / "spade.py").touch()
    assert "Usage: presage dig" in presage("dig", "-h", PYTHONPATH=str(tmp_path)).out
