"""The plug-in's commands before a double of the API server, for what needs a node: a Pod's log, a served report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import commands
import pytest
from commands import ROOT, Ended
from servers.web import listening
from typer.main import get_command

from presage_operator.kubectl.app import app

JOB = "/apis/presage.dev/v1alpha1/namespaces/default/predictionjobs/job"
PODS = "/api/v1/namespaces/default/pods"
REPORT = "/api/v1/namespaces/default/services/http:job-predictor:http/proxy/report"
HEAD = {"metadata": {"name": "job", "namespace": "default", "generation": 1, "resourceVersion": "1"}}


@dataclass
class ApiDouble:
    """Answers by path, and what was asked; a path without an answer is not found."""

    answers: dict[str, tuple[int, list[bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    url: str = ""

    def tell(self, path: str, *parts: bytes | dict, code: int = 200) -> None:
        """Answer a path with the parts, each in a chunk of its own."""
        self.answers[path] = (code, [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts])


@pytest.fixture
def api_double() -> Iterator[ApiDouble]:
    double = ApiDouble()
    double.tell(JOB, HEAD)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            double.asked.append((asked.path, parse_qs(asked.query)))
            code, parts = double.answers.get(asked.path, (404, [b"{}"]))
            self.send_response(code)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in [*parts, b""]:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    with listening(Handler) as double.url:
        yield double


Plugin = Callable[..., Ended]


@pytest.fixture
def plugin(api_double: ApiDouble, tmp_path: Path) -> Plugin:
    """Runs the plug-in and requires its exit code."""
    kubeconfig = {
        "clusters": [{"name": "double", "cluster": {"server": api_double.url}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": ""}}],
        "current-context": "double",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    return partial(commands.plugin, cwd=tmp_path, KUBECONFIG=str(tmp_path / "kubeconfig"), COLUMNS="80")


def pod(name: str, created: str, *containers: str) -> dict:
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"containers": [{"name": one} for one in containers]},
    }


def test_a_served_report_is_written_whole(api_double: ApiDouble, plugin: Plugin, tmp_path: Path) -> None:
    api_double.tell(REPORT, b"<!doctype html>", b"\xe2\x80\x93 page")
    assert plugin("report", "job").err == "report: job-report.html\n"
    plugin("report", "job", "--out", "other.html")
    pages = [(tmp_path / name).read_bytes() for name in ("job-report.html", "other.html")]
    assert pages == [b"<!doctype html>\xe2\x80\x93 page"] * 2


def test_a_report_that_finds_no_room_says_so(api_double: ApiDouble, plugin: Plugin) -> None:
    api_double.tell(REPORT, b"page")
    assert "cannot write nowhere/a.html" in plugin("report", "job", "--out", "nowhere/a.html", code=1).err


def test_a_log_is_that_of_the_newest_pod_and_its_own_container(api_double: ApiDouble, plugin: Plugin) -> None:
    items = [pod("job-1-a", "2026-01-01T00:00:00Z", "run"), pod("job-1-b", "2026-01-02T00:00:00Z", "proxy", "run")]
    api_double.tell(PODS, {"items": items})
    api_double.tell(f"{PODS}/job-1-b/log", b"level=info event=ingested\n", b"level=info event=trained\n")
    assert plugin("logs", "job", "--run", "job-1", "--follow").out.splitlines() == [
        "level=info event=ingested",
        "level=info event=trained",
    ]
    assert api_double.asked[-2:] == [
        (PODS, {"labelSelector": ["presage.dev/job=job,presage.dev/run=job-1"]}),
        (f"{PODS}/job-1-b/log", {"container": ["run"], "follow": ["true"], "previous": ["false"]}),
    ]


def test_the_log_of_a_server_is_not_that_of_a_run(api_double: ApiDouble, plugin: Plugin) -> None:
    api_double.tell(PODS, {"items": [pod("job-predictor-a", "2026-01-01T00:00:00Z", "server")]})
    api_double.tell(f"{PODS}/job-predictor-a/log", b"ready\n")
    assert plugin("logs", "job", "--server", "--previous").out == "ready\n"
    assert api_double.asked[-2:] == [
        (PODS, {"labelSelector": ["presage.dev/job=job,!presage.dev/run"]}),
        (f"{PODS}/job-predictor-a/log", {"container": ["server"], "follow": ["false"], "previous": ["true"]}),
    ]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (403, 1, "the API server answers 403: that may not be.\nLog in to the cluster"),
        (429, 7, "the API server answers 429: that may not be.\nTry again later"),
        (503, 7, "the API server answers 503: that may not be.\nTry again later"),
    ],
    ids=["forbidden", "too many requests", "unavailable"],
)
def test_what_the_server_refuses_is_told_in_its_words(
    api_double: ApiDouble, plugin: Plugin, answer: int, code: int, said: str
) -> None:
    api_double.tell(JOB, {"kind": "Status", "message": "that may not be"}, code=answer)
    assert said in plugin("status", "job", code=code).err


def test_the_reference_names_every_command_and_option() -> None:
    page = (ROOT / "docs" / "reference" / "kubectl-presage.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {
        name
        for command in commands.values()
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }
    assert set(commands) == set(re.findall(r"`kubectl presage (\w+)(?: \[?NAME\]?)`", page))
    assert options <= set(re.findall(r"`(--?[a-z]+)`", page))
