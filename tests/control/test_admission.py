"""Examples and bad jobs before the real admission code; the laptop must say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from control.cases import BAD, FULL, MINIMAL, Change
from kubernetes import client
from kubernetes.client.rest import ApiException

from presage.errors import JobError
from presage.spec.cron import parse_cron
from presage.spec.document import read_document
from presage.spec.load import load_job, parse_job

pytestmark = pytest.mark.control

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml"))


def create(jobs: client.CustomObjectsApi, job: dict) -> dict:
    """Have the server judge a job as it would on creation, and keep nothing."""
    return jobs.create_namespaced_custom_object(
        "presage.dev", "v1alpha1", "default", "predictionjobs", job, dry_run="All", field_validation="Strict"
    )


def create_text(jobs: client.CustomObjectsApi, text: str) -> dict:
    """Have the server judge a job from its YAML text, which it reads itself, as `kubectl` does."""
    api = jobs.api_client
    answer = api.rest_client.pool_manager.request(
        "POST",
        f"{api.configuration.host}/apis/presage.dev/v1alpha1/namespaces/default/predictionjobs"
        "?dryRun=All&fieldValidation=Strict",
        body=text.encode(),
        headers={
            "Content-Type": "application/yaml",
            "Accept": "application/json",
            "Authorization": api.configuration.api_key["authorization"],
        },
    )
    created = json.loads(answer.data)
    assert answer.status == 201, created
    return created


def refusal(jobs: client.CustomObjectsApi, job: dict) -> str:
    with pytest.raises(ApiException) as caught:
        create(jobs, job)
    return json.loads(caught.value.body)["message"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_accepted(jobs: client.CustomObjectsApi, path: Path) -> None:
    load_job(path)
    created = create(jobs, yaml.safe_load(path.read_text()))
    assert created["metadata"]["name"] == path.stem


@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_the_server_fills_in_the_same_defaults(jobs: client.CustomObjectsApi, text: str) -> None:
    job = parse_job(text, "job")
    created = create_text(jobs, text)
    assert created["spec"] == job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert parse_job(json.dumps(created), "created").spec == job.spec


def test_yaml_means_the_same_on_both_sides(jobs: client.CustomObjectsApi) -> None:
    texts = [
        *(
            "1e-3",
            "1.0",
            "2.50",
            ".5",
            "1.",
            "-7",
            "+7",
            "0x1F",
            "0b101",
            "010",
            "089",
            "1_000",
            "1e400x",
            "1:30",
            "12:30:45",
        ),
        *(
            "2015-01-01",
            "2015-01-01T00:00:00Z",
            "1.2.3",
            "yes",
            "No",
            "on",
            "OFF",
            "y",
            "N",
            "'y'",
            '"no"',
            "'1'",
            "!!str 1",
        ),
        *("True", "tRUE", "text", "a b", "=", "0o17", "1e3", "-0", "''", "|-\n        two\n        lines"),
    ]
    lines = [f"      p{number}: {text}" for number, text in enumerate(texts)]
    text = "\n".join([MINIMAL.rstrip(), "  models:", "  - name: ridge", "    parameters:", *lines])
    read = read_document(text).value["spec"]["models"][0]["parameters"]
    applied = create_text(jobs, text)["spec"]["models"][0]["parameters"]
    told = {texts[int(name[1:])]: (value, read[name]) for name, value in applied.items()}
    assert {name: pair for name, pair in told.items() if pair[0] != pair[1] or type(pair[0]) is not type(pair[1])} == {}
    assert len(applied) == len(read) == len(texts)


def tolerated(api: client.ApiClient, schedule: str) -> bool:
    """Tell whether the server takes a CronJob of this schedule."""
    pod = {"containers": [{"name": "a", "image": "a"}], "restartPolicy": "Never"}
    spec = {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    try:
        client.BatchV1Api(api).create_namespaced_cron_job(
            "default", {"metadata": {"name": "a"}, "spec": spec}, dry_run="All"
        )
    except ApiException as error:
        if error.status != 422:
            raise
        return False
    return True


def parsed(schedule: str) -> bool:
    try:
        parse_cron(schedule)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "schedule",
    [
        *("0 3 * * *", "*/15 9-17 * * mon-fri", "0 0 1,15 JAN-Mar ?", "5/25 * * * *", "@weekly", "@annually"),
        *("60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *", "*/0 * * * *"),
        *("1- * * * *", "-1 * * * *", "* * * * sun-sat", "* * * * fri-mon", "*/90 * * * *", "0 0 * * 1-3-5"),
        *("?/5 * * * *", "mon * * * *", "* * jan * *", "@often", "* * * JAM *", "1/2/3 * * * *", "0-59/7 0 31 12 6"),
    ],
)
def test_a_schedule_is_what_cronjob_takes_for_one(api: client.ApiClient, schedule: str) -> None:
    assert parsed(schedule) == tolerated(api, schedule)


@pytest.mark.parametrize("schedule", ["*-5 * * * *", "1,,2 * * * *", "1, * * * *", "+1 * * * *"])
def test_a_slip_that_cronjob_passes_over_is_refused(api: client.ApiClient, schedule: str) -> None:
    assert tolerated(api, schedule)
    assert not parsed(schedule)


def test_a_null_counts_as_left_out(jobs: client.CustomObjectsApi) -> None:
    job = yaml.safe_load(MINIMAL)
    job["spec"] |= {"features": None, "seed": None, "evaluation": {"trainSize": None}}
    job["spec"]["sources"][0] |= {"dataset": None, "timeUnit": None}
    created = create(jobs, job)
    assert created["spec"] == create(jobs, yaml.safe_load(MINIMAL))["spec"]
    assert parse_job(json.dumps(job), "job").spec == parse_job(MINIMAL, "job").spec


@pytest.mark.parametrize(
    ("change", "said", "path", "allowed"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_server_and_laptop_refuse_the_same(
    jobs: client.CustomObjectsApi, change: Change, said: str, path: str, allowed: str
) -> None:
    job = yaml.safe_load(MINIMAL)
    create(jobs, job)
    change(job)
    assert said in refusal(jobs, job)
    with pytest.raises(JobError) as caught:
        parse_job(json.dumps(job), "job.json")
    problem = next((problem for problem in caught.value.problems if problem.path == path), None)
    assert problem is not None, [str(problem) for problem in caught.value.problems]
    assert allowed in f"{problem.allowed} {problem.nearest}"
