"""A compiled pipeline for one job's run, by Kubeflow's own types; and what the Pods of its steps say of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import operator_case as case
import pytest
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec, PlatformSpec

from presage.spec.outcome import Failure, RunOutcome, to_message
from presage_operator import records
from presage_operator.actions import StartRun
from presage_operator.cache import Cache
from presage_operator.compiled import load_pipeline
from presage_operator.desired.pipeline import pipeline_of, reach_fault
from presage_operator.errors import JsonObject
from presage_operator.names import Key
from presage_operator.observe import JobReader, observe
from presage_operator.observed import ObservedRun
from presage_operator.records import PodRecord
from presage_operator.runs import history
from presage_operator.settings import Settings
from presage_pipelines.compile import compile_pipeline
from presage_pipelines.placement import Placement

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
KEY = Key("desk", "sp500")
START = StartRun(case.UID, "sp500-0a1b2c3d", "Train", "Spec", 1, AT, "sha256:" + "0" * 64)
OUTCOME = case.an_outcome("one")


def reading(**sql: object) -> object:
    """The job with another source, a database."""
    place = {"uri": "postgresql://db/market", "table": "rates", **sql}
    source = {"name": "rate", "sql": {name: one for name, one in place.items() if one}, "availability": {"lag": "1d"}}
    sources = case.JOB.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"]["sources"]
    return case.a_job(sources=[*sources, source])


READS_FRED = reading(secretRef={"name": "fred"})


def settings(**fields: object) -> Settings:
    return Settings.model_validate(fields)


BUCKET = {"s3": {"uri": "s3://presage/lakes", "endpoint": "http://minio:9000", "secretName": "lake"}}


@pytest.fixture(scope="module")
def compiled(package: Path) -> JsonObject:
    """A pipeline of one step."""
    return load_pipeline(package)


def parsed(made: JsonObject) -> tuple[PipelineDeploymentConfig, dict[str, KubernetesExecutorConfig]]:
    """Return what Kubeflow's own types read; a field that they do not know is an error."""
    spec = json_format.ParseDict(made["pipeline_spec"], PipelineSpec())
    deployment = json_format.ParseDict(json_format.MessageToDict(spec.deployment_spec), PipelineDeploymentConfig())
    platform = json_format.ParseDict(made["platform_spec"], PlatformSpec())
    configs = platform.platforms["kubernetes"].deployment_spec.executors
    return deployment, {
        name: json_format.ParseDict(json_format.MessageToDict(config), KubernetesExecutorConfig())
        for name, config in configs.items()
    }


def one_step(
    compiled: JsonObject, job: object = case.JOB, chosen: Settings = case.SETTINGS
) -> tuple[PipelineDeploymentConfig.PipelineContainerSpec, KubernetesExecutorConfig]:
    deployment, configs = parsed(pipeline_of(compiled, job, START, chosen))
    assert set(configs) == set(deployment.executors) == {"exec-step"}
    return deployment.executors["exec-step"].container, configs["exec-step"]


def test_each_container_has_the_job_s_resources_and_what_every_run_has(compiled: JsonObject) -> None:
    job = case.a_job(resources={"requests": {"cpu": "250m"}, "limits": {"cpu": "2", "memory": "3Gi"}})
    container, _ = one_step(compiled, job, settings(images={"steps": "registry/steps:9"}))
    assert container.image == "registry/steps:9"
    amounts = container.resources
    assert (amounts.resource_cpu_request, amounts.resource_memory_request) == ("250m", "")
    assert (amounts.resource_cpu_limit, amounts.resource_memory_limit) == ("2", "3Gi")
    variables = {one.name: one.value for one in container.env}
    assert variables["PRESAGE_OUTCOME"] == "/dev/termination-log"
    assert (variables["OMP_NUM_THREADS"], variables["HOME"]) == ("1", "/tmp")
    assert "PRESAGE_SECRETS_DIR" not in variables
    before = json_format.ParseDict(compiled["pipeline_spec"], PipelineSpec())
    written = json_format.MessageToDict(before.deployment_spec)["executors"]["exec-step"]["container"]
    assert (list(container.command), list(container.args)) == (written["command"], written["args"])


def test_each_pod_says_whose_it_is(compiled: JsonObject) -> None:
    _, around = one_step(compiled)
    assert dict(around.pod_metadata.labels) == {
        "app.kubernetes.io/managed-by": "presage-operator",
        "presage.dev/job": "sp500",
        "presage.dev/job-namespace": "desk",
        "presage.dev/job-uid": case.UID,
        "presage.dev/cadence": "Train",
        "presage.dev/run": "sp500-0a1b2c3d",
    }


def test_each_pod_has_the_lake_the_data_and_the_secrets_of_its_job(compiled: JsonObject) -> None:
    chosen = settings(
        images={"pullPolicy": "Always", "pullSecrets": ["registry"]},
        dataVolumes=[{"claimName": "market", "mountPath": "/data"}],
        pipelines={"activeDeadlineSeconds": 3600},
    )
    container, around = one_step(compiled, READS_FRED, chosen)
    mounts = [(one.constant, one.mount_path) for one in around.pvc_mount]
    assert mounts == [("sp500-lake", "/var/lib/presage"), ("market", "/data")]
    (secret,) = around.secret_as_volume
    assert secret.secret_name == "fred"
    variables = {one.name: one.value for one in container.env}
    assert secret.mount_path == f"{variables['PRESAGE_SECRETS_DIR']}/fred"
    assert not secret.optional
    assert not around.secret_as_env
    assert [one.secret_name for one in around.image_pull_secret] == ["registry"]
    assert (around.image_pull_policy, around.active_deadline_seconds) == ("Always", 3600)
    security = around.security_context
    assert (security.run_as_user, security.run_as_group, security.run_as_non_root) == (65532, 65532, True)


def test_the_user_of_mlflow_is_one_that_need_not_be_there(compiled: JsonObject) -> None:
    told = {"uri": "http://mlflow:5000", "secretName": "mlflow-user"}
    container, around = one_step(compiled, chosen=settings(tracking=told))
    assert {one.name: one.value for one in container.env}["PRESAGE_TRACKING"] == "http://mlflow:5000"
    (user,) = around.secret_as_env
    assert (user.secret_name, user.optional) == ("mlflow-user", True)
    assert {key.env_var for key in user.key_to_env} >= {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def test_a_server_that_knows_no_security_context_is_told_none(compiled: JsonObject) -> None:
    _, around = one_step(compiled, chosen=settings(pipelines={"kubeflow": {"securityContext": False}}))
    assert not around.HasField("security_context")


def test_a_bucket_takes_the_volume_s_place(compiled: JsonObject) -> None:
    container, around = one_step(compiled, chosen=settings(lake=BUCKET))
    assert not around.pvc_mount
    keys = {
        (key.secret_key, key.env_var): (one.secret_name, one.optional)
        for one in around.secret_as_env
        for key in one.key_to_env
    }
    assert keys == {
        ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"): ("lake", False),
        ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"): ("lake", False),
    }
    assert {one.name: one.value for one in container.env}["AWS_ENDPOINT_URL_S3"] == "http://minio:9000"


def test_what_the_compiler_wrote_beside_stays(compiled: JsonObject) -> None:
    given = copy.deepcopy(compiled)
    container = given["pipeline_spec"]["deploymentSpec"]["executors"]["exec-step"]["container"]
    container["env"] = [{"name": "HOME", "value": "/root"}, {"name": "ZONE", "value": "a"}]
    tolerations = [{"key": "spot", "operator": "Exists"}]
    executors = {"exec-step": {"tolerations": tolerations, "imagePullPolicy": "Never"}}
    given["platform_spec"] = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    before = copy.deepcopy(given)
    step, around = one_step(given)
    variables = [(one.name, one.value) for one in step.env]
    assert ("ZONE", "a") in variables
    assert [value for name, value in variables if name == "HOME"] == ["/tmp"]
    assert [one.key for one in around.tolerations] == ["spot"]
    assert around.image_pull_policy == "IfNotPresent"
    assert given == before


def test_presage_s_own_pipeline_can_be_given_each_job(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(compile_pipeline(Placement()))
    made = pipeline_of(load_pipeline(path), READS_FRED, START, settings(lake=BUCKET))
    deployment, configs = parsed(made)
    assert set(configs) == set(deployment.executors) >= {"exec-ingest", "exec-train", "exec-promote", "exec-forecast"}
    for around in configs.values():
        assert around.pod_metadata.labels["presage.dev/run"] == START.name
    # What the operator gives a run is what the pipeline takes.
    pipeline = json_format.ParseDict(made["pipeline_spec"], PipelineSpec())
    assert set(pipeline.root.input_definitions.parameters) == {"job", "workdir", "as_of", "cadence"}


@pytest.mark.parametrize(
    ("job", "chosen", "namespace", "says"),
    [
        (case.JOB, settings(), "desk", ""),
        (READS_FRED, settings(), "desk", ""),
        (case.JOB, settings(lake=BUCKET), "kubeflow", ""),
        (case.JOB, settings(), None, "Set pipelines.kubeflow.namespace"),
        (case.JOB, settings(), "kubeflow", "where its lake's volume is not"),
        (READS_FRED, settings(lake=BUCKET), "kubeflow", "the job names Secrets"),
        (
            case.JOB,
            settings(dataVolumes=[{"claimName": "a.b", "mountPath": "/data"}]),
            "desk",
            "a.b cannot be the name",
        ),
        (
            READS_FRED,
            settings(dataVolumes=[{"claimName": "fred", "mountPath": "/data"}]),
            "desk",
            "fred cannot be the name of a volume, or is that of two",
        ),
    ],
    ids=[
        "where the job is",
        "with secrets",
        "elsewhere with a bucket",
        "nobody knows where",
        "elsewhere without the volume",
        "elsewhere with another's secrets",
        "a name with a dot",
        "a name of two",
    ],
)
def test_a_job_is_kept_from_where_it_lacks_something(
    job: object, chosen: Settings, namespace: str | None, says: str
) -> None:
    fault = reach_fault(job, chosen, namespace=namespace)
    assert (fault is not None) == bool(says)
    assert fault is None or says in fault.message


def ended(**terminated: object) -> JsonObject:
    return {"name": "main", "state": {"terminated": terminated}}


def a_pod(
    name: str, *containers: JsonObject, minutes: int = 0, elsewhere: str | None = None, **changes: object
) -> PodRecord:
    """A Pod of a step, as the API server tells it; changes are of its namespace and its labels."""
    namespace = changes.pop("namespace", "desk")
    marks = {
        "presage.dev/job": "sp500",
        "presage.dev/job-namespace": "desk",
        "presage.dev/job-uid": "job-uid",
        "presage.dev/run": "sp500-1",
        **changes.pop("labels", {}),
    }
    head = {"name": name, "namespace": namespace, "uid": f"uid-of-{name}", "labels": marks}
    head["creationTimestamp"] = f"{AT + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
    return records.pod_record(
        {"metadata": head, "status": {"containerStatuses": list(containers), **changes}}, elsewhere=elsewhere
    )


def told(outcome: RunOutcome) -> str:
    return to_message(outcome).decode()


def failed(reason: str, *, retry: bool) -> JsonObject:
    outcome = RunOutcome(failure=Failure(reason=reason, message=f"{reason} says so.", retry=retry))
    return ended(exitCode=1, reason="Error", message=told(outcome))


WELL = ended(exitCode=0, reason="Completed")
SAID = ended(exitCode=0, reason="Completed", message=told(OUTCOME))
KILLED = ended(exitCode=137, reason="OOMKilled")
STOPPED = ended(exitCode=143, reason="Error")
SUCCEEDED = case.silent(case.a_run("sp500-1"))
FAILED = case.a_run("sp500-1", state="Failed", outcome=None, reason="PipelineFailed", message="a task failed")
RUNNING = case.a_run("sp500-1", state="Running")


def seen(run: ObservedRun, *pods: PodRecord) -> ObservedRun:
    """The run as its job's Pods show it."""
    job = records.job_record(
        {
            "metadata": {
                "name": "sp500",
                "namespace": "desk",
                "uid": "job-uid",
                "creationTimestamp": f"{AT:%Y-%m-%dT%H:%M:%SZ}",
            },
            "spec": case.JOB.spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
        }
    )
    cache = Cache(lambda _: None)
    cache.put_job(KEY, job)
    for pod in pods:
        # A place for each, as a namespace is.
        cache.put_child("Pod", (pod.uid, pod.name), pod)
    observed = observe(cache, KEY, JobReader(Settings()), pipeline_runs=(run,))
    assert observed is not None
    (found,) = observed.runs
    return found


def test_a_run_that_ended_well_tells_what_its_last_step_told() -> None:
    run = seen(
        SUCCEEDED,
        a_pod("ingest", failed("LakeConflictError", retry=True)),
        a_pod("forecast", SAID, minutes=2),
        a_pod("grade", WELL, minutes=3),
    )
    assert (run.outcome, run.reason) == (OUTCOME, "")


def test_the_container_beside_a_step_does_not_speak_for_it() -> None:
    beside = {"name": "wait", "state": {"terminated": {"exitCode": 0, "message": "saved the logs"}}}
    for containers in ((SAID, beside), (beside, SAID)):
        assert seen(SUCCEEDED, a_pod("forecast", *containers)).outcome == OUTCOME


def test_a_run_that_goes_on_tells_of_its_newest_pod_s_trouble() -> None:
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    assert seen(RUNNING, a_pod("ingest", KILLED), a_pod("ingest-2", WELL, minutes=1)).reason == ""
    run = seen(RUNNING, a_pod("ingest", WELL), a_pod("select", waiting, minutes=1))
    assert (run.reason, run.message, run.outcome) == ("ImagePullBackOff", "no such image", None)


def test_the_first_container_s_trouble_is_the_pod_s() -> None:
    waiting = {"name": "kfp-launcher", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    starting = {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}
    run = seen(RUNNING, a_pod("ingest", starting, initContainerStatuses=[waiting], phase="Pending"))
    assert run.reason == "ErrImagePull"


@pytest.mark.parametrize(
    ("pods", "reason", "failure"),
    [
        ([], "PipelineFailed", None),
        ([a_pod("ingest", WELL)], "PipelineFailed", None),
        ([a_pod("train", KILLED), a_pod("train-2", STOPPED, minutes=1)], "OOMKilled", None),
        ([a_pod("a", failed("LakeConflictError", retry=True)), a_pod("b", KILLED, minutes=1)], "OOMKilled", None),
        (
            [a_pod("a", failed("LakeConflictError", retry=True)), a_pod("b", STOPPED, minutes=1)],
            "Error",
            "LakeConflictError",
        ),
        ([a_pod("a", failed("DataError", retry=False)), a_pod("b", KILLED, minutes=1)], "Error", "DataError"),
        ([a_pod("promote", SAID), a_pod("forecast", KILLED, minutes=1)], "OOMKilled", None),
    ],
    ids=[
        "no pod is left",
        "no pod failed",
        "a step that was stopped says less than one that was killed",
        "a failure after one that was repeated",
        "a step that was stopped says less than one that failed",
        "what no repeat mends says most",
        "what was told before counts for nothing",
    ],
)
def test_of_a_run_that_failed_the_pod_speaks_that_explains_most(
    pods: list[PodRecord], reason: str, failure: str | None
) -> None:
    for shown in (pods, pods[::-1]):
        run = seen(FAILED, *shown)
        assert run.reason == reason
        assert (run.outcome.failure.reason if run.outcome and run.outcome.failure else None) == failure


def test_a_failure_that_no_repeat_mends_is_not_repeated() -> None:
    run = seen(FAILED, a_pod("ingest", failed("DataError", retry=False)))
    (summary,) = history(case.observed().job, [run], AT)
    assert (summary.state, summary.reason, summary.message, summary.retry) == (
        "Failed",
        "DataError",
        "DataError says so.",
        False,
    )


def test_what_a_run_told_stays_told_when_its_pods_are_gone() -> None:
    job = case.observed().job
    before = history(job, [seen(FAILED, a_pod("train", KILLED))], AT)
    remembered = replace(job, status=job.status.model_copy(update={"runs": before}))
    assert history(remembered, [seen(FAILED)], AT + timedelta(hours=1)) == before


def test_a_cancelled_run_is_not_explained_by_its_pods() -> None:
    cancelled = replace(FAILED, reason="Cancelled", message="")
    assert seen(cancelled, a_pod("train", STOPPED)) == cancelled


@pytest.mark.parametrize(
    ("pod", "counts"),
    [
        (a_pod("a", SAID), True),
        (a_pod("a", SAID, namespace="other"), False),
        (a_pod("a", SAID, namespace="kubeflow"), False),
        (a_pod("a", SAID, namespace="other", elsewhere="kubeflow"), False),
        (a_pod("a", SAID, namespace="kubeflow", elsewhere="kubeflow"), True),
        (
            a_pod(
                "a",
                SAID,
                namespace="kubeflow",
                elsewhere="kubeflow",
                labels={"presage.dev/job-namespace": "other"},
            ),
            False,
        ),
        (a_pod("a", SAID, labels={"presage.dev/job-uid": "of the one before"}), False),
        (a_pod("a", SAID, labels={"presage.dev/run": "sp500-2"}), False),
    ],
    ids=[
        "where the job is",
        "elsewhere",
        "where Kubeflow may be",
        "elsewhere, beside Kubeflow",
        "where Kubeflow is",
        "where Kubeflow is, of another job",
        "of a job of the same name",
        "of another run",
    ],
)
def test_a_pod_speaks_for_a_job_only_from_where_its_pods_are(pod: PodRecord, counts: bool) -> None:
    assert (seen(SUCCEEDED, pod).outcome == OUTCOME) == counts


def test_pods_of_one_name_in_two_namespaces_are_two() -> None:
    here = a_pod("a", STOPPED)
    there = replace(a_pod("a", SAID, namespace="kubeflow", elsewhere="kubeflow"), uid="another")
    assert seen(SUCCEEDED, there, here).outcome == seen(SUCCEEDED, here, there).outcome == OUTCOME
