"""A report's files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from presage.errors import StorageError
from presage.report.data import Report
from presage.report.html import render
from presage.report.tables import predictions_csv

REPORT = "report.html"
SCORECARD = "scorecard.json"
DIGEST = "scorecard.digest"
PREDICTIONS = "predictions.csv"


def write_report(directory: Path, report: Report) -> Mapping[str, Path]:
    """Write the page, the scorecard with its digest, and the predictions; each file is seen whole or not at all.

    Args:
        directory: Where to write; it is made where it is missing.
        report: The run.

    Returns:
        The files by name: report.html, scorecard.json, scorecard.digest and predictions.csv.

    Raises:
        StorageError: The directory cannot be written to; files that were there before are unchanged or replaced whole.
    """
    contents = {
        REPORT: render(report),
        SCORECARD: report.scorecard.model_dump_json(indent=2) + "\n",
        DIGEST: report.scorecard.digest() + "\n",
        PREDICTIONS: predictions_csv(report.back_test, report.scorecard.verdict.champion),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _replace(directory / name, content)
    except OSError as error:
        raise StorageError(
            f"cannot write the report to {directory}: {error.strerror or error}.",
            "Free some space or choose another directory; no file was left half-written.",
        ) from error
    return {name: directory / name for name in contents}


def _replace(path: Path, content: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
