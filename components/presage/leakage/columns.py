"""The sources' columns that features read, as they were known at each origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from presage.bars import Bars
from presage.errors import DataError
from presage.features.build import frames_of
from presage.features.definitions import BarFeature, Definition, PairFeature
from presage.frame import FloatArray, Frame
from presage.leakage.known_at import period_ends_of
from presage.spec.job import PredictionJobSpec

_ENDED = "end of the row's period"


@dataclass(frozen=True)
class Column:
    """A column as it was known at each origin of a series.

    Attributes:
        name: The source and the column, with a dot between.
        values: (n,) float64; the newest known value, NaN where there is none.
        ended: (n,) float64; when the period of that value ended, in microseconds from 1970, UTC; NaN where there is
            none.
    """

    name: str
    values: FloatArray
    ended: FloatArray


def columns_read(definitions: Sequence[Definition]) -> tuple[tuple[str, str], ...]:
    """Return the source and name of each column that features read, each once."""
    found: dict[tuple[str, str], None] = {}
    for definition in definitions:
        if isinstance(definition, BarFeature):
            found |= dict.fromkeys((definition.source, column) for column in definition.columns)
        elif isinstance(definition, PairFeature):
            found |= dict.fromkeys(columns_read((definition.first, definition.second)))
    return tuple(found)


def newest_values(
    spec: PredictionJobSpec, bars: Mapping[str, Bars], columns: Sequence[tuple[str, str]]
) -> tuple[Frame, tuple[Column, ...]] | None:
    """Return one series, and the newest known value of each column at its origins; None where it cannot be learnt.

    Args:
        spec: The job.
        bars: Bars of each source, of one series of the target.
        columns: Source and name.
    """
    ended = {source: BarFeature(f"{source} ended", source, (_ENDED,), _itself, lookback=1) for source, _ in columns}
    probes = [BarFeature(f"{source}.{name}", source, (name,), _itself, lookback=1) for source, name in columns]
    try:
        (frame,) = frames_of(spec, {name: _with_ends(one) for name, one in bars.items()}, [*ended.values(), *probes])
    except DataError:
        return None
    found = {name: frame.features[:, place] for place, name in enumerate(frame.feature_names)}
    return frame, tuple(Column(probe.name, found[probe.name], found[ended[probe.source].name]) for probe in probes)


def _with_ends(bars: Bars) -> Bars:
    ends = period_ends_of(bars.rows, bars.frequency, bars.time_zone)
    return replace(bars, rows=bars.rows.with_columns(pl.Series(_ENDED, ends.astype(np.float64))))


def _itself(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, np.nan)
