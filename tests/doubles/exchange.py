"""A double of an exchange: candles over loopback in the shape of Bitfinex's public REST API, which ccxt accepts.

It gives the rows that it is fed, and misbehaves as tests say.
"""

from __future__ import annotations

import bisect
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl
from servers.web import listening

MINUTE = 60_000
DAY = 1440 * MINUTE
Row = Sequence[object]
"""As Bitfinex has it: milliseconds, open, close, high, low, volume."""


@dataclass(frozen=True)
class Asked:
    """A request for candles: of which market and timeframe, from when, and how many."""

    market: str
    timeframe: str
    start: int | None
    limit: int


@dataclass(frozen=True)
class Answer:
    """What is sent in place of candles.

    Attributes:
        status: Of HTTP.
        body: Content; it may be cut off.
        headers: Beside the usual ones.
        length: What Content-Length says; default: the body's.
    """

    status: int = 200
    body: bytes = b"[]"
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass
class ExchangeDouble:
    """A running exchange.

    Attributes:
        url: Its address.
        rows: By market's id, such as BTCUSD, and timeframe, sorted by time.
        now: Candles that start later do not exist yet; default: all exist.
        clock: Seconds since 1970 that its Date header tells; default: the machine's. NaN for no header.
        page: Candles that it gives at most at once.
        newest: How many candles back it goes; default: all.
        spans: Whether it answers for the span of a page from the start on, as some exchanges do, rather than with the
            first candles from there on.
        deaf: Whether it gives the same first page whatever the start is.
        faults: What the next requests for candles get; None for the candles.
        asked: The requests for candles.
        conf: What requests for its markets get; default: the markets.
        tickers: Last price and amount of 24 hours by market's id.
    """

    rows: dict[tuple[str, str], list[Row]]
    url: str = ""
    now: int | None = None
    clock: float | None = None
    page: int = 10_000
    newest: int | None = None
    spans: bool = False
    deaf: bool = False
    faults: deque[Answer | Callable[[list[Row]], Answer] | None] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    conf: Answer | None = None
    tickers: dict[str, tuple[float, float]] = field(default_factory=dict)

    def markets(self) -> list[str]:
        """Return the ids of its markets."""
        return sorted({market for market, _ in self.rows})

    def candles(self, asked: Asked) -> list[Row]:
        """Return what it has for a request."""
        rows = self.rows.get((asked.market, asked.timeframe), [])
        if self.now is not None:
            rows = rows[: bisect.bisect_right(rows, self.now, key=_start)]
        rows = rows[-self.newest :] if self.newest is not None else rows
        many = min(self.page, asked.limit)
        if asked.start is None or self.deaf:
            return rows[:many]
        first = bisect.bisect_left(rows, asked.start, key=_start)
        page = rows[first : first + many]
        if self.spans:
            end = asked.start + many * LENGTHS[asked.timeframe]
            page = [row for row in page if row[0] < end]
        return page


LENGTHS = {"1m": MINUTE, "1h": 60 * MINUTE, "1D": DAY}


def bitfinex_rows(shared_data: Path, market: str, start: int, end: int) -> list[Row]:
    """Return real one-minute candles of a market that start from `start` (milliseconds) up to before `end`."""
    years = range(time.gmtime(start / 1000).tm_year, time.gmtime((end - 1) / 1000).tm_year + 1)
    folder = shared_data / "bitfinex_1m"
    frames = [pl.read_csv(folder / f"bitfinex_{market}_1m_{year}.csv.gz") for year in years]
    return pl.concat(frames).filter(pl.col("timestamp_ms").is_between(start, end, closed="left")).rows()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: ExchangeDouble

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words = unquote(parts.path).strip("/").split("/")
        if words[:2] == ["v2", "conf"] and self.state.conf is not None:
            self._send(self.state.conf)
        elif words[:2] == ["v2", "conf"]:
            self._send(Answer(body=json.dumps([_conf(label, self.state) for label in words[2].split(",")]).encode()))
        elif words[:2] == ["v2", "candles"] and words[-1] == "hist":
            self._candles(words[2], parse_qs(parts.query))
        elif words[:2] == ["v2", "ticker"] and words[2].removeprefix("t") in self.state.tickers:
            self._ticker(*self.state.tickers[words[2].removeprefix("t")])
        else:
            self._send(Answer(404, b'["error",10020,"path: invalid"]'))

    def _candles(self, key: str, query: Mapping[str, list[str]]) -> None:
        _, timeframe, market = key.split(":", 2)
        start = int(query["start"][0]) if "start" in query else None
        limit = int(query.get("limit", ["120"])[0])
        asked = Asked(market.removeprefix("t"), timeframe, start, limit)
        self.state.asked.append(asked)
        rows = self.state.candles(asked)
        fault = self.state.faults.popleft() if self.state.faults else None
        if fault is None:
            fault = Answer(body=json.dumps(rows).encode())
        self._send(fault if isinstance(fault, Answer) else fault(rows))

    def _ticker(self, last: float, volume: float) -> None:
        fault = self.state.faults.popleft() if self.state.faults else None
        # Bid, its size, ask, its size, change, relative change, last, volume, high, low.
        row: Row = [last - 1, 3.0, last + 1, 2.0, 0.0, 0.0, last, volume, last, last]
        if fault is None:
            fault = Answer(body=json.dumps(row).encode())
        self._send(fault if isinstance(fault, Answer) else fault([row]))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        now = time.time() if self.state.clock is None else self.state.clock
        if not math.isnan(now):
            self.send_header("Date", formatdate(now, usegmt=True))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        length = len(answer.body) if answer.length is None else answer.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.body)
        # A body that is shorter than it was said to be ends with the connection.
        self.close_connection = length != len(answer.body)


@contextmanager
def exchange_double(rows: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[ExchangeDouble]:
    """Run an exchange on a free loopback port that has these rows by market's id and timeframe (1m, 1h or 1D)."""
    state = ExchangeDouble({key: list(value) for key, value in rows.items()})

    with listening(type("Handler", (_Handler,), {"state": state})) as state.url:
        yield state


def _start(row: Row) -> object:
    return row[0]


def _conf(label: str, state: ExchangeDouble) -> list[object]:
    if label == "pub:info:pair":
        return [[market, [None, None, None, "0.0001", "1000"]] for market in state.markets()]
    if label == "pub:list:pair:margin":
        return list(state.markets())
    return []
