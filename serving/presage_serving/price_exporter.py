"""Live prices of an exchange for Prometheus: asked for at an interval, and shown only while they are fresh."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from presage.errors import DataError, SourceUnavailableError
from presage.sources.ccxt_client import Ticker

_MISSED = 4
"""Intervals after which a price that was not told anew is no longer shown."""

_LONGEST_WAIT = 300.0
_REASONS = {SourceUnavailableError: "unavailable", DataError: "refused"}

logger = logging.getLogger("presage.serving")


class Exchange(Protocol):
    """What is asked of an exchange; `presage.sources.ccxt_client.Client` is one."""

    def require_symbols(self, symbols: Sequence[str]) -> None:
        """Raise DataError for a symbol without a market, SourceUnavailableError where there is no answer."""

    def ticker(self, symbol: str) -> Ticker:
        """Return a market's newest price, or raise as above."""


class _Seen(NamedTuple):
    """A ticker, and when it came in seconds since 1970."""

    ticker: Ticker
    at: float


class PriceCollector(Collector):
    """The newest prices, of which a scrape is given those that are fresh.

    Args:
        exchange: Its ccxt id, for the label.
        interval: Seconds between two questions for a price.
        clock: Seconds since 1970.
    """

    def __init__(self, exchange: str, interval: float, clock: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._exchange = exchange
        self._keep = _MISSED * interval
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        self._errors = Counter(
            "presage_market_errors",
            "Questions to the exchange that failed, after all attempts.",
            ["exchange", "reason"],
            registry=self.registry,
        )
        for reason in _REASONS.values():
            self._errors.labels(exchange, reason)
        self.registry.register(self)

    def told(self, symbol: str, ticker: Ticker) -> None:
        """Take a ticker that came now."""
        with self._lock:
            self._seen[symbol] = _Seen(ticker, self._clock())

    def failed(self, error: DataError | SourceUnavailableError) -> None:
        """Count a question without an answer; what was told before stays until it is old."""
        self._errors.labels(self._exchange, _reason(error)).inc()

    def collect(self) -> Iterable[Metric]:
        """Yield price, its time and the traded amount of each market that was told of lately."""
        labels = ["exchange", "symbol"]
        price = GaugeMetricFamily("presage_market_price", "Last price, in the quote currency.", labels=labels)
        moment = GaugeMetricFamily(
            "presage_market_price_timestamp_seconds",
            "When the exchange told the price; where it tells no time, when it came.",
            labels=labels,
        )
        volume = GaugeMetricFamily(
            "presage_market_volume", "Amount traded in the last 24 hours, in the base currency.", labels=labels
        )
        with self._lock:
            seen = sorted(self._seen.items())
        now = self._clock()
        for symbol, (ticker, at) in seen:
            if now - at > self._keep:
                continue
            place = [self._exchange, symbol]
            price.add_metric(place, ticker.last)
            moment.add_metric(place, at if ticker.time is None else ticker.time / 1000)
            if not math.isnan(ticker.volume):
                volume.add_metric(place, ticker.volume)
        yield from (price, moment, volume)


@dataclass
class Poller:
    """Asks an exchange for prices, round after round.

    Attributes:
        client: The exchange.
        symbols: Markets.
        prices: Gets what is told.
        interval: Seconds from one round to the next.
    """

    client: Exchange
    symbols: Sequence[str]
    prices: PriceCollector
    interval: float
    _known: bool = False
    _failures: int = 0

    def run(self, sleep: Callable[[float], None]) -> None:
        """Ask until `sleep` raises.

        Raises:
            DataError: The exchange has no market of that name.
        """
        while True:
            sleep(self.round())

    def round(self) -> float:
        """Ask for each price once, and return the seconds to wait before the next round.

        Raises:
            DataError: The exchange has no market of that name.
        """
        answers = sum(self._ask(symbol) for symbol in self.symbols) if self._know() else 0
        self._failures = 0 if answers else self._failures + 1
        return next_wait(self.interval, self._failures)

    def _know(self) -> bool:
        if not self._known:
            try:
                self.client.require_symbols(self.symbols)
            except SourceUnavailableError as error:
                self._note(error)
                return False
            self._known = True
        return True

    def _ask(self, symbol: str) -> bool:
        try:
            ticker = self.client.ticker(symbol)
        except (DataError, SourceUnavailableError) as error:
            self._note(error)
            return False
        self.prices.told(symbol, ticker)
        return True

    def _note(self, error: DataError | SourceUnavailableError) -> None:
        self.prices.failed(error)
        logger.warning("no price", extra={"reason": _reason(error), "error": error.what})


def next_wait(interval: float, failures: int) -> float:
    """Return the seconds to the next round: doubled with each round that brought nothing, up to five minutes."""
    return max(interval, min(interval * 2.0 ** min(failures, 16), _LONGEST_WAIT))


def _reason(error: DataError | SourceUnavailableError) -> str:
    return _REASONS[SourceUnavailableError if isinstance(error, SourceUnavailableError) else DataError]
