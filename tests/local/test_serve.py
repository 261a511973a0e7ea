"""`presage serve` on a real run, asked by the official client and by plain HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import kserve
import numpy as np
import orjson
import pytest
from commands import presage
from conftest import lacking
from kserve.protocol.infer_type import RequestedOutput
from model_server import NAME, PATIENCE, Server, run_in, serving

from presage.report.write import REPORT
from presage.spec.forecast import FORECAST, ForecastSummary

PREDICT = f"/v1/models/{NAME}:predict"
INFER = f"/v2/models/{NAME}/infer"
LARGEST_BODY = 2**20
HEAVY = ("numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn")


@pytest.fixture(scope="module")
def run(quickstart_workdir: Path) -> Path:
    return run_in(quickstart_workdir)


@pytest.fixture(scope="module")
def issued(run: Path) -> ForecastSummary:
    return ForecastSummary.model_validate_json((run / FORECAST).read_bytes())


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    with serving(run) as started:
        yield started


def client(protocol: str) -> kserve.InferenceRESTClient:
    return kserve.InferenceRESTClient(kserve.RESTConfig(protocol=protocol, timeout=PATIENCE))


def question(*series: str, **request: object) -> kserve.InferRequest:
    tensor = kserve.InferInput("series", [len(series)], "BYTES", data=list(series))
    return kserve.InferRequest(model_name=NAME, infer_inputs=[tensor], **request)


async def infer(server: Server, request: kserve.InferRequest) -> kserve.InferResponse:
    async with client("v2") as asking:
        return await asking.infer(server.url, request, model_name=NAME)


def outputs(response: kserve.InferResponse) -> dict[str, np.ndarray]:
    return {output.name: output.as_numpy() for output in response.outputs}


def infer_body(series: object = "sp500", **fields: object) -> str:
    tensor = {"name": "series", "datatype": "BYTES", "shape": [1], "data": [series]} | fields
    return orjson.dumps({"inputs": [tensor]}).decode()


def test_the_official_client_gets_the_issued_forecast_over_v1(server: Server, issued: ForecastSummary) -> None:
    async def ask() -> dict:
        async with client("v1") as asking:
            return await asking.infer(server.url, {"instances": [{}, {"series": issued.series}]}, model_name=NAME)

    first, second = asyncio.run(ask())["predictions"]
    assert first == second
    assert [step["mean"] for step in first["steps"]] == [step.mean for step in issued.steps]
    assert [step["quantiles"] for step in first["steps"]] == [
        {name.removeprefix("q"): value for name, value in step.quantiles.items()} for step in issued.steps
    ]
    assert [step["target_time"] for step in first["steps"]] == [f"{one.target_time:%FT%TZ}" for one in issued.steps]
    assert {name: first[name] for name in ("series", "model", "model_version", "promoted", "issued_at")} == {
        "series": issued.series,
        "model": issued.model,
        "model_version": issued.run,
        "promoted": issued.promoted,
        "issued_at": f"{issued.issued_at:%FT%TZ}",
    }


def test_the_official_client_gets_the_issued_forecast_over_v2(server: Server, issued: ForecastSummary) -> None:
    response = asyncio.run(infer(server, question(issued.series, issued.series, request_id="mine")))
    assert (response.id, response.model_name) == ("mine", NAME)
    assert response.parameters == {"model": issued.model, "promoted": issued.promoted}
    found = outputs(response)
    quantiles = next(output for output in response.outputs if output.name == "quantiles")
    assert quantiles.parameters["probabilities"].split(",") == [
        name.removeprefix("q") for name in issued.steps[0].quantiles
    ]
    assert found["mean"].tolist() == [[step.mean for step in issued.steps]] * 2
    assert found["quantiles"].tolist() == [[list(step.quantiles.values()) for step in issued.steps]] * 2
    assert found["target_time"].tolist() == [[f"{step.target_time:%FT%TZ}" for step in issued.steps]] * 2
    assert found["issued_at"].tolist() == [f"{issued.issued_at:%FT%TZ}"] * 2
    assert found["stale"].tolist() == [True, True], "the series ended years ago"


def test_binary_tensors_say_the_same_as_json(server: Server, issued: ForecastSummary) -> None:
    tensor = kserve.InferInput("series", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([issued.series], dtype=np.object_))
    binary = kserve.InferRequest(NAME, [tensor], parameters={"binary_data_output": True})
    plain = outputs(asyncio.run(infer(server, question(issued.series))))
    for name, found in outputs(asyncio.run(infer(server, binary))).items():
        assert found.tolist() == plain[name].tolist(), name


def test_only_requested_outputs_are_given_in_their_order_and_form(server: Server, issued: ForecastSummary) -> None:
    wanted = [RequestedOutput("stale"), RequestedOutput("mean", {"binary_data": True})]
    response = asyncio.run(infer(server, question(issued.series, request_outputs=wanted)))
    assert [output.name for output in response.outputs] == ["stale", "mean"]
    assert outputs(response)["mean"].tolist() == [[step.mean for step in issued.steps]]


def test_the_official_client_finds_server_and_model_live_and_ready(server: Server) -> None:
    async def ask() -> list[bool]:
        async with client("v1") as first, client("v2") as second:
            return [
                await first.is_server_live(server.url),
                await first.is_model_ready(server.url, NAME),
                await second.is_server_live(server.url),
                await second.is_server_ready(server.url),
                await second.is_model_ready(server.url, NAME),
            ]

    assert asyncio.run(ask()) == [True] * 5


def test_the_official_client_reads_a_refusal(server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="'ftse' is not served; the series is 'sp500'"):
        asyncio.run(infer(server, question("ftse")))


def test_the_version_in_a_path_is_the_run(server: Server, issued: ForecastSummary) -> None:
    version = f"/v2/models/{NAME}/versions/{issued.run}"
    assert server.get(version).json() == server.get(f"/v2/models/{NAME}").json()
    assert server.get(f"{version}/ready").json() == {"name": NAME, "ready": True}
    assert server.post(f"{version}/infer", infer_body()).json()["model_version"] == issued.run
    for path in ("", "/ready"):
        assert server.get(f"/v2/models/{NAME}/versions/1{path}").status_code == 404
    assert server.post(f"/v2/models/{NAME}/versions/1/infer", infer_body()).status_code == 404


def test_wanted_quantiles_come_in_their_order(server: Server) -> None:
    answer = server.post(PREDICT, '{"instances": [{"horizon": 1, "quantiles": [0.95, 0.050, 0.95]}]}').json()
    assert list(answer["predictions"][0]["steps"][0]["quantiles"]) == ["0.95", "0.05"]


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (PREDICT, "{", "the body is no JSON"),
        (PREDICT, '{"instances": [{"horizon": 1', "the body is no JSON"),
        (PREDICT, "[" * 100_000, "the body is no JSON"),
        (PREDICT, '{"instances": [{"series": "\\ud800"}]}', "the body is no JSON"),
        (PREDICT, "[]", "the body: input should be an object"),
        (PREDICT, "{}", "instances: field required"),
        (PREDICT, '{"instances": []}', "instances: list should have at least 1 item"),
        (PREDICT, orjson.dumps({"instances": [{}] * 101}).decode(), "instances: list should have at most 100 items"),
        (PREDICT, '{"instances": [{}, {"close": 4.2}]}', "instances[1].close: extra inputs are not permitted. Issued"),
        (PREDICT, '{"instances": [[1, 2]]}', "instances[0]: input should be an object. Issued forecasts are served"),
        (PREDICT, '{"instances": [{"series": 1}]}', "instances[0].series: input should be a valid string"),
        (PREDICT, '{"instances": [{"series": "/etc/passwd"}]}', "instances[0].series: '/etc/passwd' is not served"),
        (PREDICT, '{"instances": [{"horizon": "1"}]}', "instances[0].horizon: input should be a valid integer"),
        (PREDICT, '{"instances": [{"horizon": 0}]}', "instances[0].horizon: 0 steps were not issued; 1 to 1"),
        (PREDICT, '{"instances": [{"quantiles": [0.5, 0.33]}]}', "instances[0].quantiles: the quantile 0.33 was not"),
        (PREDICT, '{"instances": [{"quantiles": [NaN]}]}', "instances[0].quantiles[0]: input should be a finite"),
        (INFER, "{", "the body is no JSON"),
        (INFER, "{}", "inputs: field required"),
        (INFER, '{"inputs": []}', "inputs"),
        (INFER, infer_body(name="close", datatype="FP64"), "inputs[0].name: input should be 'series'. Issued"),
        (INFER, infer_body(datatype="FP64"), "inputs[0].datatype: input should be 'BYTES'"),
        (INFER, infer_body(shape=[1, 1]), "inputs[0].shape"),
        (INFER, infer_body(shape=[2]), "inputs[0].shape: it says 2 elements, and there are 1"),
        (INFER, infer_body(shape=[101]), "inputs[0].shape[0]: input should be less than or equal to 100"),
        (INFER, infer_body(series=1), "inputs[0].data[0]: input should be a valid string"),
        (INFER, infer_body(series="ftse"), "inputs[0].data[0]: 'ftse' is not served"),
        (INFER, infer_body(data=None), "inputs[0]: either data or the parameter binary_data_size is needed"),
        (INFER, infer_body()[:-1] + ', "outputs": [{"name": "median"}]}', "outputs[0].name: input should be 'mean'"),
        (INFER, infer_body()[:-1] + ', "parameters": {"horizon": 9}}', "parameters.horizon: 9 steps were not issued"),
        (INFER, infer_body()[:-1] + ', "parameters": {"steps": 1}}', "parameters.steps: extra inputs"),
        (INFER, infer_body()[:-1] + ', "id": 7}', "id: input should be a valid string"),
    ],
)
def test_a_wrong_body_is_refused_with_the_path_of_its_fault(
    server: Server, path: str, body: str, sentence: str
) -> None:
    response = server.post(path, body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    assert sentence in response.json()["error"]


@pytest.mark.parametrize(
    ("appended", "length", "sentence"),
    [
        (b"\x05\x00\x00\x00sp50", None, "no BYTES tensor: an element is cut off"),
        (b"\x05\x00", None, "no BYTES tensor: a length is cut off"),
        (b"\x01\x00\x00\x00\xff", None, "no BYTES tensor: 'utf-8' codec"),
        (b"", None, "there are 0"),
        (b"\x05\x00\x00\x00sp500", "99999999999999999999", "is no length inside the body"),
        (b"\x05\x00\x00\x00sp500", "-1", "is no length inside the body"),
        (b"\x05\x00\x00\x00sp500", "0" * 5000, "is no length inside the body"),
        (b"\x05\x00\x00\x00sp500", "00000000001", "is no length inside the body"),
    ],
)
def test_wrong_binary_tensors_are_refused(server: Server, appended: bytes, length: str | None, sentence: str) -> None:
    text = infer_body(data=None, parameters={"binary_data_size": len(appended)}).encode()
    header = {"inference-header-content-length": length or str(len(text))}
    response = server.post(INFER, text + appended, **header)
    assert response.status_code == 400
    assert sentence in response.json()["error"]


def test_bytes_that_no_tensor_names_are_refused(server: Server) -> None:
    text = infer_body().encode()
    response = server.post(INFER, text + b"more", **{"inference-header-content-length": str(len(text))})
    assert response.status_code == 400
    assert "4 bytes follow the JSON" in response.json()["error"]


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(server: Server, path: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield b" " * (LARGEST_BODY // 2)

    for content in (b" " * (LARGEST_BODY + 1), chunks()):
        response = server.post(path, content)
        assert response.status_code == 413
        assert response.json() == {"error": f"The body is larger than {LARGEST_BODY} bytes."}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/other", "/v1/models/..%2f..%2fetc%2fpasswd", "/v2/models/other", "/v2/models/other/ready",
        "/v2/models/file:%2f%2f%2fetc%2fpasswd/ready", "/v1/models/", "/report/../summary.json", "/docs",
    ],
)  # fmt: skip
def test_what_is_not_served_is_not_found(server: Server, path: str) -> None:
    response = server.get(path)
    assert response.status_code == 404
    assert response.json().keys() == {"error"}


def test_an_unknown_model_is_not_found_by_a_prediction_either(server: Server) -> None:
    for path in ("/v1/models/other:predict", "/v2/models/other/infer"):
        response = server.post(path, "{")
        assert response.status_code == 404
        assert response.json() == {"error": "There is no model 'other'; 'quickstart' is served."}


def test_a_wrong_method_is_refused_and_the_right_one_named(server: Server) -> None:
    for path in (PREDICT, INFER):
        response = server.get(path)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert response.json().keys() == {"error"}
    for path in ("/v1/models", "/v2", "/readyz", "/report"):
        assert server.post(path, "{}").status_code == 405


def test_two_hundred_requests_at_a_time_all_get_the_forecast(server: Server, issued: ForecastSummary) -> None:
    async def ask() -> list[kserve.InferResponse]:
        async with client("v2") as asking:
            requests = (asking.infer(server.url, question(issued.series), model_name=NAME) for _ in range(200))
            return await asyncio.gather(*requests)

    responses = asyncio.run(ask())
    assert {tuple(outputs(response)["mean"].ravel()) for response in responses} == {
        tuple(step.mean for step in issued.steps)
    }
    assert len({response.id for response in responses}) == 200


def test_requests_are_counted_by_protocol_and_code(server: Server) -> None:
    answered = 'presage_server_requests_total{code="200",protocol="v1"}'
    refused = 'presage_server_requests_total{code="400",protocol="v2"}'
    seconds = 'presage_server_request_seconds_count{protocol="v2"}'
    server.post(PREDICT, '{"instances": [{}]}')
    server.post(INFER, "{")
    before = [server.metric(name) for name in (answered, refused, seconds)]
    server.post(PREDICT, '{"instances": [{}]}')
    server.post(INFER, "{")
    assert [server.metric(name) for name in (answered, refused, seconds)] == [one + 1 for one in before]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/quickstart", "/v2/health/live", "/v2/health/ready", "/v2/models/quickstart/ready",
        "/v2/models/quickstart/versions/other/ready",
    ],
)  # fmt: skip
def test_a_probe_is_no_request(server: Server, path: str) -> None:
    def counted() -> list[str]:
        lines = server.get("/metrics").text.splitlines()
        return [
            line
            for line in lines
            if line.startswith(("presage_server_requests_total", "presage_server_request_seconds_count"))
        ]

    before = counted()
    server.get(path)
    assert counted() == before
    server.get("/v2/models/quickstart")
    assert counted() != before


def test_the_metrics_say_what_is_served_and_how_old_it_is(server: Server, issued: ForecastSummary) -> None:
    assert server.metric(f'presage_server_model_info{{model="{NAME}",version="{issued.run}"}}') == 1
    assert server.metric("presage_server_forecast_issued_timestamp_seconds") == issued.issued_at.timestamp()
    assert server.metric("presage_server_forecast_stale") == 1
    assert server.metric("presage_server_directory_refusals_total") == 0


def test_the_report_is_shown_and_may_ask_for_nothing(server: Server, run: Path) -> None:
    response = server.get("/report")
    assert response.content == (run / REPORT).read_bytes()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


def test_the_server_loads_no_library_of_training(server: Server) -> None:
    loaded = Path("/proc", str(server.process.pid), "maps")
    if not loaded.is_file():
        lacking("only Linux says which libraries a process has loaded")
    paths = [line.split(maxsplit=5)[5] for line in loaded.read_text().splitlines() if len(line.split()) > 5]
    assert [path for path in paths if any(f"/{name}" in path for name in HEAVY)] == []


def test_an_address_that_is_taken_is_said_plainly(run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("serve", f"--model_name={NAME}", f"--model_dir={run}", f"--http_port={port}", "--host", "127.0.0.1")
        ended = presage(*words, code=7)
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in ended.err


def test_a_name_that_no_path_can_hold_is_refused(run: Path) -> None:
    ended = presage("serve", "--model-dir", run, code=2, PRESAGE_MODEL_NAME="team/model")
    assert "a name without slashes and colons is needed" in ended.err
