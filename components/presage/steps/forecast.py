"""The fifth step: the champion's next forecast, on the newest data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import ValidationError

from presage.errors import DataError, LakeError
from presage.evaluation.intervals import IntervalState, issue
from presage.files import write_atomically
from presage.frame import SERIES, TIMESTAMP, FloatArray, Frame, Panel, moment
from presage.models.bundle import SERIES_FOLDER, Bundle, ConformalState, files_of_series
from presage.models.registry import load
from presage.report.data import IssuedForecast
from presage.spec.base import parse_duration, parse_frequency
from presage.spec.forecast import FORECAST, ForecastStep, ForecastSummary, SeriesForecast
from presage.spec.job import PredictionJob
from presage.spec.periods import shift
from presage.tasks import single_threaded


def next_forecasts(panel: Panel, bundle: Bundle, files: Mapping[str, bytes]) -> tuple[IssuedForecast, ...]:
    """Return a bundle's forecast of each series at its newest origin.

    A series of a panel that has ended is not forecast: one whose every step ahead is behind the panel's newest bar.
    Neither is one that the bundle does not know or has no forecast for.

    Raises:
        DataError: No series has an origin with a level, or the bundle has no forecast at any.
        LakeError: The bundle's files are not its model's.
    """
    origins = _origins(panel)
    known = {series.name: place for place, series in enumerate(bundle.panel)}
    if not known and len(panel) > 1:
        raise DataError(
            f"the target's source has {len(panel)} series now, and the champion was fitted when it had one.",
            "Run the job again.",
        )
    wanted = [frame for frame in origins if frame.series in known or not bundle.panel]
    with single_threaded():
        means = _means(wanted, bundle, files, known)
    found = [(frame, mean) for frame, mean in zip(wanted, means, strict=True) if np.isfinite(mean).all()]
    if not found:
        first = wanted[0] if wanted else origins[0]
        raise DataError(
            f"{bundle.model} has no forecast for series {first.series!r} at its newest bar, {first.time[-1]}.",
            "Run the job again, so that a contender that has one becomes champion.",
        )
    return tuple(
        _issued(bundle, frame, mean, bundle.panel[known[frame.series]].conformal if known else bundle.conformal)
        for frame, mean in found
    )


def _origins(panel: Panel) -> list[Frame]:
    """Return each series up to its newest bar, those that have ended left out."""
    frames = []
    for frame in panel.frames:
        present = np.flatnonzero(np.isfinite(frame.level))
        if len(present):
            frames.append(frame.rows(0, int(present[-1]) + 1))
    if not frames:
        raise DataError(f"series {panel.names[0]!r} has no bar to forecast from.", "Give more data.")
    newest = max(frame.time[-1] for frame in frames)
    return [frame for frame in frames if frame.target_time[-1, -1] > newest]


def _means(
    frames: Sequence[Frame], bundle: Bundle, files: Mapping[str, bytes], known: Mapping[str, int]
) -> list[FloatArray]:
    """Return (h,) the forecast at the last row of each frame."""
    if any(name.startswith(f"{SERIES_FOLDER}/") for name in files):
        loaded = [load(bundle.model, files_of_series(files, known[frame.series])) for frame in frames]
    else:
        loaded = [load(bundle.model, files)] * len(frames)
    return [
        forecaster.predict(frame.with_features(bundle.features), np.array([len(frame) - 1]))[0]
        for forecaster, frame in zip(loaded, frames, strict=True)
    ]


def _issued(bundle: Bundle, frame: Frame, mean: FloatArray, conformal: ConformalState) -> IssuedForecast:
    probabilities = np.array(conformal.probabilities if conformal.offsets else (), dtype=np.float64)
    return IssuedForecast(
        series=frame.series,
        issued_at=moment(frame.origin[-1]),
        target_time=frame.target_time[-1],
        mean=mean,
        probabilities=probabilities,
        quantiles=_quantiles(bundle, conformal, float(frame.level[-1]), mean),
    )


def forecasts_table(forecasts: Sequence[IssuedForecast]) -> pl.DataFrame:
    """Return forecasts as a table, one row a series and step, as `forecast_table` does for each.

    A quantile is null for a series whose intervals are not calibrated yet.
    """
    return pl.concat([forecast_table(forecast) for forecast in forecasts], how="diagonal")


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


def forecast_summary(
    job: PredictionJob, forecasts: Sequence[IssuedForecast], *, run: str, model: str, promoted: bool, panel: bool
) -> ForecastSummary:
    """Return forecasts as programs read them.

    Args:
        job: The job.
        forecasts: The forecast of each series, at least one.
        run: Run whose bundle forecast.
        model: What was fitted.
        promoted: Whether it is a promoted model; else it is the best baseline.
        panel: Whether the job is one of many series, even where one of them is forecast alone.
    """
    parts = tuple(_summarised(job, forecast) for forecast in forecasts)
    known = [part.stale_after for part in parts if part.stale_after is not None]
    given = {
        "job": job.metadata.name,
        "namespace": job.metadata.namespace,
        "run": run,
        "model": model,
        "promoted": promoted,
        "issued_at": max(part.issued_at for part in parts),
        "stale_after": max(known, default=None),
    }
    shape = {"panel": parts} if panel else {"series": parts[0].series, "steps": parts[0].steps}
    return ForecastSummary.model_validate(given | shape)


def _summarised(job: PredictionJob, forecast: IssuedForecast) -> SeriesForecast:
    names = _names(forecast.probabilities)
    return SeriesForecast(
        series=forecast.series,
        issued_at=forecast.issued_at,
        stale_after=stale_after(job, forecast),
        steps=tuple(
            ForecastStep(target_time=moment(time), mean=mean, quantiles=dict(zip(names, quantiles, strict=True)))
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
    next_bar = moment(forecast.target_time[0])
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


def _quantiles(bundle: Bundle, conformal: ConformalState, level: float, mean: FloatArray) -> FloatArray:
    if not conformal.offsets:
        return np.empty((len(mean), 0))
    state = IntervalState(
        transform=bundle.transform,
        probabilities=conformal.probabilities,
        offsets=conformal.offsets,
        minimum=conformal.minimum,
    )
    return issue(state, level, mean)


def _names(probabilities: FloatArray) -> list[str]:
    return [f"q{probability:g}" for probability in probabilities.tolist()]
