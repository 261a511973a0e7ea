"""The Open Inference Protocol over HTTP, version 2: tensors in, tensors out."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from presage import __version__
from presage_serving.forecast import Forecast, Served
from presage_serving.prediction import LARGEST_BATCH, forecast_of, steps, utc_text
from presage_serving.refusal import Refusal, malformed
from presage_serving.tensor import Tensor, texts_from_binary, to_binary, to_json

SERIES = "series"
JSON_LENGTH = "inference-header-content-length"
"""Header that says where the JSON of a body ends and the bytes of its tensors begin."""
_LENGTH_DIGITS = 10
_REMEDY = f"Issued forecasts are served, none from given features: the one input is {SERIES}, BYTES of shape [n]."
OutputName = Literal["mean", "quantiles", "target_time", "issued_at", "stale", "series"]


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
    inputs: Annotated[tuple[InputTensor, ...], Field(max_length=1)]
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


def model_metadata(name: str, served: Served) -> dict[str, JsonValue]:
    """Return what the server says of its model; -1 is a length that the request chooses."""
    series: list[JsonValue] = [{"name": SERIES, "datatype": "BYTES", "shape": [-1]}]
    return {
        "name": name,
        "versions": [served.run],
        "platform": "presage",
        "inputs": series,
        "outputs": [
            *(series if len(served.forecasts) > 1 else []),
            {"name": "mean", "datatype": "FP64", "shape": [-1, -1]},
            {"name": "quantiles", "datatype": "FP64", "shape": [-1, -1, len(served.probabilities)]},
            {"name": "target_time", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "issued_at", "datatype": "BYTES", "shape": [-1]},
            {"name": "stale", "datatype": "BOOL", "shape": [-1]},
        ],
    }


def infer(body: bytes, json_length: str | None, *, name: str, served: Served, now: datetime) -> Answer:
    """Return the answer to the body of a request.

    Args:
        body: JSON, and after it the bytes of tensors if any.
        json_length: Bytes of the JSON, as its header says; None where all is JSON.
        name: Name of the model.
        served: What is served.
        now: Present moment, UTC; decides whether a forecast is stale.

    Raises:
        Refusal: The body is no request, or asks for what was not issued.
    """
    end = _json_end(body, json_length)
    try:
        request = InferRequest.model_validate_json(body[:end])
    except ValidationError as error:
        raise malformed(error, _REMEDY) from error
    asked = request.parameters or RequestParameters()
    forecasts = _asked(request, body[end:], served)
    made = _tensors(served, forecasts, steps(served, asked.horizon, "parameters.horizon"), now)
    parameters: dict[str, JsonValue] = {"model": served.model, "promoted": served.promoted}
    head: dict[str, JsonValue] = {
        "id": str(uuid.uuid4()) if request.id is None else request.id,
        "model_name": name,
        "model_version": served.run,
        "parameters": parameters,
    }
    by_default = [output for output in made if output != SERIES or len(served.forecasts) > 1]
    wanted = request.outputs or tuple(RequestedOutput(name=output) for output in by_default)
    return _answer(head, [(made[output.name], _as_bytes(output, asked)) for output in wanted])


def _json_end(body: bytes, json_length: str | None) -> int:
    """Return where the JSON of a body ends."""
    if json_length is None:
        return len(body)
    digits = json_length.isascii() and json_length.isdecimal() and len(json_length) <= _LENGTH_DIGITS
    if not digits or int(json_length) > len(body):
        raise Refusal(400, f"the header {JSON_LENGTH} is no length inside the body.")
    return int(json_length)


def _asked(request: InferRequest, appended: bytes, served: Served) -> tuple[Forecast, ...]:
    """Return the forecasts of the series that the input names, of all of a panel's where there is none."""
    if not request.inputs:
        if len(served.forecasts) == 1:
            raise Refusal(400, f"inputs: at least one is needed. {_REMEDY}")
        return served.forecasts
    names = _series(request.inputs[0], appended)
    return tuple(forecast_of(served, one, f"inputs[0].data[{place}]") for place, one in enumerate(names))


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


def _tensors(served: Served, forecasts: tuple[Forecast, ...], horizon: int, now: datetime) -> dict[OutputName, Tensor]:
    """Return every output, by name, one part a forecast; a series without calibrated intervals has NaN quantiles."""
    batch, probabilities = len(forecasts), served.probabilities
    none = ((math.nan,) * len(probabilities),) * horizon
    quantiles = [forecast.quantiles if forecast.probabilities else none for forecast in forecasts]
    return {
        "series": Tensor("series", "BYTES", (batch,), tuple(forecast.series for forecast in forecasts)),
        "mean": Tensor(
            "mean", "FP64", (batch, horizon), tuple(number for one in forecasts for number in one.means[:horizon])
        ),
        "quantiles": Tensor(
            "quantiles",
            "FP64",
            (batch, horizon, len(probabilities)),
            tuple(number for steps_ahead in quantiles for step in steps_ahead[:horizon] for number in step),
            (("probabilities", ",".join(map(str, probabilities))),),
        ),
        "target_time": Tensor(
            "target_time",
            "BYTES",
            (batch, horizon),
            tuple(utc_text(time) for one in forecasts for time in one.target_times[:horizon]),
        ),
        "issued_at": Tensor("issued_at", "BYTES", (batch,), tuple(utc_text(one.issued_at) for one in forecasts)),
        "stale": Tensor("stale", "BOOL", (batch,), tuple(one.stale(now) for one in forecasts)),
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
