"""The file that every forecaster writes: `forecaster.json`, its learnt numbers as frozen values, read back strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import LakeError
from presage.spec.models import ModelName

STATE = "forecaster.json"
VERSION: Literal["v1"] = "v1"


class State(BaseModel):
    """What a forecaster learnt; JSON keeps every float to the last bit, and holds no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    version: Literal["v1"] = VERSION
    name: ModelName

    def to_bytes(self) -> bytes:
        """Return the state as UTF-8 JSON that `read_state` reads back without loss."""
        return (self.model_dump_json() + "\n").encode()


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    version: str
    name: ModelName


AnyState = TypeVar("AnyState", bound=State)


def read_name(files: Mapping[str, bytes]) -> ModelName:
    """Return the name of the forecaster that wrote some files.

    Raises:
        LakeError: There is no state among them, it is no JSON, or a newer version of Presage wrote it.
    """
    content = files.get(STATE)
    if content is None:
        raise unreadable(f"{STATE} is missing among {_listed(files)}")
    try:
        header = _Header.model_validate_json(content)
    except ValidationError as error:
        raise unreadable(f"{STATE}: {_first(error)}") from error
    if header.version != VERSION:
        raise LakeError(
            f"{STATE} has version {header.version!r}, and this Presage reads {VERSION!r}.",
            "Install the version of Presage that wrote it, or a later one.",
        )
    return header.name


def read_state(files: Mapping[str, bytes], kind: type[AnyState]) -> AnyState:
    """Return the state among a forecaster's files.

    Raises:
        LakeError: There is no state, it is of another kind of forecaster, or a field is missing, unknown or wrong.
    """
    read_name(files)
    try:
        return kind.model_validate_json(files[STATE])
    except ValidationError as error:
        raise unreadable(f"{STATE}: {_first(error)}") from error


def expect_files(files: Mapping[str, bytes], expected: Iterable[str]) -> None:
    """Check that exactly these files are there; raises LakeError otherwise."""
    names = set(expected)
    missing = sorted(names - files.keys())
    additional = sorted(files.keys() - names)
    if missing:
        raise unreadable(f"{missing[0]} is missing")
    if additional:
        raise unreadable(f"{additional[0]} is none of its files")


def unreadable(fault: str) -> LakeError:
    """Return the error for files that hold no forecaster of this kind."""
    return LakeError(
        f"a forecaster's files cannot be read: {fault}.",
        "They were changed or belong to another forecaster; copy the bundle again, or run the job again.",
    )


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    return f"{fault['msg']} at {field}" if field else fault["msg"]


def _listed(files: Mapping[str, bytes]) -> str:
    return ", ".join(sorted(files)[:5]) or "no files"
