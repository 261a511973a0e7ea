"""Real stocks as a panel: their rows, and a job over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

_JOB = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {{name: stocks}}
spec:
  frequency: 1d
  target: {{source: stocks, column: range_volatility, minimum: 0}}
  sources:
    - name: stocks
      file: {{uri: {table}}}
      time: date
      timeZone: America/New_York
      series: Name
      availability: {{lag: 0s}}
      invalidRows: Drop
  features:
    - lag: {{columns: [stocks.range_volatility], steps: [1]}}
    - rolling: {{columns: [stocks.range_volatility], windows: [5, 22]}}
  models: [{models}]
  evaluation: {{folds: {folds}}}
  promotion: {{replications: 200}}
"""


def stocks(shared_data: Path, names: Sequence[str]) -> pl.DataFrame:
    """The rows of stocks, from February 2013 to February 2018."""
    rows = pl.read_csv(shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz")
    return rows.filter(pl.col("Name").is_in(names))


def stock_job(table: str | Path, *models: str, folds: int) -> str:
    """A job over a table of stocks, YAML."""
    return _JOB.format(table=table, models=", ".join(f"{{name: {name}}}" for name in models), folds=folds)
