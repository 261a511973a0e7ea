"""A double of a broker's candles: by symbol and span in milliseconds, for who sends a key as a header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from doubles.web import Asked, Reply, Site, site

KEY = "broker-key-5c1b"
HEADER = "x-api-key"
Candle = tuple[int, float, float, float, float, float]
"""Milliseconds since 1970, open, high, low, close and volume."""


@contextmanager
def broker_double(candles: Mapping[str, Sequence[Candle]]) -> Iterator[Site]:
    """Serve `/candles/SYMBOL?from=MS&to=MS` as lists and `/bars/SYMBOL` as objects under the symbol.

    Both ends of a span count.
    """

    def answer(asked: Asked) -> Reply:
        if asked.headers.get(HEADER) != KEY:
            return Reply(b'{"message": "forbidden."}', 403)
        _, kind, symbol = asked.path.split("/", 2)
        if symbol not in candles:
            return Reply(b'{"message": "no such symbol"}', 404)
        first, last = int(asked.query["from"]), int(asked.query["to"])
        rows = [row for row in candles[symbol] if first <= row[0] <= last]
        if kind == "candles":
            return Reply(json.dumps({"candles": rows}).encode())
        named = [dict(zip("tohlcv", row, strict=True)) for row in rows]
        return Reply(json.dumps({"bars": {symbol: named} if named else {}}).encode())

    with site(answer) as running:
        yield running
