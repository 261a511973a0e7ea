"""Real rows for the tests of the lake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from presage.frame import KNOWN_AT, SERIES, TIME


def minutes_of_2016(shared_data: Path) -> pl.DataFrame:
    """Return the one-minute rows of two markets, each known at its end; there are none of April and May."""
    parts = []
    for market in ("BTCUSD", "ETHUSD"):
        rows = pl.read_csv(shared_data / "bitfinex_1m" / f"bitfinex_{market}_1m_2016.csv.gz")
        times = pl.from_epoch(rows["timestamp_ms"], "ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        values = rows.select(pl.col("open", "high", "low", "close", "volume").cast(pl.Float64))
        key = {SERIES: pl.repeat(market, rows.height, eager=True), TIME: times, KNOWN_AT: times + timedelta(minutes=1)}
        parts.append(pl.DataFrame(key).hstack(values))
    return pl.concat(parts)
