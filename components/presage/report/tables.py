"""Actual against predicted, as CSV (UTF-8, header, LF line ends).

Times are ISO 8601, UTC; a cell is empty where there is no value. Text that a spreadsheet would run as a formula starts
with an apostrophe (OWASP, "CSV Injection").
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from presage.evaluation.backtest import BackTest
from presage.frame import FloatArray
from presage.tabular.columns import ROW
from presage.tabular.predictions import quantile_names
from presage.tabular.walk import Walk

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")


def predictions_csv(back_test: BackTest, champion: str) -> str:
    """Return every forecast of a back-test beside what came, as CSV.

    One row an origin and step ahead, by series, then origin, then step. Columns: `series`, `issued_at`,
    `target_time`, `step` (from 1), `fold` (0 only calibrates), `scored` (whether the row counts), `actual`, one column
    a contender with its mean forecast under its name, and the champion's quantiles `q0.05`, ... All values are levels
    in the target's unit.

    Args:
        back_test: The forecasts.
        champion: Name of the contender whose quantiles are written; raises KeyError where there is none.
    """
    frame, rows = back_test.frame, back_test.rows
    steps = frame.horizon
    names = pl.Series([guarded(name) for name in back_test.panel.names], dtype=pl.String)
    numbers = {name: forecasts.mean.ravel() for name, forecasts in back_test.forecasts.items()}
    quantiles = back_test.forecasts[champion].quantiles
    for place, probability in enumerate(back_test.probabilities):
        numbers[f"q{probability:.12g}"] = quantiles[:, :, place].ravel()
    table = pl.DataFrame(
        {
            "series": names.gather(np.repeat(back_test.series, steps)),
            "issued_at": np.repeat(frame.origin[rows], steps),
            "target_time": frame.target_time[rows].ravel(),
            "step": np.tile(np.arange(1, steps + 1), len(rows)),
            "fold": np.repeat(back_test.fold, steps),
            "scored": np.repeat(back_test.scored, steps),
            "actual": frame.target_level[rows].ravel(),
        },
        schema_overrides={"series": pl.String},
    )
    return _csv(table, numbers)


def row_predictions_csv(walked: Walk, champion: str) -> str:
    """Return every prediction of a walk beside what came, as CSV.

    Columns: `row`, `time`, `fold` (0 only calibrates), `scored`, `actual`, one column a contender under its name, and
    the champion's quantiles.

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
    return _csv(table, numbers)


def guarded(text: str) -> str:
    """Return text that no spreadsheet runs as a formula."""
    return f"'{text}" if text.startswith(_RISKY) else text


def _csv(table: pl.DataFrame, numbers: Mapping[str, FloatArray]) -> str:
    values = [pl.Series(guarded(name), column, dtype=pl.Float64) for name, column in numbers.items()]
    times = pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")
    return table.with_columns(times, *values).with_columns(pl.selectors.float().fill_nan(None)).write_csv()
