"""Candles of one market, page by page, from a start to the newest that has closed.

A candle is taken once it has closed by the moment of the run and by the exchange's own clock, so that one of the two
that runs ahead never makes an unfinished candle count as final.

The module needs ccxt and the standard library alone, because the cloud function carries it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from presage.errors import DataError
from presage.sources.ccxt_client import Candle, Client, moment

EARLIEST = datetime(2009, 1, 3, tzinfo=UTC)
"""When the first coin could have been traded: Bitcoin's first block."""

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_PAGE = 100
"""Candles that are taken for a page where ccxt does not know the exchange's own limit."""

_TEXT = re.compile(r"([1-9][0-9]{0,3})(mo|m|h|d|w)")


@dataclass(frozen=True)
class Timeframe:
    """The length of a candle: `count` times m (minutes), h, d, w or mo (calendar months)."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Return the length that a text such as 1m, 1d or 1mo says; raises ValueError for any other text."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no length of a candle such as 1m, 1h, 1d or 1mo")
        return cls(int(match[1]), match[2])

    @property
    def names(self) -> tuple[str, ...]:
        """What ccxt may call it."""
        if self.unit == "m" and self.count % 60 == 0:
            return (f"{self.count}m", f"{self.count // 60}h")
        return (f"{self.count}{'M' if self.unit == 'mo' else self.unit}",)

    @property
    def milliseconds(self) -> int:
        """Its length; a month counts as 30 days."""
        return self.count * _SECONDS[self.unit] * 1000

    def after(self, start: int) -> int:
        """Return when a candle that starts at `start` closes; both are milliseconds since 1970 UTC."""
        if self.unit != "mo":
            return start + self.milliseconds
        begin = datetime.fromtimestamp(start / 1000, UTC)
        years, month = divmod(begin.month - 1 + self.count, 12)
        year = begin.year + years
        day = min(begin.day, monthrange(year, month + 1)[1])
        return to_milliseconds(begin.replace(year=year, month=month + 1, day=day))


_DAY = Timeframe(1, "d")


def to_milliseconds(when: datetime) -> int:
    """Return a moment as milliseconds since 1970 UTC."""
    return round(when.timestamp() * 1000)


def closed_candles(
    client: Client, symbol: str, timeframe: Timeframe, start: int, end: int, *, listed: bool = False
) -> Iterator[list[Candle]]:
    """Give the candles of a market that have closed, oldest first, in pages that are never empty.

    Each page is asked for from the end of the last one on. Where the exchange has no candle from there on but has some
    later, as one that answers for a span only, the pages between are asked for one by one; before the first candle,
    where that could take years of pages, its day is looked up first.

    Args:
        client: The exchange.
        symbol: Market.
        timeframe: Length of a candle.
        start: Start of the earliest candle, milliseconds since 1970 UTC.
        end: Moment by which a candle must have closed, milliseconds since 1970 UTC.
        listed: Whether the market had candles before `start`.

    Raises:
        DataError: The exchange does not offer such candles, gives one that is no candle, or the same page again though
            it has later ones.
        SourceUnavailableError: The exchange does not answer or refuses, or its clock is off.
    """
    pages = _Pages(client, symbol, client.require_timeframe(timeframe.names))
    window = (client.limit(symbol) or _PAGE) * timeframe.milliseconds
    later: int | None = None
    while timeframe.after(start) <= end:
        page = pages.ask(start)
        until = end if client.answers.clock is None else min(end, client.answers.clock)
        closed = [candle for candle in page if start <= candle.time < until and timeframe.after(candle.time) <= until]
        if closed:
            yield closed
            listed = True
            start = timeframe.after(closed[-1].time)
        if page and page[-1].time >= start:
            return  # up to the candle that is still open
        if closed:
            continue
        if later is None or later < start:
            later = pages.first(start, asked=until - window) if until - window > start else None
        if later is None:
            return
        if page or later == start:
            given = f"those up to {moment(page[-1].time)} again" if page else "none"
            raise DataError(
                f"{client.place}: asked for the candles of {symbol} from {moment(start)} on, it gives {given}, though "
                f"it has some from {moment(later)} on.",
                "Try again later; if it stays so, it cannot be asked for candles of that time: set `since` later.",
            )
        first = start if listed else _first_day(pages, timeframe, start, later)
        start = first if first > start else min(start + window, later)
        listed = True


@dataclass(frozen=True)
class _Pages:
    client: Client
    symbol: str
    timeframe: str

    def ask(self, since: int) -> list[Candle]:
        """Return a page; one that holds nothing asked for only if it does so twice, because that may be a mistake."""
        page = self.client.candles(self.symbol, self.timeframe, since)
        if page and page[-1].time >= since:
            return page
        return self.client.candles(self.symbol, self.timeframe, since)

    def first(self, start: int, *, asked: int) -> int | None:
        """Return the start of the first candle from `start` on, of the page from `asked` on; None for none."""
        return next((candle.time for candle in self.ask(asked) if candle.time >= start), None)


def _first_day(pages: _Pages, timeframe: Timeframe, start: int, later: int) -> int:
    """Return when the day of a market's first candle starts, which is not later than `later`, by its daily candles."""
    if timeframe.milliseconds >= _DAY.milliseconds or _DAY.names[0] not in pages.client.api.timeframes:
        return start
    # The day in which `start` lies may be the first, and an exchange's days may start at another hour.
    days = closed_candles(pages.client, pages.symbol, _DAY, start - _DAY.milliseconds, later, listed=True)
    page = next(days, None)
    return later - _DAY.milliseconds if page is None else page[0].time
