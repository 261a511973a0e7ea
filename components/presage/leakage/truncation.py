"""The truncation check: features that are built from what was known at T must be those of the full history, to the bit.

A difference is explained by experiment; see `presage.leakage.knowledge`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from presage.bars import Bars
from presage.errors import DataError
from presage.features.build import frames_of, with_range_volatility
from presage.features.definitions import Definition
from presage.features.truncation import Difference, differences, share_unequal
from presage.frame import KNOWN_AT, SERIES, TIME, Frame, TimeArray, moment
from presage.leakage.finding import Cause, Finding, leak, passed, skipped
from presage.leakage.knowledge import Added, BarKnowledge, Knowledge, names_of
from presage.spec.job import PredictionJobSpec
from presage.spec.periods import period_end

NAME = "truncation"
MOST_LEAKS = 10
_MOST_ROWS = 0.5
"""Share of the rows before T above which a difference is of a transform, and not of the rows near T."""
_TICK = np.timedelta64(1, "us")


@dataclass(frozen=True)
class Sample:
    """What of a job is looked at.

    Attributes:
        spec: The job.
        bars: Bars of each source with all columns that the definitions read, by its name.
        definitions: The features.
        series: Names of the series.
    """

    spec: PredictionJobSpec
    bars: Mapping[str, Bars]
    definitions: tuple[Definition, ...]
    series: tuple[str, ...]

    def of(self, series: str) -> dict[str, Bars]:
        """Return the bars of one series: of sources that do not tell series apart, all."""
        return self._own(self.bars, series)

    def frame(self, bars: Mapping[str, Bars], series: str) -> Frame | None:
        """Return the frame of one series from other bars of the same sources; None where nothing can be learnt yet."""
        if bars[self.spec.target.source].rows.is_empty():
            return None
        prepared = {name: with_range_volatility(source) for name, source in bars.items()}
        try:
            (frame,) = frames_of(self.spec, self._own(prepared, series), self.definitions)
        except DataError:
            return None
        return frame

    def _own(self, bars: Mapping[str, Bars], series: str) -> dict[str, Bars]:
        # That a source tells series apart is known of the whole history; at a moment it may have had one alone.
        return {
            name: replace(source, rows=source.rows.filter(pl.col(SERIES) == series))
            if series in names_of(self.bars[name])
            else source
            for name, source in bars.items()
        }


def check_truncation(
    sample: Sample, knowledge: Knowledge, full: Sequence[Frame], cutoffs: TimeArray
) -> tuple[Finding, ...]:
    """Compare the frames of all that is known now with those of what was known at each cut-off.

    Args:
        sample: What is looked at.
        knowledge: What was known at a moment.
        full: The frame of each of the sample's series, of all that is known now.
        cutoffs: (n,) datetime64[us], UTC.

    Returns:
        A finding for each column that leaks, those of the earliest rows first and ten at most; else a single one.
    """
    found: dict[str, _Found] = {}
    compared = later = 0
    for cutoff in cutoffs:
        known = knowledge.at(cutoff)
        for frame in full:
            truncated = sample.frame(known, frame.series)
            if truncated is None:
                continue
            compared += 1
            stood = frame.known_by(cutoff)
            found_here = differences(stood, truncated)
            if found_here and _knew_less(sample, known, cutoff, stood):
                later += 1
                continue
            for difference in found_here:
                column = _column(difference, sample)
                if column not in found or difference.time < found[column].difference.time:
                    found[column] = _Found(difference, column, cutoff, stood, truncated)
    if found:
        ordered = sorted(found.values(), key=lambda one: one.difference.time)
        return tuple(_told(one, sample, knowledge) for one in ordered[:MOST_LEAKS])
    if not compared:
        return (skipped(NAME, "there was too little history at every moment that was looked at"),)
    features = len(sample.definitions)
    less = f"; at {later} of them it waits for rows that came late, and knows less" if later else ""
    return (
        passed(
            NAME,
            f"{features} features built from what was known at {len(cutoffs)} moments, {_day(cutoffs[0])} to "
            f"{_day(cutoffs[-1])}, are those of the full history, to the bit{less}",
        ),
    )


def _knew_less(sample: Sample, known: Mapping[str, Bars], cutoff: np.datetime64, stood: Frame) -> bool:
    """Return whether the full history differs only in bars that it takes to be known later than they were.

    A bar of finer rows is known when all of them are: where one came late, it was made without that one first. Then
    all bars that the full history knew at a moment were known, and its features are made of these alone.
    """
    ours = BarKnowledge(sample.bars).at(cutoff)
    for name, bars in ours.items():
        rows = with_range_volatility(known[name]).rows
        if (
            bars.rows.columns != rows.columns
            or bars.rows.join(rows, on=rows.columns, how="anti", nulls_equal=True).height
        ):
            return False
    again = sample.frame(ours, stood.series)
    return again is not None and not differences(stood, again.known_by(cutoff))


def _column(difference: Difference, sample: Sample) -> str:
    """Return the feature that differs, or the target's column where the origins or outcomes do."""
    if any(difference.name == definition.name for definition in sample.definitions):
        return difference.name
    return f"{sample.spec.target.source}.{sample.spec.target.column}"


@dataclass(frozen=True)
class _Found:
    """A difference, and the two frames in which it was found."""

    difference: Difference
    column: str
    cutoff: np.datetime64
    full: Frame
    truncated: Frame


def _told(found: _Found, sample: Sample, knowledge: Knowledge) -> Finding:
    difference = found.difference
    share = share_unequal(found.full, found.truncated, difference.name)
    at = _moment(found.cutoff)
    whose = f" of series {found.full.series!r}" if len(sample.series) > 1 else ""
    extent = f"; {100 * share:.0f} % of its rows before that differ" if share else ""
    return leak(
        NAME,
        _cause(found, sample, knowledge),
        f"{difference.name} of the bar at {_moment(difference.time)}{whose} is {difference.full} in the full history, "
        f"and {difference.truncated} from what was known at {at}{extent}.",
        column=found.column,
        time=moment(difference.time),
        row=difference.row,
    )


def _cause(found: _Found, sample: Sample, knowledge: Knowledge) -> Cause:
    name, row = found.difference.name, found.difference.row
    experiments: dict[Added, Cause] = {"revisions": "revision used too early", "open bar": "unclosed bar"}
    for added, cause in experiments.items():
        again = sample.frame(knowledge.at(found.cutoff, added), found.full.series)
        if again is None:
            continue
        stood = again.known_by(found.cutoff)
        still = {one.name: one.row for one in differences(found.full, stood)}
        if still.get(name, len(stood)) > row and len(stood) > row:
            return cause
    if share_unequal(found.full, found.truncated, name) > _MOST_ROWS:
        return "transform fitted on the future"
    return "rows known later"


def choose_cutoffs(
    full: Sequence[Frame], bars: Mapping[str, Bars], *, since: np.datetime64, count: int, seed: int
) -> TimeArray:
    """Return moments to look at: origins, or moments just before them, spread over the part that is scored.

    Up to a half of them are moments of trouble, where there is any: before a revision of a bar is known, before a gap
    ends, and while a bar is known that has not ended.

    Args:
        full: The frames.
        bars: The bars of each source.
        since: datetime64[us], UTC; the first moment of the part that is scored.
        count: How many.
        seed: Seed of the choice.

    Returns:
        (n,) datetime64[us], UTC, ascending, each once; n is less than `count` where there are not as many origins.
    """
    generator = np.random.default_rng(seed)
    origins = np.unique(np.concatenate([frame.origin for frame in full]))
    origins = origins[origins >= since]
    if not len(origins):
        return origins
    trouble = np.unique(np.concatenate([troubled(source) for source in bars.values()]))
    trouble = trouble[(trouble >= since) & (trouble <= origins[-1])]
    chosen = generator.choice(trouble, min(len(trouble), count // 2), replace=False)
    strata = np.array_split(origins, min(count - len(chosen), len(origins)))
    regular = np.array([generator.choice(stratum) for stratum in strata])
    early = np.arange(len(regular)) % 2 == 1
    return np.unique(np.concatenate([chosen, np.where(early, regular - _TICK, regular)]))


def troubled(bars: Bars) -> TimeArray:
    """Return moments at which a fault would show; (n,) datetime64[us], UTC."""
    rows = bars.rows
    again = rows.filter(pl.struct(SERIES, TIME).is_duplicated() & (pl.col(TIME).shift() == pl.col(TIME)))
    revised = again[KNOWN_AT].to_numpy() - _TICK
    ends = [period_end(gap.end, bars.frequency, bars.time_zone) for gap in bars.gaps]
    gaps = np.array([end.replace(tzinfo=None) for end in ends], dtype="datetime64[us]")
    return np.concatenate([revised, gaps, early(bars)])


def early(bars: Bars) -> TimeArray:
    """Return when bars were known that had not ended; (n,) datetime64[us], UTC."""
    length = np.timedelta64(bars.frequency.approximate)
    known_at, time = bars.rows[KNOWN_AT].to_numpy(), bars.rows[TIME].to_numpy()
    # A local day may be an hour shorter, a month three days.
    found = known_at[known_at < time + length * 9 // 10]
    return found.astype("datetime64[us]")


def _day(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))


def _moment(time: np.datetime64) -> str:
    return f"{moment(time):%Y-%m-%dT%H:%M:%S}Z"
