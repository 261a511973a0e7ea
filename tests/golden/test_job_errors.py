"""What a user reads when a job file is wrong, word for word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from presage.errors import JobError
from presage.spec.load import parse_job

FILES = sorted(path for path in (Path(__file__).parent / "jobs").iterdir() if path.suffix in (".yaml", ".json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_file_is_explained_word_for_word(path: Path) -> None:
    with pytest.raises(JobError) as caught:
        parse_job(path.read_text(encoding="utf-8"), path.name)
    error = caught.value
    text = "\n".join([error.what, *(f"  {problem}" for problem in error.problems), error.remedy, ""])
    golden = path.with_suffix(".txt")
    if os.environ.get("PRESAGE_UPDATE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_secret_of_a_file_is_repeated() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "jobs").glob("*.txt")]
    assert texts
    assert not any("desk:secret" in text or "secret@" in text for text in texts)
