"""What bars are, as values: the bars themselves, their calendar and their gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from presage.spec.base import Frequency

CalendarName = Literal["Continuous", "Weekdays"]
FILLED = "filled"


@dataclass(frozen=True)
class Gap:
    """Periods in a row that should have a bar and have none.

    Attributes:
        series: Name of the series.
        start: Start of the first missing period, UTC.
        end: Start of the last missing period, UTC.
        periods: How many are missing.
        filled: How many of them forward fill made up.
    """

    series: str
    start: datetime
    end: datetime
    periods: int
    filled: int


@dataclass(frozen=True)
class Bars:
    """Closed bars of one source.

    Attributes:
        source: Name of the source.
        frequency: Length of a bar.
        calendar: Which bars exist.
        time_zone: IANA zone whose days daily and longer bars cover.
        rows: The row contract of `presage.frame` plus `filled` (Boolean); one row a vintage of a bar, so that a bar
            whose rows were revised has several, told apart by known_at.
        gaps: Missing periods, by series and time.
        duplicates: Rows of the source that repeated another's series and time, and were dropped.
    """

    source: str
    frequency: Frequency
    calendar: CalendarName
    time_zone: str
    rows: pl.DataFrame
    gaps: tuple[Gap, ...]
    duplicates: int
