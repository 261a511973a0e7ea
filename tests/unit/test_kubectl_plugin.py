"""What the plug-in reads of an API server's answers, and how it words and prints it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from presage.spec.status import PredictionJobStatus
from presage_operator.kubectl.job import JobHistory, JobState, read_job, read_pods, read_status
from presage_operator.kubectl.tables import print_history, print_status
from presage_operator.kubectl.words import UNDEFINED, moment, percent, took

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = {"name": "job-1", "cadence": "Train", "state": "Succeeded"}


def condition(type_: str, status: str, **changes: str) -> dict:
    return {
        "type": type_,
        "status": status,
        "reason": "Because",
        "message": "it is so",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        **changes,
    }


def job(status: dict, **metadata: object) -> JobState:
    head = {"name": "job", "namespace": "default", "generation": 1, "resourceVersion": "7", **metadata}
    return read_job(json.dumps({"metadata": head, "spec": {}, "status": status}).encode())


def shown(state: JobState, width: int = 80) -> str:
    stream = io.StringIO()
    print_status(state, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_a_job_without_a_status_is_one_that_nobody_has_looked_at() -> None:
    answer = json.dumps({"metadata": {"name": "job", "namespace": "default"}}).encode()
    assert read_job(answer).status == PredictionJobStatus()
    assert shown(read_job(answer)).startswith("PENDING  default/job")


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        pytest.param({"phase": "Serving", "later": {"a": 1}}, {"phase": "Serving"}, id="a field of a later version"),
        pytest.param({"phase": "Dreaming", "url": "http://a"}, {"url": "http://a"}, id="a word of a later version"),
        pytest.param(
            {"runs": [{**RUN, "cost": 3}, RUN | {"name": "b"}]},
            {"runs": [RUN, RUN | {"name": "b"}]},
            id="a field of a run",
        ),
        pytest.param(
            {"runs": [RUN | {"state": "Paused"}, RUN, RUN | {"state": "Asleep"}]},
            {"runs": [RUN]},
            id="runs in a state of a later version",
        ),
        pytest.param({"conditions": [{"type": "Ready"}]}, {"conditions": []}, id="a condition without its fields"),
        pytest.param({"scorecard": {"model": "ridge"}}, {}, id="a scorecard without its digest"),
        pytest.param(
            {"conditions": [condition("Audited", "True"), condition("Ready", "True")]},
            {"conditions": [condition("Ready", "True")]},
            id="a condition of a later version",
        ),
        pytest.param({"runs": "many"}, {}, id="a list that is none"),
        pytest.param("well", {}, id="a status that is none"),
        pytest.param(None, {}, id="no status"),
    ],
)
def test_what_cannot_be_read_of_a_status_is_left_out(status: object, kept: dict) -> None:
    assert read_status(status) == PredictionJobStatus.model_validate(kept)


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        ([condition("Ready", "True")], "READY"),
        ([condition("Ready", "False")], "NOT READY"),
        ([condition("Ready", "False"), condition("Stalled", "True")], "STALLED"),
        ([condition("Ready", "True"), condition("Stalled", "True")], "READY"),
        ([condition("Ready", "Unknown")], "NOT READY"),
    ],
    ids=["ready", "not ready", "stalled", "ready though the newest run stalled", "unknown"],
)
def test_the_first_word_is_the_verdict(conditions: list[dict], word: str) -> None:
    assert shown(job({"conditions": conditions})).split("  ")[0] == word


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_phase_of_a_job_without_a_scorecard_is_shown_whole(width: int) -> None:
    state = job({"phase": "Pending", "conditions": [condition("Ready", "False")]})
    assert "  Phase  Pending" in [line.rstrip() for line in shown(state, width).splitlines()]


def test_a_value_that_does_not_fit_goes_on_in_the_next_line() -> None:
    card = {"model": "q" * 63, "digest": "sha256:" + "0" * 64, "run": "r", "data": "sha256:" + "0" * 64}
    assert shown(job({"conditions": [condition("Ready", "True")], "scorecard": card}), 60).count("q") == 63


def test_why_a_job_is_stalled_is_said_at_once() -> None:
    state = job(
        {
            "conditions": [
                condition("Ready", "False", message="nothing is served"),
                condition("Stalled", "True", reason="DataError", message="vix has no rows"),
            ]
        }
    )
    assert shown(state).splitlines()[1:3] == ["  nothing is served", "  vix has no rows"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    digest = "sha256:" + "0" * 64
    name = "a-job-whose-name-is-as-long-as-a-job-may-be-named-so-it-is"
    status = {
        "conditions": [condition("Ready", "False", reason="A" * 120, message="a long sentence " * 40)],
        "scorecard": {"model": "m" * 63, "digest": digest, "run": "r" * 200, "data": digest},
        "url": "http://" + "u" * 300,
        "runs": [RUN | {"name": "r" * 63, "reason": "OOMKilled", "message": "too large " * 30}],
        "champions": [
            {"model": "m" * 63, "run": "r" * 100, "since": START.isoformat(), "reason": "c" * 90, "digest": digest}
        ],
    }
    state = job(status, name=name)
    stream = io.StringIO()
    print_history(
        JobHistory(runs=state.status.runs, champions=state.status.champions), Console(file=stream, width=width)
    )
    lines = (shown(state, width) + stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= width


def test_what_a_status_says_cannot_steer_the_terminal() -> None:
    state = job({"conditions": [condition("Ready", "True", message="\x1b[2Jall is [bold]well[/bold]\r")]})
    text = shown(state)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[bold]well[/bold]" in text


def test_pods_come_the_newest_first() -> None:
    def pod(name: str, created: str, *containers: str) -> dict:
        return {
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"containers": [{"name": one, "image": "a"} for one in containers]},
        }

    items = [pod("old", "2026-01-01T00:00:00Z", "run"), pod("new", "2026-01-02T00:00:00Z", "proxy", "run")]
    pods = read_pods(json.dumps({"items": items}).encode())
    assert [(one.name, one.containers) for one in pods] == [("new", ("proxy", "run")), ("old", ("run",))]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (90061, "1d 1h")],
)
def test_a_length_of_time_is_given_in_its_two_largest_units(seconds: int, text: str) -> None:
    assert took(START, START + timedelta(seconds=seconds)) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert [took(START, None), took(None, START), moment(None), percent(None)] == [UNDEFINED] * 4


def test_a_share_that_rounds_to_nothing_has_no_sign() -> None:
    assert [percent(share) for share in (-0.0001, 0.069, -0.0104, 1)] == ["0.0 %", "6.9 %", "-1.0 %", "100.0 %"]
