"""The price exporter's process: a real Prometheus scrapes it, and it stops when it is told to."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from commands import ENVIRONMENT
from conftest import lacking
from doubles.exchange import ExchangeDouble, exchange_double
from servers.ports import free_port, stop, wait_until

EXPORTER = "import typer; from presage_serving.monitoring import price_exporter; typer.run(price_exporter)"
SECONDS = 30


def fetched(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def is_answered(url: str) -> bool:
    try:
        return bool(fetched(url))
    except (URLError, ConnectionError):
        return False


def until(holds: Callable[[], bool]) -> None:
    """Poll until something holds, within a bound."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.1)


@pytest.fixture
def exchange() -> Iterator[ExchangeDouble]:
    with exchange_double({("BTCUST", "1m"): [], ("BTCUSD", "1m"): []}) as double:
        double.tickers = {"BTCUSD": (42_000.5, 1234.25)}
        yield double


def words_of(exchange: ExchangeDouble, *words: str) -> list[str]:
    return [sys.executable, "-c", EXPORTER, "--exchange", "bitfinex", "--uri", exchange.url, *words]


@contextmanager
def exporting(exchange: ExchangeDouble, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    words = words_of(exchange, "--symbol", "BTC/USD", "--interval", "1s", "--host", "127.0.0.1", "--port", str(port))
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=ENVIRONMENT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_answered(f"{url}/healthz"), process, str(log))
        yield url, process
    finally:
        stop(process)


def test_a_real_prometheus_has_the_price_of_an_exchange_double(exchange: ExchangeDouble, tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        lacking("no prometheus; tests/system-packages.sh installs it")
    with exporting(exchange, tmp_path / "exporter.log") as (exporter, _):
        configuration = tmp_path / "prometheus.yml"
        scraped = {"job_name": "price-exporter", "static_configs": [{"targets": [exporter.removeprefix("http://")]}]}
        configuration.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scraped]}))
        url = f"http://127.0.0.1:{free_port()}"
        words = [program, f"--config.file={configuration}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        words += [f"--web.listen-address={url.removeprefix('http://')}"]
        log = tmp_path / "prometheus.log"
        with log.open("wb") as output:
            process = subprocess.Popen(words, stdout=output, stderr=output)
        try:
            wait_until(lambda: is_answered(f"{url}/-/ready"), process, str(log))

            def value(query: str) -> str | None:
                found = json.loads(fetched(f"{url}/api/v1/query?query={quote(query)}"))["data"]["result"]
                return found[0]["value"][1] if found else None

            price = 'presage_market_price{exchange="bitfinex",symbol="BTC/USD",job="price-exporter"}'
            until(lambda: value(price) == "42000.5")
            assert value("presage_market_volume") == "1234.25"
            age = value("time() - presage_market_price_timestamp_seconds")
            assert age is not None
            assert float(age) < 600
        finally:
            stop(process)


def test_it_stops_with_exit_code_0_when_it_is_told_to(exchange: ExchangeDouble, tmp_path: Path) -> None:
    log = tmp_path / "exporter.log"
    with exporting(exchange, log) as (url, process):
        with pytest.raises(HTTPError, match="404"):
            fetched(f"{url}/elsewhere")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--symbol", "BTC/USDX"), 5, "has no market 'BTC/USDX'"),
        (("--symbol", "BTC/USD", "--interval", "0s"), 2, "--interval"),
        (("--symbol", "BTC/USD", "--uri", "http://exchange.example.com"), 2, "has no TLS"),
        ((), 2, "Missing option '--symbol'"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
    exchange: ExchangeDouble, words: tuple[str, ...], code: int, told: str
) -> None:
    command = words_of(exchange, "--host", "127.0.0.1", "--port", "0", *words)
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=SECONDS, check=False)
    assert ended.returncode == code
    assert told in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
