"""A run's metrics in a real Pushgateway, and gateways that do not take them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from commands import ENVIRONMENT, presage
from conftest import lacking
from row_job_case import DAYS, NOW, make_job, run, trips
from servers.ports import free_port
from servers.pushgateway import Pushgateway, pushgateway, pushgateway_program
from servers.web import listening

from presage.errors import JobError, MissingExtraError
from presage.steps.history import RunSummary
from presage.steps.push import push_run, require_pushgateway

GROUP = {"job": "presage", "instance": "", "namespace": "default", "prediction_job": "trips"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    if pushgateway_program() is None:
        lacking("no Pushgateway; tests/system-packages.sh installs it")
    with pushgateway(tmp_path_factory.mktemp("pushgateway")) as server:
        yield server


@pytest.fixture
def clean(gateway: Pushgateway) -> Pushgateway:
    gateway.wipe()
    return gateway


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunSummary]:
    folder = tmp_path_factory.mktemp("trips")
    trips().write_csv(folder / "trips.csv")
    return {
        task: run(make_job(task), folder, workdir=folder / task).summary for task in ("Regression", "Classification")
    }


def of(server: Pushgateway, name: str, **labels: str) -> float | None:
    return server.samples().get((name, frozenset((GROUP | labels).items())))


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_what_a_run_found_is_what_the_gateway_exposes(clean, summaries, task):
    summary = summaries[task]
    assert push_run(clean.url, summary, made_at=NOW, seconds=12.5) == ""
    card = summary.scorecard
    served = card.contender(card.verdict.champion)
    assert of(clean, "presage_run_timestamp_seconds") == NOW.timestamp()
    assert of(clean, "presage_run_duration_seconds") == 12.5
    assert of(clean, "presage_run_promoted") == float(card.verdict.promoted)
    assert of(clean, "presage_run_skill") == served.skill
    assert of(clean, "presage_run_coverage_ratio") == served.metrics.coverage
    assert of(clean, "presage_run_p_value") == card.test.p_value
    bounds = [of(clean, f"presage_run_coverage_{end}_ratio") for end in ("lower", "upper")]
    band = next(([one.lower, one.upper] for one in served.coverage if one.level == 0.9), [None, None])
    assert bounds == band
    for one in card.sources:
        assert of(clean, "presage_source_rows", source=one.name) == one.rows
        assert of(clean, "presage_source_newest_timestamp_seconds", source=one.name) == one.end.timestamp()
    assert of(clean, "presage_run_scored_origins") == card.evidence.origins
    assert of(clean, "presage_run_effective_origins") == card.evidence.effective
    assert of(clean, "presage_run_required_origins") == card.evidence.required
    about = {"model": served.name, "task": task, "metric": card.metric, "reason": card.verdict.reason}
    assert of(clean, "presage_run_info", **about) == 1
    for one in card.contenders:
        labels = {"model": one.name, "baseline": str(one.baseline).lower()}
        assert of(clean, "presage_contender_loss", **labels) == one.loss
        assert of(clean, "presage_contender_skill", **labels) == one.skill
    assert set(clean.types().values()) == {"gauge"}


def test_few_series_are_made_and_none_is_of_a_run(clean, summaries):
    summary = summaries["Regression"]
    push_run(clean.url, summary, made_at=NOW, seconds=1.0)
    card = summary.scorecard
    assert len(clean.samples()) == 12 + 2 * len(card.contenders) + 6 * len(card.sources)
    values = {value for _, labels in clean.samples() for _, value in labels}
    assert not any(summary.run in value for value in values)


def test_the_next_run_of_a_job_replaces_the_last_ones_metrics_and_no_other_jobs(clean, summaries):
    summary = summaries["Regression"]
    other = summary.model_copy(update={"job": "other", "namespace": "team/a"})
    for one in (summary, other):
        push_run(clean.url, one, made_at=NOW, seconds=1.0)
    gone = summary.scorecard.contenders[-1].name
    kept = tuple(one for one in summary.scorecard.contenders if one.name != gone)
    verdict = summary.scorecard.verdict.model_copy(update={"champion": kept[0].name})
    card = summary.scorecard.model_copy(update={"contenders": kept, "verdict": verdict, "test": None})
    later = NOW + timedelta(days=1)
    push_run(clean.url, summary.model_copy(update={"scorecard": card}), made_at=later, seconds=2.0)
    assert of(clean, "presage_run_timestamp_seconds") == later.timestamp()
    assert of(clean, "presage_contender_loss", model=gone, baseline="false") is None
    assert of(clean, "presage_run_p_value") is None, "what is not defined is not told, nor is what was before"
    theirs = {"namespace": "team/a", "prediction_job": "other"}
    assert of(clean, "presage_run_timestamp_seconds", **theirs) == NOW.timestamp()
    assert of(clean, "presage_contender_loss", model=gone, baseline="false", **theirs) is not None


@pytest.fixture(autouse=True)
def nothing_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PRESAGE_TRACKING", "off")


def job_file(folder: Path) -> Path:
    trips().write_csv(folder / "trips.csv")
    path = folder / "job.json"
    path.write_text(make_job().model_dump_json(by_alias=True, exclude_unset=True))
    return path


def test_the_command_pushes_once_the_run_is_kept(clean, tmp_path):
    found = presage("run", job_file(tmp_path), "--workdir", tmp_path / "work", "-o", "json", "--pushgateway", clean.url)
    assert "warning" not in found.err
    assert 'event="metrics pushed"' in found.err
    assert of(clean, "presage_run_promoted") == float(found.json()["scorecard"]["verdict"]["promoted"])
    assert (of(clean, "presage_run_duration_seconds") or 0) > 0


def test_a_run_that_a_rollback_holds_back_is_not_announced_as_promoted(clean, tmp_path):
    job, file = make_job(), job_file(tmp_path)
    for days in (DAYS - 30, DAYS - 10):
        trips(days=days).write_csv(tmp_path / "trips.csv")
        done = run(job, tmp_path, workdir=tmp_path / "work")
    assert done.summary.scorecard.verdict.promoted
    moment = ("--as-of", f"{NOW:%Y-%m-%dT%H:%M:%S}")
    words = ("run", file, "--workdir", tmp_path / "work", *moment, "--pushgateway", clean.url)
    trips(days=DAYS - 10).write_csv(tmp_path / "trips.csv")
    presage(*words, "--require-promotion")
    assert of(clean, "presage_run_promoted") == 1
    presage("rollback", file, "--workdir", tmp_path / "work", *moment, "--reason", "it was bad")
    for more in ((), ("--no-cache",)):
        ended = presage(*words, "--require-promotion", *more, code=3)
        assert ended.out.startswith("HELD BACK  default/trips\n")
        assert "PROMOTED" not in ended.out
        assert "is promoted" not in ended.out
        assert "of the same inputs was rolled back" in " ".join(ended.out.split())
        assert of(clean, "presage_run_promoted") == 0
        assert any(dict(labels).get("reason") == "RolledBack" for _, labels in clean.samples())
    told = presage(*words, "-o", "json")
    assert "of the same inputs was rolled back" in told.err


def test_the_address_may_be_in_the_environment(clean, tmp_path):
    presage("run", job_file(tmp_path), "--workdir", tmp_path / "work", PRESAGE_PUSHGATEWAY=clean.url)
    assert of(clean, "presage_run_promoted") is not None


def test_a_gateway_that_is_down_fails_no_run_and_is_told(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    found = presage("run", job_file(tmp_path), "--workdir", tmp_path / "work", "-o", "json", "--pushgateway", url)
    assert f"warning: the metrics of this run were not pushed to {url}: " in found.err
    assert "Connection refused" in found.err
    assert "metrics not pushed" in found.err
    assert (tmp_path / "work" / "runs" / "default.trips" / found.json()["run"] / "summary.json").exists()


class _Refusing(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.send_response(507)
        self.end_headers()


class _Silent(_Refusing):
    def do_PUT(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("handler", "fault"), [(_Refusing, "507"), (_Silent, "")], ids=["refusal", "break"])
def test_a_gateway_that_refuses_or_breaks_off_is_told(summaries, handler, fault):
    with listening(handler) as url:
        said = push_run(url, summaries["Regression"], made_at=NOW, seconds=1.0)
    assert said.startswith(f"the metrics of this run were not pushed to {url}: ")
    assert fault in said


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("gateway:9091", "is no address"),
        ("ftp://gateway", "is no address"),
        ("http://", "is no address"),
        ("http://gateway:port", "is no address"),
        ("http://[::1", "is no address"),
        ("http://gateway:9091/?a=1", "is no address"),
        ("http://me:s3cret@gateway:9091", "holds credentials"),
    ],
)
def test_an_address_that_is_none_is_refused_before_the_run(url, fault):
    with pytest.raises(JobError, match=fault) as error:
        require_pushgateway(url)
    assert "s3cret" not in str(error.value)


def test_a_wrong_address_ends_the_command_before_anything_is_read(tmp_path):
    found = presage("run", job_file(tmp_path), "--workdir", tmp_path / "work", "--pushgateway", "gateway", code=2)
    assert "'gateway' is no address of a Pushgateway" in found.err
    assert not (tmp_path / "work").exists()


def test_without_its_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"Install presage\[metrics\]"):
        require_pushgateway("http://gateway:9091")
