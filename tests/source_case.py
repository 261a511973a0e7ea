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


def asked(base: Path, frequency: Frequency = DAY, **others: object) -> Request:
    """Return a request for all rows of a source whose paths start from a folder; waits take no time."""
    return replace(Request(base=base, frequency=frequency, end=LATER, sleep=lambda _: None), **others)
