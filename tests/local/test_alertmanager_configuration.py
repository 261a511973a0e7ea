"""The chart's Alertmanager configuration: read by its own tool, and followed by a real Alertmanager."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Queue
from urllib.request import Request, urlopen

import pytest
import yaml
from doubles.line import RECIPIENT, TOKEN, LineDouble, line_double
from installs import SYSTEM, find, run
from monitoring_case import SCENARIOS, configuration_of, program, rendered, scenario, started
from servers.ports import free_port
from servers.web import listening

SECONDS = 30
RELAY = "import typer; from presage_serving.monitoring import alert_relay; typer.run(alert_relay)"


def written(files: dict[str, str], folder: Path) -> Path:
    """Write a part's files, with the paths of its container led into the folder; return the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text.replace("/etc/", f"{folder}/"))
    (folder / "alertmanager").symlink_to(folder)
    return folder


@pytest.mark.parametrize("name", ["default", *SCENARIOS])
def test_amtool_accepts_each_rendering(name: str, tmp_path: Path) -> None:
    files = configuration_of(rendered(*scenario(name)), "alertmanager")
    if not files:
        assert name == "prometheus-operator"
        return
    folder = written(files, tmp_path / "etc")
    said = run([program("amtool"), "check-config", folder / "alertmanager.yml"])
    assert "SUCCESS" in said
    assert "1 templates" in said or name == "own-configuration"


def test_no_secret_is_in_a_configuration() -> None:
    objects = rendered(*scenario("receivers"))
    text = configuration_of(objects, "alertmanager")["alertmanager.yml"]
    (receiver,) = yaml.safe_load(text)["receivers"]
    assert receiver["slack_configs"][0]["api_url_file"] == "/etc/alertmanager-slack/url"
    mounts = find(objects, "StatefulSet", "presage-alertmanager")["spec"]["template"]["spec"]["containers"][0]
    assert {"/etc/alertmanager-slack", "/etc/alertmanager-webhook"} <= {
        one["mountPath"] for one in mounts["volumeMounts"]
    }


class Heard:
    """What an address was sent: path, Authorization and the JSON, in order."""

    def __init__(self) -> None:
        self.queue: Queue[tuple[str, str | None, dict]] = Queue()

    def get(self) -> tuple[str, str | None, dict]:
        return self.queue.get(timeout=SECONDS)


@contextmanager
def hearing() -> Iterator[tuple[str, Heard]]:
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.queue.put((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    with listening(Handler) as url:
        yield url, heard


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[LineDouble, str]]:
    """A double of LINE, and the address of a relay to it: another process."""
    credentials = tmp_path / "line"
    credentials.mkdir()
    (credentials / "channel-access-token").write_text(TOKEN)
    (credentials / "to").write_text(RECIPIENT)
    port = free_port()
    with line_double() as double:
        command = [sys.executable, "-c", RELAY, "--credentials", str(credentials), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--line-api", double.url]
        with started(command, f"http://127.0.0.1:{port}/healthz", tmp_path / "relay.log"):
            yield double, f"127.0.0.1:{port}"


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], str]]:
    """Starts a real Alertmanager with a configuration's files, and gives its address."""
    stack = []

    def start(files: dict[str, str]) -> str:
        folder = written(files, tmp_path / "etc")
        (folder / "alertmanager-webhook").mkdir()
        (folder / "alertmanager-webhook" / "token").write_text("webhook-token")
        url = f"http://127.0.0.1:{free_port()}"
        command = [program("alertmanager", "prometheus-alertmanager"), f"--config.file={folder / 'alertmanager.yml'}"]
        command += [f"--storage.path={tmp_path / 'data'}", "--cluster.listen-address="]
        command += [f"--web.listen-address={url.removeprefix('http://')}"]
        running = started(command, f"{url}/-/ready", tmp_path / "alertmanager.log")
        running.__enter__()
        stack.append(running)
        return url

    yield start
    for running in stack:
        running.__exit__(None, None, None)


def post_alert(url: str, *, ends: datetime, severity: str = "page") -> None:
    whose = {"namespace": "desk", "prediction_job": "btc"}
    alert = {
        "labels": {"alertname": "PresageFreshness", "severity": severity, **whose},
        "annotations": {
            "summary": "The forecast of btc is old.",
            "description": "It is 3 h older than its cadence allows.",
            "runbook_url": "docs/runbooks/presage-freshness.md",
        },
        "startsAt": (datetime.now(UTC) - timedelta(minutes=5)).isoformat(),
        "endsAt": ends.isoformat(),
    }
    body = json.dumps([alert]).encode()
    with urlopen(Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}), timeout=10):
        pass


def test_a_real_alertmanager_tells_slack_a_webhook_and_a_double_of_line_of_firing_and_resolved(
    alertmanager: Callable[[dict[str, str]], str], line: tuple[LineDouble, str]
) -> None:
    double, relay = line
    with hearing() as (slack_url, slack), hearing() as (webhook_url, webhook):
        chosen = {
            "receivers.slack.enabled": "true",
            "receivers.slack.url": f"{slack_url}/services/T0/B0/key",
            "receivers.webhook.enabled": "true",
            "receivers.webhook.url": f"{webhook_url}/alerts",
            "receivers.webhook.existingSecret": "webhook",
            "receivers.line.enabled": "true",
            "receivers.line.existingSecret": "line",
            "route.groupWait": "0s",
            "route.groupInterval": "1s",
        }
        words = [word for key, value in chosen.items() for word in ("--set", f"alertmanager.{key}={value}")]
        files = configuration_of(rendered(*words), "alertmanager")
        # The one name that only a cluster's DNS knows.
        service = f"presage-line-relay.{SYSTEM}.svc:9096"
        assert service in files["alertmanager.yml"]
        files["alertmanager.yml"] = files["alertmanager.yml"].replace(service, relay)
        url = alertmanager(files)

        post_alert(url, ends=datetime.now(UTC) + timedelta(hours=1))
        path, _, message = slack.get()
        (attachment,) = message["attachments"]
        assert path == "/services/T0/B0/key"
        assert attachment["title"] == "[FIRING:1] PresageFreshness in desk/btc"
        assert attachment["text"].splitlines() == [
            "page: The forecast of btc is old.",
            "It is 3 h older than its cadence allows.",
            "docs/runbooks/presage-freshness.md",
        ]
        assert attachment["color"] == "danger"
        _, authorization, notification = webhook.get()
        assert (authorization, notification["status"]) == ("Bearer webhook-token", "firing")

        post_alert(url, ends=datetime.now(UTC) - timedelta(seconds=1))
        (attachment,) = slack.get()[2]["attachments"]
        assert attachment["title"] == "[RESOLVED] PresageFreshness in desk/btc"
        assert attachment["text"].startswith("resolved: The forecast of btc is old.")
        assert attachment["color"] == "good"
        assert webhook.get()[2]["status"] == "resolved"

    pushed = [double.heard.get(timeout=SECONDS) for _ in range(2)]
    assert [texts[0].splitlines()[0] for texts in pushed] == [
        "FIRING (page): PresageFreshness",
        "RESOLVED (page): PresageFreshness",
    ]


def test_a_page_that_fires_silences_the_ticket_of_the_same_alert(alertmanager: Callable[[dict[str, str]], str]) -> None:
    url = alertmanager(configuration_of(rendered("--set", "alertmanager.route.groupWait=0s"), "alertmanager"))
    later = datetime.now(UTC) + timedelta(hours=1)
    post_alert(url, ends=later)
    post_alert(url, ends=later, severity="ticket")

    def states() -> dict[str, str]:
        with urlopen(f"{url}/api/v2/alerts", timeout=10) as answer:
            return {one["labels"]["severity"]: one["status"]["state"] for one in json.loads(answer.read())}

    deadline = time.monotonic() + SECONDS
    while states() != {"page": "active", "ticket": "suppressed"}:
        assert time.monotonic() < deadline, states()
        time.sleep(0.1)
