"""The checks of a job that forecasts bars, put together: which are made, and on how much of the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import numpy as np
import polars as pl

from presage.bars import FILLED, Bars
from presage.errors import DataError
from presage.evaluation.folds import make_folds
from presage.features.build import with_range_volatility
from presage.features.definitions import (
    RANGE_VOLATILITY,
    BarFeature,
    Definition,
    PairFeature,
    define,
    high_and_low,
)
from presage.frame import KNOWN_AT, SERIES, TIME, Frame, Panel, TimeArray, moment, value_columns
from presage.leakage.columns import columns_read, newest_values
from presage.leakage.finding import Finding, leak, passed
from presage.leakage.known_at import check_known_at, early_rows
from presage.leakage.scale import NAME as SCALE
from presage.leakage.scale import scaled
from presage.leakage.shift import check_shift
from presage.leakage.truncation import Sample
from presage.spec.job import PredictionJobSpec

NEWEST_ROWS = 4000
"""Origins of a series on which it is measured what a column explains."""
_PRICES = frozenset({"open", "high", "low", "close", "adj close", "adj_close", "vwap"})
_SEEN_BEFORE, _SEEN_AFTER = 400, 100
"""Bars of the target around a moment that the truncation check of a run looks at."""


def definitions_of(spec: PredictionJobSpec, bars: Mapping[str, Bars]) -> tuple[Definition, ...]:
    """Return the job's features."""
    columns = {
        name: [column for column in value_columns(with_range_volatility(one).rows) if column != FILLED]
        for name, one in bars.items()
    }
    return define(spec.features, spec.target, columns)


def sample_of(
    spec: PredictionJobSpec,
    bars: Mapping[str, Bars],
    panel: Panel,
    *,
    series: int,
    seed: int,
    definitions: Sequence[Definition] | None = None,
) -> tuple[Sample, Panel]:
    """Return what is looked at: some of a panel's series, chosen by a seed, and the panel of these alone."""
    names = sorted(np.random.default_rng(seed).choice(panel.names, min(series, len(panel)), replace=False).tolist())
    prepared = {name: with_range_volatility(one) for name, one in bars.items()}
    used = tuple(definitions_of(spec, prepared) if definitions is None else definitions)
    frames = [frame for frame in panel.frames if frame.series in names]
    return Sample(spec, prepared, used, tuple(names)), Panel.of(frames)


def scored_since(panel: Panel, spec: PredictionJobSpec) -> np.datetime64:
    """Return the moment at which the walk-forward begins; half of the history where no walk can be made."""
    try:
        first = make_folds(panel, spec.evaluation)[0].test_start
    except DataError:
        first = len(panel.dates) // 2
    since: np.datetime64 = panel.issued[first]
    return since


def check_columns(sample: Sample, season: int) -> tuple[Finding, ...]:
    """Tell which columns that features read tell the outcome of a series."""
    spec = sample.spec
    target = (spec.target.source, spec.target.column)
    columns = [one for one in columns_read(sample.definitions) if one != target and not _same_bar(one, target)]
    published = {source.name for source in spec.sources if source.availability.column is not None}
    dated = frozenset(f"{source}.{name}" for source, name in columns if source in published)
    probed = []
    for series in sample.series:
        known = newest_values(spec, _newest(sample.of(series), spec.target.source), columns)
        if known is not None:
            probed.append(known)
    return check_shift(probed, season, dated=dated)


def _same_bar(column: tuple[str, str], target: tuple[str, str]) -> bool:
    """Return whether two columns are prices of the same bars: a close tells the next open, and honestly."""
    return column[0] == target[0] and {column[1].lower(), target[1].lower()} <= _PRICES


def _newest(bars: Mapping[str, Bars], target: str) -> dict[str, Bars]:
    """Return the newest bars of the target, and of other sources those from about then on."""
    times = bars[target].rows[TIME].unique().sort()
    if len(times) <= NEWEST_ROWS:
        return dict(bars)
    start = times[-NEWEST_ROWS]
    return {
        name: replace(one, rows=one.rows.filter(pl.col(TIME) >= start - 3 * one.frequency.approximate))
        for name, one in bars.items()
    }


def check_bars_known_at(sample: Sample) -> Iterator[Finding]:
    """Tell of bars that were known before they ended, source by source."""
    for name, bars in sample.bars.items():
        early = bars.rows.filter(pl.Series(early_rows(bars.rows, bars.frequency, bars.time_zone)))
        yield check_known_at(name, early, columns=columns_of(sample, name), rows=bars.rows.height)


def check_scales(sample: Sample, rows: Mapping[str, pl.DataFrame]) -> tuple[Finding, ...]:
    """Tell which columns were scaled by what only their whole history tells, in a series or over all.

    Args:
        sample: What is looked at.
        rows: By source's name, its rows or bars.
    """
    found = []
    for source, table in rows.items():
        newest = table.sort(SERIES, TIME, KNOWN_AT).unique((SERIES, TIME), keep="last", maintain_order=True)
        series = [part for (name,), part in newest.group_by(SERIES, maintain_order=True) if name in sample.series]
        for column in columns_of(sample, source):
            if column not in newest.columns:
                continue
            parts = [newest, *series] if series else [newest]
            how = next((how for part in parts if (how := scaled(part[column].fill_null(np.nan).to_numpy()))), "")
            if how:
                found.append(
                    leak(
                        SCALE,
                        "transform fitted on the future",
                        f"Over its whole history {how}: each value was made with later ones.",
                        column=f"{source}.{column}",
                        time=newest[TIME].min(),  # type: ignore[arg-type]
                        row=0,
                    )
                )
    return tuple(found) or (passed(SCALE, "no column was scaled on its whole history"),)


def columns_of(sample: Sample, source: str) -> list[str]:
    """Return the columns of a source that the job reads, those that they are made of included."""
    target = (sample.spec.target.source, sample.spec.target.column)
    named = [column for name, column in (*columns_read(sample.definitions), target) if name == source]
    prices = high_and_low(sample.bars[source].rows.columns) or ()
    made = {RANGE_VOLATILITY: (RANGE_VOLATILITY, *prices)}
    return list(dict.fromkeys(chain.from_iterable(made.get(column, (column,)) for column in named)))


def window(sample: Sample, frame: Frame, cutoff: np.datetime64) -> dict[str, Bars]:
    """Return the bars of one series around a moment: those that features at it can see, and some later ones."""
    place = int(np.searchsorted(frame.origin, cutoff, side="right"))
    start = frame.time[max(0, place - _SEEN_BEFORE)]
    stop = frame.time[min(len(frame) - 1, place + _SEEN_AFTER)]
    reach = _reach(sample.definitions)
    found = {}
    for name, bars in sample.of(frame.series).items():
        # Twice the bars' length: some of the days in it may have none.
        since = moment(start) - 2 * reach.get(name, 1) * bars.frequency.approximate - timedelta(days=7)
        within = (pl.col(TIME) >= since) & (pl.col(TIME) <= moment(stop))
        found[name] = replace(bars, rows=bars.rows.filter(within))
    return found


def _reach(definitions: Sequence[Definition]) -> dict[str, int]:
    """Return by source how many bars back its features see; one that sees all earlier ones counts as 100."""
    reach: dict[str, int] = {}
    for definition in definitions:
        parts = (definition.first, definition.second) if isinstance(definition, PairFeature) else (definition,)
        for part in parts:
            if isinstance(part, BarFeature):
                reach[part.source] = max(reach.get(part.source, 0), part.lookback or 100)
    return reach


def cutoffs_within(cutoffs: TimeArray, frame: Frame) -> TimeArray:
    """Return the moments at which a series had begun and not ended."""
    return cutoffs[(cutoffs >= frame.origin[0]) & (cutoffs <= frame.origin[-1])] if len(frame) else cutoffs[:0]
