"""What a source's bars said at any moment: the as-of join of features to forecast origins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from presage.features.definitions import BarFeature
from presage.features.timetable import period_ends
from presage.frame import KNOWN_AT, TIME, BoolArray, FloatArray, IntArray, TimeArray, value_columns
from presage.spec.base import Frequency


@dataclass(frozen=True)
class History:
    """All vintages of the bars of one series, sorted by time and, for the same bar, by known_at.

    Attributes:
        time: (v,) datetime64[us], UTC; start of the bar.
        known_at: (v,) datetime64[us], UTC; when this vintage of the bar was known.
        values: By column's name, (v,) float64; NaN for a missing value.
    """

    time: TimeArray
    known_at: TimeArray
    values: Mapping[str, FloatArray]

    @classmethod
    def of(cls, rows: pl.DataFrame) -> History:
        """Return the history of one series from its rows (the contract of `presage.frame`, in any order)."""
        rows = rows.sort(TIME, KNOWN_AT)
        names = [name for name in value_columns(rows) if rows.schema[name] == pl.Float64]
        return cls(
            time=rows[TIME].to_numpy(),
            known_at=rows[KNOWN_AT].to_numpy(),
            values={name: rows[name].to_numpy() for name in names},
        )


@dataclass(frozen=True)
class _Segment:
    """Neighbouring origins between which bars were appended but nothing else changed.

    Attributes:
        places: (k,) places of the origins; those at which no bar was known are left out.
        vintages: (b,) places in the history: the newest vintage of each bar as known at the last origin, by time.
        newest: (k,) place in `vintages` of the newest bar known at each origin, ascending.
    """

    places: IntArray
    vintages: IntArray
    newest: IntArray


def as_known(
    history: History,
    origins: TimeArray,
    features: Sequence[BarFeature],
    *,
    frequency: Frequency,
    zone: str,
    max_age: timedelta | None,
) -> dict[BarFeature, FloatArray]:
    """Return features of one source's bars as they were known at each origin.

    At an origin every bar has its newest vintage among those known by then, and bars without one do not exist. Where
    nothing was revised and bars became known in the order of time, that is one as-of join; where not, the bars are
    laid out anew after every revision and every late bar.

    Args:
        history: The source's bars.
        origins: (n,) datetime64[us], UTC, ascending.
        features: What to compute; all of this source.
        frequency: Length of a bar.
        zone: IANA zone whose days daily and longer bars cover.
        max_age: A newest known bar whose period ended longer ago than this counts as missing; None for no limit.

    Returns:
        By feature, (n,) float64; NaN where the feature is missing.
    """
    found = {feature: np.full(len(origins), np.nan) for feature in features}
    expiry = None if max_age is None else period_ends(history.time, frequency, zone) + np.timedelta64(max_age)
    for segment in _segments(history, origins):
        places, newest = segment.places, segment.newest
        if expiry is not None:
            fresh = origins[places] <= expiry[segment.vintages[newest]]
            places, newest = places[fresh], newest[fresh]
        if len(places):
            for feature in features:
                found[feature][places] = _values(feature, history, segment.vintages, newest)
    return found


def _values(feature: BarFeature, history: History, vintages: IntArray, newest: IntArray) -> FloatArray:
    """Return a feature at some bars, computed from no more bars than it needs."""
    start = 0 if feature.lookback is None else max(int(newest[0]) - feature.lookback + 1, 0)
    needed = vintages[start : newest[-1] + 1]
    columns = (history.values[column][needed] for column in feature.columns)
    return feature.compute(*columns)[newest - start]


def _segments(history: History, origins: TimeArray) -> Iterator[_Segment]:
    starts = np.searchsorted(origins, _disturbances(history), side="left")
    bounds = np.unique(np.concatenate([starts, [0, len(origins)]])).tolist()
    for start, stop in pairwise(bounds):
        vintages = _newest_vintages(history, history.known_at <= origins[stop - 1])
        # Inside a segment bars are only appended, so the bars known at an origin are the first ones by time.
        known_at = np.sort(history.known_at[vintages])
        newest = np.searchsorted(known_at, origins[start:stop], side="right") - 1
        yield _Segment(np.flatnonzero(newest >= 0) + start, vintages, newest[newest >= 0])


def _disturbances(history: History) -> TimeArray:
    """Return the moments at which a bar became known, or was revised, that lies before one that was known already."""
    arrival = np.lexsort((history.time, history.known_at))
    time = history.time[arrival].astype(np.int64)
    appended = np.ones(len(time), dtype=np.bool_)
    appended[1:] = time[1:] > np.maximum.accumulate(time)[:-1]
    return np.unique(history.known_at[arrival][~appended])


def _newest_vintages(history: History, known: BoolArray) -> IntArray:
    places = np.flatnonzero(known)
    time = history.time[places]
    last = np.ones(len(places), dtype=np.bool_)
    last[:-1] = time[:-1] != time[1:]
    return places[last]
