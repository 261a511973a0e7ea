"""The fifth step: the champion's next forecast, on the newest data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import ValidationError

from presage.errors import DataError, LakeError
from presage.evaluation.intervals import IntervalState, issue
from presage.files import write_atomically
from presage.frame import SERIES, TIMESTAMP, FloatArray, Frame
from presage.lake.tables import Lake
from presage.models.bundle import Bundle
from presage.models.registry import load
from presage.report.data import IssuedForecast
from presage.spec.base import parse_duration, parse_frequency
from presage.spec.forecast import FORECAST, ForecastStep, ForecastSummary
from presage.spec.job import PredictionJob
from presage.spec.periods import shift
from presage.steps.promote import Champion
from presage.steps.workdir import job_key
from presage.tasks import single_threaded


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


def forecast_summary(
    job: PredictionJob, forecast: IssuedForecast, *, run: str, model: str, promoted: bool
) -> ForecastSummary:
    """Return a forecast as programs read it.

    Args:
        job: The job.
        forecast: The forecast.
        run: Run whose bundle forecast.
        model: What was fitted.
        promoted: Whether it is a promoted model; else it is the best baseline.
    """
    names = _names(forecast.probabilities)
    return ForecastSummary(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        series=forecast.series,
        run=run,
        model=model,
        promoted=promoted,
        issued_at=forecast.issued_at,
        stale_after=stale_after(job, forecast),
        steps=tuple(
            ForecastStep(target_time=_moment(time), mean=mean, quantiles=dict(zip(names, quantiles, strict=True)))
            for time, mean, quantiles in zip(
                forecast.target_time, forecast.mean.tolist(), forecast.quantiles.tolist(), strict=True
            )
        ),
    )


def stale_after(job: PredictionJob, forecast: IssuedForecast) -> datetime:
    """Return when a forecast is too old to be relied on, UTC; it may have been so when it was issued.

    That is `monitoring.maxStaleness` after it was issued. By default it is twice the frequency after the start of the
    next bar, which waits for no bar on a weekend without any, and the lag with which that bar is known.
    """
    longest = job.spec.monitoring.max_staleness
    if longest is not None:
        return forecast.issued_at + parse_duration(longest)
    source = job.spec.source(job.spec.target.source)
    next_bar = _moment(forecast.target_time[0])
    return shift(next_bar, 2, parse_frequency(job.spec.frequency), source.time_zone) + parse_duration(
        source.availability.lag
    )


def write_forecast(directory: Path, forecast: ForecastSummary) -> ForecastSummary:
    """Write a forecast beside its bundle, unless a newer one stands there, and return the one that stands there then.

    Raises:
        LakeError: The file that is there cannot be read.
        StorageError: The file cannot be written.
    """
    before = read_forecast(directory)
    if before is not None and before.issued_at > forecast.issued_at:
        return before
    write_atomically(directory / FORECAST, forecast.model_dump_json(indent=2) + "\n")
    return forecast


def read_forecast(directory: Path) -> ForecastSummary | None:
    """Return the newest forecast of a run's bundle, None where there is none; raises LakeError for a damaged file."""
    path = directory / FORECAST
    try:
        return ForecastSummary.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise LakeError(f"the forecast {path} cannot be read.", "Remove it and forecast again.") from error


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


def _moment(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
