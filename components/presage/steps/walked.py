"""What a walk-forward found before it is judged: the selection of each fold, and the walk of each entrant."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import LakeError
from presage.evaluation.walk import Walk
from presage.features.config import FeatureConfig
from presage.files import write_atomically
from presage.tasks import Engine

_MEAN = "mean"
_SHARES = "shares"
_AGAIN = "It was damaged or is of another run; run the step that made it again."


@dataclass(frozen=True)
class Walked:
    """A walk-forward of all entrants.

    Attributes:
        selections: What each fold kept of the features.
        walks: By entrant's name.
    """

    selections: tuple[FeatureConfig, ...]
    walks: Mapping[str, Walk]


class Walkable(Protocol):
    """A job's data, as far as contenders are walked over it."""

    def select(self, engine: Engine) -> tuple[FeatureConfig, ...]:
        """Return what each fold keeps of the features."""
        ...

    def walk(
        self, selections: tuple[FeatureConfig, ...], engine: Engine, only: Collection[str] | None = None
    ) -> dict[str, Walk]:
        """Return the walks of entrants by name; of all where none is named."""
        ...


def walk_all(data: Walkable, engine: Engine) -> Walked:
    """Return a walk-forward of all entrants."""
    selections = data.select(engine)
    return Walked(selections, data.walk(selections, engine))


class _Selections(BaseModel):
    """What each fold keeps, as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: tuple[FeatureConfig, ...]


def write_selections(path: Path, selections: tuple[FeatureConfig, ...]) -> None:
    """Write what each fold keeps of the features; raises StorageError where there is no room."""
    write_atomically(path, _Selections(folds=selections).model_dump_json(indent=2) + "\n")


def read_selections(path: Path) -> tuple[FeatureConfig, ...]:
    """Return what each fold keeps of the features; raises LakeError for a file that is none."""
    try:
        return _Selections.model_validate_json(path.read_bytes()).folds
    except (OSError, ValidationError) as error:
        raise LakeError(f"the selections of folds {path} cannot be read.", _AGAIN) from error


def write_walks(path: Path, walks: Mapping[str, Walk]) -> None:
    """Write walks as one file of numpy arrays (.npz, no pickle); raises StorageError where there is no room."""
    shares = {name: dict(walk.shares) for name, walk in walks.items()}
    arrays: dict[str, NDArray[np.generic]] = {f"{_MEAN}/{name}": walk.mean for name, walk in walks.items()}
    arrays[_SHARES] = np.frombuffer(json.dumps(shares).encode(), dtype=np.uint8)
    written = io.BytesIO()
    np.savez(written, allow_pickle=False, **arrays)
    write_atomically(path, written.getvalue())


def read_walks(path: Path) -> dict[str, Walk]:
    """Return the walks of a file by entrant's name; raises LakeError for a file that is none."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            shares = json.loads(arrays[_SHARES].tobytes())
            return {name: Walk(arrays[f"{_MEAN}/{name}"], shares[name]) for name in shares}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise LakeError(f"the walks {path} cannot be read.", _AGAIN) from error
