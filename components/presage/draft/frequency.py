"""How long a table's bars are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from presage.errors import DataError
from presage.sources.periods import period_starts
from presage.spec.base import Frequency

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_MONTH = 30.4375
_FEW = 0.01
_TOO_MANY = 0.05


@dataclass(frozen=True)
class FrequencyGuess:
    """The length of a bar, and why it is taken."""

    frequency: Frequency
    why: str
    rare: bool
    """Whether it is not the median step's: most bars may have no row."""


def guess_frequency(moments: pl.Series, zone: str, place: str) -> FrequencyGuess:
    """Return the length of bars that keeps a table's times apart.

    That of the median step between times; where more than one time in a hundred would share a bar with another, as in
    a table with many gaps, that of the commonest step, then of the shortest.

    Args:
        moments: Datetime("us", "UTC"); nulls, repeats and any order are fine.
        zone: The zone whose days bars cover.
        place: What to call the table in errors.

    Raises:
        DataError: There are fewer than two times, or bars of no length keep them apart.
    """
    times = moments.drop_nulls().unique().sort()
    if times.len() < 2:
        raise DataError(f"{place}: there are fewer than two different times.", "Give a history of many rows.")
    tried = [_try(times, zone, which, step) for which, step in _steps(times)]
    best = next((one for one in tried if one.lost <= _FEW * times.len()), tried[-1])
    words = [f"{times.len():,} times", f"{best.which} step {describe_step(best.step)}"]
    if best.lost > _TOO_MANY * times.len():
        raise DataError(
            f"{place}: {', '.join(words)}: bars of {best.frequency} have room for {times.len() - best.lost:,} only.",
            "Make a table of even bars of it, a minute long at least, such as the last row of each minute or day.",
        )
    if best.lost:
        words.append(f"{best.lost:,} of them share a bar with another")
    if best.frequency == Frequency(1, "d"):
        weekend = int((times.dt.convert_time_zone(zone).dt.weekday() > 5).sum())
        words.append(f"{weekend:,} on a weekend" if weekend else "none on a weekend")
    return FrequencyGuess(best.frequency, ", ".join(words), rare=best.which != "median")


def as_frequency(step: timedelta) -> Frequency:
    """Return the length of bars that a step between times stands for, a minute at least."""
    days = step / _DAY
    if days < 0.9:
        minutes = max(1, round(step / timedelta(minutes=1)))
        return Frequency(minutes // 60, "h") if minutes % 60 == 0 else Frequency(minutes, "m")
    months = round(days / _MONTH)
    if months and abs(days - months * _MONTH) <= 1.5:
        return Frequency(months, "mo")
    whole = round(days)
    return Frequency(whole // 7, "w") if whole % 7 == 0 else Frequency(whole, "d")


def describe_step(step: timedelta) -> str:
    """Return a length of time in words, such as `1 day` or `90 minutes`."""
    units = (("day", _DAY), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)), ("second", _SECOND))
    unit, length = next((one for one in units if step >= one[1]), units[-1])
    count = f"{step / length:.3g}"
    return f"1 {unit}" if count == "1" else f"{count} {unit}s"


@dataclass(frozen=True)
class _Tried:
    which: str
    step: timedelta
    frequency: Frequency
    lost: int
    """Times that share a bar with an earlier one."""


def _try(times: pl.Series, zone: str, which: str, step: timedelta) -> _Tried:
    frequency = as_frequency(step)
    return _Tried(which, step, frequency, times.len() - period_starts(times, frequency, zone).n_unique())


def _steps(times: pl.Series) -> list[tuple[str, timedelta]]:
    steps = times.diff().drop_nulls()
    found = (("median", steps.median()), ("commonest", steps.mode().min()), ("shortest", steps.min()))
    return [(which, step) for which, step in found if isinstance(step, timedelta)]
