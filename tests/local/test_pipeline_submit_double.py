"""`presage submit` and `presage compile`, against a double of Kubeflow Pipelines that the official client accepts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from commands import EXAMPLES, PRESAGE, Ended, presage
from doubles.kubeflow import KubeflowDouble, kubeflow_double
from servers.web import listening

from presage.errors import JobError
from presage.spec.digest import spec_digest
from presage.spec.load import load_job, parse_job
from presage_pipelines.compile import compile_pipeline
from presage_pipelines.placement import Placement
from presage_pipelines.submit import KubeflowRefusedError, KubeflowUnavailableError, RunEnded, Runs

QUICKSTART = EXAMPLES / "quickstart.yaml"
PARAMETERS = {"job": "{}", "workdir": "s3://lake/w", "as_of": "2026-01-02T03:04:05", "cadence": "Train"}


@pytest.fixture
def double() -> Iterator[KubeflowDouble]:
    with kubeflow_double() as running:
        yield running


@pytest.fixture(scope="module")
def pipeline() -> str:
    return compile_pipeline(Placement())


class Time:
    """A time that passes when it is slept through; then what is next happens."""

    def __init__(self, *events: Callable[[], object]) -> None:
        self.now = 0.0
        self.events = list(events)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.events:
            self.events.pop(0)()


def runs(double: KubeflowDouble, time: Time, token: str | None = None, namespace: str | None = None) -> Runs:
    return Runs(double.url, token, namespace, sleep=time.sleep, clock=lambda: time.now)


def start(these: Runs, package: str, **other: str) -> str:
    given = {"name": "quickstart", "experiment": "default/quickstart", "parameters": PARAMETERS}
    return these.start(package, **(given | other))


def follow(these: Runs, run_id: str, timeout: float | None = None) -> tuple[RunEnded, list[str]]:
    lines: list[str] = []
    return these.follow(run_id, timeout=timeout, told=lines.append), lines


def test_a_run_is_followed_step_by_step_to_its_end(double: KubeflowDouble, pipeline: str) -> None:
    time = Time()
    these = runs(double, time)
    run_id = start(these, pipeline)
    time.events = [
        lambda: (double.goes_on(run_id, "RUNNING"), double.step_goes_on(run_id, "ingest", "RUNNING")),
        lambda: (double.step_goes_on(run_id, "ingest", "SUCCEEDED"), double.step_goes_on(run_id, "train", "RUNNING")),
        lambda: double.step_goes_on(run_id, "train", "SUCCEEDED", turn=1),
        lambda: None,
        lambda: (double.step_goes_on(run_id, "train", "SUCCEEDED"), double.goes_on(run_id, "SUCCEEDED")),
    ]
    ended, lines = follow(these, run_id)
    assert ended == RunEnded(run_id, "SUCCEEDED")
    assert lines == [
        "run: pending", "run: running", "ingest: running", "ingest: succeeded", "train: running", "train: succeeded",
        "run: succeeded", "train: succeeded",
    ]  # fmt: skip


def test_an_experiment_is_made_once_and_holds_the_runs(double: KubeflowDouble, pipeline: str) -> None:
    these = runs(double, Time())
    for _ in range(2):
        start(these, pipeline)
    (experiment,) = double.experiments.values()
    assert experiment["display_name"] == "default/quickstart"
    assert {run["experiment_id"] for run in double.runs.values()} == {experiment["experiment_id"]}
    assert all(run["pipeline_spec"]["pipelineInfo"]["name"] == "presage" for run in double.runs.values())


def test_a_namespace_of_a_shared_kubeflow_has_its_own_runs(pipeline: str) -> None:
    with kubeflow_double(multi_user=True) as double:
        double.token = "t-1"
        these = runs(double, Time(), "t-1", "desk")
        start(these, pipeline, service_account="runner")
        (run,) = double.runs.values()
        assert (run["namespace"], run["service_account"]) == ("desk", "runner")
        with pytest.raises(KubeflowRefusedError, match="401") as refused:
            runs(double, Time(), "t-2", "desk")
        assert "t-2" not in str(refused.value)
        with pytest.raises(JobError, match="is shared by many users"):
            runs(double, Time(), "t-1")


@pytest.mark.parametrize(
    ("message", "step", "code"),
    [
        ("", "", None),
        ("", "Error (exit code 5)", 5),
        ("step train: exit status 7", "", 7),
        ("the cluster is full", "", None),
    ],
)
def test_a_run_that_fails_tells_which_step_did_and_how_it_ended(
    double: KubeflowDouble, pipeline: str, message: str, step: str, code: int | None
) -> None:
    these = runs(double, Time())
    run_id = start(these, pipeline)
    double.step_goes_on(run_id, "ingest", "SUCCEEDED")
    for turn in range(2):
        double.step_goes_on(run_id, "train", "FAILED", turn=turn, message=step)
    double.goes_on(run_id, "FAILED", message)
    ended, _ = follow(these, run_id)
    assert ended == RunEnded(run_id, "FAILED", message or step, ("train",), code)


def test_a_run_that_is_cancelled_has_ended(double: KubeflowDouble, pipeline: str) -> None:
    time = Time()
    these = runs(double, time)
    run_id = start(these, pipeline)
    time.events = [lambda: double.goes_on(run_id, "CANCELING"), lambda: double.goes_on(run_id, "CANCELED")]
    ended, lines = follow(these, run_id)
    assert (ended.state, lines) == ("CANCELED", ["run: pending", "run: canceling", "run: canceled"])


def test_an_api_that_fails_for_a_while_is_asked_again(double: KubeflowDouble, pipeline: str) -> None:
    time = Time()
    these = runs(double, time)
    run_id = start(these, pipeline)
    double.goes_on(run_id, "SUCCEEDED")
    double.answers = [503] * 11
    ended, lines = follow(these, run_id)
    assert ended.state == "SUCCEEDED"
    assert len(lines) == 12
    assert "cannot now (503" in lines[0]
    double.answers = [503] * 12
    with pytest.raises(KubeflowUnavailableError):
        follow(these, run_id)


def test_a_run_is_waited_for_no_longer_than_is_said(double: KubeflowDouble, pipeline: str) -> None:
    time = Time()
    these = runs(double, time)
    run_id = start(these, pipeline)
    with pytest.raises(KubeflowUnavailableError, match="has not ended in 60 seconds") as raised:
        follow(these, run_id, timeout=60)
    assert (time.now, raised.value.exit_code) == (60, 7)
    assert double.runs[run_id]["state"] == "PENDING"


def test_a_pipeline_that_the_api_refuses_is_told(double: KubeflowDouble, pipeline: str) -> None:
    with pytest.raises(KubeflowRefusedError, match="parameters do not fit the pipeline"):
        start(runs(double, Time()), pipeline, parameters={"job": "{}"})
    assert not double.runs


def test_a_run_that_is_gone_is_told(double: KubeflowDouble) -> None:
    with pytest.raises(KubeflowRefusedError, match="not found"):
        follow(runs(double, Time()), "0a1b")


@pytest.mark.parametrize("endpoint", ["localhost:8888", "ftp://host", "", "http://", "http://me:secret@host"])
def test_what_is_no_address_is_refused_without_its_credentials(endpoint: str) -> None:
    with pytest.raises(JobError, match="is no address") as raised:
        Runs(endpoint)
    assert "secret" not in str(raised.value)


class Page(BaseHTTPRequestHandler):
    """A page to log in, whatever is asked for."""

    body = b"<!doctype html><title>Log in</title>"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815  # the library's names


@pytest.mark.parametrize("body", [Page.body, b"", b"[]", b'"ok"', b'{"multi_user": "no"}'])
def test_a_page_that_is_not_the_api_is_refused(body: bytes) -> None:
    with listening(type("Answer", (Page,), {"body": body})) as url:
        with pytest.raises(KubeflowRefusedError, match=f"what answers at {url} is not the API") as raised:
            Runs(url)
        assert "PRESAGE_KUBEFLOW_TOKEN" in raised.value.remedy


def test_the_command_refuses_a_page_to_log_in_and_does_not_wait() -> None:
    with listening(Page) as url:
        ended = presage("submit", QUICKSTART, "--endpoint", url, "--workdir", "s3://lake/w", code=2)
    assert ended.err.startswith(f"error: what answers at {url} is not the API of Kubeflow Pipelines.")
    assert ended.out == ""


def test_an_answer_without_an_id_is_no_run(pipeline: str) -> None:
    with listening(type("Answer", (Page,), {"body": b"{}"})) as url:
        time = Time()
        these = Runs(url, sleep=time.sleep, clock=lambda: time.now)
        with pytest.raises(KubeflowRefusedError, match="is not the API"):
            start(these, pipeline)
        with pytest.raises(KubeflowUnavailableError, match="tells nothing of run 0a1b"):
            follow(these, "0a1b")
    assert time.now == 55


@pytest.mark.parametrize("command", ["compile", "submit"])
def test_a_password_of_mlflow_is_refused_before_it_is_written_anywhere(command: str, double: KubeflowDouble) -> None:
    words = ("--endpoint", double.url, "--workdir", "s3://lake/w") if command == "submit" else ()
    ended = presage(command, QUICKSTART, *words, "--tracking", "http://me:s3cret@mlflow:5000", code=2)
    assert "error: --tracking: the address of http://mlflow:5000 holds credentials" in ended.err
    assert "s3cret" not in ended.err + ended.out
    assert not double.runs


def submit(double: KubeflowDouble, *words: str, code: int = 0, **environment: str) -> Ended:
    return presage("submit", QUICKSTART, "--endpoint", double.url, *words, code=code, **environment)


def test_the_command_submits_what_the_job_says(double: KubeflowDouble) -> None:
    ended = submit(
        double, "--workdir", "s3://lake/w", "--as-of", "2026-01-02T03:04:05", "--lake-secret", "lake", "--no-wait"
    )
    ((run_id, run),) = double.runs.items()
    assert ended.out == f"{run_id}\n"
    assert run["display_name"] == "quickstart-20260102-030405"
    parameters = run["runtime_config"]["parameters"]
    assert spec_digest(parse_job(parameters.pop("job"), "job")) == spec_digest(load_job(QUICKSTART))
    assert parameters == {"workdir": "s3://lake/w", "as_of": "2026-01-02T03:04:05", "cadence": "Train"}
    executors = run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert all(one["secretAsEnv"][0]["secretName"] == "lake" for one in executors.values())


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_the_command_ends_as_the_run_did(double: KubeflowDouble, state: str, code: int) -> None:
    double.first = state
    ended = submit(double, "--lake-claim", "lake", "--cadence", "Forecast", code=code)
    ((run_id, run),) = double.runs.items()
    assert run["runtime_config"]["parameters"]["workdir"] == "/var/lib/presage"
    assert f"run: {state.lower()}" in ended.err
    assert (f"error: run {run_id} {state.lower()}" in ended.err) == bool(code)
    assert ("kubectl logs" in ended.err) == (state == "FAILED")


def test_an_interruption_leaves_the_run_and_says_so(double: KubeflowDouble) -> None:
    words = [PRESAGE, "submit", QUICKSTART, "--endpoint", double.url, "--workdir", "s3://lake/w"]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert command.stdout is not None
    run_id = command.stdout.readline().strip()
    assert command.stderr is not None
    while "pending" not in command.stderr.readline():
        pass
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=30)
    assert command.returncode == 130
    assert said == f"interrupted: run {run_id} goes on; stop it in Kubeflow\n"
    assert double.runs[run_id]["state"] == "PENDING"
    assert not any("terminate" in request for request in double.requests)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "no place of the lake is given."),
        (("--workdir", "/w"), 2, "is a directory of each step's own container"),
        (("--workdir", "s3://lake/w", "--cadence", "Hourly"), 2, "there is no 'Hourly'"),
    ],
)
def test_wrong_words_are_told_before_anything_is_asked(
    double: KubeflowDouble, words: tuple[str, ...], code: int, says: str
) -> None:
    assert says in submit(double, *words, code=code).err
    assert not double.runs


def test_an_api_that_is_down_is_told_in_a_sentence() -> None:
    with kubeflow_double() as double:
        pass
    ended = submit(double, "--workdir", "s3://lake/w", code=7)
    assert ended.err.startswith(f"error: Kubeflow Pipelines at {double.url} does not answer")
    assert ended.out == ""


def test_the_command_compiles_a_job_into_a_file_and_a_pipeline_of_any_to_stdout(tmp_path: Path) -> None:
    out = tmp_path / "new" / "pipeline.yaml"
    ended = presage("compile", QUICKSTART, "--image", "registry.example/steps:1", "--out", out)
    assert (ended.out, ended.err) == ("", f"wrote {out}\n")
    compiled = yaml.safe_load(out.read_text())
    assert compiled["pipelineInfo"]["name"] == "quickstart"
    assert presage("compile").out == compile_pipeline(Placement())
    refused = presage("compile", tmp_path / "absent.yaml", code=2)
    assert "absent.yaml" in refused.err
