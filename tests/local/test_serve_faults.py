"""`presage serve` when its directory is broken, changes under it, or the server is told to stop."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import orjson
import pytest
from commands import start
from model_server import NAME, PATIENCE, copy_run, run_in, serving

from presage.files import write_atomically
from presage.models.bundle import MANIFEST
from presage.spec.forecast import FORECAST, ForecastSummary
from presage_serving.application import Application
from presage_serving.directory import ModelDirectory
from presage_serving.metrics import Metrics

PREDICT = f"/v1/models/{NAME}:predict"
INFER = f"/v2/models/{NAME}/infer"
QUESTION = '{"instances": [{}]}'


@pytest.fixture(scope="module")
def run(quickstart_workdir: Path) -> Path:
    return run_in(quickstart_workdir)


@pytest.fixture
def directory(run: Path, tmp_path: Path) -> Path:
    return copy_run(run, tmp_path)


def a_file(bundle: Path) -> Path:
    return next(path for path in sorted(bundle.rglob("*")) if path.is_file() and path.name != MANIFEST)


def damage(bundle: Path) -> None:
    content = bytearray(a_file(bundle).read_bytes())
    content[0] ^= 1
    a_file(bundle).write_bytes(content)


def truncate(bundle: Path) -> None:
    a_file(bundle).write_bytes(a_file(bundle).read_bytes()[:-1])


def lose(bundle: Path) -> None:
    a_file(bundle).unlink()


def add(bundle: Path) -> None:
    (bundle / "more").write_text("more")


def link(bundle: Path) -> None:
    (bundle / "more").symlink_to("/etc/passwd")


def make_newer(bundle: Path) -> None:
    (bundle / MANIFEST).write_text(json.dumps(json.loads((bundle / MANIFEST).read_text()) | {"version": "v4"}))


def take_away(bundle: Path) -> None:
    shutil.rmtree(bundle)


def take_away_the_forecast(bundle: Path) -> None:
    (bundle.parent / FORECAST).unlink()


def change(directory: Path, **fields: object) -> ForecastSummary:
    """Replace the issued forecast by a changed one, as the forecast cadence does."""
    before = ForecastSummary.model_validate_json((directory / FORECAST).read_bytes())
    after = before.model_copy(update=fields)
    write_atomically(directory / FORECAST, after.model_dump_json())
    return after


def give_another_model(bundle: Path) -> None:
    change(bundle.parent, model="naive")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (damage, "is not what its manifest says"),
        (truncate, "is not what its manifest says"),
        (lose, "which its manifest names"),
        (add, "holds more, which its manifest does not name"),
        (link, "holds more, which is a link or a device"),
        (make_newer, "has version 'v4', and this Presage reads 'v1', 'v2', 'v3'"),
        (take_away, "cannot be read: No such file or directory"),
        (take_away_the_forecast, "forecast.json cannot be read: No such file or directory"),
        (give_another_model, "forecast.json is of default.quickstart by naive, and the bundle beside it is"),
    ],
)
def test_a_server_on_a_broken_directory_is_alive_and_not_ready_and_says_why(
    directory: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(directory / "bundle")
    with serving(directory, ready=False) as server:
        assert sentence in server.wait_for('"model directory refused"')
        for path in ("/", "/healthz", "/v2/health/live", "/v1/models", "/v2", "/metrics", "/report"):
            assert server.get(path).status_code == 200, path
        for path in ("/readyz", "/v2/health/ready", f"/v2/models/{NAME}/ready", f"/v1/models/{NAME}"):
            response = server.get(path)
            assert response.status_code == 503, path
            assert response.json()["ready"] is False
            assert sentence in response.json()["error"]
        for response in (server.get(f"/v2/models/{NAME}"), server.post(PREDICT, QUESTION), server.post(INFER, "{}")):
            assert response.status_code == 503
            assert sentence in response.json()["error"]
        assert server.metric("presage_server_directory_refusals_total") >= 1


def test_a_newer_forecast_is_served_without_a_restart(directory: Path) -> None:
    with serving(directory) as server:
        assert server.post(PREDICT, QUESTION).json()["predictions"][0]["stale"] is True
        before = ForecastSummary.model_validate_json((directory / FORECAST).read_bytes())
        after = change(directory, issued_at=before.issued_at + timedelta(days=1), stale_after=None)
        server.wait_for('"forecast replaced"')
        prediction = server.post(PREDICT, QUESTION).json()["predictions"][0]
        assert prediction["issued_at"] == f"{after.issued_at:%FT%TZ}"
        assert prediction["stale"] is False
        assert server.metric("presage_server_forecast_issued_timestamp_seconds") == after.issued_at.timestamp()


def test_a_broken_forecast_leaves_the_last_good_one_in_place(directory: Path) -> None:
    with serving(directory) as server:
        before = server.post(PREDICT, QUESTION).json()
        write_atomically(directory / FORECAST, '{"job": "quickstart"')
        assert "the forecast cannot be served" in server.wait_for('"model directory refused"')
        assert server.post(PREDICT, QUESTION).json() == before
        assert server.get("/readyz").json() == {"ready": True}
        assert server.metric("presage_server_directory_refusals_total") == 1


def test_a_bundle_that_arrives_late_makes_the_server_ready(directory: Path) -> None:
    (directory / "bundle").rename(directory / "late")
    with serving(directory, ready=False) as server:
        server.wait_for('"model directory refused"')
        (directory / "late").rename(directory / "bundle")
        server.wait_for('"model ready"')
        assert server.post(PREDICT, QUESTION).status_code == 200


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


def test_a_stop_signal_lets_a_request_in_flight_end_and_takes_no_other(directory: Path) -> None:
    with (
        serving(directory) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        head = (
            f"POST {PREDICT} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(QUESTION)}\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 "), "the server reads the body from now on"
        server.process.send_signal(signal.SIGTERM)
        while connects(server.port):
            pass
        connection.sendall(QUESTION.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]
        assert server.process.wait(timeout=PATIENCE) == 0


def test_an_interrupt_also_lets_the_server_end_well(directory: Path) -> None:
    process = start("serve", "--model-name", NAME, "--model-dir", directory, "--host", "127.0.0.1", "--port", "0")
    assert process.stderr
    assert any('event="model ready"' in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_request_of_the_server_as_a_whole_is_answered_and_is_no_failure(directory: Path) -> None:
    with serving(directory) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(b"OPTIONS * HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert server.get("/readyz").status_code == 200


def broken_clock() -> datetime:
    raise ZeroDivisionError("the secret of the house")


def test_what_nobody_foresaw_is_an_answer_without_a_traceback_and_is_counted(directory: Path) -> None:
    metrics = Metrics()
    model = ModelDirectory(directory, metrics)
    model.refresh()
    application = Application(NAME, model, metrics, clock=broken_clock, interval=2).asgi()

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://here") as asking:
            return await asking.post(PREDICT, content=QUESTION)

    response = asyncio.run(ask())
    assert response.status_code == 500
    assert response.json() == {"error": "The server failed unexpectedly; its log says where."}
    labels = {"protocol": "v1", "code": "500"}
    assert metrics.registry.get_sample_value("presage_server_requests_total", labels) == 1
