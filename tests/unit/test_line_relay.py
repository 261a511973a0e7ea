"""The relay to LINE: what is sent of a notification, once, within LINE's bounds, and what Alertmanager is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from doubles.line import RECIPIENT, TOKEN, LineDouble, line_double
from starlette.applications import Starlette

from presage_serving.line_relay import Line, push_of, read_notification
from presage_serving.relay_application import LARGEST_BODY, relay_application

NOW = 1_700_000_000.0


def alert(name: str, status: str = "firing", **annotations: str) -> dict[str, object]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "page", "namespace": "desk"},
        "annotations": annotations,
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c1f3",
    }


def webhook(*alerts: dict[str, object], truncated: int = 0) -> bytes:
    """A notification as Alertmanager writes it."""
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="PresageOperatorDown"}',
            "truncatedAlerts": truncated,
            "status": "firing",
            "receiver": "everyone",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "alerts": list(alerts),
        }
    ).encode()


@pytest.fixture
def line() -> Iterator[LineDouble]:
    with line_double() as double:
        yield double


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A folder as a mounted Secret."""
    (tmp_path / "channel-access-token").write_text(f"{TOKEN}\n")
    (tmp_path / "to").write_text(RECIPIENT)
    return tmp_path


class Caller:
    """Calls an application as a server does."""

    def __init__(self, application: Starlette) -> None:
        self._transport = httpx.ASGITransport(application)

    def post(self, path: str, *, content: bytes) -> httpx.Response:
        return asyncio.run(self._call("POST", path, content))

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._call("GET", path, b""))

    async def _call(self, method: str, path: str, content: bytes) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://relay") as client:
            return await client.request(method, path, content=content)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def relay(line: LineDouble, credentials: Path, clock: Clock) -> Caller:
    return Caller(relay_application(Line(credentials, line.url), clock))


def test_a_double_of_line_is_sent_status_name_summary_and_description(relay: Caller, line: LineDouble) -> None:
    body = webhook(
        alert("PresageOperatorDown", summary="No operator answers.", description="For 5 minutes."),
        alert("PresagePriceStale", "resolved", summary="It stands."),
    )
    assert relay.post("/alerts", content=body).status_code == 204
    ((text,),) = line.taken
    assert text.split("\n\n") == [
        "FIRING (page): PresageOperatorDown\nNo operator answers.\nFor 5 minutes.",
        "RESOLVED (page): PresagePriceStale\nIt stands.",
    ]


def test_an_attempt_that_is_repeated_is_one_message_to_a_double_of_line(
    relay: Caller, line: LineDouble, clock: Clock
) -> None:
    body = webhook(alert("PresageOperatorDown"))
    assert relay.post("/alerts", content=body).status_code == 204
    assert relay.post("/alerts", content=body).status_code == 204
    assert (len(line.keys), len(line.taken)) == (2, 1)
    clock.now += 3600
    assert relay.post("/alerts", content=body).status_code == 204
    assert len(line.taken) == 2


def test_a_long_notification_stays_within_the_bounds_of_a_double_of_line(relay: Caller, line: LineDouble) -> None:
    body = webhook(*(alert(f"Alert{place}", summary="\U0001f4c8" * 2400) for place in range(9)), truncated=3)
    assert relay.post("/alerts", content=body).status_code == 204
    (texts,) = line.taken
    assert len(texts) == 5
    assert texts[-1].endswith("and 7 more alerts")


def test_one_alert_that_is_too_long_is_cut() -> None:
    push = push_of(read_notification(webhook(alert("Long", description="x" * 20_000))), NOW)
    assert push is not None
    (text,) = push.texts
    assert len(text) <= 5000
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("status", "answered"), [(500, 502), (503, 502), (429, 503), (401, 400), (400, 400), (409, 204)]
)
def test_alertmanager_is_told_whether_to_try_again_by_what_a_double_of_line_answers(
    relay: Caller, line: LineDouble, status: int, answered: int
) -> None:
    line.statuses.append(status)
    got = relay.post("/alerts", content=webhook(alert("PresageOperatorDown")))
    assert got.status_code == answered
    assert TOKEN not in got.text


def test_a_line_that_is_not_there_is_tried_again(credentials: Path) -> None:
    relay = Caller(relay_application(Line(credentials, "http://127.0.0.1:9"), lambda: NOW))
    assert relay.post("/alerts", content=webhook(alert("PresageOperatorDown"))).status_code == 502


def test_credentials_are_read_at_each_push(relay: Caller, line: LineDouble, credentials: Path) -> None:
    (credentials / "channel-access-token").write_text("an old token")
    body = webhook(alert("PresageOperatorDown"))
    assert relay.post("/alerts", content=body).status_code == 400
    (credentials / "channel-access-token").write_text(TOKEN)
    assert relay.post("/alerts", content=webhook(alert("Another"))).status_code == 204
    (credentials / "to").unlink()
    got = relay.post("/alerts", content=body)
    assert (got.status_code, got.json()["error"]) == (503, "The file to of the credentials cannot be read.")


def test_what_is_no_notification_is_refused(relay: Caller, line: LineDouble) -> None:
    for body in (
        b"no json",
        b"{}",
        b'{"version": "3", "alerts": []}',
        b'{"version": "4", "alerts": [{"status": "?"}]}',
    ):
        assert relay.post("/alerts", content=body).status_code == 400
    assert relay.post("/alerts", content=b" " * (LARGEST_BODY + 1)).status_code == 413
    assert line.keys == []


def test_a_notification_without_alerts_sends_nothing(relay: Caller, line: LineDouble) -> None:
    assert relay.post("/alerts", content=webhook()).status_code == 204
    assert line.keys == []


def test_the_relay_says_that_it_is_alive(relay: Caller) -> None:
    assert relay.get("/healthz").json() == {"status": "alive"}
