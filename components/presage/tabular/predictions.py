"""Predictions of rows whose outcome is not known yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl
from pydantic import BaseModel, ConfigDict

from presage.frame import SERIES, TIME, TIMESTAMP, FloatArray, TimeArray
from presage.tabular.model import TableModel
from presage.tabular.observations import Observations
from presage.tabular.rows import ROW


@dataclass(frozen=True)
class RowForecast:
    """A model's predictions of open rows.

    Attributes:
        source: Name of the source.
        issued_at: When they were made, UTC.
        row: (n,) identities.
        time: (n,) datetime64[us], UTC, ascending.
        classifies: Whether they are probabilities of class 1.
        mean: (n,) float64; the expected value, or the probability.
        probabilities: (q,) float64, ascending; the probabilities of the quantiles; none of a Classification.
        quantiles: (n, q) float64.
    """

    source: str
    issued_at: datetime
    row: tuple[str, ...]
    time: TimeArray
    classifies: bool
    mean: FloatArray
    probabilities: FloatArray
    quantiles: FloatArray

    def __len__(self) -> int:
        return len(self.row)


class RowPrediction(BaseModel):
    """The prediction of one row."""

    model_config = ConfigDict(frozen=True)

    row: str
    """Identity of the row."""
    time: datetime
    """Its time, UTC."""
    mean: float
    """Expected value, or for a Classification the probability of class 1."""
    quantiles: dict[str, float]
    """Quantiles by name, such as q0.05; none for a Classification."""


class RowForecastSummary(BaseModel):
    """Issued predictions, as programs read them."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    source: str
    run: str
    """Run whose bundle predicted."""
    model: str
    promoted: bool
    issued_at: datetime
    rows: tuple[RowPrediction, ...]


def predict_open(observations: Observations, model: TableModel, *, now: datetime) -> RowForecast:
    """Return a model's predictions of the rows whose outcome is not known; there may be none.

    Raises:
        DataError: The rows lack a column that the model learnt from.
    """
    open_rows = observations.open
    mean, quantiles = model.predict(open_rows.table)
    return RowForecast(
        source=model.design.source,
        issued_at=now,
        row=tuple(open_rows.table[ROW].to_list()),
        time=open_rows.time,
        classifies=model.design.task == "Classification",
        mean=mean,
        probabilities=model.probabilities,
        quantiles=quantiles,
    )


def prediction_table(forecast: RowForecast) -> pl.DataFrame:
    """Return predictions as a table, one line a row.

    Columns: series (String), row (String), time and issued_at (Datetime, UTC), mean and one a quantile such as q0.05
    (Float64, in the target's unit), or probability of class 1.
    """
    columns = {
        SERIES: pl.Series([forecast.source] * len(forecast), dtype=pl.String),
        ROW: pl.Series(forecast.row, dtype=pl.String),
        TIME: pl.Series(forecast.time.astype("datetime64[us]")).dt.replace_time_zone("UTC"),
        "issued_at": pl.Series([forecast.issued_at] * len(forecast), dtype=TIMESTAMP),
        "probability" if forecast.classifies else "mean": pl.Series(forecast.mean, dtype=pl.Float64),
    }
    for place, name in enumerate(quantile_names(forecast.probabilities)):
        columns[name] = pl.Series(forecast.quantiles[:, place], dtype=pl.Float64)
    return pl.DataFrame(columns)


def prediction_summary(
    forecast: RowForecast, *, job: str, namespace: str, run: str, model: str, promoted: bool
) -> RowForecastSummary:
    """Return predictions as programs read them.

    Args:
        forecast: The predictions.
        job: Name of the job.
        namespace: Its namespace.
        run: Run whose bundle predicted.
        model: What was fitted.
        promoted: Whether it is a promoted model; else it is the best baseline.
    """
    names = quantile_names(forecast.probabilities)
    times = pl.Series(forecast.time.astype("datetime64[us]")).dt.replace_time_zone("UTC").to_list()
    return RowForecastSummary(
        job=job,
        namespace=namespace,
        source=forecast.source,
        run=run,
        model=model,
        promoted=promoted,
        issued_at=forecast.issued_at,
        rows=tuple(
            RowPrediction(row=row, time=time, mean=mean, quantiles=dict(zip(names, quantiles, strict=True)))
            for row, time, mean, quantiles in zip(
                forecast.row, times, forecast.mean.tolist(), forecast.quantiles.tolist(), strict=True
            )
        ),
    )


def quantile_names(probabilities: FloatArray) -> list[str]:
    """Return the names of quantiles, such as q0.05."""
    return [f"q{probability:g}" for probability in probabilities.tolist()]
