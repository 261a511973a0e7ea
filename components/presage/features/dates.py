"""Calendar features: parts of a date as points on a circle, so that December lies beside January."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from presage.frame import FloatArray, TimeArray
from presage.spec.features import CalendarPart

Wave = Literal["sin", "cos"]
WAVES: tuple[Wave, ...] = ("sin", "cos")


def calendar_part(moments: TimeArray, *, zone: str, part: CalendarPart, wave: Wave) -> FloatArray:
    """Return the sine or the cosine of a part of each date.

    The angle is 2 pi times the part, counted from 0, over the parts there are: 24 hours, 7 days from Monday, the days
    of that month, the ISO weeks (52 or 53) of that ISO year, 12 months, 4 quarters.

    Args:
        moments: (n,) datetime64[us], UTC.
        zone: IANA time zone in which the date is read.
        part: Part of the date.
        wave: sin or cos.

    Returns:
        (n,) float64 from -1 to 1.
    """
    local = pl.Series(moments).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    number, length = _number(local, part)
    angle = 2 * np.pi * (number.cast(pl.Float64).to_numpy() / length)
    return np.sin(angle) if wave == "sin" else np.cos(angle)


def _number(local: pl.Series, part: CalendarPart) -> tuple[pl.Series, FloatArray | int]:
    """Return the part of each date, counted from 0, and how many such parts there are."""
    if part == "hour":
        return local.dt.hour(), 24
    if part == "day_of_week":
        return local.dt.weekday().cast(pl.Int16) - 1, 7
    if part == "day_of_month":
        return local.dt.day() - 1, local.dt.days_in_month().cast(pl.Float64).to_numpy()
    if part == "week_of_year":
        # 28 December lies in the last ISO week of its year.
        last = pl.select(pl.date(pl.lit(local.dt.iso_year()), 12, 28).dt.week()).to_series()
        return local.dt.week() - 1, last.cast(pl.Float64).to_numpy()
    if part == "month":
        return local.dt.month() - 1, 12
    return local.dt.quarter() - 1, 4
