"""The fifth step: the champion's next forecast, on the newest data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from presage.errors import DataError
from presage.evaluation.intervals import IntervalState, issue
from presage.frame import SERIES, TIMESTAMP, FloatArray, Frame
from presage.lake.tables import Lake
from presage.models.bundle import Bundle
from presage.models.registry import load
from presage.report.data import IssuedForecast
from presage.spec.job import PredictionJob
from presage.steps.promote import Champion
from presage.steps.workdir import job_key
from presage.tasks import single_threaded


class ForecastStep(BaseModel):
    """The forecast of one bar."""

    model_config = ConfigDict(frozen=True)

    target_time: datetime
    """Start of the bar, UTC."""
    mean: float
    quantiles: dict[str, float]


class ForecastSummary(BaseModel):
    """An issued forecast, as programs read it."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    series: str
    run: str
    """Run whose bundle forecast."""
    model: str
    promoted: bool
    issued_at: datetime
    steps: tuple[ForecastStep, ...]


def next_forecast(frame: Frame, bundle: Bundle, files: Mapping[str, bytes]) -> IssuedForecast:
    """Return a bundle's forecast at the newest origin of a frame.

    Raises:
        DataError: The frame has no origin with a level, or the bundle has no forecast there.
        LakeError: The bundle's files are not its model's.
    """
    present = np.flatnonzero(np.isfinite(frame.level))
    if not len(present):
        raise DataError(f"series {frame.series!r} has no bar to forecast from.", "Give more data.")
    row = int(present[-1])
    with single_threaded():
        forecaster = load(bundle.model, files)
        mean = forecaster.predict(frame.with_features(bundle.features), np.array([row]))[0]
    if not np.isfinite(mean).all():
        raise DataError(
            f"{bundle.model} has no forecast for series {frame.series!r} at its newest bar, {frame.time[row]}.",
            "Run the job again, so that a contender that has one becomes champion.",
        )
    return IssuedForecast(
        series=frame.series,
        issued_at=_moment(frame.origin[row]),
        target_time=frame.target_time[row],
        mean=mean,
        probabilities=np.array(bundle.conformal.probabilities, dtype=np.float64),
        quantiles=_quantiles(bundle, float(frame.level[row]), mean),
    )


def forecast_table(forecast: IssuedForecast) -> pl.DataFrame:
    """Return a forecast as a table, one row a step.

    Columns: series (String), issued_at and target_time (Datetime, UTC), mean, and one a quantile such as q0.05
    (Float64, in the target's unit).
    """
    steps = len(forecast.mean)
    columns: dict[str, pl.Series] = {
        SERIES: pl.Series([forecast.series] * steps),
        "issued_at": pl.Series([forecast.issued_at] * steps, dtype=TIMESTAMP),
        "target_time": pl.Series(forecast.target_time).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        "mean": pl.Series(forecast.mean),
    }
    for place, name in enumerate(_names(forecast.probabilities)):
        columns[name] = pl.Series(forecast.quantiles[:, place])
    return pl.DataFrame(columns)


def keep_forecast(lake: Lake, job: PredictionJob, table: pl.DataFrame, champion: Champion) -> None:
    """Append a forecast to the lake; issuing it again adds nothing."""
    lake.append_unique(
        f"forecasts/{job_key(job)}",
        table.with_columns(
            pl.lit(champion.model).alias("model"),
            pl.lit(champion.run).alias("run"),
            pl.lit(champion.inputs).alias("inputs"),
        ),
        key=(SERIES, "issued_at", "target_time", "model", "inputs"),
    )


def _quantiles(bundle: Bundle, level: float, mean: FloatArray) -> FloatArray:
    if not bundle.conformal.offsets:
        return np.empty((len(mean), 0))
    state = IntervalState(
        transform=bundle.transform,
        probabilities=bundle.conformal.probabilities,
        offsets=bundle.conformal.offsets,
        minimum=bundle.conformal.minimum,
    )
    return issue(state, level, mean)


def _names(probabilities: FloatArray) -> list[str]:
    return [f"q{probability:g}" for probability in probabilities.tolist()]


def forecast_summary(job: PredictionJob, forecast: IssuedForecast, champion: Champion) -> ForecastSummary:
    """Return a forecast as programs read it."""
    names = _names(forecast.probabilities)
    return ForecastSummary(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        series=forecast.series,
        run=champion.run,
        model=champion.model,
        promoted=champion.promoted,
        issued_at=forecast.issued_at,
        steps=tuple(
            ForecastStep(target_time=_moment(time), mean=mean, quantiles=dict(zip(names, quantiles, strict=True)))
            for time, mean, quantiles in zip(
                forecast.target_time, forecast.mean.tolist(), forecast.quantiles.tolist(), strict=True
            )
        ),
    )


def _moment(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
