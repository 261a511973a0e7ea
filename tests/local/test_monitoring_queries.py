"""Every query of the dashboards and rules, asked of a real Prometheus and MariaDB that our own programs filled.

Grafana cannot run here: its macros and variables are filled in as its documentation says. What the kubelet and the
exporters of dependencies expose is written by doubles, for none of them runs here either.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest
import yaml
from commands import ROOT, presage
from conftest import lacking
from model_server import PATIENCE, Server, serving
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
from prometheus_client.exposition import generate_latest
from servers.alertmanager import alertmanager, alertmanager_program
from servers.mariadb import MariaDb, mariadb, mariadb_programs
from servers.prometheus import Prometheus, prometheus, prometheus_programs
from servers.pushgateway import pushgateway, pushgateway_program
from servers.web import listening

from presage.sources.ccxt_client import Ticker
from presage_operator.health import HealthServer
from presage_operator.metrics import Metrics
from presage_serving.price_exporter import PriceCollector

FILES = ROOT / "charts" / "monitoring" / "files"
BOARDS = ("btc", "data-quality", "jobs", "platform", "serving")
EXCHANGE, SYMBOL = "kraken", "BTC/USD"
DAYS = 70
STEP = 240
"""Seconds: Prometheus looks back for five minutes."""
# Grafana's $__rate_interval is four scrapes at least; scrapes of a busy machine come late.
MACROS = {"$__rate_interval": "10s", "$__interval": "1s", "$__range": "1h"}
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")
SELECTOR = re.compile(
    r"(?<![\w:$])((?:presage|push|kubelet|up|namespace|alertmanager|kafka|minio|mysql|nats|redis)"
    r"[a-z0-9_:]*(?:\{[^}]*\})?)"
)
EXPORTED = {
    "kafka": "kafka_brokers",
    "minio": "minio_cluster_health_status",
    "mysql": "mysql_up",
    "nats": "nats_connz_total",
    "redis": "redis_up",
}
"""What tells that a dependency is well, by its job."""
SILENT = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
JOB = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {{name: btc-daily, namespace: markets}}
spec:
  frequency: 1d
  target: {{source: btc, column: Close, transform: LogChange, horizon: 7}}
  sources:
    - name: btc
      file: {{uri: "{file}", skipRows: 1}}
      time: Date
      columns: {{Close: Close}}
      availability: {{lag: 0s}}
  selection: {{method: None}}
  models: [{{name: ridge}}]
  evaluation: {{folds: 2}}
  promotion: {{replications: 200}}
  sinks:
    - {{name: forecasts, sql: {{uri: "{uri}", secretRef: {{name: market}}}}}}
    - {{name: metrics, data: metrics, sql: {{uri: "{uri}", secretRef: {{name: market}}}}}}
"""


@dataclass(frozen=True)
class Monitored:
    """What the queries are asked of.

    Attributes:
        prometheus: Has scraped everything.
        database: Has the tables of the job's sinks.
    """

    prometheus: Prometheus
    database: MariaDb

    def select(self, sql: str) -> tuple[tuple[object, ...], ...]:
        """Return rows as Grafana's data source gets them, whose time zone is UTC."""
        return self.database.run("SET time_zone = '+00:00'", sql)


@pytest.fixture(scope="module")
def monitored(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    programs = (prometheus_programs(), alertmanager_program(), pushgateway_program(), mariadb_programs())
    if None in programs:
        lacking("no Prometheus, Alertmanager, Pushgateway or MariaDB; tests/system-packages.sh installs them")
    folder = tmp_path_factory.mktemp("monitored")
    closes = shared_data / "kraken_daily" / "Kraken_BTCUSD_d.csv"
    with ExitStack() as stack:
        gateway = stack.enter_context(pushgateway(folder))
        database = stack.enter_context(mariadb(_made(folder / "mariadb")))
        run = _run(folder, closes, database, gateway.url)
        registry = CollectorRegistry()
        backup = Gauge("presage_backup_last_success_timestamp_seconds", "Of a backup.", registry=registry)
        backup.set_to_current_time()
        push_to_gateway(gateway.url, job="presage-backup", registry=registry, grouping_key={"namespace": "presage"})
        server = stack.enter_context(serving(run))
        empty = stack.enter_context(serving(_made(folder / "empty"), ready=False))
        stack.enter_context(_asked(server, empty))
        prices = PriceCollector(EXCHANGE, 3600, time.time)
        prices.told(SYMBOL, Ticker(int(time.time() * 1000), 8030.3, 894.3))
        pod = {"namespace": "markets", "prediction_job": "btc-daily"}
        targets = [
            _target("operator", stack.enter_context(_operator()), namespace="presage-system", pod="presage-operator-0"),
            _target("server", server.port, pod="btc-daily-predictor-0", **pod),
            _target("server", empty.port, pod="btc-daily-predictor-1", **pod),
            _target("pushgateway", gateway.port),
            _target("price-exporter", stack.enter_context(_shown(prices.registry)), instance="price-exporter"),
            _target("kubelet", stack.enter_context(_shown(_kubelet_double()))),
            _target("alertmanager", stack.enter_context(alertmanager(_made(folder / "alertmanager"), SILENT)).port),
            *(
                _target(job, stack.enter_context(_shown(_exporter_double(name))), namespace="presage-system")
                for job, name in EXPORTED.items()
            ),
        ]
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(FILES / "rules" / "*.yaml")],
            "scrape_configs": targets,
        }
        running = stack.enter_context(prometheus(folder, configuration, _history(closes)))
        yield Monitored(running, database)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _run(folder: Path, closes: Path, database: MariaDb, gateway: str) -> Path:
    """Run the job on real closes, with its sinks in the database and its metrics in the gateway."""
    (folder / "job.yaml").write_text(JOB.format(file=closes, uri=database.uri))
    ended = presage(
        *("run", folder / "job.yaml", "--workdir", folder / "work", "--as-of", "2019-10-18", "-o", "json"),
        *("--pushgateway", gateway),
        MARKET_USERNAME=database.user,
        MARKET_PASSWORD=database.password,
    )
    return folder / "work" / "runs" / "markets.btc-daily" / ended.json()["run"]


@contextmanager
def _asked(*servers: Server) -> Iterator[None]:
    """Ask servers again and again: a rate is of what goes on."""
    end = Event()

    def ask() -> None:
        while not end.wait(0.2):
            for one in servers:
                one.post("/v1/models/quickstart:predict", '{"instances": [{}]}')
                one.post("/v2/models/quickstart/infer", "{")

    thread = Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(PATIENCE)


def _target(job: str, port: int, **labels: str) -> dict:
    # What is pushed says itself whose it is.
    own = [{"targets": [f"127.0.0.1:{port}"], "labels": {"job": job, **labels}}]
    return {"job_name": f"{job}-{port}", "honor_labels": True, "static_configs": own}


@contextmanager
def _operator() -> Iterator[int]:
    """Serve an operator's own metrics on its own endpoint, after some work."""
    metrics = Metrics(lambda: 2, lambda: 0.5, lambda: [("markets", "Serving"), ("markets", "Failed")], lambda: 0)
    metrics.leader.set(1)
    end, ports = Event(), []
    started = Event()

    async def live() -> None:
        health = HealthServer(0, metrics.registry, alive=lambda: True, ready=lambda: True)
        await health.start()
        ports.append(health.port)
        started.set()
        while not end.is_set():
            metrics.reconcile_seconds.labels("ok").observe(0.004)
            metrics.reconcile_seconds.labels("error").observe(0.004)
            metrics.errors.labels("RetryError").inc()
            metrics.actions.labels("StartRun", "SpecWantsTrain").inc()
            metrics.requests.labels("GET", "predictionjobs", "200").inc()
            await asyncio.sleep(0.1)
        await health.stop()

    thread = Thread(target=asyncio.run, args=(live(),), daemon=True)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield ports[0]
    finally:
        end.set()
        thread.join(PATIENCE)


@contextmanager
def _shown(registry: CollectorRegistry) -> Iterator[int]:
    """Expose a registry."""

    class Shown(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(generate_latest(registry))

    with listening(Shown) as url:
        yield int(url.rpartition(":")[2])


def _kubelet_double() -> CollectorRegistry:
    registry = CollectorRegistry()
    for name, value in (("available", 7e9), ("capacity", 1e10)):
        gauge = Gauge(
            f"kubelet_volume_stats_{name}_bytes",
            "Of a volume.",
            ["namespace", "persistentvolumeclaim"],
            registry=registry,
        )
        gauge.labels("presage-system", "data-presage-minio-0").set(value)
    return registry


def _exporter_double(name: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge(name, "Of a dependency.", registry=registry).set(1)
    return registry


def _history(closes: Path) -> str:
    """Return 70 days of real closes, moved to end now: a new Prometheus has no price of a month ago."""
    days = pl.read_csv(closes, skip_rows=1)["Close"].head(DAYS).reverse()
    end = int(time.time()) - 60
    count = DAYS * 86400 // STEP
    labels = f'exchange="{EXCHANGE}",symbol="{SYMBOL}",job="price-exporter",instance="price-exporter"'
    lines = [
        f"presage_market_price{{{labels}}} {days[place * STEP // 86400]} {end - STEP * (count - 1 - place)}"
        for place in range(count)
    ]
    return "\n".join(["# TYPE presage_market_price gauge", *lines, "# EOF\n"])


def _board(name: str) -> dict:
    return json.loads((FILES / "dashboards" / f"{name}.json").read_text())


def _variables(board: dict, monitored: Monitored) -> dict[str, str]:
    """Return the values that Grafana would choose: all where that can be, else the first."""
    values: dict[str, str] = {}
    for variable in board.get("templating", {}).get("list", ()):
        asked = _filled(variable["query"], values)
        if variable["datasource"]["uid"] == "mysql":
            found = [str(row[0]) for row in monitored.select(asked)]
        else:
            said = LABEL_VALUES.fullmatch(asked)
            assert said, asked
            monitored.prometheus.until_some(said["selector"])
            found = monitored.prometheus.label_values(said["label"], said["selector"])
        assert found, asked
        values[variable["name"]] = variable["allValue"] if variable.get("includeAll") else found[0]
    return values


def _filled(query: str, values: dict[str, str]) -> str:
    for macro, text in MACROS.items():
        query = query.replace(macro, text)
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN FROM_UNIXTIME(0) AND FROM_UNIXTIME(2000000000)", query)
    for name, value in values.items():
        query = query.replace(f"${{{name}:raw}}", value).replace(f"${{{name}:sqlstring}}", f"'{value}'")
        query = query.replace(f"${name}", value)
    assert "$" not in query, query
    return query


def _targets(board: dict) -> Iterator[tuple[str, dict]]:
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_a_dashboard_gives_data(monitored: Monitored, name: str) -> None:
    board = _board(name)
    values = _variables(board, monitored)
    for title, target in _targets(board):
        if "rawSql" in target:
            found = monitored.select(_filled(target["rawSql"], values))
            assert found, title
            continue
        samples = monitored.prometheus.until_some(_filled(target["expr"], values))
        assert any(not math.isnan(float(one["value"][1])) for one in samples), (title, target["expr"])


def test_a_dashboard_draws_the_forecast_that_was_issued(monitored: Monitored) -> None:
    board = _board("btc")
    values = _variables(board, monitored)
    (sql,) = [target["rawSql"] for title, target in _targets(board) if title == "Newest forecast"]
    rows = monitored.select(_filled(sql, values))
    assert len(rows) == 7
    assert all(low < mean < high for _, _, mean, low, high, _, _ in rows)


def test_the_indicators_are_what_the_prices_say(monitored: Monitored) -> None:
    board = _board("btc")
    values = _variables(board, monitored)
    asked = {target["legendFormat"]: target["expr"] for _, target in _targets(board) if "legendFormat" in target}
    (mean,) = monitored.prometheus.until_some(_filled(asked["MA7"], values))
    selector = f'presage_market_price{{exchange="{EXCHANGE}"}}'
    # The hours of the subquery are whole ones, those of the history are not.
    (expected,) = monitored.prometheus.query(f"avg_over_time({selector}[7d])")
    assert float(mean["value"][1]) == pytest.approx(float(expected["value"][1]), rel=0.02)


def _rules() -> list[dict]:
    return [
        rule
        for path in sorted((FILES / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_every_recording_has_a_value(monitored: Monitored) -> None:
    for name in (rule["record"] for rule in _rules() if "record" in rule):
        found = monitored.prometheus.until_some(f"{name} >= 0")
        assert all(0 <= float(one["value"][1]) <= 1 for one in found), name


def test_every_series_that_an_alert_looks_at_is_there(monitored: Monitored) -> None:
    for rule in (rule for rule in _rules() if "alert" in rule):
        monitored.prometheus.query(rule["expr"])
        asked = SELECTOR.findall(re.sub(r"\b(by|on) \([^)]*\)", "", rule["expr"]))
        assert asked, rule["expr"]
        for selector in asked:
            monitored.prometheus.until_some(selector)
