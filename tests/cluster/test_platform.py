"""The whole platform on a real node: installed, used by the examples on real data, broken, upgraded and removed.

Its servers are real: MinIO, MariaDB in MySQL's place, MLflow, Kafka, NATS, Redis, Prometheus, Alertmanager and
Pushgateway. Their image is built here of Debian's, Go's and Maven's packages. ClickHouse, Grafana, KServe and Kubeflow
have no image here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from cluster import layout
from cluster.conftest import Cluster
from cluster.installation import CHART, IMAGES, MEASURED, SYSTEM, status, within
from cluster.platform_image import PLATFORM
from cluster.platform_jobs import DATA_BUCKET, MACRO, Expected, jobs, macro_rows, objects
from cluster.test_quickstart import predictions
from commands import presage
from servers.web import listening

_STANDARD = f"{CHART}/profiles/standard.yaml"
_ENGINES = ("minio", "mysql", "kafka", "nats", "redis")
_PODS = "app.kubernetes.io/instance=presage"


@dataclass(frozen=True)
class Platform:
    """The platform in the namespace of the system.

    Attributes:
        cluster: Where it is.
        values: What the tests need beside the profile.
        before: The release's revision that was the operator alone.
        alerts: What came to the Slack-shaped webhook, the oldest first.
    """

    cluster: Cluster
    values: Path
    before: str
    alerts: list[dict]

    def install(self) -> None:
        """Make it of what the release is, and wait until it is ready."""
        chart = ("upgrade", "--install", "presage", CHART, "-n", SYSTEM, "--reset-values", *IMAGES)
        given = ("--values", _STANDARD, "--values", str(self.values))
        try:
            self.cluster.helm(*chart, *given, "--wait", "--timeout", "6m")
        except AssertionError as error:
            held = self.cluster.kubectl("get", "pods,pvc,jobs", "-n", SYSTEM)
            told = self.cluster.kubectl("get", "events", "-n", SYSTEM, "--sort-by=.lastTimestamp")
            raise AssertionError(f"{held}\n{told[-3000:]}") from error

    def address(self, service: str, port: int) -> str:
        """Return host and port of a service, as this machine reaches it."""
        words = ("get", "service", service, "-n", SYSTEM, "-o=jsonpath={.spec.clusterIP}")
        return f"{self.cluster.kubectl(*words)}:{port}"

    def secret(self, name: str) -> Mapping[str, str]:
        """Return a Secret's values by key."""
        held = json.loads(self.cluster.kubectl("get", "secret", name, "-n", SYSTEM, "-o", "json"))
        return {key: base64.b64decode(value).decode() for key, value in held["data"].items()}

    def ask(self, service: str, port: int, path: str) -> dict:
        """Return the JSON that a service answers."""
        with urllib.request.urlopen(f"http://{self.address(service, port)}{path}", timeout=10) as response:
            return json.load(response)

    def run(self, pod: str, script: str) -> str:
        """Return what a script in a Pod's first container writes."""
        return self.cluster.kubectl("exec", "-n", SYSTEM, pod, "--", "bash", "-ec", script)

    @property
    def buckets(self):
        """The official S3 client of the lakes' user."""
        import boto3

        keys = self.secret("presage-lake")
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address('presage-minio', 9000)}",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )

    def exists(self, name: str) -> bool:
        """Return whether an object of the system's namespace is there."""
        return bool(self.cluster.kubectl("get", name, "-n", SYSTEM, "--ignore-not-found", "-o", "name"))

    def finish(self, name: str) -> None:
        """Start a CronJob's Job now, and wait for its good end."""
        job = f"{name}-now"
        self.cluster.kubectl("create", "job", job, f"--from=cronjob/{name}", "-n", SYSTEM)
        done = ("wait", "--for=condition=Complete", f"job/{job}", "-n", SYSTEM, "--timeout=300s")
        try:
            self.cluster.kubectl(*done)
        except AssertionError as error:
            said = self.cluster.kubectl("logs", f"job/{job}", "-n", SYSTEM, "--all-containers", "--tail=40")
            raise AssertionError(said) from error

    async def nats(self):
        """Return the official NATS client, connected."""
        import nats

        keys = self.secret("presage-nats")
        server = f"nats://{self.address('presage-nats', 4222)}"
        return await nats.connect(server, user=keys["user"], password=keys["password"])

    def database(self):
        """Return a connection of the results' user."""
        import pymysql

        keys = self.secret("presage-results")
        host, _, port = self.address("presage-mysql", 3306).partition(":")
        return pymysql.connect(
            host=host, port=int(port), user=keys["username"], password=keys["password"], database="presage"
        )


@pytest.fixture(scope="module")
def webhook() -> Iterator[tuple[str, list[dict]]]:
    """A webhook of Slack's shape that Pods reach, and what came to it."""
    came: list[dict] = []

    class Slack(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

    with listening(Slack, layout.ADDRESS) as url:
        yield url, came


@pytest.fixture(scope="module")
def platform(
    installed: Cluster, webhook: tuple[str, list[dict]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The platform in place of the operator alone, of which it is an upgrade; afterwards the operator is as it was."""
    if "KUBECONFIG" in os.environ:
        pytest.skip("Pods of another cluster do not reach the webhook of this machine")
    url, came = webhook
    slack = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "slack"}, "stringData": {"url": url}}
    installed.kubectl("apply", "-n", SYSTEM, "-f", "-", text=yaml.safe_dump(slack))
    values = tmp_path_factory.mktemp("platform") / "values.yaml"
    values.write_text(yaml.safe_dump(_values()))
    history = json.loads(installed.helm("history", "presage", "-n", SYSTEM, "-o", "json"))
    here = Platform(installed, values, str(history[-1]["revision"]), came)
    start = time.monotonic()
    here.install()
    seconds = time.monotonic() - start
    MEASURED.append(f"profile standard with Kafka, NATS and Redis: ready after {seconds:.0f} s")
    yield here
    installed.kubectl("delete", "pj", "--all", "-n", "default", "--timeout=120s")
    again = ("upgrade", "--install", "presage", CHART, "-n", SYSTEM, "--reset-values", *IMAGES)
    installed.helm(*again, "--wait", "--timeout", "5m")


def _values() -> dict:
    """Return what the tests need beside the profile: images of this machine, more engines, an alert of their own."""
    name, _, tag = PLATFORM.name.rpartition(":")
    registry, _, repository = name.partition("/")
    image = {"registry": registry, "repository": repository, "tag": tag}
    gone = {"alert": "PushgatewayGone", "expr": 'up{job="pushgateway"} == 0', "labels": {"severity": "page"}}
    monitoring = {
        "prometheus": {
            "image": image,
            "scrapeInterval": "5s",
            "evaluationInterval": "5s",
            "extraRules": {"tests": {"groups": [{"name": "tests", "rules": [gone]}]}},
        },
        "alertmanager": {
            "image": image,
            "receivers": {"slack": {"enabled": True, "existingSecret": "slack"}},
            "route": {"groupWait": "1s", "groupInterval": "5s"},
        },
        "pushgateway": {"image": image},
        # It has no image here.
        "grafana": {"enabled": False},
    }
    engines: dict[str, dict] = {engine: {"enabled": True, "image": image} for engine in _ENGINES}
    engines["mysql"]["metrics"] = {"image": image}
    # The node's volumes are small.
    backup = {"enabled": True, "target": {"volume": {"size": "1Gi"}}}
    engines["kafka"]["topics"] = [{"name": "trades", "partitions": 1}]
    return {
        "backup": backup,
        **engines,
        "mlflow": {"image": {"tag": "test"}, "allowedHosts": ["10.*"]},
        "monitoring": monitoring,
    }


def test_helms_tests_use_every_service(platform: Platform) -> None:
    said = platform.cluster.helm("test", "presage", "-n", SYSTEM, "--timeout", "6m")
    assert said.count("Phase:          Succeeded") >= len(_ENGINES) + 2
    assert "Failed" not in said


@pytest.fixture(scope="module")
def data(platform: Platform, shared_data: Path) -> Mapping[str, Expected]:
    """Real data in the platform's bucket and database; gives the jobs that read them."""
    for key, content in objects(shared_data).items():
        platform.buckets.put_object(Bucket=DATA_BUCKET, Key=key, Body=content)
    with platform.database() as connection, connection.cursor() as cursor:
        for table, series in MACRO.items():
            cursor.execute(f"CREATE TABLE {table} (date DATE PRIMARY KEY, value DOUBLE)")
            cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)", macro_rows(shared_data, series))
        connection.commit()
    return jobs(f"http://presage-minio.{SYSTEM}.svc:9000", f"presage-mysql.{SYSTEM}.svc:3306")


@pytest.fixture(scope="module")
def finished(platform: Platform, data: Mapping[str, Expected]) -> Mapping[str, dict]:
    """The examples, applied together; gives each one's status when its run has been judged."""
    for one in data.values():
        platform.cluster.kubectl("apply", "-n", "default", "-f", "-", text=yaml.safe_dump(one.job))
    return {name: judged(platform.cluster, name) for name in data}


def judged(cluster: Cluster, name: str) -> dict:
    """Return a job's status when its run has been judged."""

    def promoted() -> dict[str, str]:
        conditions = status(cluster, "default", name).get("conditions", [])
        return next((one for one in conditions if one["type"] == "Promoted"), {})

    def told() -> str:
        return cluster.kubectl("describe", "pj", name, "-n", "default")

    within(900, lambda: promoted().get("status") in ("True", "False"), told)
    return status(cluster, "default", name)


def condition(found: dict, name: str) -> tuple[str, str]:
    one = next(one for one in found["conditions"] if one["type"] == name)
    return one["status"], one["reason"]


def test_every_example_comes_to_its_verdict_refusals_included(
    finished: Mapping[str, dict], data: Mapping[str, Expected]
) -> None:
    found = {name: condition(one, "Promoted") for name, one in finished.items()}
    assert found == {name: one.promoted for name, one in data.items()}


def test_models_are_in_mlflow_with_their_artefacts_in_minio(
    platform: Platform, finished: Mapping[str, dict], tmp_path: Path
) -> None:
    require_tracked(platform, finished, tmp_path)


def require_tracked(platform: Platform, finished: Mapping[str, dict], folder: Path) -> None:
    import mlflow

    # Else the server names MinIO's own address, which is the cluster's.
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "false"
    client = mlflow.MlflowClient(f"http://{platform.address('presage-mlflow', 5000)}")
    version = client.get_model_version_by_alias("default.quickstart", "champion")
    names = {one.path for one in client.list_artifacts(version.run_id)}
    assert {"scorecard.json", "summary.json", "report.html"} <= names
    client.download_artifacts(version.run_id, "summary.json", str(folder))
    held = json.loads((folder / "summary.json").read_text())
    assert held["digest"] == finished["quickstart"]["scorecard"]["digest"]


def test_forecasts_are_served_and_in_the_database(platform: Platform, finished: Mapping[str, dict]) -> None:
    require_served(platform, finished)


def require_served(platform: Platform, finished: Mapping[str, dict]) -> None:
    words = ("get", "service", "quickstart-predictor", "-n", "default", "-o=jsonpath={.spec.clusterIP}")
    platform.cluster.kubectl("wait", "--for=condition=Ready", "pj/quickstart", "-n", "default", "--timeout=120s")
    first, _ = asyncio.run(predictions(f"http://{platform.cluster.kubectl(*words)}"))
    assert first["model_version"] == finished["quickstart"]["scorecard"]["run"]
    with platform.database() as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT * FROM quickstart_forecasts") == 1


def query(platform: Platform, expression: str) -> list[dict]:
    from urllib.parse import quote

    return platform.ask("presage-prometheus", 9090, f"/api/v1/query?query={quote(expression)}")["data"]["result"]


@pytest.mark.parametrize(
    "expression",
    ["presage_leader == 1", "presage_run_info", 'up{job="server"} == 1', "mysql_up == 1", 'up{job="minio"} == 1'],
)
def test_prometheus_sees_the_operator_the_servers_the_runs_and_the_dependencies(
    platform: Platform, finished: Mapping[str, dict], expression: str
) -> None:
    within(90, lambda: bool(query(platform, expression)), lambda: f"nothing: {expression}")


def test_an_alert_reaches_a_webhook_of_slacks_shape_and_is_taken_back(platform: Platform) -> None:
    def told(state: str) -> bool:
        return any(state in json.dumps(one) and "PushgatewayGone" in json.dumps(one) for one in platform.alerts)

    pushgateway = ("deployment/presage-pushgateway", "statefulset/presage-pushgateway")
    (held,) = (one for one in pushgateway if platform.exists(one))
    platform.cluster.kubectl("scale", held, "--replicas=0", "-n", SYSTEM)
    within(120, lambda: told("FIRING"), lambda: f"came: {platform.alerts}")
    platform.cluster.kubectl("scale", held, "--replicas=1", "-n", SYSTEM)
    within(120, lambda: told("RESOLVED"), lambda: f"came: {platform.alerts}")


def write(platform: Platform) -> None:
    """Leave something in each store."""
    platform.run("presage-redis-0", "redis-cli set kept 1")
    platform.run("presage-kafka-0", f"echo kept | {_KAFKA}/kafka-console-producer.sh {_TOPIC}")
    asyncio.run(_publish(platform))
    platform.buckets.put_object(Bucket=DATA_BUCKET, Key="kept", Body=b"kept")
    with platform.database() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (value INT)")
        cursor.execute("INSERT INTO kept VALUES (1)")
        connection.commit()
    # Redis writes to disk once a second.
    time.sleep(2)


def require_written(platform: Platform) -> None:
    """Find in each store what was left there."""
    assert platform.run("presage-redis-0", "redis-cli get kept").strip() == "1"
    once = f"{_KAFKA}/kafka-console-consumer.sh {_TOPIC} --from-beginning --max-messages 1 --timeout-ms 60000"
    assert "kept" in platform.run("presage-kafka-0", once).splitlines()
    assert asyncio.run(_messages(platform)) == 1
    assert platform.buckets.get_object(Bucket=DATA_BUCKET, Key="kept")["Body"].read() == b"kept"
    with platform.database() as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT value FROM kept") == 1


_KAFKA = "/opt/kafka/bin"
_TOPIC = "--bootstrap-server localhost:9092 --topic trades"


async def _publish(platform: Platform) -> None:
    client = await platform.nats()
    stream = client.jetstream()
    await stream.add_stream(name="MARKET_DATA", subjects=["trade-data.>"])
    await stream.publish("trade-data.btc", b"kept")
    await client.close()


async def _messages(platform: Platform) -> int:
    client = await platform.nats()
    held = await client.jetstream().stream_info("MARKET_DATA")
    await client.close()
    return held.state.messages


def pods(platform: Platform, *words: str) -> list[dict]:
    return json.loads(platform.cluster.kubectl("get", "pods", *words, "-o", "json"))["items"]


def all_ready(platform: Platform) -> bool:
    """Return whether every Pod of the platform and of the jobs' servers is ready, but for those that end."""
    held = [*pods(platform, "-n", SYSTEM, "-l", _PODS), *pods(platform, "-n", "default", "-l", "presage.dev/job")]
    serving = [one for one in held if one["metadata"]["ownerReferences"][0]["kind"] != "Job"]
    conditions = [{each["type"]: each["status"] for each in one["status"].get("conditions", [])} for one in serving]
    return bool(serving) and all(one.get("Ready") == "True" for one in conditions)


def test_every_pod_is_killed_and_nothing_is_lost(
    platform: Platform, finished: Mapping[str, dict], tmp_path: Path
) -> None:
    within(180, lambda: all_ready(platform), lambda: platform.cluster.kubectl("get", "pods", "-A"))
    write(platform)
    within(60, lambda: bool(query(platform, "presage_run_info")), lambda: "no run's metrics are scraped")
    killed = time.time()
    for place in (("-n", SYSTEM, "-l", _PODS), ("-n", "default", "-l", "presage.dev/job")):
        platform.cluster.kubectl("delete", "pods", *place, "--grace-period=0", "--force")
    within(300, lambda: all_ready(platform), lambda: platform.cluster.kubectl("get", "pods", "-A"))
    MEASURED.append(f"every Pod killed: all ready again after {time.time() - killed:.0f} s")
    require_written(platform)
    require_tracked(platform, finished, tmp_path)
    require_served(platform, finished)
    past = platform.ask("presage-prometheus", 9090, f"/api/v1/query?query=presage_run_info&time={killed:.0f}")
    assert past["data"]["result"]
    now = {name: status(platform.cluster, "default", name)["scorecard"] for name in finished}
    assert now == {name: one["scorecard"] for name, one in finished.items()}


def names(platform: Platform, kinds: str) -> set[str]:
    return set(platform.cluster.kubectl("get", kinds, "-n", SYSTEM, "-l", _PODS, "-o", "name").split())


def test_a_rollback_to_the_operator_and_an_upgrade_back_keep_the_data(
    platform: Platform, finished: Mapping[str, dict]
) -> None:
    kept = names(platform, "persistentvolumeclaims,secrets")
    platform.cluster.helm("rollback", "presage", platform.before, "-n", SYSTEM, "--wait", "--timeout", "5m")
    assert names(platform, "statefulsets") == set()
    assert kept <= names(platform, "persistentvolumeclaims,secrets")
    platform.install()
    require_written(platform)


def test_a_backup_brings_back_what_is_lost_after_an_uninstall(
    platform: Platform, finished: Mapping[str, dict], tmp_path: Path
) -> None:
    cluster = platform.cluster
    platform.finish("presage-backup")
    kept = names(platform, "persistentvolumeclaims,secrets")
    cluster.helm("uninstall", "presage", "-n", SYSTEM, "--wait", "--timeout", "5m")
    assert kept <= names(platform, "persistentvolumeclaims,secrets")
    assert names(platform, "deployments,statefulsets,services,configmaps,networkpolicies,cronjobs") == set()
    held = cluster.kubectl("get", "pj", "-n", "default", "-o", "name").split()
    assert {one.rpartition("/")[2] for one in held} == set(finished)

    cluster.kubectl("delete", "pj", "--all", "-n", "default", "--timeout=120s")
    cluster.kubectl("delete", "pvc", "data-presage-minio-0", "data-presage-mysql-0", "-n", SYSTEM, "--timeout=60s")
    platform.install()
    listed = platform.buckets.list_objects_v2(Bucket="presage")
    assert listed["KeyCount"] == 0
    cluster.kubectl("scale", "deployment/presage-mlflow", "--replicas=0", "-n", SYSTEM)
    platform.finish("presage-restore")
    cluster.kubectl("scale", "deployment/presage-mlflow", "--replicas=1", "-n", SYSTEM)
    cluster.kubectl("rollout", "status", "deployment/presage-mlflow", "-n", SYSTEM, "--timeout=180s")

    card = finished["quickstart"]["scorecard"]
    keys = platform.secret("presage-lake")
    place = {"AWS_ENDPOINT_URL": f"http://{platform.address('presage-minio', 9000)}", **keys}
    again = presage("rerun", card["run"], "--workdir", "s3://presage/lakes/default.quickstart", **place)
    assert f"match: {card['digest']}" in again.out
    require_tracked(platform, finished, tmp_path)


def test_the_minimal_profile_is_ready_at_once(platform: Platform, finished: Mapping[str, dict]) -> None:
    platform.cluster.helm("uninstall", "presage", "-n", SYSTEM, "--wait", "--timeout", "5m")
    start = time.monotonic()
    minimal = ("install", "presage", CHART, "-n", SYSTEM, *IMAGES, "--values", f"{CHART}/profiles/minimal.yaml")
    platform.cluster.helm(*minimal, "--wait", "--timeout", "3m")
    MEASURED.append(f"profile minimal: ready after {time.monotonic() - start:.0f} s")
