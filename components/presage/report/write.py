"""A report's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from presage.evaluation.scorecard import Scorecard
from presage.files import write_atomically
from presage.report.data import Report
from presage.report.tables import predictions_csv

REPORT = "report.html"
SCORECARD = "scorecard.json"
DIGEST = "scorecard.digest"
PREDICTIONS = "predictions.csv"


def write_report(directory: Path, report: Report) -> Mapping[str, Path]:
    """Write a report on bars, as `write_files` does."""
    from presage.report.html import render  # noqa: PLC0415  # slow to load, and what only names the files needs none

    predictions = predictions_csv(report.back_test, report.scorecard.verdict.champion)
    return write_files(directory, report.scorecard, page=render(report), predictions=predictions)


def write_files(directory: Path, scorecard: Scorecard, *, page: str, predictions: str) -> Mapping[str, Path]:
    """Write the page, the scorecard with its digest, and the predictions; each file is seen whole or not at all.

    Args:
        directory: Where to write; it is made where it is missing.
        scorecard: What the run found.
        page: The report as HTML.
        predictions: Actual against predicted, as CSV.

    Returns:
        The files by name: report.html, scorecard.json, scorecard.digest and predictions.csv.

    Raises:
        StorageError: The directory cannot be written to; files that were there before are unchanged or replaced whole.
    """
    contents = {
        REPORT: page,
        SCORECARD: scorecard.model_dump_json(indent=2) + "\n",
        DIGEST: scorecard.digest() + "\n",
        PREDICTIONS: predictions,
    }
    for name, content in contents.items():
        write_atomically(directory / name, content)
    return {name: directory / name for name in contents}
