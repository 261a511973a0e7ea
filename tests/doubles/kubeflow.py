"""A double of the API of Kubeflow Pipelines (v2beta1), as far as the official client and ours use it.

It stands in for a server that runs in a cluster only. It judges what it is sent as the server does: a pipeline by the
official protobuf types, parameters by the pipeline's inputs, filters by their operations. It runs nothing: a test says
how a run goes on.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from servers.web import listening

_EPOCH = "1970-01-01T00:00:00Z"
_ENDED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
_FIRST = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Json = dict[str, object]


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, "code": code, "message": message, "details": []}


@dataclass
class KubeflowDouble:
    """A running double.

    Attributes:
        url: Its address.
        runs: The runs that it holds, by id.
        experiments: The experiments that it holds, by id.
        requests: Method and path of each request, in order.
        answers: Statuses to answer the next requests with instead, such as 503.
        held: While set, requests wait for it.
        page_size: Most entries of a page, whatever is asked for.
        multi_user: Whether each namespace has experiments and runs of its own.
        token: What a request must show; empty where it need not.
        first: State of a new run.
    """

    url: str = ""
    runs: dict[str, Json] = field(default_factory=dict)
    experiments: dict[str, Json] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    held: threading.Event | None = None
    page_size: int = 100
    multi_user: bool = False
    token: str = ""
    first: str = "PENDING"
    ticks: int = 0

    def goes_on(self, run_id: str, state: str, message: str = "") -> None:
        """Bring a run to another state."""
        run = self.runs[run_id]
        run["state"] = state
        if state in _ENDED:
            run["finished_at"] = self._tick()
        if message:
            run["error"] = {"code": 2, "message": message}

    def step_goes_on(self, run_id: str, name: str, state: str, *, turn: int = 0, message: str = "") -> None:
        """Bring a step of a run, in its turn of a fan-out, to another state; a server mostly has no message for it."""
        details = self.runs[run_id].setdefault("run_details", {"task_details": []})
        steps = {step["task_id"]: step for step in details["task_details"]}
        step = {"run_id": run_id, "task_id": f"{name}-{turn}", "display_name": name, "state": state}
        steps[step["task_id"]] = step | ({"error": {"code": 2, "message": message}} if message else {})
        details["task_details"] = list(steps.values())

    def answer(self, method: str, target: str, body: Json) -> Json:
        """Return the answer to a request; raises RefusalError."""
        path, query = (
            urlsplit(target).path,
            {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()},
        )
        match method, unquote(path).removeprefix("/apis/v2beta1/").split("/"):
            case "GET", ["healthz"]:
                return {"multi_user": self.multi_user, "pipeline_store": "database"}
            case "GET", ["experiments"]:
                return self._page("experiments", self.experiments, query)
            case "POST", ["experiments"]:
                return self._create_experiment(body)
            case "GET", ["experiments", name]:
                return self._found(self.experiments, name)
            case "GET", ["runs"]:
                return self._page("runs", self.runs, query)
            case "POST", ["runs"]:
                return self._create(body)
            case "GET", ["runs", name]:
                return self._found(self.runs, name)
            case "DELETE", ["runs", name]:
                self._found(self.runs, name)
                del self.runs[name]
                return {}
            case "POST", ["runs", verb] if matched := re.fullmatch("(.*):terminate", verb):
                return self._terminate(matched[1])
        raise RefusalError(404, 5, f"Not Found: {method} {path}")

    def fail_if_told(self) -> None:
        """Raise RefusalError where a test says that this request fails."""
        if self.answers and (status := self.answers.pop(0)) != 200:
            raise RefusalError(status, 14, "told to fail")

    def refuse_strangers(self, authorization: str | None) -> None:
        """Raise RefusalError where a request does not show the token."""
        if self.token and authorization != f"Bearer {self.token}":
            raise RefusalError(401, 16, "Unauthenticated: the token is missing or wrong")

    def _terminate(self, run_id: str) -> Json:
        run = self._found(self.runs, run_id)
        if run["state"] in _ENDED:
            raise RefusalError(400, 3, f"Failed to terminate run {run_id}: it has ended")
        run["state"] = "CANCELING"
        return {}

    def _create(self, body: Json) -> Json:
        if not body.get("display_name"):
            raise RefusalError(400, 3, "The run name is empty. Please specify a valid name")
        unknown = set(body) - {
            *("display_name", "description", "pipeline_spec", "runtime_config", "service_account", "experiment_id"),
        }
        if unknown:
            raise RefusalError(400, 3, f"unknown fields {sorted(unknown)}")
        inputs = _inputs(body.get("pipeline_spec"))
        given = (body.get("runtime_config") or {}).get("parameters") or {}
        if wrong := set(given) ^ inputs:
            raise RefusalError(400, 3, f"parameters do not fit the pipeline: {sorted(wrong)}")
        if self.multi_user and "experiment_id" not in body:
            raise RefusalError(400, 3, "Experiment id can not be empty in multi-user mode")
        where = self._found(self.experiments, body["experiment_id"]) if "experiment_id" in body else {}
        begun = {"state": self.first, "finished_at": _EPOCH, "namespace": where.get("namespace", "")}
        return self._keep(self.runs, "run_id", body | begun)

    def _create_experiment(self, body: Json) -> Json:
        # A single-user server takes no notice of a namespace.
        made = body | {"namespace": self._namespace(str(body.get("namespace", "")))}
        for held in self.experiments.values():
            if (held["display_name"], held["namespace"]) == (made["display_name"], made["namespace"]):
                raise RefusalError(409, 6, f"The name {made['display_name']} already exists")
        return self._keep(self.experiments, "experiment_id", made)

    def _namespace(self, given: str) -> str:
        if self.multi_user and not given:
            raise RefusalError(400, 3, "an empty namespace in multi-user mode")
        return given if self.multi_user else ""

    def _keep(self, held: dict[str, Json], key: str, body: Json) -> Json:
        name = str(uuid.uuid4())
        held[name] = body | {key: name, "created_at": self._tick(), "storage_state": "AVAILABLE"}
        return held[name]

    def _page(self, noun: str, held: dict[str, Json], query: dict[str, str]) -> Json:
        namespace = self._namespace(query.get("namespace", ""))
        entries = [
            entry
            for entry in held.values()
            if entry.get("namespace", "") == namespace and _passes(entry, query.get("filter", ""))
        ]
        if query.get("sort_by", "created_at").split()[0] not in {"created_at", "display_name"}:
            raise RefusalError(400, 3, f"Invalid sorting field: {query['sort_by']}")
        entries.sort(key=lambda entry: entry["created_at"])
        size = min(int(query.get("page_size", "10")), self.page_size)
        start = int(query.get("page_token") or 0)
        page = {noun: entries[start : start + size], "total_size": len(entries)}
        # Fields without a value are left out of an answer.
        return {name: value for name, value in page.items() if value} | (
            {"next_page_token": str(start + size)} if start + size < len(entries) else {}
        )

    @staticmethod
    def _found(held: dict[str, Json], name: object) -> Json:
        if str(name) not in held:
            raise RefusalError(404, 5, f"{name} not found")
        return held[str(name)]

    def _tick(self) -> str:
        self.ticks += 1
        return f"{_FIRST + timedelta(seconds=self.ticks):%Y-%m-%dT%H:%M:%SZ}"


def _inputs(spec: object) -> set[str]:
    """Return the names of a pipeline's parameters; it must be one by the official types."""
    content = spec if isinstance(spec, dict) else {}
    pipeline = pipeline_spec_pb2.PipelineSpec()
    try:
        json_format.ParseDict(content.get("pipeline_spec", content), pipeline)
        platform = json_format.ParseDict(content.get("platform_spec", {}), pipeline_spec_pb2.PlatformSpec())
        for config in platform.platforms["kubernetes"].deployment_spec.executors.values():
            around = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
            json_format.ParseDict(json_format.MessageToDict(config), around)
    except json_format.ParseError as error:
        raise RefusalError(400, 3, f"unknown template format: {error}") from error
    if not pipeline.pipeline_info.name:
        raise RefusalError(400, 3, "unknown template format: pipeline spec is invalid")
    return set(pipeline.root.input_definitions.parameters)


def _passes(entry: Json, text: str) -> bool:
    for predicate in json.loads(text or "{}").get("predicates", []):
        value = predicate.get("stringValue", predicate.get("string_value"))
        held = str(entry.get(predicate["key"], ""))
        match predicate["operation"]:
            case "EQUALS" | 1:
                passes = held == value
            case "IS_SUBSTRING" | 9:
                passes = value in held
            case operation:
                raise RefusalError(400, 3, f"unknown operation {operation}")
        if not passes:
            return False
    return True


@contextmanager
def kubeflow_double(host: str = "127.0.0.1", *, multi_user: bool = False) -> Iterator[KubeflowDouble]:
    """Start a double on a free port, of the loopback address unless a test says otherwise; stop it afterwards."""
    double = KubeflowDouble(multi_user=multi_user)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"
        # Head and body in one packet: the second would wait for the first one's receipt.
        wbufsize: ClassVar[int] = -1

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            if double.held is not None:
                double.held.wait()
            with lock:
                double.requests.append(f"{self.command} {urlsplit(self.path).path}")
                try:
                    double.fail_if_told()
                    double.refuse_strangers(self.headers.get("Authorization"))
                    status, answer = 200, double.answer(self.command, self.path, json.loads(content or b"{}"))
                except RefusalError as refusal:
                    status, answer = refusal.status, refusal.body
                body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815  # the library's names

    with listening(Handler, host) as double.url:
        try:
            yield double
        finally:
            if double.held is not None:
                double.held.set()
