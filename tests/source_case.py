"""What a source is asked for in tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from presage.sources.contract import Request
from presage.spec.base import Frequency

DAY = Frequency(1, "d")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
"""A moment behind all rows of the tests."""
SEEDS = {
    "btc-daily": {
        "btc": "kraken_daily/Kraken_BTCUSD_d.csv",
        "chain": "coinmetrics_community/coinmetrics_btc.csv.gz",
        "treasury": "fred_macro/DGS10_to2023.csv.gz",
    },
    "btc-monthly": {
        "chain": "coinmetrics_community/coinmetrics_btc.csv.gz",
        "money": "fred_macro/M2SL_to2023.csv.gz",
        "prices": "fred_macro/CPIAUCSL_to2023.csv.gz",
    },
}
"""By example, the file of what each source's service answers."""


def asked(base: Path, frequency: Frequency = DAY, **others: object) -> Request:
    """Return a request for all rows of a source whose paths start from a folder; waits take no time."""
    return replace(Request(base=base, frequency=frequency, end=LATER, sleep=lambda _: None), **others)
