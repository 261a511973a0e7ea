"""What the Open Inference Protocol requires of every answer, and what its official types read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from kserve import InferRequest, InferResponse
from kserve.protocol.rest.v2_datamodels import (
    InferenceRequest,
    InferenceResponse,
    ModelMetadataResponse,
    ServerMetadataResponse,
)

from presage_serving import open_inference, v1
from presage_serving.forecast import Forecast, Served
from presage_serving.refusal import Refusal

ISSUED = datetime(2026, 1, 5, 17, 30, tzinfo=UTC)
STALE = datetime(2026, 1, 8, tzinfo=UTC)
FORECAST = Forecast(
    series="Zürich 8001",
    issued_at=ISSUED,
    stale_after=STALE,
    target_times=tuple(ISSUED + timedelta(days=day) for day in range(3)),
    means=(1.5, 2.5, 1e-300),
    probabilities=(0.05, 0.95),
    quantiles=((1.0, 2.0), (2.0, 3.0), (-1.0, 5e300)),
)
SERVED = Served(
    job="default.house",
    run="20260105T173000Z-0badcafe",
    model="ridge",
    promoted=True,
    issued_at=ISSUED,
    forecasts=(FORECAST,),
)
NEW = replace(FORECAST, series="Zug", means=(7.0, 8.0, 9.0), probabilities=(), quantiles=((), (), ()))
OLD = replace(FORECAST, series="Basel", means=(4.0, 5.0, 6.0), stale_after=ISSUED)
PANEL = replace(SERVED, forecasts=(NEW, FORECAST, OLD))
DATATYPES = {
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
}  # fmt: skip
REQUEST = {"inputs": [{"name": "series", "datatype": "BYTES", "shape": [2], "data": [FORECAST.series] * 2}]}


def infer(request: dict[str, object], now: datetime = ISSUED, served: Served = SERVED) -> dict:
    answer = open_inference.infer(orjson.dumps(request), None, name="house", served=served, now=now)
    assert answer.json_length is None
    return orjson.loads(answer.content)


def product(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


@pytest.mark.parametrize(
    ("answer", "required"),
    [
        (open_inference.server_metadata(), {"name": str, "version": str, "extensions": list}),
        (
            open_inference.model_metadata("house", SERVED),
            {"name": str, "versions": list, "platform": str, "inputs": list, "outputs": list},
        ),
        (infer(REQUEST), {"model_name": str, "model_version": str, "id": str, "parameters": dict, "outputs": list}),
    ],
    ids=["server metadata", "model metadata", "inference"],
)
def test_an_answer_has_every_field_of_the_protocol_and_no_other(answer: dict, required: dict[str, type]) -> None:
    assert {name: type(value) for name, value in answer.items()} == required


def test_tensors_of_the_metadata_have_a_name_a_datatype_and_a_shape() -> None:
    metadata = open_inference.model_metadata("house", SERVED)
    for tensor in (*metadata["inputs"], *metadata["outputs"]):
        assert tensor.keys() == {"name", "datatype", "shape"}
        assert tensor["datatype"] in DATATYPES
        assert all(isinstance(length, int) for length in tensor["shape"])


def test_tensors_of_an_answer_have_as_many_elements_as_their_shape_says() -> None:
    for tensor in infer(REQUEST)["outputs"]:
        assert tensor.keys() - {"parameters"} == {"name", "datatype", "shape", "data"}
        assert product(tensor["shape"]) == len(tensor["data"]), tensor["name"]


def test_an_answer_is_what_the_metadata_promises() -> None:
    promised = open_inference.model_metadata("house", SERVED)["outputs"]
    given = infer(REQUEST)["outputs"]
    assert [(one["name"], one["datatype"]) for one in given] == [(one["name"], one["datatype"]) for one in promised]
    for one, other in zip(given, promised, strict=True):
        lengths = zip(one["shape"], other["shape"], strict=True)
        assert all(expected in (-1, length) for length, expected in lengths), one["name"]


def test_the_official_types_read_every_answer() -> None:
    ServerMetadataResponse.model_validate(open_inference.server_metadata(), strict=True)
    ModelMetadataResponse.model_validate(open_inference.model_metadata("house", SERVED), strict=True)
    InferenceResponse.model_validate(infer(REQUEST), strict=True)
    InferenceRequest.model_validate(REQUEST, strict=True)


def test_the_official_requests_are_read_as_the_client_writes_them() -> None:
    written, _ = InferRequest.from_bytes(orjson.dumps(REQUEST), len(orjson.dumps(REQUEST)), "house").to_rest()
    assert infer(written)["outputs"] == infer(REQUEST)["outputs"]


@pytest.mark.parametrize("request_id", ["42", ""])
def test_an_id_is_given_back(request_id: str) -> None:
    assert infer(REQUEST | {"id": request_id})["id"] == request_id


def test_an_answer_without_an_id_gets_its_own() -> None:
    ids = {infer(REQUEST)["id"], infer(REQUEST | {"id": None})["id"]}
    assert len(ids) == 2
    assert all(ids)


def test_each_series_of_a_batch_has_a_row_and_each_step_a_column() -> None:
    outputs = {one["name"]: one for one in infer(REQUEST | {"parameters": {"horizon": 2}})["outputs"]}
    assert outputs["mean"]["shape"] == [2, 2]
    assert outputs["mean"]["data"] == [1.5, 2.5, 1.5, 2.5]
    assert outputs["quantiles"]["shape"] == [2, 2, 2]
    assert outputs["quantiles"]["data"] == [1.0, 2.0, 2.0, 3.0] * 2
    assert outputs["target_time"]["data"] == ["2026-01-05T17:30:00Z", "2026-01-06T17:30:00Z"] * 2


def test_every_output_comes_as_bytes_after_the_json_where_that_is_asked_for() -> None:
    request = REQUEST | {"parameters": {"binary_data_output": True}}
    answer = open_inference.infer(orjson.dumps(request), None, name="house", served=SERVED, now=ISSUED)
    binary = InferResponse.from_bytes(answer.content, answer.json_length)
    plain = InferResponse.from_rest(infer(REQUEST))
    for one, other in zip(binary.outputs, plain.outputs, strict=True):
        assert one.as_numpy().tolist() == other.as_numpy().tolist(), one.name


def test_one_output_may_stay_json_among_bytes() -> None:
    wanted = [{"name": "issued_at", "parameters": {"binary_data": False}}, {"name": "mean"}]
    request = REQUEST | {"parameters": {"binary_data_output": True}, "outputs": wanted}
    answer = open_inference.infer(orjson.dumps(request), None, name="house", served=SERVED, now=ISSUED)
    head = orjson.loads(answer.content[: answer.json_length])
    assert ["data" in one for one in head["outputs"]] == [True, False]
    assert len(answer.content) - answer.json_length == head["outputs"][1]["parameters"]["binary_data_size"] == 2 * 3 * 8


@pytest.mark.parametrize(
    ("now", "stale"), [(STALE - timedelta(seconds=1), False), (STALE, True), (STALE + timedelta(days=900), True)]
)
def test_both_protocols_say_when_a_forecast_is_too_old(now: datetime, *, stale: bool) -> None:
    outputs = {one["name"]: one["data"] for one in infer(REQUEST, now)["outputs"]}
    assert outputs["stale"] == [stale, stale]
    prediction = v1.predict(b'{"instances": [{}]}', SERVED, now)["predictions"][0]
    assert prediction["stale"] is stale


def test_both_protocols_give_the_same_numbers() -> None:
    prediction = v1.predict(b'{"instances": [{"horizon": 3}]}', SERVED, ISSUED)["predictions"][0]
    outputs = {one["name"]: one["data"] for one in infer(REQUEST | {"inputs": one_series()})["outputs"]}
    assert [step["step"] for step in prediction["steps"]] == [1, 2, 3]
    assert [step["mean"] for step in prediction["steps"]] == outputs["mean"]
    assert [number for step in prediction["steps"] for number in step["quantiles"].values()] == outputs["quantiles"]
    assert [step["target_time"] for step in prediction["steps"]] == outputs["target_time"]


def one_series() -> list[dict[str, object]]:
    return [REQUEST["inputs"][0] | {"shape": [1], "data": [FORECAST.series]}]


def test_a_forecast_without_intervals_has_no_quantiles_and_refuses_to_give_one() -> None:
    bare = replace(SERVED, forecasts=(replace(FORECAST, probabilities=(), quantiles=((), (), ())),))
    answer = open_inference.infer(orjson.dumps(REQUEST), None, name="house", served=bare, now=ISSUED)
    found = InferResponse.from_bytes(answer.content, len(answer.content))
    assert {one.name: one.as_numpy().shape for one in found.outputs}["quantiles"] == (2, 3, 0)
    with pytest.raises(Refusal, match=r"the quantile 0\.5 was not issued; served are none"):
        v1.predict(b'{"instances": [{"quantiles": [0.5]}]}', bare, ISSUED)


def ask(instances: list[dict[str, object]], served: Served = PANEL) -> list[dict]:
    return v1.predict(orjson.dumps({"instances": instances}), served, ISSUED)["predictions"]


def test_each_protocol_gives_the_series_of_a_panel_that_are_asked_for() -> None:
    given = ask([{"series": "Basel"}, {"series": "Zug", "horizon": 1}])
    assert [(one["series"], [step["mean"] for step in one["steps"]]) for one in given] == [
        ("Basel", [4.0, 5.0, 6.0]),
        ("Zug", [7.0]),
    ]
    inputs = [{"name": "series", "datatype": "BYTES", "shape": [2], "data": ["Basel", "Zug"]}]
    outputs = {one["name"]: one["data"] for one in infer({"inputs": inputs}, served=PANEL)["outputs"]}
    assert outputs["series"] == ["Basel", "Zug"]
    assert outputs["mean"] == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert outputs["stale"] == [True, False]


def test_each_protocol_gives_all_series_of_a_panel_where_none_is_named() -> None:
    names = ["Zug", "Zürich 8001", "Basel"]
    assert [one["series"] for one in ask([{}])] == names
    answer = infer({"inputs": []}, served=PANEL)
    outputs = {one["name"]: one for one in answer["outputs"]}
    assert outputs["series"]["data"] == names
    assert outputs["mean"]["shape"] == [3, 3]
    promised = open_inference.model_metadata("house", PANEL)["outputs"]
    assert [one["name"] for one in answer["outputs"]] == [one["name"] for one in promised]
    InferenceResponse.model_validate(infer({"inputs": [], "outputs": [{"name": "mean"}]}, served=PANEL), strict=True)


def test_a_series_without_calibrated_intervals_has_no_quantiles_beside_others_that_have() -> None:
    given = ask([{"quantiles": [0.95]}])
    assert [list(one["steps"][0]["quantiles"]) for one in given] == [[], ["0.95"], ["0.95"]]
    outputs = {one["name"]: one for one in infer({"inputs": []}, served=PANEL)["outputs"]}
    assert outputs["quantiles"]["shape"] == [3, 3, 2]
    assert outputs["quantiles"]["data"][:6] == [None] * 6
    assert outputs["quantiles"]["data"][6:8] == [1.0, 2.0]


def test_a_small_body_does_not_ask_for_all_series_again_and_again() -> None:
    many = replace(PANEL, forecasts=tuple(replace(FORECAST, series=str(number)) for number in range(60)))
    assert len(ask([{}], many)) == 60
    with pytest.raises(Refusal, match=r"instances: 120 forecasts are asked for, and 100 at most"):
        ask([{}, {}], many)


def test_a_series_that_is_none_of_the_panel_is_refused() -> None:
    with pytest.raises(Refusal, match=r"instances\[0\].series: 'Bern' is not served; 3 series are, such as 'Zug'"):
        ask([{"series": "Bern"}])
