"""How many bars make a season."""

from __future__ import annotations

from presage.bars.contract import CalendarName
from presage.spec.base import Frequency, parse_frequency
from presage.spec.job import PredictionJobSpec


def season_of(spec: PredictionJobSpec, calendar: CalendarName) -> int:
    """Return the bars in a season of a job's target, whose bars are those of a calendar."""
    usual = default_season(parse_frequency(spec.frequency), weekdays=calendar == "Weekdays")
    return spec.evaluation.season or usual


def default_season(frequency: Frequency, *, weekdays: bool) -> int:
    """Return the usual season of a frequency, in bars.

    Months: a year. Weeks: a year of 52. Days: a week of 5 weekdays or 7 days. Hours: a day. Minutes: an hour. A
    frequency that does not divide its season has none (1).
    """
    whole = {"mo": 12, "w": 52, "d": 5 if weekdays else 7, "h": 24, "m": 60}[frequency.unit]
    return whole // frequency.count if whole % frequency.count == 0 else 1
