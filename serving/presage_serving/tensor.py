"""Tensors of the Open Inference Protocol, as JSON and as the bytes that its binary extension appends to it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Datatype = Literal["BOOL", "FP64", "BYTES"]
Element = bool | float | str

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Tensor:
    """A named array.

    Attributes:
        name: Name of the input or output.
        datatype: What its elements are: bool, float or str.
        shape: Length of each dimension.
        data: Elements, flat, in row-major order.
        parameters: What else is said of it, by name.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: tuple[Element, ...]
    parameters: tuple[tuple[str, str], ...] = ()


def to_json(tensor: Tensor) -> dict[str, JsonValue]:
    """Return a tensor with its data as a JSON list."""
    return _head(tensor, dict(tensor.parameters)) | {"data": list(tensor.data)}


def to_binary(tensor: Tensor) -> tuple[dict[str, JsonValue], bytes]:
    """Return a tensor's JSON without its data, and the data as little-endian bytes."""
    content = b"".join(_element(tensor.datatype, element) for element in tensor.data)
    return _head(tensor, dict(tensor.parameters) | {"binary_data_size": len(content)}), content


def texts_from_binary(content: bytes) -> tuple[str, ...]:
    """Return the elements of a BYTES tensor: each is 4 bytes of length, little-endian, and as many of UTF-8.

    Raises:
        ValueError: A length leads past the end, or a text is no UTF-8.
    """
    texts = []
    place = 0
    while place < len(content):
        start = place + _LENGTH.size
        if start > len(content):
            raise ValueError("a length is cut off")
        (length,) = _LENGTH.unpack_from(content, place)
        place = start + length
        if place > len(content):
            raise ValueError("an element is cut off")
        texts.append(content[start:place].decode())
    return tuple(texts)


def _head(tensor: Tensor, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
    head: dict[str, JsonValue] = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    return head | ({"parameters": parameters} if parameters else {})


def _element(datatype: Datatype, element: Element) -> bytes:
    if datatype == "FP64":
        return struct.pack("<d", element)
    if datatype == "BOOL":
        return struct.pack("<?", element)
    content = str(element).encode()
    return _LENGTH.pack(len(content)) + content
