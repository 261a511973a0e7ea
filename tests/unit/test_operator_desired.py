"""What the operator wants to be there for a job: runs, claims, servers, in plain objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import yaml
from pydantic import ValidationError

from presage.spec.digest import run_digest
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage_operator import names
from presage_operator.actions import StartRun
from presage_operator.desired.claim import lake_claim
from presage_operator.desired.job_file import LARGEST_ANNOTATIONS, size_fault
from presage_operator.desired.run import run_job
from presage_operator.desired.server import COMPONENT, COMPONENT_LABEL, server_objects
from presage_operator.desired.serving import kinds_and_digest, serving_objects
from presage_operator.errors import JsonObject
from presage_operator.settings import Settings

UID = "7b7e3f0c-0b8f-4b0e-9a52-3a3f2f1d9c11"
RUN = "sp500-0a1b2c3d"
LAKE_RUN = "20260102T030405Z-8f14e45f"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VOLUME = Settings()
BUCKET = Settings.model_validate(
    {"lake": {"s3": {"uri": "s3://presage/lakes/", "endpoint": "http://minio.minio.svc:9000", "secretName": "lake"}}}
)
TEXT = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: sp500, namespace: desk, labels: {team: rates}, annotations: {note: private}}
spec:
  frequency: 1d
  target: {source: sp500, column: range_volatility, minimum: 0}
  sources: [{name: sp500, dataset: {name: arch/sp500}, timeZone: America/New_York, availability: {lag: 0s}}]
"""
JOB = parse_job(TEXT, "job")


def with_spec(**changes: object) -> PredictionJob:
    content = yaml.safe_load(TEXT)
    content["spec"] |= changes
    return PredictionJob.model_validate(content)


def made(
    job: PredictionJob = JOB, settings: Settings = VOLUME, cadence: str = "Train", request: str | None = None
) -> JsonObject:
    start = StartRun(UID, RUN, cadence, "Schedule", 2, AT, run_digest(job), scheduled_time=AT, request=request)
    return run_job(job, start, settings)


def pod(run: JsonObject) -> JsonObject:
    return run["spec"]["template"]["spec"]


def served(job: PredictionJob = JOB, run: str = LAKE_RUN, settings: Settings = VOLUME) -> dict[str, JsonObject]:
    return {each["kind"]: each for each in server_objects(job, uid=UID, run=run, settings=settings)}


def sql_job(length: int) -> PredictionJob:
    query = {"uri": "postgresql://db/x", "query": "q" * 16384}
    sources = [{"name": f"s{n}", "availability": {"lag": "0s"}, "sql": query} for n in range(length)]
    return with_spec(sources=sources, target={"source": "s0", "column": "x"})


def test_a_job_whose_file_fits_no_annotation_is_refused_with_both_sizes() -> None:
    assert size_fault(JOB) is None
    assert size_fault(sql_job(15)) is None
    fault = size_fault(sql_job(16))
    assert fault is not None
    assert fault.reason == "JobTooLarge"
    assert str(LARGEST_ANNOTATIONS) in fault.message


def test_a_run_says_what_it_is_and_whose() -> None:
    run = made(request="2026-01-02T03:00:00Z")
    head = run["metadata"]
    assert (head["name"], head["namespace"]) == (RUN, "desk")
    assert head["labels"] == names.labels("sp500") | {names.CADENCE_LABEL: "Train", names.RUN_LABEL: RUN}
    assert run["spec"]["template"]["metadata"]["labels"] == head["labels"]
    assert head["annotations"] == {
        names.TRIGGER: "Schedule",
        names.ATTEMPT: "2",
        names.RUN_DIGEST: run_digest(JOB),
        names.SCHEDULED_TIME: "2026-01-02T03:04:05Z",
        names.REQUEST: "2026-01-02T03:00:00Z",
    }
    (owner,) = head["ownerReferences"]
    assert owner == {
        "apiVersion": "presage.dev/v1alpha1",
        "kind": "PredictionJob",
        "name": "sp500",
        "uid": UID,
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize(
    ("cadence", "command", "settings", "workdir"),
    [
        ("Train", "run", VOLUME, "/var/lib/presage"),
        ("Forecast", "forecast", VOLUME, "/var/lib/presage"),
        ("Train", "run", BUCKET, "s3://presage/lakes/desk.sp500"),
    ],
    ids=["training-on-a-volume", "forecast-on-a-volume", "training-in-a-bucket"],
)
def test_a_run_calls_presage_as_a_laptop_would(cadence: str, command: str, settings: Settings, workdir: str) -> None:
    (container,) = pod(made(cadence=cadence, settings=settings))["containers"]
    assert container["args"] == [
        *(command, "/etc/presage/job.json", "--workdir", workdir, "--as-of", "2026-01-02T03:04:05"),
        *("--outcome", "/dev/termination-log", "-o", "json"),
    ]


def test_a_pod_that_fails_for_good_is_not_repeated_and_a_disrupted_one_does_not_count() -> None:
    spec = made(settings=Settings.model_validate({"pipelines": {"retries": 5, "activeDeadlineSeconds": 60}}))["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["podReplacementPolicy"]) == (5, 60, "Failed")
    ignored, failed = spec["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert failed["action"] == "FailJob"
    assert failed["onExitCodes"]["values"] == [2, 3, 4, 5, 6]
    assert "ttlSecondsAfterFinished" not in spec


def test_a_lake_in_a_bucket_needs_no_volume_and_takes_its_keys_from_a_secret() -> None:
    on_volume, in_bucket = pod(made()), pod(made(settings=BUCKET))
    assert "sp500-lake" in json.dumps(on_volume)
    assert "persistentVolumeClaim" not in json.dumps(in_bucket)
    (container,) = in_bucket["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "lake"}}]
    assert {"name": "AWS_ENDPOINT_URL_S3", "value": "http://minio.minio.svc:9000"} in container["env"]
    assert lake_claim(JOB, uid=UID, settings=BUCKET) is None


def test_runs_tell_the_mlflow_server_and_the_pushgateway_of_the_settings_and_no_other() -> None:
    told = {"tracking": {"uri": "http://mlflow:5000", "secretName": "mlflow-user"}, "pushgateway": "http://push:9091"}
    (container,) = pod(made(settings=Settings.model_validate(told)))["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["PRESAGE_TRACKING"] == "http://mlflow:5000"
    assert variables["PRESAGE_PUSHGATEWAY"] == "http://push:9091"
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow-user"}}]
    (container,) = pod(made())["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["PRESAGE_TRACKING"] == "off"
    assert "PRESAGE_PUSHGATEWAY" not in variables
    with pytest.raises(ValidationError, match="pattern"):
        Settings.model_validate({"tracking": {"uri": "http://user:secret@mlflow:5000"}})


def test_a_run_is_given_the_secrets_that_its_job_names_and_no_other() -> None:
    sources = [
        {"name": "sp500", "dataset": {"name": "arch/sp500"}, "availability": {"lag": "0s"}},
        {
            "name": "rate",
            "http": {"url": "https://rates.example/?key={secret:api_key}", "secretRef": {"name": "fred-key"}},
            "availability": {"lag": "1d"},
        },
    ]
    sinks = [{"name": "desk", "sql": {"uri": "postgresql://db/desk", "secretRef": {"name": "desk", "key": "password"}}}]
    job = with_spec(sources=sources, sinks=sinks)
    taken = [
        {"prefix": "FRED_KEY_", "secretRef": {"name": "fred-key"}},
        {"prefix": "DESK_", "secretRef": {"name": "desk"}},
    ]
    (container,) = pod(made(job))["containers"]
    assert container["envFrom"] == taken
    (container,) = pod(made(job, settings=BUCKET))["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "lake"}}, *taken]
    (container,) = pod(made())["containers"]
    assert "envFrom" not in container


def test_data_volumes_are_only_read() -> None:
    settings = Settings.model_validate({"dataVolumes": [{"claimName": "market", "mountPath": "/data"}]})
    spec = pod(made(settings=settings))
    assert {"name": "data-0", "persistentVolumeClaim": {"claimName": "market", "readOnly": True}} in spec["volumes"]
    assert {"name": "data-0", "mountPath": "/data", "readOnly": True} in spec["containers"][0]["volumeMounts"]


def test_a_claim_goes_with_its_job_only_where_it_is_to_be_deleted() -> None:
    deleted = lake_claim(JOB, uid=UID, settings=VOLUME)
    retained = lake_claim(
        JOB, uid=UID, settings=Settings.model_validate({"lake": {"volume": {"whenDeleted": "Retain"}}})
    )
    assert deleted is not None
    assert retained is not None
    assert deleted["metadata"]["ownerReferences"][0]["uid"] == UID
    assert "ownerReferences" not in retained["metadata"]
    assert "storageClassName" not in deleted["spec"]


@pytest.mark.parametrize(
    ("fewest", "most", "replicas", "scaled"),
    [(1, 2, None, (1, 2)), (2, 2, 2, None), (1, 1, 1, None), (0, 1, 1, None), (0, 3, None, (1, 3))],
    ids=["a-range", "two", "one", "none-to-one", "none-to-three"],
)
def test_an_autoscaler_rules_only_where_there_is_a_range(
    fewest: int, most: int, replicas: int | None, scaled: tuple[int, int] | None
) -> None:
    objects = served(with_spec(serving={"replicas": {"min": fewest, "max": most}}))
    assert objects["Deployment"]["spec"].get("replicas") == replicas
    autoscaler = objects.get("HorizontalPodAutoscaler")
    bounds = autoscaler and (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"])
    assert bounds == scaled


def test_a_server_reads_the_directory_of_its_run_and_selectors_find_no_run() -> None:
    objects = served()
    template = objects["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    directory = f"/var/lib/presage/runs/desk.sp500/{LAKE_RUN}"
    assert container["args"] == ["--model-name", "sp500", "--model-dir", directory, "--port", "8080"]
    assert template["metadata"]["annotations"] == {names.RUN_LABEL: LAKE_RUN}
    assert {"name": "lake", "mountPath": "/var/lib/presage", "readOnly": True} in container["volumeMounts"]
    selector = objects["Service"]["spec"]["selector"].items()
    assert selector == objects["Deployment"]["spec"]["selector"]["matchLabels"].items()
    assert selector == objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items()
    assert selector <= template["metadata"]["labels"].items()
    assert not selector <= made()["metadata"]["labels"].items()


def test_every_object_carries_the_digest_of_them_all_and_it_changes_with_any() -> None:
    objects = server_objects(JOB, uid=UID, run=LAKE_RUN, settings=VOLUME)
    kinds, digest = kinds_and_digest(objects)
    assert kinds == {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert {each["metadata"]["annotations"][names.DESIRED] for each in objects} == {digest}
    again = kinds_and_digest(serving_objects("deployment", JOB, uid=UID, run=LAKE_RUN, settings=VOLUME))
    assert again == (kinds, digest)
    other_images = Settings.model_validate({"images": {"server": "presage/server:1"}})
    others = {
        kinds_and_digest(server_objects(JOB, uid=UID, run="another", settings=VOLUME))[1],
        kinds_and_digest(server_objects(JOB, uid="another", run=LAKE_RUN, settings=VOLUME))[1],
        kinds_and_digest(server_objects(JOB, uid=UID, run=LAKE_RUN, settings=other_images))[1],
    }
    assert len(others | {digest}) == 4


def test_a_server_of_a_bucket_has_its_address_and_credentials_and_no_volume_but_scratch() -> None:
    pod = served(settings=BUCKET)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][3] == f"s3://presage/lakes/desk.sp500/runs/desk.sp500/{LAKE_RUN}"
    assert {variable["name"]: variable["value"] for variable in container["env"]} == {
        "HOME": "/tmp",
        "PRESAGE_LOG_LEVEL": "INFO",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": "http://minio.minio.svc:9000",
    }
    assert container["envFrom"] == [{"secretRef": {"name": "lake"}}]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["scratch"]
    assert [volume["name"] for volume in pod["volumes"]] == ["scratch"]
    with_identity = Settings.model_validate({"lake": {"s3": {"uri": "s3://presage/lakes"}}})
    (container,) = served(settings=with_identity)["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in container


@pytest.mark.parametrize(
    ("settings", "uri"),
    [
        (VOLUME, f"pvc://sp500-lake/runs/desk.sp500/{LAKE_RUN}"),
        (BUCKET, f"s3://presage/lakes/desk.sp500/runs/desk.sp500/{LAKE_RUN}"),
    ],
    ids=["a-volume", "a-bucket"],
)
def test_an_inference_service_names_the_place_of_the_model(settings: Settings, uri: str) -> None:
    job = with_spec(serving={"replicas": {"min": 0, "max": 3}})
    (service,) = serving_objects("kserve", job, uid=UID, run=LAKE_RUN, settings=settings)
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["metadata"]["name"] == "sp500"
    assert service["metadata"]["annotations"][names.RUN_LABEL] == LAKE_RUN
    predictor = service["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"], predictor["scaleTarget"]) == (0, 3, 80)
    assert predictor["labels"] == {**names.labels("sp500"), COMPONENT_LABEL: COMPONENT}, "Prometheus finds Pods by them"
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"
    assert {"name": "STORAGE_URI", "value": uri} in container["env"]
    assert container["args"][3] == "/mnt/models"


def test_what_is_built_holds_no_variable_of_the_operator_s_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-operator")
    objects = [
        made(settings=BUCKET),
        *served().values(),
        *serving_objects("kserve", JOB, uid=UID, run=LAKE_RUN, settings=BUCKET),
    ]
    assert "a-secret-of-the-operator" not in json.dumps(objects)
