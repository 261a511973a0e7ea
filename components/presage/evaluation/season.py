"""How many bars make a season, where the job does not say."""

from __future__ import annotations

from presage.spec.base import Frequency


def default_season(frequency: Frequency, *, weekdays: bool) -> int:
    """Return the usual season of a frequency, in bars.

    Months: a year. Weeks: a year of 52. Days: a week of 5 weekdays or 7 days. Hours: a day. Minutes: an hour. A
    frequency that does not divide its season has none (1).
    """
    whole = {"mo": 12, "w": 52, "d": 5 if weekdays else 7, "h": 24, "m": 60}[frequency.unit]
    return whole // frequency.count if whole % frequency.count == 0 else 1
