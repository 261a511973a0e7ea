"""What a command tells the platform that started it, and the forecast that it leaves for a server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import EXAMPLES, presage, start

from presage.cli.outcome import failure_of, outcome_told, without_secrets
from presage.errors import DataError, JobError, Problem, SourceUnavailableError, StorageError
from presage.evaluation.scorecard import SourceSummary
from presage.report.data import IssuedForecast
from presage.spec.digest import spec_digest
from presage.spec.forecast import ForecastSummary
from presage.spec.load import load_job, parse_job
from presage.spec.outcome import LARGEST_MESSAGE, RunOutcome
from presage.steps.forecast import read_forecast, stale_after, write_forecast
from presage.steps.outcome import data_digest

QUICKSTART = EXAMPLES / "quickstart.yaml"
SETTLED = ["DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted"]


def told(file: Path) -> RunOutcome:
    text = file.read_bytes()
    assert len(text) <= LARGEST_MESSAGE
    return RunOutcome.model_validate_json(text)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory that holds a run, beside the run's summary and its outcome."""
    folder = tmp_path_factory.mktemp("done")
    ended = presage("run", QUICKSTART, "--workdir", folder / "work", "--outcome", folder / "outcome", "-o", "json")
    (folder / "summary.json").write_text(ended.out)
    return folder


def copy(done: Path, place: Path) -> Path:
    return Path(shutil.copytree(done / "work", place / "work"))


def test_a_run_tells_what_it_found_and_what_is_served(done: Path) -> None:
    outcome = told(done / "outcome")
    summary = json.loads((done / "summary.json").read_text())
    card = summary["scorecard"]
    best = next(one for one in card["contenders"] if one["name"] == card["verdict"]["champion"])
    assert outcome.failure is None
    assert outcome.run == summary["run"]
    assert outcome.spec_digest == spec_digest(load_job(QUICKSTART)) == summary["spec_digest"]
    assert [condition.type for condition in outcome.conditions] == SETTLED
    assert outcome.scorecard is not None
    assert outcome.scorecard.model == best["name"]
    assert outcome.scorecard.skill == round(best["skill"], 3)
    assert outcome.scorecard.coverage == round(best["metrics"]["coverage"], 3)
    assert outcome.scorecard.digest == summary["digest"]
    assert outcome.champion is not None
    assert (outcome.champion.run, outcome.champion.digest) == (summary["run"], summary["digest"])
    assert outcome.champion.reason == "BetterThanBaseline"


def test_the_forecast_stands_beside_its_bundle(done: Path) -> None:
    outcome = told(done / "outcome")
    assert outcome.run is not None
    directory = done / "work" / "runs" / "default.quickstart" / outcome.run
    assert (directory / "bundle" / "bundle.json").is_file()
    issued = read_forecast(directory)
    assert issued is not None
    assert issued.run == outcome.run
    assert issued.stale_after == outcome.stale_after
    assert issued.steps[0].quantiles["q0.05"] < issued.steps[0].mean < issued.steps[0].quantiles["q0.95"]


def test_a_forecast_tells_of_the_champion_without_conditions(done: Path, tmp_path: Path) -> None:
    work = copy(done, tmp_path)
    ended = presage(
        "forecast", QUICKSTART, "--workdir", work, "-o", "json", PRESAGE_OUTCOME=str(tmp_path / "outcome")
    ).json()
    outcome, of_run = told(tmp_path / "outcome"), told(done / "outcome")
    assert outcome.model_copy(update={"conditions": of_run.conditions, "scorecard": of_run.scorecard}) == of_run
    assert outcome.conditions == ()
    assert outcome.scorecard is None
    assert read_forecast(work / "runs" / "default.quickstart" / ended["run"]) == ForecastSummary.model_validate(ended)


def test_a_forecast_as_of_an_earlier_day_leaves_the_newest_one_in_place(done: Path, tmp_path: Path) -> None:
    work = copy(done, tmp_path)
    newest = told(done / "outcome")
    ended = presage(
        *("forecast", QUICKSTART, "--workdir", work, "--as-of", "2018-06-01", "-o", "json"),
        *("--outcome", tmp_path / "outcome"),
    ).json()
    assert ended["issued_at"] < "2018-06-01T00:00:01"
    assert ended["run"] == newest.run
    issued = read_forecast(work / "runs" / "default.quickstart" / ended["run"])
    assert issued is not None
    assert issued.issued_at > datetime(2018, 12, 1, tzinfo=UTC)
    assert told(tmp_path / "outcome").stale_after == issued.stale_after == newest.stale_after


def test_a_run_that_changes_no_champion_tells_of_the_one_that_stays(done: Path, tmp_path: Path) -> None:
    work = copy(done, tmp_path)
    presage("run", QUICKSTART, "--workdir", work, "--as-of", "2018-06-01", "--outcome", tmp_path / "outcome")
    outcome, before = told(tmp_path / "outcome"), told(done / "outcome")
    assert outcome.run != before.run
    assert outcome.scorecard is not None
    assert outcome.scorecard.run == outcome.run
    assert (outcome.champion, outcome.stale_after) == (before.champion, before.stale_after)


def test_a_wrong_job_is_told_with_its_faults_and_the_exit_code_stays(tmp_path: Path) -> None:
    wrong = tmp_path / "job.yaml"
    wrong.write_text(QUICKSTART.read_text().replace("horizon: 1", "horizon: none") + "  unheard: 1\n")
    presage("run", wrong, "--workdir", tmp_path / "work", "--outcome", tmp_path / "outcome", code=2)
    failure = told(tmp_path / "outcome").failure
    assert failure is not None
    assert (failure.reason, failure.retry) == ("JobError", False)
    assert "spec.unheard: found an unknown field" in failure.message


def test_unusable_data_is_told_with_the_spec_that_was_run(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("time,Close\n")
    words = ("--source", f"sp500={tmp_path / 'empty.csv'}", "--outcome", tmp_path / "outcome")
    for command in ("run", "forecast"):
        ended = presage(command, QUICKSTART, "--workdir", tmp_path / "work", *words, code=5)
        outcome = told(tmp_path / "outcome")
        assert outcome.spec_digest == spec_digest(load_job(QUICKSTART))
        assert outcome.failure is not None
        assert (outcome.failure.reason, outcome.failure.retry) == ("DataError", False)
        assert outcome.failure.message.split(".")[0] in ended.err
        assert (outcome.champion, outcome.conditions) == (None, ())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_told_as_an_interruption_worth_a_repeat(number: signal.Signals, code: int, tmp_path: Path) -> None:
    process = start("run", QUICKSTART, "--workdir", tmp_path / "work", "--outcome", tmp_path / "outcome")
    drafts = tmp_path / "work" / "runs" / "default.quickstart"
    deadline = time.monotonic() + 60
    while not list(drafts.glob(".draft-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == code
    failure = told(tmp_path / "outcome").failure
    assert failure is not None
    assert (failure.reason, failure.retry) == ("Interrupted", True)


def test_an_outcome_that_cannot_be_written_is_logged_and_changes_nothing(done: Path, tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "none" / "outcome", Path("/dev/full")):
        ended = presage("forecast", QUICKSTART, "--workdir", done / "work", "--outcome", file, "-o", "json")
        assert "outcome not written" in ended.err
        assert ended.json()["job"] == "quickstart"
    presage("forecast", tmp_path / "none", "--outcome", tmp_path, code=2)


def test_the_file_is_written_in_place_and_whole(done: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "termination-log"
    mounted.write_text(9000 * "x")
    place = mounted.stat().st_ino
    presage("forecast", QUICKSTART, "--workdir", done / "work", "--outcome", mounted)
    assert told(mounted).champion is not None
    assert mounted.stat().st_ino == place


@pytest.mark.parametrize(
    ("error", "reason", "message", "retry"),
    [
        (DataError("no row.", "Give more."), "DataError", "no row. Give more.", False),
        (SourceUnavailableError("it is silent.", "Wait."), "SourceUnavailableError", "it is silent. Wait.", True),
        (
            JobError("wrong.", "Read on.", [Problem("spec.seed", "x", "a number"), Problem("spec.task", "y", "z")]),
            "JobError",
            "wrong. spec.seed: found x; allowed: a number; spec.task: found y; allowed: z Read on.",
            False,
        ),
        (
            OSError(28, "No space left on device", "bars"),
            "StorageError",
            "cannot write to bars: No space left on device. Free some space or name another place.",
            True,
        ),
        (ZeroDivisionError("by nought"), "UnexpectedFailure", "ZeroDivisionError: by nought", False),
        (DataError("\udcff.csv has no row."), "DataError", "?.csv has no row.", False),
    ],
    ids=["data", "source", "job", "disk", "unforeseen", "no-text"],
)
def test_a_failure_is_its_errors_class_sentence_and_remedy(
    error: Exception, reason: str, message: str, retry: bool
) -> None:
    failure = failure_of(error)
    assert (failure.reason, failure.message, failure.retry) == (reason, message, retry)


def test_no_secret_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    monkeypatch.setenv("EMPTY_TOKEN", "")
    text = "mysql+pymysql://desk:hunter2@db/prices refused wJalrXUtnFEMI and hunter22 at https://example.com/a@b"
    assert without_secrets(text) == "mysql+pymysql://***@db/prices refused *** and *** at https://example.com/a@b"
    with pytest.raises(StorageError), outcome_told(tmp_path / "outcome"):
        raise StorageError(text)
    assert "hunter" not in (tmp_path / "outcome").read_text()


def forecast_of(issued_at: str, next_bar: str) -> IssuedForecast:
    return IssuedForecast(
        series="prices",
        issued_at=datetime.fromisoformat(issued_at).replace(tzinfo=UTC),
        target_time=np.array([next_bar], dtype="datetime64[us]"),
        mean=np.array([1.0]),
        probabilities=np.array([]),
        quantiles=np.empty((1, 0)),
    )


@pytest.mark.parametrize(
    ("frequency", "zone", "lag", "longest", "issued_at", "next_bar", "expected"),
    [
        ("1d", "UTC", "0s", None, "2026-03-04", "2026-03-04", "2026-03-06"),
        ("1d", "UTC", "6h", None, "2026-03-04T06:00", "2026-03-04", "2026-03-06T06:00"),
        ("1d", "UTC", "0s", None, "2026-03-07", "2026-03-09", "2026-03-11"),
        ("1d", "America/New_York", "0s", None, "2026-03-07T05:00", "2026-03-07T05:00", "2026-03-09T04:00"),
        ("1h", "UTC", "0s", None, "2026-03-04T10:00", "2026-03-04T10:00", "2026-03-04T12:00"),
        ("1mo", "UTC", "0s", None, "2026-01-01", "2026-01-01", "2026-03-01"),
        ("1mo", "UTC", "30d", None, "2026-01-31", "2026-01-01", "2026-03-31"),
        ("1mo", "UTC", "30d", "36h", "2026-01-31", "2026-01-01", "2026-02-01T12:00"),
        ("1d", "UTC", "0s", "0s", "2026-03-04", "2026-03-04", "2026-03-04"),
    ],
    ids=["days", "lag", "weekend", "clock-change", "hours", "months", "months-lag", "declared", "at-once"],
)
def test_a_forecast_is_stale_after_two_bars_or_when_the_job_says(
    frequency: str, zone: str, lag: str, longest: str | None, issued_at: str, next_bar: str, expected: str
) -> None:
    content = yaml.safe_load(QUICKSTART.read_text())
    content["spec"] = {
        "frequency": frequency,
        "target": {"source": "prices", "column": "Close"},
        "sources": [{"name": "prices", "timeZone": zone, "availability": {"lag": lag}, "file": {"uri": "prices.csv"}}],
        "monitoring": {"maxStaleness": longest} if longest else {},
    }
    job = parse_job(json.dumps(content), "job")
    assert stale_after(job, forecast_of(issued_at, next_bar)) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_only_a_newer_forecast_takes_the_place_of_the_one_that_is_there(tmp_path: Path) -> None:
    def issued(day: int, mean: float) -> ForecastSummary:
        return ForecastSummary(
            job="j", namespace="n", series="s", run="r", model=f"m{mean}", promoted=True,
            issued_at=datetime(2026, 1, day, tzinfo=UTC), steps=(),
        )  # fmt: skip

    assert read_forecast(tmp_path) is None
    assert write_forecast(tmp_path, issued(2, 1.0)) == issued(2, 1.0)
    assert write_forecast(tmp_path, issued(1, 2.0)) == issued(2, 1.0)
    assert write_forecast(tmp_path, issued(2, 3.0)) == issued(2, 3.0)
    assert read_forecast(tmp_path) == issued(2, 3.0)


def source(name: str, digest: str) -> SourceSummary:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    return SourceSummary(
        name=name, rows=1, start=day, end=day, gaps=0, filled=0, duplicates=0, dropped=0, lag="0s", revised=False,
        digest=digest,
    )  # fmt: skip


def test_the_version_of_the_data_is_that_of_every_source_in_any_order() -> None:
    one, other = source("a", "sha256:1"), source("b", "sha256:2")
    assert data_digest([one, other]) == data_digest([other, one])
    assert data_digest([one, other]) != data_digest([source("a", "sha256:2"), source("b", "sha256:1")])
    assert data_digest([one]) != data_digest([one, other])
    assert data_digest([one]).startswith("sha256:")
