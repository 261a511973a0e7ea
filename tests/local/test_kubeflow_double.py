"""Runs in Kubeflow Pipelines, against a double that the official kfp client accepts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import kfp
import pytest
from doubles.kubeflow import KubeflowDouble, kubeflow_double
from operator_case import JOB, UID

from presage.errors import JobError
from presage.spec.digest import run_digest, spec_digest
from presage.spec.load import parse_job
from presage_operator.actions import StartRun
from presage_operator.compiled import load_pipeline
from presage_operator.kubeflow import (
    KubeflowRefusedError,
    KubeflowUnavailableError,
    OutOfReachError,
    PipelineRuns,
)
from presage_operator.names import Key
from presage_operator.pipeline_run import PipelineRun
from presage_operator.settings import Settings

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAME = "sp500-0a1b2c3d"
SP500 = Key("desk", "sp500")


def kubeflow_settings(**kubeflow: object) -> Settings:
    return Settings.model_validate({"pipelines": {"kubeflow": {"namespace": "desk", **kubeflow}}})


SETTINGS = kubeflow_settings()
# The kind of server, the run, the experiment, which is made, and once more the experiment.
ASKED_BEFORE = [200] * 5


@pytest.fixture
def double() -> Iterator[KubeflowDouble]:
    """A running double."""
    with kubeflow_double() as running:
        yield running


@pytest.fixture
def official(double: KubeflowDouble) -> kfp.Client:
    """The official client of the double."""
    with pytest.warns(FutureWarning, match="v2.0.0"):
        return kfp.Client(host=double.url)


Call = Callable[[PipelineRuns], Awaitable[object]]


@pytest.fixture
def ours(double: KubeflowDouble, package: Path) -> Callable[..., object]:
    """Calls our client of the double."""

    def call(action: Call, timeout_seconds: float = 10, url: str = "", settings: Settings = SETTINGS) -> object:
        async def calls() -> object:
            async with aiohttp.ClientSession() as session:
                pipeline = load_pipeline(package)
                return await action(PipelineRuns(session, url or double.url, pipeline, settings, timeout_seconds))

        return asyncio.run(calls())

    return call


def create(runs: PipelineRuns, name: str = NAME, uid: str = UID) -> Awaitable[PipelineRun]:
    return runs.create(JOB, StartRun(uid, name, "Train", "Schedule", 2, AT, run_digest(JOB), scheduled_time=AT))


def test_the_official_client_takes_the_double_for_kubeflow(
    double: KubeflowDouble, official: kfp.Client, package: Path
) -> None:
    arguments = {"job": "{}", "workdir": "/w", "as_of": "2026-01-02T03:04:05Z", "cadence": "Train"}
    made = official.create_run_from_pipeline_package(str(package), arguments=arguments, run_name="a", namespace="")
    run = official.get_run(made.run_id)
    assert (run.display_name, run.state) == ("a", "PENDING")
    assert run.runtime_config.parameters == arguments
    named = json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": "a"}]})
    assert [each.run_id for each in official.list_runs(filter=named).runs] == [made.run_id]
    official.terminate_run(made.run_id)
    assert official.get_run(made.run_id).state == "CANCELING"
    official.delete_run(made.run_id)
    assert official.list_runs(filter=named).runs is None
    with pytest.raises(Exception, match="not found"):
        official.get_run(made.run_id)
    with pytest.raises(Exception, match="do not fit the pipeline"):
        official.create_run_from_pipeline_package(str(package), arguments={"job": "{}"}, run_name="b", namespace="")


def test_the_official_client_reads_a_run_of_ours(
    double: KubeflowDouble, official: kfp.Client, ours: Callable[..., PipelineRun]
) -> None:
    made = ours(create)
    run = official.get_run(made.id)
    assert (run.display_name, run.service_account) == (NAME, None)
    (experiment,) = official.list_experiments().experiments
    assert (experiment.display_name, experiment.experiment_id) == ("presage", run.experiment_id)
    parameters = run.runtime_config.parameters
    assert spec_digest(parse_job(parameters.pop("job"), "job.json")) == spec_digest(JOB)
    assert parameters == {"workdir": "/var/lib/presage", "as_of": "2026-01-02T03:04:05", "cadence": "Train"}


def test_a_run_is_made_once_however_often_it_is_asked_for(
    double: KubeflowDouble, ours: Callable[..., PipelineRun]
) -> None:
    first, second = ours(create), ours(create)
    assert first == second
    assert len(double.runs) == 1
    assert first.run.name == NAME
    assert (first.run.cadence, first.run.trigger, first.run.attempt) == ("Train", "Schedule", 2)
    assert (first.run.scheduled_time, first.run.request, first.run.run_digest) == (AT, None, run_digest(JOB))
    assert (first.run.state, first.run.completed_at, first.run.outcome) == ("Pending", None, None)


def test_two_operators_that_make_a_run_at_once_keep_the_same_one(
    double: KubeflowDouble, ours: Callable[..., object]
) -> None:
    async def at_once(runs: PipelineRuns) -> list[PipelineRun]:
        return list(await asyncio.gather(*(create(runs) for _ in range(8))))

    made = ours(at_once)
    (left,) = double.runs
    assert {each.id for each in made} == {left}


def test_a_run_of_the_same_name_that_is_another_s_is_left_alone(
    double: KubeflowDouble, official: kfp.Client, package: Path, ours: Callable[..., object]
) -> None:
    arguments = dict.fromkeys(("job", "workdir", "as_of", "cadence"), "x")
    official.create_run_from_pipeline_package(str(package), arguments=arguments, run_name=NAME, namespace="")
    other = ours(lambda runs: create(runs, uid="another"))
    made = ours(create)
    assert made.id != other.id
    assert [each.id for each in ours(lambda runs: runs.runs(SP500, UID))] == [made.id]
    ours(lambda runs: runs.cancel(SP500, UID))
    assert made.id not in double.runs
    assert len(double.runs) == 2


@pytest.mark.parametrize(
    ("state", "expected", "reason"),
    [
        ("RUNTIME_STATE_UNSPECIFIED", "Pending", ""),
        ("PENDING", "Pending", ""),
        ("PAUSED", "Pending", ""),
        ("RUNNING", "Running", ""),
        ("CANCELING", "Running", ""),
        ("SUCCEEDED", "Succeeded", ""),
        ("SKIPPED", "Succeeded", ""),
        ("FAILED", "Failed", "PipelineFailed"),
        ("CANCELED", "Failed", "Cancelled"),
    ],
)
def test_a_state_of_the_pipeline_is_one_of_a_run(
    double: KubeflowDouble, ours: Callable[..., object], state: str, expected: str, reason: str
) -> None:
    made = ours(create)
    double.goes_on(made.id, state, message="OOMKilled in step train" if reason else "")
    (seen,) = ours(lambda runs: runs.runs(SP500, UID))
    ended = expected in {"Succeeded", "Failed"}
    assert (seen.run.state, seen.run.reason) == (expected, reason)
    assert (seen.run.completed_at is not None) == ended
    assert seen.run.deleting == (state == "CANCELING")
    assert seen.run.message == ("OOMKilled in step train" if reason else "")


def test_the_cancellation_of_a_job_ends_and_deletes_all_its_runs_over_all_pages(
    double: KubeflowDouble, ours: Callable[..., object]
) -> None:
    double.page_size = 2
    for number in range(5):
        ours(lambda runs, name=f"sp500-0000000{number}": create(runs, name))
    ended = ours(lambda runs: runs.runs(SP500, UID))[0]
    double.goes_on(ended.id, "SUCCEEDED")
    before = len(double.requests)
    ours(lambda runs: runs.cancel(SP500, UID))
    assert double.runs == {}
    assert sum(request.endswith(":terminate") for request in double.requests[before:]) == 4
    ours(lambda runs: runs.cancel(SP500, UID))
    ours(lambda runs: runs.delete(ended.id))
    ours(lambda runs: runs.terminate(ended.id))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 302])
def test_an_api_that_cannot_now_is_to_be_asked_again(
    double: KubeflowDouble, ours: Callable[..., object], status: int
) -> None:
    double.answers = [status]
    with pytest.raises(KubeflowUnavailableError, match=str(status)) as caught:
        ours(create)
    assert caught.value.retry
    assert double.runs == {}
    ours(create)
    assert len(double.runs) == 1


def test_an_answer_that_got_lost_makes_no_second_run(double: KubeflowDouble, ours: Callable[..., object]) -> None:
    # The run is made; then the list that would confirm it fails.
    double.answers = [*ASKED_BEFORE, 200, 503]
    with pytest.raises(KubeflowUnavailableError):
        ours(create)
    assert len(double.runs) == 1
    assert ours(create).id in double.runs
    assert len(double.runs) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_told_with_what_the_api_said(
    double: KubeflowDouble, ours: Callable[..., object], status: int
) -> None:
    double.answers = [*ASKED_BEFORE, status]
    with pytest.raises(KubeflowRefusedError, match=f"{status}: told to fail") as caught:
        ours(create)
    assert not caught.value.retry


def test_an_api_that_does_not_answer_is_waited_for_only_so_long(
    double: KubeflowDouble, ours: Callable[..., object]
) -> None:
    double.held = threading.Event()
    with pytest.raises(KubeflowUnavailableError, match="in time"):
        ours(create, timeout_seconds=0.2)


def test_an_api_that_is_down_is_told(ours: Callable[..., object]) -> None:
    with kubeflow_double() as gone:
        pass
    for action in (create, lambda runs: runs.cancel(SP500, UID), lambda runs: runs.delete("x")):
        with pytest.raises(KubeflowUnavailableError, match="Kubeflow Pipelines at http"):
            ours(action, url=gone.url)


@pytest.mark.parametrize(
    "text", ["", "a: 1", "- a", "a: [", "root: {}", "pipelineInfo: {}\nroot: {}\n---\n{}\n", "\x00"]
)
def test_what_is_no_compiled_pipeline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(JobError, match=r"pipelines\.kubeflow\.package"):
        load_pipeline(path)
    with pytest.raises(JobError, match="cannot be read"):
        load_pipeline(tmp_path / "absent.yaml")


def test_a_pipeline_with_settings_for_kubernetes_is_sent_with_them(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"{package.read_text()}\n---\nplatforms:\n  kubernetes: {{}}\n")
    loaded = load_pipeline(path)
    assert loaded == load_pipeline(package) | {"platform_spec": {"platforms": {"kubernetes": {}}}}


@pytest.mark.parametrize("executor", ["importer: {}", "container: {}\n      importer: {}", "{}"])
def test_a_pipeline_with_a_step_that_is_no_container_is_refused(tmp_path: Path, executor: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"pipelineInfo: {{}}\nroot: {{}}\ndeploymentSpec:\n  executors:\n    exec-a:\n      {executor}\n")
    with pytest.raises(JobError, match="'exec-a' of the compiled pipeline is no container"):
        load_pipeline(path)


def test_a_multi_user_kubeflow_runs_a_job_in_its_own_namespace(
    double: KubeflowDouble, official: kfp.Client, ours: Callable[..., PipelineRun]
) -> None:
    double.multi_user = True
    made = ours(create, settings=Settings())
    run = official.get_run(made.id)
    experiment = official.get_experiment(experiment_id=run.experiment_id)
    assert (experiment.display_name, experiment.namespace) == ("presage", "desk")
    assert double.runs[made.id]["namespace"] == "desk"
    assert [each.id for each in ours(lambda runs: runs.runs(SP500, UID))] == [made.id]
    assert ours(lambda runs: runs.runs(Key("other", "sp500"), UID)) == ()
    ours(lambda runs: runs.cancel(SP500, UID))
    assert double.runs == {}


@pytest.mark.parametrize("multi_user", [False, True])
def test_many_runs_at_once_are_of_one_experiment(
    double: KubeflowDouble, ours: Callable[..., object], multi_user: bool
) -> None:
    double.multi_user = multi_user

    async def at_once(runs: PipelineRuns) -> None:
        await asyncio.gather(*(create(runs, f"sp500-0000000{number}") for number in range(5)))

    ours(at_once)
    (experiment,) = double.experiments
    assert {run["experiment_id"] for run in double.runs.values()} == {experiment}


def test_a_single_user_kubeflow_of_an_unknown_namespace_is_given_nothing(
    double: KubeflowDouble, ours: Callable[..., object]
) -> None:
    with pytest.raises(OutOfReachError, match=r"Set pipelines\.kubeflow\.namespace"):
        ours(create, settings=Settings())
    assert double.runs == {}


def test_a_token_is_shown_as_it_is_now(double: KubeflowDouble, ours: Callable[..., object], tmp_path: Path) -> None:
    token = tmp_path / "token"
    settings = kubeflow_settings(tokenFile=str(token), serviceAccountName="pipeline-runner")
    double.token = "first"
    with pytest.raises(KubeflowUnavailableError, match=r"token in .* cannot be read"):
        ours(create, settings=settings)
    token.write_text("old\n")
    with pytest.raises(KubeflowRefusedError, match="401") as caught:
        ours(create, settings=settings)
    assert "old" not in str(caught.value)
    token.write_text("first\n")
    made = ours(create, settings=settings)
    assert double.runs[made.id]["service_account"] == "pipeline-runner"


def test_what_the_health_check_says_must_mean_something(double: KubeflowDouble, ours: Callable[..., object]) -> None:
    double.multi_user = "neither"
    with pytest.raises(KubeflowUnavailableError, match="what it tells of itself means nothing"):
        ours(create)
