"""The files of a report on predicted rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from presage.files import write_atomically
from presage.report.tables import guarded
from presage.report.tabular import render_table
from presage.report.tabular_data import TableReport
from presage.report.write import DIGEST, PREDICTIONS, REPORT, SCORECARD
from presage.tabular.predictions import quantile_names
from presage.tabular.rows import ROW
from presage.tabular.walk import Walk


def write_table_report(directory: Path, report: TableReport) -> Mapping[str, Path]:
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
        REPORT: render_table(report),
        SCORECARD: report.scorecard.model_dump_json(indent=2) + "\n",
        DIGEST: report.scorecard.digest() + "\n",
        PREDICTIONS: row_predictions_csv(report.back_test, report.scorecard.verdict.champion),
    }
    for name, content in contents.items():
        write_atomically(directory / name, content)
    return {name: directory / name for name in contents}


def row_predictions_csv(walked: Walk, champion: str) -> str:
    """Return every prediction of a walk beside what came, as CSV (UTF-8, header, LF line ends).

    Columns: `row`, `time` (ISO 8601, UTC), `fold` (0 only calibrates), `scored`, `actual`, one column a contender under
    its name, and the champion's quantiles. Text that a spreadsheet would run as a formula starts with an apostrophe.

    Args:
        walked: The predictions.
        champion: Name of the contender whose quantiles are written.
    """
    numbers = {name: one.mean for name, one in walked.predictions.items()}
    quantiles = walked.predictions[champion].quantiles
    numbers |= {name: quantiles[:, place] for place, name in enumerate(quantile_names(walked.probabilities))}
    table = pl.DataFrame(
        {
            ROW: walked.settled.table[ROW].gather(walked.rows),
            "time": walked.settled.time[walked.rows],
            "fold": walked.fold,
            "scored": walked.fold > 0,
            "actual": walked.outcome,
        }
    )
    values = [pl.Series(guarded(name), column, dtype=pl.Float64) for name, column in numbers.items()]
    shown = table.with_columns(pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ"), *values)
    return shown.with_columns(pl.selectors.float().fill_nan(None)).write_csv()
