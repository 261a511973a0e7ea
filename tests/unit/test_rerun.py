"""A rerun's parts: how a run is named, what differs between two scorecards, and what software and machine it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import EXAMPLES
from report_case import volatility_report

from presage.errors import JobError, LakeError
from presage.evaluation.scorecard import Scorecard, SeriesScore
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.steps.difference import first_difference
from presage.steps.history import read_job, write_job
from presage.steps.kept_run import RunName
from presage.steps.lock import ABSENT, kind_of, lock_differences, lock_digest, machine_kind, read_lock

V3 = "avx2 bmi1 bmi2 f16c fma movbe"
V4 = "avx512f avx512bw avx512cd avx512dq avx512vl"
RUN = "20190101T093000Z-3f2a9c1e"


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return volatility_report().scorecard


def with_mae(card: Scorecard, place: int, factor: float) -> Scorecard:
    contenders = list(card.contenders)
    metrics = contenders[place].metrics
    changed = metrics.model_copy(update={"mae": metrics.mae * factor})
    contenders[place] = contenders[place].model_copy(update={"metrics": changed})
    return card.model_copy(update={"contenders": tuple(contenders)})


def test_a_scorecard_does_not_differ_from_itself(card: Scorecard) -> None:
    assert first_difference(card, Scorecard.model_validate_json(card.model_dump_json())) is None


def test_what_the_digest_rounds_away_is_no_difference(card: Scorecard) -> None:
    other = with_mae(card, 2, 1 + 1e-9)
    assert other.digest() == card.digest()
    assert first_difference(card, other) is None


def test_a_difference_is_named_with_its_path_and_both_values(card: Scorecard) -> None:
    other = with_mae(card, 2, 1.001)
    name, mae = card.contenders[2].name, card.contenders[2].metrics.mae
    assert first_difference(card, other) == (
        f"contenders[2] {name}.metrics.mae: {mae:.6g} then, {other.contenders[2].metrics.mae:.6g} now"
    )


def test_the_first_difference_in_reading_order_is_told(card: Scorecard) -> None:
    other = with_mae(with_mae(card, 3, 1.001), 1, 1.001).model_copy(update={"tried": card.tried + 1})
    assert first_difference(card, other) == f"tried: {card.tried} then, {card.tried + 1} now"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("contenders", (), "contenders: {count} then, 0 now"),
        ("unit", "points", 'unit: "percent" then, "points" now'),
        ("test", None, "test: 6 parts then, null now"),
        ("series", (SeriesScore(name="A", origins=1, loss=1.0, skill=None, coverage=None),),
         "series: absent then, 1 parts now"),
        ("unit", "\n" + "x" * 500, 'unit: "percent" then, "\\n' + "x" * 117 + "... now"),
    ],
    ids=["fewer", "text", "gone", "new", "long text"],
)  # fmt: skip
def test_other_differences_are_told_shortly(card: Scorecard, field: str, value: object, told: str) -> None:
    changed = card.model_copy(update={field: value})
    assert first_difference(card, changed) == told.format(count=len(card.contenders))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (RUN, RunName(RUN)),
        (f"default.quickstart/{RUN}", RunName(RUN, "default.quickstart")),
        (f"/data/work/runs/default.quickstart/{RUN}", RunName(RUN, "default.quickstart", "/data/work")),
        (f"/runs/default.quickstart/{RUN}/", RunName(RUN, "default.quickstart", "/")),
        (f"work/runs/default.quickstart/{RUN}", RunName(RUN, "default.quickstart", "work")),
        (f"runs/default.quickstart/{RUN}", RunName(RUN, "default.quickstart", ".")),
        (f"s3://bucket/team/runs/a.b/{RUN}", RunName(RUN, "a.b", "s3://bucket/team")),
    ],
)
def test_a_run_is_named_by_its_id_its_job_or_its_place(text: str, name: RunName) -> None:
    assert RunName.parse(text) == name


@pytest.mark.parametrize(
    "text", ["", "/", "a/b", f"other/default.quickstart/{RUN}", "s3://bucket/x", "*", "default.*/x"]
)
def test_what_names_no_run_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="names no run"):
        RunName.parse(text)


def test_the_directory_of_a_run_names_it_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "runs" / "a.b" / RUN
    directory.mkdir(parents=True)
    monkeypatch.chdir(directory)
    assert RunName.parse(".") == RunName(RUN, "a.b", str(tmp_path))


def test_a_lock_is_of_python_presage_and_what_computes_numbers() -> None:
    lock = read_lock()
    assert {
        "python",
        "presage",
        "numpy",
        "polars",
        "scikit-learn",
        "scipy",
        "xgboost-cpu",
        "onnxruntime",
    } <= lock.keys()
    assert lock_digest() == lock_digest(lock)
    assert lock_digest(lock) != lock_digest(lock | {"numpy": "0"})


def test_differences_of_locks_are_named() -> None:
    then = {"python": "3.11", "numpy": "2.2.0", "scipy": "1.15"}
    assert lock_differences(then, then) == ()
    now = {"python": "3.12", "numpy": "2.2.0", "polars": "1.30"}
    assert lock_differences(then, now) == (
        "python 3.11 then, 3.12 now", f"scipy 1.15 then, {ABSENT} now", f"polars {ABSENT} then, 1.30 now",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "text", "kind"),
    [
        ("x86_64", f"vendor_id\t: AuthenticAMD\nflags\t\t: {V3} sse4_2\n", "x86_64-v3 AuthenticAMD"),
        ("x86_64", f"vendor_id : GenuineIntel\nflags : {V4}\n", "x86_64-v4 GenuineIntel"),
        ("x86_64", "vendor_id : GenuineIntel\nflags : sse2\n", "x86_64 GenuineIntel"),
        ("aarch64", "CPU implementer\t: 0x41\n", "aarch64 0x41"),
        ("arm64", "", "arm64"),
    ],
)  # fmt: skip
def test_a_kind_of_machine_is_its_architecture_level_and_maker(machine: str, text: str, kind: str) -> None:
    assert kind_of(machine, text) == kind


def test_this_machine_has_a_kind() -> None:
    assert machine_kind() == machine_kind() != ""


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_the_job_of_a_run_is_read_back_as_it_was(tmp_path: Path, example: str) -> None:
    job = load_job(EXAMPLES / example)
    write_job(tmp_path, job)
    held = read_job(tmp_path)
    assert held is not None
    assert spec_digest(held) == spec_digest(job)
    assert (held.metadata.name, held.metadata.namespace) == (job.metadata.name, job.metadata.namespace)


def test_the_job_of_a_run_keeps_what_is_searched_and_no_labels(tmp_path: Path) -> None:
    document = load_job(EXAMPLES / "quickstart.yaml").model_dump(mode="json", by_alias=True, exclude_none=True)
    document["metadata"]["labels"] = {"team": "desk"}
    document["spec"]["models"] = [
        {"name": "ridge", "search": {"trials": 4, "parameters": {"alpha": {"low": 0.1, "high": 10}}}}
    ]
    job = PredictionJob.model_validate(document)
    write_job(tmp_path, job)
    held = read_job(tmp_path)
    assert held is not None
    assert spec_digest(held) == spec_digest(job)
    assert "desk" not in (tmp_path / "job.json").read_text()


@pytest.mark.parametrize("text", ["", "{", "kind: Other", '{"apiVersion": 1}'])
def test_a_job_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(LakeError, match=r"the job of run .* cannot be read: .+"):
        read_job(tmp_path)


def test_a_run_without_a_job_has_none(tmp_path: Path) -> None:
    assert read_job(tmp_path) is None
