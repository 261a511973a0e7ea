"""An exchange as ccxt reaches it: asked with patience, and no further than at its own address.

The module needs ccxt and the standard library alone, because the cloud function carries it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from presage.errors import DataError, JobError, MissingExtraError, SourceUnavailableError
from presage.sources.ccxt_answers import Answers, BadAnswerError
from presage.sources.retries import PassingError, retried

_TIMEOUT_SECONDS = 20
_REFUSED = (401, 403, 451)
_PASSING = (408, 418, 425, 429)
_FAULTS_OF_THE_ASKER = range(400, 500)
_FAULTS_OF_THE_EXCHANGE = range(500, 600)
_SLACK = 60_000
"""Milliseconds by which a candle may start after the exchange's clock, which its answers tell to the second."""

_QUOTED = 160
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What ccxt raises on an answer of another shape than it knows."""

_Answer = TypeVar("_Answer")


class Candle(NamedTuple):
    """What was traded in a period: its start, milliseconds since 1970 UTC; prices; the amount, NaN where not told."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Ticker(NamedTuple):
    """A market as it is now: the last price, when the exchange told it, and the amount of 24 hours, NaN where not told.

    The time is milliseconds since 1970 UTC: the ticker's own, else the exchange's clock; None where it tells neither.
    """

    time: int | None
    last: float
    volume: float


@dataclass
class Client:
    """A connection to an exchange.

    Attributes:
        place: What errors call it, such as `source 'btc': bitfinex`.
        api: ccxt's own client.
        answers: What its answers say beside their content.
        sleep: Waits for so many seconds.
        secrets: What no message may show.
    """

    place: str
    api: Any
    answers: Answers
    sleep: Callable[[float], None]
    secrets: tuple[str, ...] = ()

    def close(self) -> None:
        """Close the connections."""
        self.api.session.close()

    def require_symbols(self, symbols: Sequence[str]) -> None:
        """Raise DataError, with the nearest names, for the first symbol that the exchange has no market of."""
        markets = self._ask(self.api.load_markets)
        for symbol in symbols:
            if symbol in markets:
                continue
            upper = {name.upper(): name for name in markets}
            close = [upper[name] for name in get_close_matches(symbol.upper(), upper, n=3)]
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
            raise DataError(
                f"{self.place} has no market {symbol!r}{hint}", "Name a market as ccxt does, such as BTC/USD."
            )

    def require_timeframe(self, names: Sequence[str]) -> str:
        """Return the first of several names of one length of a candle that is offered; raises DataError for none."""
        offered = self.api.timeframes or {}
        for name in names:
            if name in offered:
                return name
        raise DataError(
            f"{self.place} has no candles of {names[0]}; it has those of {', '.join(offered)}.",
            "Set the source's `frequency` to one of them (1M is 1mo); bars of the job's frequency are made of finer "
            "candles.",
        )

    def limit(self, symbol: str) -> int | None:
        """Return how many candles the exchange gives at most at once; None where ccxt does not know."""
        limit = self.api.feature_value(symbol, "fetchOHLCV", "limit")
        return None if limit is None else int(limit)

    def candles(self, symbol: str, timeframe: str, since: int) -> list[Candle]:
        """Return what the exchange gives when it is asked for a page of candles, sorted by time.

        The page is as it came: it may hold candles before `since`, the same one twice, and the one that is still open.
        A period without prices, of which the exchange says that nothing was traded, is left out.

        Args:
            symbol: Market.
            timeframe: ccxt's name of the length of a candle.
            since: Start of the first candle asked for, milliseconds since 1970 UTC.

        Raises:
            DataError: The answer is no list of candles, or one has a price that is no number.
            SourceUnavailableError: The exchange does not answer or refuses, or its clock is off.
        """
        given = self._ask(lambda: self.api.fetch_ohlcv(symbol, timeframe, since, self.limit(symbol)))
        if not isinstance(given, list):
            raise self._unreadable("no list of candles")
        page = [candle for cells in given if (candle := self._candle(symbol, cells)) is not None]
        if page and self.answers.clock is not None and page[-1].time > self.answers.clock + _SLACK:
            raise SourceUnavailableError(
                f"{self.place}: its clock says {moment(self.answers.clock)}, but it gives a candle of {symbol} that "
                f"starts at {moment(page[-1].time)}.",
                "Try again later; nothing of this answer was taken.",
            )
        return page

    def ticker(self, symbol: str) -> Ticker:
        """Return a market's newest price.

        Raises:
            DataError: The answer is no ticker, or it has no price.
            SourceUnavailableError: The exchange does not answer or refuses.
        """
        given = self._ask(lambda: self.api.fetch_ticker(symbol))
        last, time_, volume = given.get("last"), given.get("timestamp"), given.get("baseVolume")
        if not isinstance(last, int | float) or not math.isfinite(last) or last <= 0:
            raise self._unreadable(f"a ticker of {symbol} without a price")
        told = time_ if isinstance(time_, int) else self.answers.clock
        return Ticker(told, float(last), float(volume) if isinstance(volume, int | float) else math.nan)

    def _candle(self, symbol: str, cells: object) -> Candle | None:
        if not isinstance(cells, list) or len(cells) < len(Candle._fields) or not isinstance(cells[0], int):
            raise self._unreadable(f"{self._shown(repr(cells))} where a candle of {symbol} should be")
        start, open_, high, low, close, volume = cells[: len(Candle._fields)]
        prices = {"open": open_, "high": high, "low": low, "close": close}
        if volume == 0 and all(price is None for price in prices.values()):
            return None
        for name, price in prices.items():
            if not isinstance(price, int | float) or math.isnan(price):
                raise DataError(
                    f"{self.place}: the candle of {symbol} at {moment(start)} has a price {name!r} that is no number.",
                    "Try again later; if it stays so, fetch another span, or name another source.",
                )
        return Candle(start, open_, high, low, close, math.nan if volume is None else volume)

    def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        return retried(lambda: self._attempt(call), sleep=self.sleep)

    def _attempt(self, call: Callable[[], _Answer]) -> _Answer:
        from ccxt import BaseError  # noqa: PLC0415  # an extra

        self.answers.forget()
        try:
            return call()
        except (BaseError, BadAnswerError) as error:
            raise self._fault(error) from error
        except _UNREADABLE as error:
            raise self._unreadable("something that ccxt cannot read") from error

    def _fault(self, error: Exception) -> DataError | PassingError:
        from ccxt import AuthenticationError, ExchangeError, OperationFailed  # noqa: PLC0415  # an extra

        status = f" with status {self.answers.status}" if self.answers.status not in (0, 200) else ""
        told = self._shown(str(error))
        if isinstance(error, AuthenticationError) or self.answers.status in _REFUSED:
            return DataError(
                f"{self.place} refuses{status}: {told}.",
                "Check whether it serves your place and network, and the keys `apiKey` and `secret` of `secretRef`.",
            )
        if self.answers.status in _FAULTS_OF_THE_ASKER and self.answers.status not in _PASSING:
            return DataError(f"{self.place} answers{status}: {told}.", "Check the source's `uri` and `since`.")
        # A subclass names the fault, which a repeat does not mend; some exchanges answer to it with a status of 500.
        nameless = type(error) is ExchangeError and self.answers.status in (*_PASSING, *_FAULTS_OF_THE_EXCHANGE)
        if nameless or isinstance(error, OperationFailed | BadAnswerError):
            return PassingError(f"{self.place} does not answer{status}: {told}.", "Try again later.", self.answers.wait)
        return DataError(f"{self.place} refuses{status}: {told}.", "Correct the source, such as its `since`.")

    def _unreadable(self, what: str) -> DataError:
        return DataError(
            f"{self.place} answers with {what}.", "Check the source's `uri`; a newer ccxt may know its newest answers."
        )

    def _shown(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        line = " ".join(text.split()).rstrip(".")
        return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"

    def throttle(self, cost: float | None = None) -> None:
        """Wait until ccxt's own rate limit allows a request that counts for `cost`."""
        since = float(self.api.milliseconds()) - self.api.lastRestRequestTimestamp
        wait = self.api.rateLimit * (1 if cost is None else cost) - since
        if wait > 0:
            self.sleep(wait / 1000)


def connect(
    name: str,
    place: str,
    *,
    sleep: Callable[[float], None],
    uri: str | None = None,
    credentials: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Client:
    """Return a connection to an exchange; nothing is asked yet.

    Args:
        name: ccxt's id of the exchange.
        place: What errors call it.
        sleep: Waits for so many seconds.
        uri: Address that takes the place of its own; the paths behind it stay.
        credentials: ccxt's `apiKey` and `secret`.
        clock: Seconds that only grow.

    Raises:
        DataError: There is no such exchange, or it gives no candles.
        JobError: The address is not one to ask.
        MissingExtraError: ccxt is not installed.
    """
    try:
        import ccxt  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{place}: exchanges need the Python package {error.name}, which is not installed.",
            "Install it: pip install 'presage[exchange]'.",
        ) from error
    if name not in ccxt.exchanges:
        close = get_close_matches(name.lower(), ccxt.exchanges, n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
        raise DataError(f"{place}: ccxt knows no exchange {name!r}{hint}", "Name an exchange by ccxt's id.")
    given = dict(credentials or {})
    api = getattr(ccxt, name)({"timeout": _TIMEOUT_SECONDS * 1000, **given})
    if api.has["fetchOHLCV"] is not True:
        raise DataError(f"{place}: the exchange {name!r} gives no candles.", "Name another exchange.")
    if uri is not None:
        api.urls["api"] = _moved(api.urls["api"], _address(uri, place))
    # Its log of requests shows keys.
    api.logger.setLevel(logging.INFO)
    client = Client(place, api, Answers(clock), sleep, tuple(value for value in given.values() if value))
    parse = api.parse_ohlcvs
    # ccxt drops what it did not ask for; a page that goes back must be seen to be told from the end of the list.
    api.parse_ohlcvs = lambda rows, market=None, timeframe="1m", *_, **__: parse(rows, market, timeframe)
    api.throttle = client.throttle
    api.session.hooks["response"].append(client.answers.receive)
    return client


def moment(milliseconds: int) -> str:
    """Return a time as messages show it, such as 2017-01-01T00:00Z."""
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%MZ}"
    except (ValueError, OSError, OverflowError):
        return f"{milliseconds} ms since 1970"


def _address(uri: str, place: str) -> str:
    """Return an address that may be asked.

    Prices that anyone on the way may change must not reach a model, nor a key whoever listens: without TLS only a
    server on the same machine is asked.
    """
    parts = urlsplit(uri)
    if parts.username is not None or parts.password is not None:
        raise JobError(f"{place}: `uri` holds credentials.", "Put them into a secret and name it in `secretRef`.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise JobError(f"{place}: `uri` {uri!r} is no address of an API.", "Write https://host/path.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise JobError(
            f"{place}: `uri` {uri!r} has no TLS, so that prices could be changed on the way.",
            "Write https://; http:// is for a server on the same machine.",
        )
    return uri.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _moved(urls: Any, address: str) -> Any:  # noqa: ANN401  # texts, or mappings of them, at any depth
    if isinstance(urls, Mapping):
        return {key: _moved(value, address) for key, value in urls.items()}
    return address + urlsplit(urls).path.rstrip("/") if isinstance(urls, str) else urls
