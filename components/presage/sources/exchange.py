"""Candles of an exchange's markets, by ccxt."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time
from typing import NamedTuple

import polars as pl

from presage.errors import DataError
from presage.frame import TIMESTAMP
from presage.sources.candles import EARLIEST, Timeframe, closed_candles, to_milliseconds
from presage.sources.ccxt_client import Candle, Client, connect, moment
from presage.sources.contract import Part, Request, Table
from presage.sources.quotes import quoted
from presage.sources.secrets import secret_value
from presage.spec.sources import ExchangeSource, Source

_ROWS = 20_000
"""Rows from which on a table is given: a lake merges few large tables faster than many small ones."""

_KEYS = ("apiKey", "secret")


class _Turn(NamedTuple):
    """Where a symbol stands: how far it has come, its place in the job, its pages, and one that is held back."""

    time: int
    place: int
    pages: Iterator[list[Candle]]
    held: list[Candle] | None = None


def read(source: Source, request: Request) -> Iterator[Table]:
    """Fetch the candles of all symbols that have closed by `request.end`, oldest first.

    Tables have the columns time (start of the candle, Datetime("us", "UTC")), symbol, open, high, low, close and volume
    (Float64). The bookmark is the start of the newest candle of each symbol, as JSON. A read with a `start` begins
    there whatever the bookmark says.

    Args:
        source: A source of kind `exchange`.
        request: What is asked for; the length of a candle is the length of the source's rows.

    Raises:
        DataError: The exchange, a symbol or such candles do not exist, or an answer is no candles.
        JobError: `uri` is not an address to ask, or the secret lacks a key.
        MissingExtraError: ccxt is not installed.
        SourceUnavailableError: The exchange does not answer or refuses, or its clock is off.
    """
    options = source.exchange
    if options is None:
        raise ValueError(f"source {source.name!r} is no exchange")
    client = connect(
        options.name,
        f"source {source.name!r}: {options.name}",
        sleep=request.sleep,
        uri=options.uri,
        credentials=_credentials(options, request),
    )
    timeframe = Timeframe.parse(str(request.period(source)))
    known = _known(request.bookmark, source)
    with closing(client):
        client.require_timeframe(timeframe.names)
        client.require_symbols(options.symbols)
        yield from _tables(options.name, _in_turn(client, options, timeframe, request, known), known)


def _tables(exchange: str, pages: Iterator[tuple[str, list[Candle]]], known: Mapping[str, int]) -> Iterator[Table]:
    newest = dict(known)
    gathered: list[tuple[str, list[Candle]]] = []
    for symbol, page in pages:
        gathered.append((symbol, page))
        newest[symbol] = page[-1].time
        if sum(len(each) for _, each in gathered) >= _ROWS:
            yield _table(exchange, gathered, newest)
            gathered = []
    if gathered:
        yield _table(exchange, gathered, newest)


def _in_turn(
    client: Client, options: ExchangeSource, timeframe: Timeframe, request: Request, known: Mapping[str, int]
) -> Iterator[tuple[str, list[Candle]]]:
    """Give pages of all symbols, always one of the symbol that has come least far.

    A page that starts later than where another symbol stands is held back until that one has come as far.
    """
    end = to_milliseconds(request.end)
    since = to_milliseconds(EARLIEST if options.since is None else _midnight(options.since))
    turns: list[_Turn] = []
    for place, symbol in enumerate(options.symbols):
        start, listed = since, False
        if request.start is not None:
            start = max(since, to_milliseconds(request.start))
        elif symbol in known:
            start, listed = timeframe.after(known[symbol]), True
        pages = closed_candles(client, symbol, timeframe, start, end, listed=listed)
        turns.append(_Turn(start, place, pages))
    heapq.heapify(turns)
    while turns:
        turn = heapq.heappop(turns)
        page = turn.held or next(turn.pages, None)
        if page is None:
            continue
        if turns and page[0].time > turns[0].time:
            heapq.heappush(turns, turn._replace(time=page[0].time, held=page))
            continue
        yield options.symbols[turn.place], page
        heapq.heappush(turns, _Turn(page[-1].time, turn.place, turn.pages))


def _table(exchange: str, pages: Sequence[tuple[str, list[Candle]]], newest: Mapping[str, int]) -> Table:
    parts = tuple(
        Part(f"{exchange}'s candles of {symbol} from {moment(page[0].time)} on", len(page)) for symbol, page in pages
    )
    candles = pl.DataFrame(
        [candle for _, page in pages for candle in page],
        schema=dict.fromkeys(Candle._fields, pl.Float64) | {"time": pl.Int64},
        orient="row",
    )
    symbols = pl.Series("symbol", [symbol for symbol, page in pages for _ in page], pl.String)
    data = candles.with_columns((pl.col("time") * 1000).cast(TIMESTAMP), pl.col("volume").fill_nan(None)).insert_column(
        1, symbols
    )
    bookmark = json.dumps({symbol: _iso(start) for symbol, start in sorted(newest.items())})
    return Table(data, parts, time="time", series="symbol", bookmark=bookmark)


def _known(bookmark: str, source: Source) -> dict[str, int]:
    """Return the start of each symbol's newest candle, as a bookmark tells it."""
    if not bookmark:
        return {}
    try:
        told = json.loads(bookmark).items()
        return {symbol: to_milliseconds(datetime.fromisoformat(start)) for symbol, start in told}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"source {source.name!r}: the bookmark of its last read, {quoted(bookmark)}, is none of an exchange.",
            "Read the source anew into another work directory.",
        ) from error


def _credentials(options: ExchangeSource, request: Request) -> dict[str, str]:
    if options.secret_ref is None:
        return {}
    values = request.secret(options.secret_ref)
    return {key: secret_value(values, options.secret_ref, key) for key in _KEYS}


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
