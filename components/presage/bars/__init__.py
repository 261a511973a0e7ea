"""Bars: rows of one period each, made from rows of the same or a finer period."""

from presage.bars.build import build_bars
from presage.bars.contract import FILLED, Bars, CalendarName, Gap

__all__ = ["FILLED", "Bars", "CalendarName", "Gap", "build_bars"]
