"""The feature config: what a selection kept and dropped, as the JSON file that training reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from presage.errors import LakeError


@dataclass(frozen=True)
class Dropped:
    """A feature that selection did not keep, and why, as one sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class FeatureConfig:
    """The outcome of a feature selection on one training window.

    Attributes:
        kept: Names of the features that training uses, in frame order.
        dropped: The others.
        importance: Share of the total XGBoost gain of each feature that was ranked, adding up to 1; empty where none
            was ranked.
    """

    kept: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    importance: Mapping[str, float]


def to_json(config: FeatureConfig) -> str:
    """Return a feature config as JSON text that `from_json` reads back without loss."""
    document = _Document(
        version="v1",
        kept=config.kept,
        dropped=tuple(_DroppedEntry(name=dropped.name, reason=dropped.reason) for dropped in config.dropped),
        importance=dict(config.importance),
    )
    return document.model_dump_json(indent=2) + "\n"


def from_json(text: str) -> FeatureConfig:
    """Return the feature config that `to_json` wrote.

    Raises:
        LakeError: The text is no feature config of this version: broken JSON, a missing, unknown or wrong field, or a
            feature that is named twice.
    """
    try:
        document = _Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f" at {field}" if field else ""
        raise _broken(f"{first['msg']}{where}") from error
    names = (*document.kept, *(entry.name for entry in document.dropped))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _broken(f"feature {twice!r} is named twice")
    return FeatureConfig(
        kept=document.kept,
        dropped=tuple(Dropped(entry.name, entry.reason) for entry in document.dropped),
        importance=document.importance,
    )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _DroppedEntry(_Part):
    name: str
    reason: str


class _Document(_Part):
    version: Literal["v1"]
    kept: tuple[str, ...]
    dropped: tuple[_DroppedEntry, ...]
    importance: dict[str, Annotated[float, Field(ge=0, le=1)]]


def _broken(fault: str) -> LakeError:
    return LakeError(
        f"the feature config cannot be read: {fault}.",
        "It was changed or written by another version of Presage; run the job again to write it anew.",
    )
