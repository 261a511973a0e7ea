"""The files of a report on predicted rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from presage.report.tables import row_predictions_csv
from presage.report.tabular_data import TableReport
from presage.report.write import write_files


def write_table_report(directory: Path, report: TableReport) -> Mapping[str, Path]:
    """Write a report on predicted rows, as `presage.report.write.write_files` does."""
    from presage.report.tabular import render_table  # noqa: PLC0415  # slow to load

    predictions = row_predictions_csv(report.back_test, report.scorecard.verdict.champion)
    return write_files(directory, report.scorecard, page=render_table(report), predictions=predictions)
