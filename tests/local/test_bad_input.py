"""Bad input through the command line: a sentence that names source, row and remedy, and the lake as it was before."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from arch.data import sp500
from commands import content, presage

JOB = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: bad}
spec:
  frequency: 1d
  target: {source: prices, column: Close, transform: LogChange, horizon: HORIZON}
  sources:
    - name: prices
      file: {uri: FILE}
      time: Date
      availability: {lag: 0s}
  models: [{name: ridge}]
  evaluation: {folds: 4}
"""
Lines = list[str]


@pytest.fixture(scope="module")
def good() -> Lines:
    """600 real bars as CSV lines; line 1 is the header."""
    table = sp500.load().iloc[:600][["Open", "High", "Low", "Close"]].reset_index()
    return table.to_csv(index=False, date_format="%Y-%m-%d", float_format="%.4f").splitlines()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, good: Lines) -> Path:
    """A folder with the job, and a work directory that holds a good run of it."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder / "prices.csv", good)
    (folder / "job.yaml").write_text(JOB.replace("FILE", "prices.csv").replace("HORIZON", "1"))
    presage("run", folder / "job.yaml", "--workdir", folder / "work")
    return folder


@pytest.fixture
def place(ran: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may harm."""
    return Path(shutil.copytree(ran, tmp_path, dirs_exist_ok=True))


def write(path: Path, lines: Lines) -> None:
    path.write_text("\n".join(lines) + "\n")


def with_cell(lines: Lines, line: int, column: int, cell: str) -> Lines:
    cells = lines[line - 1].split(",")
    cells[column] = cell
    return [*lines[: line - 1], ",".join(cells), *lines[line:]]


def zoned_once(lines: Lines) -> Lines:
    clocks = [f"{line[:10]}T00:00:00{'+02:00' if row == 40 else ''}{line[10:]}" for row, line in enumerate(lines[1:])]
    return [lines[0], *clocks]


BROKEN: dict[str, tuple[Callable[[Lines], Lines], list[str]]] = {
    "a renamed column": (
        lambda lines: [lines[0].replace("Close", "Closing"), *lines[1:]],
        ["prices", "Close", "Closing"],
    ),
    "no time column": (lambda lines: [line.partition(",")[2] for line in lines], ["prices", "'Date'"]),
    "an empty file": (lambda lines: [], ["prices.csv", "empty"]),
    "a header without rows": (lambda lines: lines[:1], ["prices.csv", "no rows"]),
    "a time that is none": (lambda lines: with_cell(lines, 57, 0, "yesterday"), ["line 57", "Date", "yesterday"]),
    "times with and without a zone": (zoned_once, ["prices", "line 42", "offset"]),
    "an infinite price": (lambda lines: with_cell(lines, 101, 4, "inf"), ["line 101", "Close", "invalidRows: Drop"]),
    "a price that is no number": (lambda lines: with_cell(lines, 77, 4, "n.m."), ["line 77", "Close", "n.m."]),
    "a high below the low": (lambda lines: with_cell(lines, 33, 2, "1.0"), ["line 33", "High", "invalidRows: Drop"]),
}  # fmt: skip


@pytest.mark.parametrize(("breaks", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_bad_data_is_explained_and_leaves_no_trace(
    breaks: Callable[[Lines], Lines], words: list[str], place: Path, good: Lines
) -> None:
    lines = breaks(good)
    (place / "prices.csv").write_text("\n".join(lines) + ("\n" if lines else ""))
    before = content(place / "work" / "runs") | content(place / "work" / "champions")
    ended = presage("run", place / "job.yaml", "--workdir", place / "work", code=5)
    for word in words:
        assert word in ended.err, ended.err
    assert ended.out == ""
    assert content(place / "work" / "runs") | content(place / "work" / "champions") == before


def test_a_constant_target_cannot_be_learnt(place: Path, good: Lines) -> None:
    write(place / "prices.csv", [good[0], *(line[:10] + ",5,5,5,5" for line in good[1:])])
    ended = presage("run", place / "job.yaml", "--workdir", place / "fresh", code=5)
    assert "prices.Close" in ended.err
    assert "constant" in ended.err


def test_a_horizon_longer_than_the_history_is_said_in_numbers(place: Path, good: Lines) -> None:
    write(place / "prices.csv", good[:60])
    (place / "job.yaml").write_text(JOB.replace("FILE", "prices.csv").replace("HORIZON", "60"))
    ended = presage("run", place / "job.yaml", "--workdir", place / "fresh", code=5)
    assert "prices" in ended.err
    assert "60" in ended.err


@pytest.mark.parametrize("kind", ["gzip", "parquet", "not parquet"])
def test_a_truncated_file_is_named_with_what_to_do(kind: str, place: Path, good: Lines) -> None:
    name = {"gzip": "prices.csv.gz", "parquet": "prices.parquet", "not parquet": "prices.parquet"}[kind]
    packed = gzip.compress("\n".join(good).encode())
    if kind == "gzip":
        (place / name).write_bytes(packed[: len(packed) // 2])
    elif kind == "parquet":
        sp500.load().iloc[:100].reset_index().to_parquet(place / "whole.parquet")
        (place / name).write_bytes((place / "whole.parquet").read_bytes()[:-200])
    else:
        (place / name).write_text("\n".join(good))
    (place / "job.yaml").write_text(JOB.replace("FILE", name).replace("HORIZON", "1"))
    ended = presage("run", place / "job.yaml", "--workdir", place / "work", code=5)
    assert name in ended.err
    assert "again" in ended.err


def test_rows_in_any_order_and_twice_give_the_same_result(place: Path, good: Lines) -> None:
    straight = presage("run", place / "job.yaml", "--workdir", place / "w1", "-o", "json").json()
    write(place / "prices.csv", [good[0], *reversed(good[1:]), *good[100:150]])
    mixed = presage("run", place / "job.yaml", "--workdir", place / "w2", "-o", "json").json()
    sources = mixed["scorecard"]["sources"][0]
    assert sources["duplicates"] == 50
    assert sources["digest"] == straight["scorecard"]["sources"][0]["digest"]
    for side in ("champion", "baseline"):
        assert mixed["scorecard"][side] == straight["scorecard"][side]


def test_dropping_rows_that_cannot_be_true_is_counted(place: Path, good: Lines) -> None:
    write(place / "prices.csv", with_cell(with_cell(good, 33, 2, "1.0"), 101, 4, "inf"))
    text = (place / "job.yaml").read_text().replace("time: Date", "time: Date\n      invalidRows: Drop")
    (place / "job.yaml").write_text(text)
    ended = presage("run", place / "job.yaml", "--workdir", place / "w3", "-o", "json")
    assert ended.json()["scorecard"]["sources"][0]["dropped"] == 2


def test_a_later_bad_source_leaves_an_earlier_good_one_alone(place: Path, good: Lines) -> None:
    other = "    - {name: other, file: {uri: missing.csv}, availability: {lag: 1d}}\n"
    text = (place / "job.yaml").read_text().replace("  models:", other + "  models:")
    (place / "job.yaml").write_text(text)
    write(place / "prices.csv", good[:-10])
    before = content(place / "work" / "lake")
    ended = presage("run", place / "job.yaml", "--workdir", place / "work", code=5)
    assert "missing.csv" in ended.err
    assert content(place / "work" / "lake") == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("      availability: {lag: 0s}\n", "", ["spec.sources[0].availability", "missing"]),
        ("horizon: 1", "horizon: 0", ["spec.target.horizon", "0"]),
        ("{name: ridge}", "{name: rigde}", ["spec.models[0].name", "rigde", "did you mean 'ridge'"]),
        ("time: Date", "tiem: Date", ["spec.sources[0].tiem", "did you mean 'time'"]),
        ("source: prices", "source: price", ["spec.target.source", "did you mean 'prices'"]),
        ("frequency: 1d", "frequency: daily", ["spec.frequency", "daily"]),
    ],
)
def test_each_fault_of_a_job_file_names_its_field(old: str, new: str, words: list[str], place: Path) -> None:
    (place / "job.yaml").write_text((place / "job.yaml").read_text().replace(old, new))
    for command in (("validate",), ("run", "--workdir", place / "work"), ("run", "--dry-run")):
        ended = presage(command[0], place / "job.yaml", *command[1:], code=2)
        for word in words:
            assert word in ended.err, ended.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "frequency: 1d",
            "frequency: 1d\n  sinks: [{name: a, data: grades, files: {uri: out}}]",
            ["spec.sinks[0].data", "grades", "forecasts"],
        ),
        (
            "frequency: 1d",
            "frequency: 1d\n  sinks: [{name: a, layout: DsYSymbol, files: {uri: out}}]",
            ["spec.sinks[0].layout", "bars and frames", "Native"],
        ),
    ],
)
def test_what_this_version_would_leave_undone_is_refused(old: str, new: str, words: list[str], place: Path) -> None:
    (place / "job.yaml").write_text((place / "job.yaml").read_text().replace(old, new))
    ended = presage("run", place / "job.yaml", "--workdir", place / "work", code=2)
    for word in words:
        assert word in ended.err
