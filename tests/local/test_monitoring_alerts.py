"""Alerts from a real Prometheus through a real Alertmanager to a webhook as Slack has it: firing, and resolved."""

from __future__ import annotations

import json
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Queue

import pytest
import yaml
from commands import ROOT
from conftest import lacking
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from servers.alertmanager import alertmanager, alertmanager_program
from servers.prometheus import prometheus, prometheus_programs
from servers.web import listening

RULES = ROOT / "charts" / "monitoring" / "files" / "rules"
PATIENCE = 60


def test_an_alert_fires_and_resolves_as_slack_messages_that_say_what_to_do(tmp_path: Path) -> None:
    if prometheus_programs() is None or alertmanager_program() is None:
        lacking("no Prometheus or Alertmanager; tests/system-packages.sh installs them")
    registry = CollectorRegistry()
    band = [
        Gauge(f"presage_run_coverage_{what}ratio", "Of a run.", ["namespace", "prediction_job"], registry=registry)
        for what in ("", "lower_", "upper_")
    ]
    for gauge, share in zip(band, (0.5, 0.86, 0.94), strict=True):
        gauge.labels("markets", "btc-daily").set(share)
    messages: Queue[tuple[str, dict]] = Queue()

    class Slack(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            messages.put((self.headers["Content-Type"], json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(generate_latest(registry))

    with listening(Slack) as slack, listening(Metrics) as metrics:
        receiver = {
            "name": "chat",
            "slack_configs": [
                {
                    "api_url": slack,
                    "channel": "#forecasts",
                    "send_resolved": True,
                    "title": "{{ .CommonLabels.alertname }}",
                    "text": "{{ range .Alerts }}{{ .Annotations.summary }} {{ .Annotations.description }} "
                    "{{ .Annotations.runbook_url }}{{ end }}",
                }
            ],
        }
        route = {"receiver": "chat", "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
        (tmp_path / "alerts").mkdir()
        with alertmanager(tmp_path / "alerts", {"route": route, "receivers": [receiver]}) as told:
            configuration = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES / "jobs.yaml")],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [told.address]}]}]},
                "scrape_configs": [
                    {
                        "job_name": "presage",
                        "honor_labels": True,
                        "static_configs": [{"targets": [metrics.removeprefix("http://")]}],
                    }
                ],
            }
            with prometheus(tmp_path, configuration):
                kind, firing = messages.get(timeout=PATIENCE)
                band[0].labels("markets", "btc-daily").set(0.9)
                _, resolved = messages.get(timeout=PATIENCE)
    assert kind == "application/json"
    (shown,) = firing["attachments"]
    assert firing["channel"] == "#forecasts"
    assert (shown["title"], shown["color"]) == ("PresageCoverageOutOfBand", "danger")
    assert shown["fallback"]
    assert "markets/btc-daily" in shown["text"]
    assert "50%" in shown["text"]
    assert "docs/runbooks/PresageCoverageOutOfBand.md" in shown["text"]
    assert resolved["attachments"][0]["color"] == "good"


RULE_TESTS = sorted(path.name for path in (ROOT / "tests" / "rules").glob("*.test.yaml"))


@pytest.mark.parametrize("name", RULE_TESTS)
def test_the_rules_do_what_their_cases_say(name: str) -> None:
    programs = prometheus_programs()
    if programs is None:
        lacking("no promtool; tests/system-packages.sh installs it")
    words = [programs[1], "test", "rules", ROOT / "tests" / "rules" / name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def test_promtool_finds_no_fault_in_the_rules() -> None:
    programs = prometheus_programs()
    if programs is None:
        lacking("no promtool; tests/system-packages.sh installs it")
    words = [programs[1], "check", "rules", "--lint-fatal", *sorted(RULES.glob("*.yaml"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def test_no_rule_file_is_without_a_test() -> None:
    tested = {
        Path(file).name
        for name in RULE_TESTS
        for file in yaml.safe_load((ROOT / "tests" / "rules" / name).read_text())["rule_files"]
    }
    assert tested == {path.name for path in RULES.glob("*.yaml")}
