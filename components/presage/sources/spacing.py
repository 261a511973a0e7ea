"""How far apart a source's rows are, where its frequency is only the job's.

Rows that are much rarer than the declared frequency would count as known at the end of a period far shorter than
their own: a month's figure on the second day of that month. The median tells: weekends and holidays do not move it.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from presage.errors import DataError
from presage.frame import SERIES, TIME
from presage.spec.base import Frequency
from presage.spec.sources import Source

_RARE = 1.9
"""Multiple of the frequency's length from which on rows are taken as those of another frequency."""

_FEWEST = 9
"""Distances, between ten times of one series, below which nothing is told."""

_DAY = timedelta(days=1)


def refuse_rarer_rows(rows: pl.DataFrame, period: Frequency, source: Source) -> None:
    """Raise DataError where a source without `frequency` has rows at least 1.9 times its job's frequency apart.

    Args:
        rows: Rows with columns `KEY`.
        period: The job's frequency.
        source: The source.
    """
    if source.frequency is not None:
        return
    times = rows.select(SERIES, TIME).unique().sort(SERIES, TIME)
    apart = times.select(pl.col(TIME).diff().over(SERIES)).to_series().drop_nulls()
    median = apart.median()
    if apart.len() < _FEWEST or not isinstance(median, timedelta) or median < _RARE * period.approximate:
        return
    distance, likely = _describe(median)
    raise DataError(
        f"source {source.name!r}: its rows are about {distance} apart, but its frequency is the job's, {period}.",
        f"Set the source's `frequency`, such as {likely}; if rows are missing, set `frequency: {period}` to say so.",
    )


def _describe(median: timedelta) -> tuple[str, str]:
    days = round(median / _DAY)
    if days >= 28:
        return f"{days} days", f"{round(days / 30.44)}mo"
    if median >= _DAY:
        likely = f"{days // 7}w" if days % 7 == 0 else f"{days}d"
        return ("1 day" if days == 1 else f"{days} days"), likely
    minutes = round(median / timedelta(minutes=1))
    if minutes >= 60:
        hours = round(minutes / 60)
        return ("1 hour" if hours == 1 else f"{hours} hours"), f"{hours}h"
    return f"{minutes} minutes", f"{minutes}m"
