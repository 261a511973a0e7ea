"""What a walk-forward found, as files that another process reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from presage.errors import LakeError
from presage.evaluation.walk import Walk
from presage.features.config import Dropped, FeatureConfig
from presage.steps.walked import read_selections, read_walks, write_selections, write_walks

SELECTIONS = (
    FeatureConfig(kept=("a", "b"), dropped=(Dropped("c", "it says what a says"),), importance={"a": 0.1, "b": 0.9}),
    FeatureConfig(kept=("a",), dropped=(), importance={}),
)
WALKS = {
    "ridge": Walk(np.array([[1.0, np.nan], [1 / 3, -0.0]]), {"a": 0.25, "ü": 0.75}),
    "xgboost_2": Walk(np.empty((0, 1)), {}),
}


def test_selections_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_selections(tmp_path / "new" / "selections", SELECTIONS)
    assert read_selections(tmp_path / "new" / "selections") == SELECTIONS


def test_walks_are_read_bit_for_bit_as_they_were_written(tmp_path: Path) -> None:
    write_walks(tmp_path / "new" / "walks", WALKS)
    read = read_walks(tmp_path / "new" / "walks")
    assert list(read) == list(WALKS)
    for name, walk in WALKS.items():
        assert read[name].mean.tobytes() == walk.mean.tobytes()
        assert read[name].mean.shape == walk.mean.shape
        assert dict(read[name].shares) == dict(walk.shares)


def test_the_same_walks_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_walks(tmp_path / name, WALKS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def _of_objects(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, shares=np.array([{}], dtype=object))


def _of_another_shape(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, shares=np.frombuffer(b'{"ridge": {}}', dtype=np.uint8))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: None,
        lambda path: path.write_text("{}"),
        _of_objects,
        _of_another_shape,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04 no archive"),
        lambda path: (write_walks(path, WALKS), path.write_bytes(path.read_bytes()[:-40])),
    ],
    ids=["absent", "text", "pickled", "other content", "empty", "no archive", "cut"],
)
def test_walks_that_are_none_are_refused(damage: Callable[[Path], None], tmp_path: Path) -> None:
    damage(tmp_path / "walks")
    with pytest.raises(LakeError, match=r"the walks .* cannot be read"):
        read_walks(tmp_path / "walks")


@pytest.mark.parametrize("text", [None, "", "{}", '{"folds": [1]}', "\x00"])
def test_selections_that_are_none_are_refused(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "selections").write_text(text)
    with pytest.raises(LakeError, match=r"the selections of folds .* cannot be read"):
        read_selections(tmp_path / "selections")
