"""`kubectl presage` as a process before the real API server; the operator's part is played by the tests."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import commands
import pytest
import yaml
from commands import ENVIRONMENT, EXAMPLES, PLUGIN, Ended
from control.apiserver import ControlPlane
from kubernetes import client, watch

from presage.spec.status import PredictionJobStatus
from presage_operator.kubectl.words import UNDEFINED

pytestmark = pytest.mark.control

WHERE = ("presage.dev", "v1alpha1", "plugin", "predictionjobs")
DIGEST = "sha256:" + "0123456789abcdef" * 4
PROMOTED = (
    "skill 0.069 against har, p-value 0.004 over 412 independent origins; the 90 % interval held 90.2 % of outcomes"
)
OTHERS = [
    ("DataReady", "True", "SourcesRead", "sp500: 5,030 rows to 2018-12-31; vix: 7,336 rows to 2019-02-22"),
    ("FeaturesReady", "True", "FeaturesSelected", "4 of 4 features kept"),
    ("Trained", "True", "ContendersFitted", "4 models and 3 baselines"),
    ("Evaluated", "True", "BackTestScored", "12 folds, 2,304 origins"),
    ("Promoted", "True", "BetterThanBaseline", PROMOTED),
    ("Serving", "True", "ChampionServed", "forecasts come from ridge"),
    ("Ready", "True", "ChampionServed", "forecasts come from ridge"),
    ("Stalled", "False", "Progressing", "nothing holds the job up"),
]
STATUS = {
    "observedGeneration": 1,
    "phase": "Serving",
    "conditions": [
        {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "observedGeneration": 1,
        }
        for type_, status, reason, message in OTHERS
    ],
    "scorecard": {
        "model": "ridge",
        "skill": 0.069,
        "coverage": 0.902,
        "digest": DIGEST,
        "run": "20260102T030000Z-0123abcd",
        "data": DIGEST,
    },
    "url": "http://quickstart-predictor.plugin.svc",
    "nextRun": "2026-01-03T00:15:00Z",
    "nextRuns": {"train": "2026-01-04T03:00:00Z", "forecast": "2026-01-03T00:15:00Z"},
    "staleAfter": "2026-01-05T00:00:00Z",
    "runs": [
        {
            "name": "quickstart-89abcdef",
            "cadence": "Forecast",
            "trigger": "Schedule",
            "state": "Running",
            "startTime": "2026-01-02T04:00:00Z",
        },
        {
            "name": "quickstart-01234567",
            "cadence": "Train",
            "trigger": "Retry",
            "state": "Succeeded",
            "attempt": 2,
            "startTime": "2026-01-02T03:00:00Z",
            "completionTime": "2026-01-02T03:02:05Z",
            "run": "20260102T030000Z-0123abcd",
        },
        {
            "name": "quickstart-76543210",
            "cadence": "Train",
            "state": "Failed",
            "reason": "OOMKilled",
            "message": "the run's container used more than its memory limit of 4Gi",
            "startTime": "2026-01-02T02:00:00Z",
            "completionTime": "2026-01-02T02:00:42Z",
        },
    ],
    "champions": [
        {
            "model": "ridge",
            "run": "20260102T030000Z-0123abcd",
            "since": "2026-01-02T03:02:05Z",
            "reason": "BetterThanBaseline",
            "digest": DIGEST,
        }
    ],
}
SHOWN_STATUS = f"""\
READY  plugin/quickstart
  forecasts come from ridge
  skill 0.069 against har, p-value 0.004 over 412 independent origins; the 90 %
  interval held 90.2 % of outcomes

  Phase          Serving
  Model          ridge             what is served
  Skill          6.9 %             against the best baseline
  Coverage       90.2 %            of outcomes inside the interval
  Champion       ridge             BetterThanBaseline
  Served since   2026-01-02 03:02  UTC
  Next training  2026-01-04 03:00  UTC
  Next forecast  2026-01-03 00:15  UTC
  Stale after    2026-01-05 00:00  UTC

Where forecasts are served
  http://quickstart-predictor.plugin.svc

Conditions
  condition      status  reason              since, UTC
  DataReady      True    SourcesRead         2026-01-02 03:04
  FeaturesReady  True    FeaturesSelected    2026-01-02 03:04
  Trained        True    ContendersFitted    2026-01-02 03:04
  Evaluated      True    BackTestScored      2026-01-02 03:04
  Promoted       True    BetterThanBaseline  2026-01-02 03:04
  Serving        True    ChampionServed      2026-01-02 03:04
  Ready          True    ChampionServed      2026-01-02 03:04
  Stalled        False   Progressing         2026-01-02 03:04

In words
  DataReady: sp500: 5,030 rows to 2018-12-31; vix: 7,336 rows to 2019-02-22
  FeaturesReady: 4 of 4 features kept
  Trained: 4 models and 3 baselines
  Evaluated: 12 folds, 2,304 origins
  Serving: forecasts come from ridge
  Stalled: nothing holds the job up

How to reproduce it
  run
    20260102T030000Z-0123abcd
  data
    {DIGEST}
  scorecard
    {DIGEST}
"""
SHOWN_HISTORY = f"""\
Runs
  run                  cadence   trigger   state      started, UTC      took
  quickstart-89abcdef  Forecast  Schedule  Running    2026-01-02 04:00  {UNDEFINED}
  quickstart-01234567  Train     Retry     Succeeded  2026-01-02 03:00  2m 5s
  quickstart-76543210  Train     Spec      Failed     2026-01-02 02:00  42s

What went wrong
  quickstart-76543210
    OOMKilled: the run's container used more than its memory limit of 4Gi

Champions
  ridge  2026-01-02 03:02 to now, UTC
    BetterThanBaseline
    run 20260102T030000Z-0123abcd  scorecard 0123456789ab
"""
BACK = {
    "model": "ridge",
    "run": "20260101T030000Z-89abcdef",
    "since": "2026-01-02T06:00:00Z",
    "reason": "RolledBack",
    "digest": DIGEST,
    "promoted": True,
    "message": "the intervals are too narrow since Monday, and the desk does not trust them",
    "by": "ana@desk",
}
EARLIER = BACK | {"since": "2026-01-01T03:02:05Z", "reason": "NotBetterThanBaseline", "promoted": False}
SHOWN_CHAMPIONS = """\
Champions
  ridge (promoted)  2026-01-02 06:00 to now, UTC
    RolledBack by ana@desk: the intervals are too narrow since Monday, and the
    desk does not trust them
    run 20260101T030000Z-89abcdef  scorecard 0123456789ab

  ridge  2026-01-02 03:02 to 2026-01-02 06:00, UTC
    BetterThanBaseline
    rolled back
    run 20260102T030000Z-0123abcd  scorecard 0123456789ab

  ridge (baseline)  2026-01-01 03:02 to 2026-01-02 03:02, UTC
    NotBetterThanBaseline: no candidate beats it
    run 20260101T030000Z-89abcdef  scorecard 0123456789ab
"""
SHOWN_JOBS = f"""\
name        ready  phase    model  skill  coverage  reason
quickstart  True   Serving  ridge  6.9 %    90.2 %  ChampionServed
second      {UNDEFINED}      {UNDEFINED}        {UNDEFINED}          {UNDEFINED}         {UNDEFINED}  {UNDEFINED}
"""
Plugin = Callable[..., Ended]


def text(shown: str) -> str:
    """What was printed, without the spaces that pad a table's last column."""
    return "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


@pytest.fixture
def kubeconfig(plane: ControlPlane, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    content = yaml.safe_load(plane.kubeconfig())
    content["contexts"][0]["context"]["namespace"] = "plugin"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def environment(kubeconfig: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "KUBECONFIG": str(kubeconfig), "COLUMNS": "80"}


@pytest.fixture
def plugin(environment: dict[str, str], tmp_path: Path) -> Plugin:
    """Runs the plug-in and requires its exit code."""
    return partial(commands.plugin, cwd=tmp_path, **environment)


@pytest.fixture
def quickstart(api: client.ApiClient, jobs: client.CustomObjectsApi) -> Iterator[dict]:
    """The example, as an operator has left it."""
    core = client.CoreV1Api(api)
    if "plugin" not in {namespace.metadata.name for namespace in core.list_namespace().items}:
        core.create_namespace({"metadata": {"name": "plugin"}})
    job = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    jobs.create_namespaced_custom_object(*WHERE, job)
    yield jobs.patch_namespaced_custom_object_status(*WHERE, "quickstart", {"status": STATUS})
    jobs.delete_collection_namespaced_custom_object(*WHERE)


@pytest.fixture
def operator_double(jobs: client.CustomObjectsApi) -> Callable[..., str]:
    """Obey the next request for a run, with a run that ends as it is told to; returns the request."""

    def obey(cadence: str, state: str, champions: list[dict] = STATUS["champions"], **ended: str) -> str:
        annotation = f"presage.dev/{cadence.lower()}-requested-at"
        stream = watch.Watch()
        for event in stream.stream(jobs.list_namespaced_custom_object, *WHERE, timeout_seconds=30):
            request = event["object"]["metadata"].get("annotations", {}).get(annotation)
            if request is not None:
                stream.stop()
                break
        else:
            pytest.fail("no run was asked for")
        times = {"startTime": "2026-01-02T05:00:00Z", "completionTime": "2026-01-02T05:01:00Z"}
        run = {"name": "quickstart-aaaaaaaa", "cadence": cadence, "trigger": "Request"}
        for change in ({"state": "Running"}, {"state": state, **times, **ended}):
            status = {"handledRequests": {cadence.lower(): request}, "runs": [{**run, **change}, *STATUS["runs"]]}
            status["champions"] = champions
            jobs.patch_namespaced_custom_object_status(*WHERE, "quickstart", {"status": status})
        return request

    return obey


def test_status_gives_the_verdict_first_then_the_numbers(quickstart: dict, plugin: Plugin) -> None:
    shown = plugin("status", "quickstart").out
    assert text(shown) == SHOWN_STATUS
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_status_is_given_to_programs_whole(quickstart: dict, plugin: Plugin) -> None:
    told = plugin("status", "quickstart", "-o", "json").json()
    assert told["namespace"] == "plugin"
    assert PredictionJobStatus.model_validate(told["status"]) == PredictionJobStatus.model_validate(STATUS)
    assert yaml.safe_load(plugin("status", "quickstart", "-o", "yaml").out) == told


def test_status_without_a_name_lists_the_jobs(quickstart: dict, jobs: client.CustomObjectsApi, plugin: Plugin) -> None:
    jobs.create_namespaced_custom_object(*WHERE, {**quickstart, "metadata": {"name": "second"}})
    assert text(plugin("status").out) == SHOWN_JOBS
    listed = plugin("status", "-o", "json").json()["items"]
    assert [job["name"] for job in listed] == ["quickstart", "second"]
    assert text(plugin("status", "second").out) == (
        "PENDING  plugin/second\n  no operator has looked at this job yet; if that lasts, see whether one runs\n"
    )


def test_a_change_that_the_operator_has_not_seen_is_said(
    quickstart: dict, jobs: client.CustomObjectsApi, plugin: Plugin
) -> None:
    jobs.patch_namespaced_custom_object(*WHERE, "quickstart", {"spec": {"seed": 9}})
    assert "has not taken in the newest change" in plugin("status", "quickstart").out


def test_status_is_shown_anew_when_it_changes(
    quickstart: dict, jobs: client.CustomObjectsApi, environment: dict[str, str]
) -> None:
    command = [PLUGIN, "status", "quickstart", "--watch"]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as watching:
        assert watching.stdout is not None
        assert next(line for line in watching.stdout if "Phase" in line).split() == ["Phase", "Serving"]
        jobs.patch_namespaced_custom_object_status(*WHERE, "quickstart", {"status": {"phase": "Forecasting"}})
        assert next(line for line in watching.stdout if "Phase" in line).split() == ["Phase", "Forecasting"]
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (130, "interrupted\n")


def test_history_shows_runs_and_champions_with_reasons(quickstart: dict, plugin: Plugin) -> None:
    assert text(plugin("history", "quickstart").out) == SHOWN_HISTORY
    told = plugin("history", "quickstart", "-o", "json").json()
    assert [run["name"] for run in told["runs"]] == [run["name"] for run in STATUS["runs"]]


def test_history_tells_of_rollbacks_and_of_champions_of_earlier_versions(
    quickstart: dict, jobs: client.CustomObjectsApi, plugin: Plugin
) -> None:
    earlier = {name: part for name, part in EARLIER.items() if name != "by"} | {"message": "no candidate beats it"}
    champions = [BACK, *STATUS["champions"], earlier]
    jobs.patch_namespaced_custom_object_status(*WHERE, "quickstart", {"status": {"champions": champions}})
    shown = plugin("history", "quickstart").out
    assert text(shown[shown.index("Champions") :]) == SHOWN_CHAMPIONS
    told = plugin("history", "quickstart", "-o", "json").json()["champions"]
    assert [one["message"] for one in told] == [BACK["message"], None, "no candidate beats it"]


ROLLBACK = ("rollback", "quickstart", "--reason", "the intervals\n are too narrow")


def test_rollback_annotates_the_job_with_what_is_to_go_and_who_says_so(
    quickstart: dict, jobs: client.CustomObjectsApi, plugin: Plugin
) -> None:
    said = plugin(*ROLLBACK, "--to", "20260101T030000Z-89abcdef").out
    assert said.startswith("plugin/quickstart: asked for a rollback of ridge (20260102T030000Z-0123abcd) at 2")
    job = jobs.get_namespaced_custom_object(*WHERE, "quickstart")
    first = job["metadata"]["annotations"]
    assert first == {
        "presage.dev/rollback-requested-at": said.split()[-1],
        "presage.dev/rollback-reason": "the intervals are too narrow",
        "presage.dev/rollback-to": "20260101T030000Z-89abcdef",
        "presage.dev/rollback-from": "20260102T030000Z-0123abcd",
        "presage.dev/rollback-by": "admin",
    }
    assert (job["metadata"]["generation"], job["spec"], job["status"]) == (1, quickstart["spec"], quickstart["status"])
    plugin(*ROLLBACK)
    second = jobs.get_namespaced_custom_object(*WHERE, "quickstart")["metadata"]["annotations"]
    assert set(first) - set(second) == {"presage.dev/rollback-to"}
    assert second["presage.dev/rollback-requested-at"] > first["presage.dev/rollback-requested-at"]


@pytest.mark.parametrize(
    ("state", "ended", "champions", "code", "said"),
    [
        ("Succeeded", {}, [BACK, *STATUS["champions"]], 0, "RolledBack by ana@desk: the intervals"),
        (
            "Failed",
            {"reason": "JobError", "message": "there is nothing to roll back to."},
            STATUS["champions"],
            1,
            "ended as Failed: JobError: there is nothing to roll back to.",
        ),
    ],
    ids=["a rollback that succeeds", "a rollback that fails"],
)
def test_rollback_waits_for_its_end_and_shows_what_serves(
    quickstart: dict,
    jobs: client.CustomObjectsApi,
    operator_double: Callable[..., str],
    environment: dict[str, str],
    state: str,
    ended: dict[str, str],
    champions: list[dict],
    code: int,
    said: str,
) -> None:
    jobs.patch_namespaced_custom_object_status(*WHERE, "quickstart", {"status": {"champions": [champions[0]]}})
    command = [PLUGIN, *ROLLBACK, "--wait"]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as waiting:
        operator_double("Rollback", state, champions=champions, **ended)
        out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == code, err
    assert said in out + err
    assert "waiting for the rollback of ridge" in err


def test_a_job_without_a_champion_has_nothing_to_roll_back(
    quickstart: dict, jobs: client.CustomObjectsApi, plugin: Plugin
) -> None:
    jobs.patch_namespaced_custom_object_status(*WHERE, "quickstart", {"status": {"champions": []}})
    assert "plugin/quickstart has no champion yet" in plugin(*ROLLBACK, code=1).err
    assert "annotations" not in jobs.get_namespaced_custom_object(*WHERE, "quickstart")["metadata"]


def test_run_annotates_the_job_and_nothing_else(
    quickstart: dict, jobs: client.CustomObjectsApi, plugin: Plugin
) -> None:
    plugin("run", "quickstart")
    plugin("run", "quickstart", "--cadence", "forecast")
    job = jobs.get_namespaced_custom_object(*WHERE, "quickstart")
    assert set(job["metadata"]["annotations"]) == {
        "presage.dev/train-requested-at",
        "presage.dev/forecast-requested-at",
    }
    assert job["metadata"]["generation"] == 1
    assert job["spec"] == quickstart["spec"]
    assert job["status"] == quickstart["status"]


@pytest.mark.parametrize(
    ("state", "ended", "code", "said"),
    [
        ("Succeeded", {}, 0, "quickstart-aaaaaaaa: Succeeded after 1m 0s"),
        ("Failed", {"reason": "DataError", "message": "no rows"}, 1, "ended as Failed: DataError: no rows."),
    ],
    ids=["a run that succeeds", "a run that fails"],
)
def test_run_waits_for_the_end_of_the_run_that_it_asked_for(
    quickstart: dict,
    operator_double: Callable[..., str],
    environment: dict[str, str],
    state: str,
    ended: dict[str, str],
    code: int,
    said: str,
) -> None:
    command = [PLUGIN, "run", "quickstart", "--cadence", "forecast", "--wait"]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as waiting:
        request = operator_double("Forecast", state, **ended)
        out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == code, err
    assert said in out + err
    assert f"asked for at {request}" in err


def test_a_request_that_another_one_replaces_is_not_waited_for(
    quickstart: dict, jobs: client.CustomObjectsApi, environment: dict[str, str]
) -> None:
    command = [PLUGIN, "run", "quickstart", "--wait"]
    annotation = "presage.dev/train-requested-at"
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as waiting:
        stream = watch.Watch()
        for event in stream.stream(jobs.list_namespaced_custom_object, *WHERE, timeout_seconds=30):
            if event["object"]["metadata"].get("annotations"):
                stream.stop()
        change = {"metadata": {"annotations": {annotation: "2030-01-01T00:00:00Z"}}}
        jobs.patch_namespaced_custom_object(*WHERE, "quickstart", change)
        _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert "another request" in err


def test_logs_without_a_pod_say_what_to_do(quickstart: dict, plugin: Plugin) -> None:
    assert "plugin/quickstart has no Pod of a run" in plugin("logs", "quickstart", code=1).err
    assert "has no Pod of run other" in plugin("logs", "quickstart", "--run", "other", code=1).err
    assert "has no Pod of an inference server" in plugin("logs", "quickstart", "--server", code=1).err


def test_logs_are_those_of_the_newest_pod_of_the_run(quickstart: dict, api: client.ApiClient, plugin: Plugin) -> None:
    core = client.CoreV1Api(api)
    labels = {"presage.dev/job": "quickstart", "presage.dev/run": "quickstart-01234567"}
    spec = {"containers": [{"name": "run", "image": "presage/steps:0"}], "restartPolicy": "Never"}
    core.create_namespaced_pod("plugin", {"metadata": {"name": "first", "labels": labels}, "spec": spec})
    try:
        # No node has taken the Pod, so there is nothing to read yet; the API server answers with an empty log.
        assert plugin("logs", "quickstart", "--run", "quickstart-01234567").out == ""
        assert "has no Pod of an inference server" in plugin("logs", "quickstart", "--server", code=1).err
    finally:
        core.delete_namespaced_pod("first", "plugin", grace_period_seconds=0)


def test_a_report_that_nobody_serves_says_what_to_do(
    quickstart: dict, api: client.ApiClient, plugin: Plugin, tmp_path: Path
) -> None:
    said = plugin("report", "quickstart", code=1).err
    assert "nothing serves plugin/quickstart" in said
    assert "kubectl presage status quickstart -n plugin" in said
    core = client.CoreV1Api(api)
    ports = [{"name": "http", "port": 80}]
    service = {"metadata": {"name": "quickstart-predictor"}, "spec": {"ports": ports, "selector": {"nobody": "is"}}}
    core.create_namespaced_service("plugin", service)
    try:
        assert plugin("report", "quickstart", code=1).err == said
    finally:
        core.delete_namespaced_service("quickstart-predictor", "plugin")
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize(
    "words",
    [("status",), ("run",), ("logs",), ("history",), ("rollback", "--reason", "bad"), ("report",)],
    ids=" ".join,
)
def test_a_job_that_is_not_there_ends_with_1(quickstart: dict, plugin: Plugin, words: tuple[str, ...]) -> None:
    said = plugin(*words, "missing", code=1).err
    assert said == (
        "error: there is no PredictionJob plugin/missing.\nSee what there is: kubectl presage status -n plugin.\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("history",),
        ("status", "--watch"),
        ("run", "quickstart", "--cadence", "both"),
        ("rollback", "quickstart"),
        ("rollback", "quickstart", "--reason", " "),
        ("report", "quickstart", "--open", "--out", "a.html"),
        ("logs", "quickstart", "--server", "--run", "a"),
        ("status", ".."),
        ("run", ""),
        ("status", "-n", "default/pods"),
        ("logs", "quickstart", "--run", "a,b=c"),
    ],
    ids=" ".join,
)
def test_wrong_words_end_with_2(plugin: Plugin, words: tuple[str, ...]) -> None:
    plugin(*words, code=2)


def test_the_flags_of_kubectl_choose_the_cluster_and_the_namespace(
    quickstart: dict, plugin: Plugin, kubeconfig: Path, tmp_path: Path
) -> None:
    assert "There are no PredictionJobs in empty." in plugin("status", "-n", "empty").err
    content = yaml.safe_load(kubeconfig.read_text())
    content["contexts"].append({"name": "other", "context": content["contexts"][0]["context"] | {"namespace": "else"}})
    other = tmp_path / "other"
    other.write_text(json.dumps(content))
    assert "in else." in plugin("status", "--kubeconfig", str(other), "--context", "other").err
    assert "quickstart" in plugin("status", "--kubeconfig", str(other), "--context", "test").out
    assert "cannot be used" in plugin("status", "--context", "unknown", code=1).err
    assert "cannot be used" in plugin("status", "--kubeconfig", str(tmp_path / "none"), code=1).err


def test_an_unknown_user_is_told_to_log_in(plugin: Plugin, kubeconfig: Path) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"]["token"] = "wrong"
    kubeconfig.write_text(json.dumps(content))
    said = plugin("status", "quickstart", code=1).err
    assert "401" in said
    assert "Log in" in said


def test_a_cluster_that_is_away_ends_with_7(plugin: Plugin, kubeconfig: Path, closed_port: int) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{closed_port}"
    kubeconfig.write_text(json.dumps(content))
    said = plugin("status", "quickstart", code=7).err
    assert f"https://127.0.0.1:{closed_port} does not answer" in said
    assert len(said.splitlines()) == 2


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and where nobody answers."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
