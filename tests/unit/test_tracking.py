"""Where MLflow is told, what it is told, and which runs its aliases are of."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from presage.errors import (
    JobError,
    NotSupportedError,
    PresageError,
    StorageError,
    TrackingUnavailableError,
)
from presage.evaluation.scorecard import Verdict
from presage.lake.manifest import RunManifest
from presage.steps.mirror import WorkPlace
from presage.steps.promote import Champion, Champions
from presage.steps.track import tracking_place, wanted_aliases
from presage.tracking.library import library, no_retries
from presage.tracking.place import TrackingPlace, own_place, parse_place
from presage.tracking.store import open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERVER = parse_place("http://ada:hunter2@127.0.0.1:5000")


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("HTTPS://mlflow.example/prefix/", "https://mlflow.example/prefix"),
        ("http://ada:hunter2@[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////var/lib/mlflow.db", "sqlite:////var/lib/mlflow.db"),
    ],
)
def test_a_servers_address_or_a_file_is_a_place(given: str, uri: str) -> None:
    assert parse_place(given).uri == uri


def test_a_relative_file_is_that_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = parse_place("sqlite:///mlflow.db")
    assert place.database == tmp_path / "mlflow.db"
    assert place.artifacts == tmp_path / "artifacts"
    assert place == parse_place(f"sqlite:///{tmp_path}/sub/../mlflow.db")


def test_credentials_of_an_address_are_taken_off_it() -> None:
    place = parse_place("http://ada:p%40ss%2F@host:5000")
    assert (place.username, place.password) == ("ada", "p@ss/")
    assert "p@ss" not in repr(place) + str(place)
    assert "ada" not in place.uri


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("hunter2", JobError),
        ("./mlruns", JobError),
        ("databricks", JobError),
        ("ftp://ada:hunter2@host", JobError),
        ("http://", JobError),
        ("http://ada:hunter2@host:port", JobError),
        ("http://[half", JobError),
        ("http://host/?token=hunter2", JobError),
        ("sqlite://", JobError),
        ("sqlite:///:memory:", JobError),
        ("sqlite:///folder/", JobError),
        ("sqlite:////a?b", NotSupportedError),
        ("mysql+pymysql://ada:hunter2@host/db", NotSupportedError),
        ("postgresql://ada:hunter2@host/db", NotSupportedError),
    ],
)
def test_what_is_no_place_is_refused_without_being_repeated(given: str, error: type[PresageError]) -> None:
    with pytest.raises(error) as raised:
        parse_place(given)
    assert "hunter2" not in str(raised.value)


def work(directory: Path, name: str = "") -> WorkPlace:
    return WorkPlace(directory, name or str(directory))


def test_where_nothing_is_asked_for_a_file_in_the_work_directory_is_told(tmp_path: Path) -> None:
    assert tracking_place(None, work(tmp_path)) == own_place(tmp_path)
    assert tracking_place(None, work(tmp_path, "s3://bucket/lake")) is None
    assert tracking_place("off", work(tmp_path)) is None
    assert tracking_place(" OFF ", work(tmp_path)) is None
    asked = tracking_place("http://host:5000", work(tmp_path, "s3://bucket/lake"))
    assert asked is not None
    assert asked.uri == "http://host:5000"


def test_without_the_extra_nothing_is_told_unless_it_was_asked_for(tmp_path: Path) -> None:
    """In a process that cannot import MLflow, as where the extra is not installed."""
    code = f"""
import sys
sys.modules["mlflow"] = None
from pathlib import Path
from presage.errors import MissingExtraError
from presage.steps.mirror import WorkPlace
from presage.steps.track import tracking_place
place = WorkPlace(Path({str(tmp_path)!r}), {str(tmp_path)!r})
assert tracking_place(None, place) is None
assert tracking_place("off", place) is None
try:
    tracking_place("http://host:5000", place)
except MissingExtraError as error:
    assert "presage[tracking]" in str(error)
else:
    raise SystemExit("not refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_mlflow_is_not_imported_by_what_looks_for_it() -> None:
    code = """
import sys
import presage.steps.track, presage.cli.app
from presage.tracking.library import installed
assert installed()
assert "mlflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Refusal(Exception):  # noqa: N818  # as a library's error
    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.error_code = code


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Refusal("no hunter2 here", "UNAUTHENTICATED"), JobError, "no *** here"),
        (Refusal("not yours", "PERMISSION_DENIED"), JobError, "MLFLOW_TRACKING_USERNAME"),
        (Refusal("nothing there", "ENDPOINT_NOT_FOUND"), JobError, "refuses: nothing there."),
        (Refusal("Detected out-of-date database schema (found", "INTERNAL_ERROR"), JobError, "mlflow db upgrade"),
        (Refusal("busy\nand more", "TEMPORARILY_UNAVAILABLE"), TrackingUnavailableError, "cannot be told: busy."),
        (ConnectionRefusedError(111, "Connection refused"), TrackingUnavailableError, "told: Connection refused."),
        (ValueError(""), TrackingUnavailableError, "ValueError"),
    ],
)
def test_a_fault_of_the_library_becomes_a_sentence(fault: Exception, error: type[PresageError], words: str) -> None:
    with pytest.raises(error) as raised, library(SERVER):
        raise fault
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "the runs are kept" in str(raised.value) or "mlflow db upgrade" in words


def test_our_own_errors_go_through_the_library_as_they_are() -> None:
    with pytest.raises(StorageError, match="full"), library(SERVER):
        raise StorageError("the disk is full.")


def test_the_librarys_settings_end_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    before, root = dict(os.environ), list(logging.getLogger().handlers)
    with library(SERVER):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "hunter2"
        with no_retries():
            assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        warnings.warn("of no matter", stacklevel=1)
        assert not logging.getLogger("mlflow").isEnabledFor(logging.ERROR)
    assert dict(os.environ) == before
    assert logging.getLogger().handlers == root
    assert logging.getLogger("mlflow").isEnabledFor(logging.ERROR)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow").write_text("a file")
    with pytest.raises(JobError, match="--tracking"), open_store(own_place(tmp_path)):
        pass


def champion(run: str, since: datetime) -> Champions:
    return Champions(
        current=Champion(
            run=run,
            inputs=run,
            model="ridge",
            procedure="sha256:0",
            promoted=True,
            reason="BetterThanBaseline",
            message="it is.",
            since=since,
        )
    )


def one(run: str, at: datetime, *, promoted: bool, candidate: str | None = "ridge") -> tuple[RunManifest, Verdict]:
    manifest = RunManifest(
        run=run,
        job="house",
        namespace="default",
        spec_digest="sha256:0",
        procedure_digest="sha256:0",
        tables={},
        seed=0,
        lock_digest="sha256:0",
        created_at=at,
    )
    verdict = Verdict(
        promoted=promoted,
        reason="BetterThanBaseline" if promoted else "WorseThanIncumbent",
        message="so it is.",
        champion="ridge",
        candidate=candidate,
        baseline="naive",
    )
    return manifest, verdict


def test_the_challenger_is_the_newest_run_since_whose_candidate_was_refused() -> None:
    serves = one("b", NOON, promoted=True)
    older = one("a", NOON - HOUR, promoted=False)
    refused = one("c", NOON + HOUR, promoted=False)
    newest = one("d", NOON + 2 * HOUR, promoted=False)
    nothing = one("e", NOON + 3 * HOUR, promoted=False, candidate=None)
    current = champion("b", NOON)
    assert wanted_aliases(None, [refused, serves]) == {}
    assert wanted_aliases(current, [serves, older]) == {"champion": "b"}
    assert wanted_aliases(current, [refused, serves, older]) == {"champion": "b", "challenger": "c"}
    assert wanted_aliases(current, [nothing, newest, refused, serves]) == {"champion": "b", "challenger": "d"}


def test_after_a_return_to_an_earlier_champion_what_it_replaces_is_no_challenger() -> None:
    first, second = one("a", NOON, promoted=True), one("b", NOON + HOUR, promoted=True)
    refused = one("c", NOON + 2 * HOUR, promoted=False)
    back = champion("a", NOON + 3 * HOUR)
    assert wanted_aliases(back, [refused, second, first]) == {"champion": "a"}


def test_a_place_is_shown_as_its_address() -> None:
    assert str(TrackingPlace("http://host:5000")) == "http://host:5000"
