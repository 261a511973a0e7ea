"""Bars for the tests of features: real ones from the `arch` package, made by hand, and small ones from lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
from arch.data import core_cpi, nasdaq, sp500, vix

from presage.bars import Bars, CalendarName
from presage.frame import KEY
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJobSpec

NEW_YORK = "America/New_York"
DATASETS: Mapping[str, ModuleType] = {"sp500": sp500, "nasdaq": nasdaq, "vix": vix, "cpi": core_cpi}

Json = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"]


def spec_of(
    target: str,
    *,
    features: Sequence[Mapping[str, Json]] = (),
    horizon: int = 1,
    transform: str = "Level",
    sources: Mapping[str, Mapping[str, Json]],
) -> PredictionJobSpec:
    """Return a spec with a target `source.column` and, by source's name, each source's availability."""
    source, _, column = target.partition(".")
    document = {
        "frequency": "1d",
        "target": {"source": source, "column": column, "horizon": horizon, "transform": transform},
        "sources": [
            {"name": name, "file": {"uri": f"{name}.csv"}, "availability": availability}
            for name, availability in sources.items()
        ],
        "features": features,
    }
    return PredictionJobSpec.model_validate(document)


def bars_of(
    source: str,
    rows: pl.DataFrame,
    *,
    frequency: str = "1d",
    calendar: CalendarName = "Continuous",
    zone: str = "UTC",
) -> Bars:
    """Return rows as bars of one series, unless they tell several apart, with their vintages sorted."""
    if "series" not in rows.columns:
        rows = rows.with_columns(series=pl.lit(source))
    return Bars(source, parse_frequency(frequency), calendar, zone, rows.sort(KEY), (), 0)


def listed(values: Sequence[float | None], *, name: str = "x", start: str = "2020-01-01") -> pl.DataFrame:
    """Return daily rows of one column, in UTC, each known when its day ends."""
    time = np.datetime64(start, "us") + np.arange(len(values)) * np.timedelta64(1, "D")
    return stamped(time, time + np.timedelta64(1, "D"), {name: values})


def stamped(
    time: np.ndarray, known_at: np.ndarray, values: Mapping[str, Sequence[float | None] | np.ndarray]
) -> pl.DataFrame:
    """Return rows from UTC times without a zone and columns of values, in which NaN means null; none is filled."""
    columns = {name: pl.Series(name, column, dtype=pl.Float64).fill_nan(None) for name, column in values.items()}
    stamps = {"time": pl.Series(time), "known_at": pl.Series(known_at)}
    zoned = {name: stamp.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for name, stamp in stamps.items()}
    return pl.DataFrame({**zoned, **columns}).with_columns(filled=pl.lit(value=False))


def table(name: str, start: str = "1900", stop: str = "2100") -> pd.DataFrame:
    """Return a real table of the `arch` package between two dates, its dates without a zone."""
    return DATASETS[name].load().sort_index().loc[start:stop]


def local_rows(table: pd.DataFrame, *, zone: str, period: str = "1d", lag: timedelta = timedelta()) -> pl.DataFrame:
    """Return a table's rows: its dates are days of `zone`, known at the end of their period and a lag."""
    start = pl.Series(table.index.to_numpy().astype("datetime64[us]")).dt.replace_time_zone(zone)
    known_at = start.dt.offset_by(period).dt.convert_time_zone("UTC") + lag
    utc = start.dt.convert_time_zone("UTC")
    values = {name: table[name].to_numpy(dtype=np.float64) for name in table.columns}
    return stamped(utc.dt.replace_time_zone(None).to_numpy(), known_at.dt.replace_time_zone(None).to_numpy(), values)


def real_bars(name: str, start: str = "1900", stop: str = "2100") -> Bars:
    """Return the daily bars of a real series of New York, on weekdays."""
    return bars_of(name, local_rows(table(name, start, stop), zone=NEW_YORK), calendar="Weekdays", zone=NEW_YORK)
