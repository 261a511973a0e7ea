"""From bars to frames: the forecast origins of the target, and what every source said at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from presage.bars import FILLED, Bars
from presage.errors import DataError
from presage.features.dates import calendar_part
from presage.features.definitions import (
    RANGE_VOLATILITY,
    BarFeature,
    DateFeature,
    Definition,
    PairFeature,
    define,
    high_and_low,
    require_column,
)
from presage.features.grid import Grid, target_grid
from presage.features.history import History, as_known
from presage.features.kinds import range_volatility
from presage.frame import SERIES, FloatArray, Frame, to_change, value_columns
from presage.spec.base import parse_duration
from presage.spec.job import PredictionJobSpec

MINIMUM_ORIGINS = 30
_ROUNDING = 1e-12


def build_frames(spec: PredictionJobSpec, bars: Mapping[str, Bars]) -> tuple[Frame, ...]:
    """Return the frame of each series of the target's source.

    Rows are the target's bars and gaps (`presage.features.grid`). Features at a row use what was known at its origin
    and nothing later (`presage.features.history`). A source with high and low columns also has the column
    `range_volatility`, in percent a bar, unless it brings one of that name.

    Args:
        spec: What to predict and from what.
        bars: Bars of each source, by its name.

    Returns:
        One frame a series, by the series' name.

    Raises:
        DataError: A column is missing, a source lacks the target's series, or the target cannot be learnt: constant,
            undefined under its transform, or of too few origins.
        JobError: A feature refers to a source that the job does not list.
    """
    prepared = {name: with_range_volatility(source) for name, source in bars.items()}
    columns = {name: _columns(source) for name, source in prepared.items()}
    require_column(spec.target.source, spec.target.column, columns)
    return frames_of(spec, prepared, define(spec.features, spec.target, columns))


def frames_of(
    spec: PredictionJobSpec, bars: Mapping[str, Bars], definitions: Sequence[Definition]
) -> tuple[Frame, ...]:
    """Return the frame of each series of the target's source, with the features of these definitions.

    Args:
        spec: What to predict.
        bars: Bars of each source, by its name, with all columns that the target and the definitions read.
        definitions: The features, in the order of the frame's columns.

    Raises:
        DataError: As `build_frames`.
    """
    target = bars[spec.target.source]
    series = target.rows[SERIES].unique().sort().to_list()
    if not series:
        raise DataError(f"the target's source {target.source!r} has no bars.", "Give it some history.")
    return tuple(_frame(spec, bars, definitions, name) for name in series)


def _frame(spec: PredictionJobSpec, bars: Mapping[str, Bars], definitions: Sequence[Definition], series: str) -> Frame:
    target = bars[spec.target.source]
    rows = target.rows.filter(pl.col(SERIES) == series)
    if rows.filter(pl.col(spec.target.column).is_not_null() & ~pl.col(FILLED)).is_empty():
        raise DataError(
            f"target {target.source}.{spec.target.column} of series {series!r} has no value in {rows.height} rows.",
            "Choose another target.column or another source.",
        )
    grid = target_grid(
        rows,
        spec.target.column,
        horizon=spec.target.horizon,
        frequency=target.frequency,
        calendar=target.calendar,
        zone=target.time_zone,
        lag=parse_duration(spec.source(target.source).availability.lag),
    )
    _require_learnable(spec, grid, series)
    features = _features(spec, bars, definitions, grid, series)
    return Frame(
        series=series,
        time=grid.time,
        origin=grid.origin,
        level=grid.level,
        features=np.column_stack(features) if features else np.empty((len(grid.time), 0)),
        feature_names=tuple(definition.name for definition in definitions),
        target_time=grid.target_time,
        target_level=grid.target_level,
        target_known_at=grid.target_known_at,
    )


def _features(
    spec: PredictionJobSpec, bars: Mapping[str, Bars], definitions: Sequence[Definition], grid: Grid, series: str
) -> list[FloatArray]:
    """Return each definition's values at the origins."""
    on_bars = _on_bars(spec, bars, definitions, grid, series)
    zone = bars[spec.target.source].time_zone
    values = []
    for definition in definitions:
        if isinstance(definition, BarFeature):
            values.append(on_bars[definition])
        elif isinstance(definition, PairFeature):
            values.append(definition.compute(on_bars[definition.first], on_bars[definition.second]))
        else:
            # Not target_time: that a holiday comes first is known only afterwards.
            values.append(calendar_part(grid.following, zone=zone, part=definition.part, wave=definition.wave))
    return values


def _on_bars(
    spec: PredictionJobSpec, bars: Mapping[str, Bars], definitions: Sequence[Definition], grid: Grid, series: str
) -> dict[BarFeature, FloatArray]:
    by_source: dict[str, list[BarFeature]] = {}
    for definition in definitions:
        if not isinstance(definition, DateFeature):
            parts = (definition.first, definition.second) if isinstance(definition, PairFeature) else (definition,)
            for part in parts:
                by_source.setdefault(part.source, []).append(part)
    found: dict[BarFeature, FloatArray] = {}
    for name, features in by_source.items():
        max_age = spec.source(name).availability.max_age
        found |= as_known(
            History.of(_rows_for(bars[name], series)),
            grid.origin,
            features,
            frequency=bars[name].frequency,
            zone=bars[name].time_zone,
            max_age=parse_duration(max_age) if max_age is not None else None,
        )
    return found


def _rows_for(bars: Bars, series: str) -> pl.DataFrame:
    """Return a source's rows for one series of the target: those of its name, or its only one's for all."""
    names = bars.rows[SERIES].unique().sort().to_list()
    if series in names:
        return bars.rows.filter(pl.col(SERIES) == series)
    if len(names) > 1:
        raise DataError(
            f"source {bars.source!r} has the series {', '.join(names[:5])}, none of them the target's {series!r}.",
            "Give it the target's series under the same names, or one series that all of them share.",
        )
    return bars.rows


def with_range_volatility(bars: Bars) -> Bars:
    """Return bars with the column `range_volatility`, in percent a bar, where they have high and low prices."""
    names = _columns(bars)
    pair = high_and_low(names)
    if pair is None or RANGE_VOLATILITY in names:
        return bars
    high, low = (bars.rows[name].to_numpy() for name in pair)
    derived = pl.Series(RANGE_VOLATILITY, range_volatility(high, low, window=1)).fill_nan(None)
    return replace(bars, rows=bars.rows.with_columns(derived))


def _columns(bars: Bars) -> list[str]:
    return [name for name in value_columns(bars.rows) if name != FILLED]


def _require_learnable(spec: PredictionJobSpec, grid: Grid, series: str) -> None:
    """Check that there are enough origins with known outcomes and that these differ."""
    target = spec.target
    name = f"target {target.source}.{target.column}" + (f" of series {series!r}" if series != target.source else "")
    bars = int(np.isfinite(grid.level).sum())
    if target.horizon >= len(grid.time):
        raise DataError(
            f"{name}: the horizon of {target.horizon} bars is longer than the history of {len(grid.time)} bars.",
            "Give it more history or a shorter spec.target.horizon.",
        )
    outcomes = int((np.isfinite(grid.level) & np.isfinite(grid.target_level).all(axis=1)).sum())
    if outcomes < MINIMUM_ORIGINS:
        late = f", {grid.late} bars that became known only with or after a later one" if grid.late else ""
        raise DataError(
            f"{name}: {outcomes} origins have known outcomes for all {target.horizon} steps, of {len(grid.time)} rows "
            f"with {len(grid.time) - bars} gaps or filled bars{late}; at least {MINIMUM_ORIGINS} are needed.",
            "Give it more history, a shorter spec.target.horizon or a source with fewer gaps.",
        )
    low = np.flatnonzero(grid.level <= 0)
    if len(low) and target.transform in {"PercentChange", "LogChange"}:
        # Leaving such origins out would hide the very days on which every forecast was worst.
        raise DataError(
            f"{name}: its {target.transform} is not defined at {len(low)} of {bars} bars, the first at "
            f"{grid.time[low[0]].astype('datetime64[s]')} UTC with {grid.level[low[0]]:g}; it needs positive levels.",
            "Choose the transform Level or Difference.",
        )
    change = to_change(target.transform, grid.level[:, None], grid.target_level)
    known = change[np.isfinite(change)]
    if np.ptp(known) <= _ROUNDING * np.abs(known).max():
        raise DataError(
            f"{name}: what is to be learnt ({target.transform}) is {known[0]:g} at all {len(known)} origins and steps.",
            "A constant needs no forecast; choose another column or transform.",
        )
