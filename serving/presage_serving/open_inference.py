"""The Open Inference Protocol over HTTP, version 2: tensors in, tensors out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from presage import __version__
from presage_serving.forecast import Forecast
from presage_serving.prediction import LARGEST_BATCH, require_series, steps, utc_text
from presage_serving.refusal import Refusal, malformed
from presage_serving.tensor import Tensor, texts_from_binary, to_binary, to_json

SERIES = "series"
JSON_LENGTH = "inference-header-content-length"
"""Header that says where the JSON of a body ends and the bytes of its tensors begin."""
_REMEDY = f"Issued forecasts are served, none from given features: the one input is {SERIES}, BYTES of shape [n]."
OutputName = Literal["mean", "quantiles", "target_time", "issued_at", "stale"]


class _Body(BaseModel):
    # Unknown fields pass: clients add their own, such as the model's name.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class RequestParameters(_Body):
    """What a request may say beside its tensors; unlike its fields, these are this server's own, so all are known."""

    model_config = ConfigDict(extra="forbid")

    horizon: int | None = None
    binary_data_output: bool = False


class InputParameters(_Body):
    """What a request may say of an input."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class InputTensor(_Body):
    """An input: the names of series."""

    name: Literal["series"]
    datatype: Literal["BYTES"]
    shape: tuple[Annotated[int, Field(ge=1, le=LARGEST_BATCH)]]
    parameters: InputParameters | None = None
    data: tuple[str, ...] | None = None


class OutputParameters(_Body):
    """What a request may say of an output."""

    binary_data: bool | None = None


class RequestedOutput(_Body):
    """An output that is asked for."""

    name: OutputName
    parameters: OutputParameters | None = None


class InferRequest(_Body):
    """The JSON of an inference."""

    id: Annotated[str, Field(max_length=256)] | None = None
    parameters: RequestParameters | None = None
    inputs: tuple[InputTensor]
    outputs: Annotated[tuple[RequestedOutput, ...], Field(max_length=len(get_args(OutputName)))] = ()


@dataclass(frozen=True)
class Answer:
    """The body of an answer.

    Attributes:
        content: JSON, and after it the tensors that were asked for as bytes.
        json_length: Bytes of the JSON where bytes of tensors follow; None where none do.
    """

    content: bytes
    json_length: int | None = None


def server_metadata() -> dict[str, JsonValue]:
    """Return what the server says of itself."""
    return {"name": "presage", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(name: str, forecast: Forecast) -> dict[str, JsonValue]:
    """Return what the server says of its model; -1 is a length that the request chooses."""
    return {
        "name": name,
        "versions": [forecast.run],
        "platform": "presage",
        "inputs": [{"name": SERIES, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "mean", "datatype": "FP64", "shape": [-1, -1]},
            {"name": "quantiles", "datatype": "FP64", "shape": [-1, -1, len(forecast.probabilities)]},
            {"name": "target_time", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "issued_at", "datatype": "BYTES", "shape": [-1]},
            {"name": "stale", "datatype": "BOOL", "shape": [-1]},
        ],
    }


def infer(body: bytes, json_length: str | None, *, name: str, forecast: Forecast, now: datetime) -> Answer:
    """Return the answer to the body of a request.

    Args:
        body: JSON, and after it the bytes of tensors if any.
        json_length: Bytes of the JSON, as its header says; None where all is JSON.
        name: Name of the model.
        forecast: What is served.
        now: Present moment, UTC; decides whether the forecast is stale.

    Raises:
        Refusal: The body is no request, or asks for what was not issued.
    """
    end = _json_end(body, json_length)
    try:
        request = InferRequest.model_validate_json(body[:end])
    except ValidationError as error:
        raise malformed(error, _REMEDY) from error
    asked = request.parameters or RequestParameters()
    series = _series(request.inputs[0], body[end:])
    for place, one in enumerate(series):
        require_series(forecast, one, f"inputs[0].data[{place}]")
    made = _tensors(forecast, len(series), steps(forecast, asked.horizon, "parameters.horizon"), now)
    parameters: dict[str, JsonValue] = {"model": forecast.model, "promoted": forecast.promoted}
    head: dict[str, JsonValue] = {
        "id": str(uuid.uuid4()) if request.id is None else request.id,
        "model_name": name,
        "model_version": forecast.run,
        "parameters": parameters,
    }
    wanted = request.outputs or tuple(RequestedOutput(name=output) for output in made)
    return _answer(head, [(made[output.name], _as_bytes(output, asked)) for output in wanted])


def _json_end(body: bytes, json_length: str | None) -> int:
    """Return where the JSON of a body ends."""
    if json_length is None:
        return len(body)
    if not (json_length.isascii() and json_length.isdecimal()) or int(json_length[:10]) > len(body):
        raise Refusal(400, f"the header {JSON_LENGTH} is no length inside the body.")
    return int(json_length)


def _series(tensor: InputTensor, appended: bytes) -> tuple[str, ...]:
    """Return the elements of the input; raises Refusal where they are not as many as its shape says."""
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if (tensor.data is None) == (size is None):
        raise Refusal(400, "inputs[0]: either data or the parameter binary_data_size is needed.")
    if len(appended) != (size or 0):
        raise Refusal(400, f"inputs[0]: {len(appended)} bytes follow the JSON, and binary_data_size says {size or 0}.")
    try:
        texts = texts_from_binary(appended) if tensor.data is None else tensor.data
    except ValueError as error:
        raise Refusal(400, f"inputs[0]: the bytes after the JSON are no BYTES tensor: {error}.") from error
    if len(texts) != tensor.shape[0]:
        raise Refusal(400, f"inputs[0].shape: it says {tensor.shape[0]} elements, and there are {len(texts)}.")
    return texts


def _tensors(forecast: Forecast, batch: int, horizon: int, now: datetime) -> dict[OutputName, Tensor]:
    """Return every output, by name; each series of the batch has the same forecast."""
    probabilities = forecast.probabilities
    flat = tuple(number for step in forecast.quantiles[:horizon] for number in step)
    times = tuple(map(utc_text, forecast.target_times[:horizon]))
    return {
        "mean": Tensor("mean", "FP64", (batch, horizon), forecast.means[:horizon] * batch),
        "quantiles": Tensor(
            "quantiles",
            "FP64",
            (batch, horizon, len(probabilities)),
            flat * batch,
            (("probabilities", ",".join(map(str, probabilities))),),
        ),
        "target_time": Tensor("target_time", "BYTES", (batch, horizon), times * batch),
        "issued_at": Tensor("issued_at", "BYTES", (batch,), (utc_text(forecast.issued_at),) * batch),
        "stale": Tensor("stale", "BOOL", (batch,), (forecast.stale(now),) * batch),
    }


def _as_bytes(output: RequestedOutput, asked: RequestParameters) -> bool:
    said = output.parameters.binary_data if output.parameters else None
    return asked.binary_data_output if said is None else said


def _answer(head: dict[str, JsonValue], outputs: list[tuple[Tensor, bool]]) -> Answer:
    tensors: list[JsonValue] = []
    appended: list[bytes] = []
    for tensor, as_bytes in outputs:
        if as_bytes:
            described, content = to_binary(tensor)
            appended.append(content)
        else:
            described = to_json(tensor)
        tensors.append(described)
    text = orjson.dumps(head | {"outputs": tensors})
    return Answer(text + b"".join(appended), len(text) if appended else None)
