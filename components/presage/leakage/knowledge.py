"""What was known of a job's sources at a moment, and experiments with what was not: one kind of later rows let in.

A frame that depends on the future is built anew with some of the future added. Where that brings back what the full
frame holds, the cause is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
import polars as pl

from presage.bars import Bars
from presage.bars.stream import build_bars_of_parts
from presage.errors import DataError
from presage.features.truncation import truncate
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, moment
from presage.lake.tables import Lake, TableVersion
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJobSpec
from presage.spec.periods import period_end, period_start
from presage.spec.sources import Source

Added = Literal["nothing", "revisions", "open bar"]


class Knowledge(Protocol):
    """What gives the bars of a moment."""

    def at(self, cutoff: np.datetime64, added: Added = "nothing") -> Mapping[str, Bars]:
        """Return the bars of each source as they were known at a moment.

        Args:
            cutoff: datetime64[us], UTC.
            added: What else is let in: the values that later vintages give to bars that were known, or a bar that was
                known though its period had not ended.
        """
        ...


@dataclass(frozen=True)
class BarKnowledge:
    """What was known, told from finished bars.

    Attributes:
        bars: All vintages of each source's bars, by its name.
    """

    bars: Mapping[str, Bars]

    def at(self, cutoff: np.datetime64, added: Added = "nothing") -> Mapping[str, Bars]:
        """Return the bars as they were known at a moment; see `Knowledge`."""
        return {name: _known(bars, cutoff, added) for name, bars in self.bars.items()}


@dataclass(frozen=True)
class RawKnowledge:
    """What was known, built anew from the rows in the lake.

    The calendar is the one that the whole history told: on which days a market is open is no forecast of its prices.

    Attributes:
        spec: The job.
        lake: The lake.
        tables: By source's name, the version of its raw table.
        bars: The bars of all that is known now, by source's name.
        series: Series to build, of sources that have them; others are built whole.
    """

    spec: PredictionJobSpec
    lake: Lake
    tables: Mapping[str, TableVersion]
    bars: Mapping[str, Bars]
    series: tuple[str, ...]

    def at(self, cutoff: np.datetime64, added: Added = "nothing") -> Mapping[str, Bars]:
        """Return the bars as they were known at a moment; see `Knowledge`.

        Raises:
            LakeError: A table is gone.
        """
        return {source.name: self._bars(source, moment(cutoff), added) for source in self.spec.sources}

    def _bars(self, source: Source, cutoff: datetime, added: Added) -> Bars:
        bars, frequency = self.bars[source.name], parse_frequency(self.spec.frequency)
        wanted = pl.col(SERIES).is_in(self.series) if set(self.series) & names_of(bars) else pl.lit(value=True)
        as_of = None if added == "revisions" else cutoff
        now = cutoff
        if added == "open bar":
            now = period_end(period_start(cutoff, frequency, source.time_zone), frequency, source.time_zone)
        parts = (
            let_in(part.filter(wanted), cutoff, added)
            for part in self.lake.scan(self.tables[source.name], as_of=as_of, newest_first=True, verify=False)
        )
        try:
            return build_bars_of_parts(source, parts, frequency=frequency, calendar=bars.calendar, now=now)
        except DataError:
            return replace(bars, rows=bars.rows.clear(), gaps=())


def names_of(bars: Bars) -> set[str]:
    """Return the names of the series of some bars."""
    return set(bars.rows[SERIES].unique().to_list())


def let_in(rows: pl.DataFrame, cutoff: datetime, added: Added) -> pl.DataFrame:
    """Return the rows that were known at a moment, UTC, and what is let in beside them."""
    if added == "revisions":
        newest = rows.sort(KEY).with_columns(pl.col(KNOWN_AT).first().over(SERIES, TIME))
        rows = newest.unique((SERIES, TIME), keep="last", maintain_order=True)
    return rows.filter(pl.col(KNOWN_AT) <= cutoff)


def _known(bars: Bars, cutoff: np.datetime64, added: Added) -> Bars:
    if added == "nothing":
        return truncate(bars, cutoff)
    found = replace(bars, rows=let_in(bars.rows, moment(cutoff), added))
    return found if added == "open bar" else truncate(found, cutoff)
