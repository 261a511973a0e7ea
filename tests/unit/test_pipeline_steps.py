"""What a step of the pipeline is given as text, and how it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from row_job_case import make_job

from presage.errors import DataError, JobError, LakeError, StorageError
from presage.spec.outcome import RunOutcome
from presage_pipelines.ended import step
from presage_pipelines.steps.given import job_of, moment_of, reading


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05"]
)
def test_a_moment_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert moment_of(text) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "{{workflow.creationTimestamp}}"])
def test_a_text_that_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="parameter as_of is no moment"):
        moment_of(text)


def test_a_text_that_is_no_job_is_refused_by_the_parameter_s_name() -> None:
    with pytest.raises(JobError, match="the pipeline's parameter job is no valid PredictionJob"):
        job_of("{}")


def test_a_bucket_is_asked_for_nothing_by_a_text_that_is_no_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with (
        pytest.raises(LakeError, match="the data of an earlier step cannot be read"),
        reading("s3://lake/x", make_job(), "{}"),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (DataError("the source is empty.", "Fill it."), 5, "error: the source is empty.\nFill it.\n"),
        (StorageError("no room.", "Make some."), 7, "error: no room.\nMake some.\n"),
        (ModuleNotFoundError("no", name="catboost"), 2, "needs the Python package catboost"),
        (ValueError("odd"), 1, "unexpected failure: ValueError: odd"),
        (KeyboardInterrupt(), 130, "interrupted: no part of this step was kept"),
        (SystemExit(143), 143, ""),
    ],
    ids=["stop", "retry", "missing", "unforeseen", "interrupt", "terminated"],
)
def test_a_step_ends_with_the_command_s_exit_code_and_a_sentence(
    error: BaseException, code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv("PRESAGE_OUTCOME", str(log))
    with pytest.raises(SystemExit) as ended, step():
        raise error
    assert ended.value.code == code
    written = capsys.readouterr().err
    assert says in written
    assert "Traceback" not in written
    failure = RunOutcome.model_validate_json(log.read_bytes()).failure
    assert failure is not None
    assert failure.retry == (code in {7, 130, 143})


def test_the_last_step_tells_how_the_run_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv("PRESAGE_OUTCOME", str(log))
    outcome = RunOutcome(run="20260102T030405Z-0a1b2c3d")
    with step() as told:
        told.append(outcome)
    assert RunOutcome.model_validate_json(log.read_bytes()) == outcome


def test_a_step_that_has_nothing_to_tell_leaves_the_log_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv("PRESAGE_OUTCOME", str(log))
    with step():
        pass
    assert log.read_bytes() == b""


def test_where_there_is_no_termination_log_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESAGE_OUTCOME", str(tmp_path / "termination-log"))
    with pytest.raises(SystemExit), step():
        raise DataError("no.")
    assert not list(tmp_path.iterdir())
