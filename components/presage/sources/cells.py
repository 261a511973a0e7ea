"""Values that a database's client gives, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from presage.frame import TIMESTAMP

_NUMBERS = frozenset({bool, int, float, Decimal})
_BYTES = frozenset({bytes, bytearray, memoryview})


def to_column(name: str, values: Sequence[object]) -> pl.Series:
    """Return values as a column of the type that holds all of them.

    Whole numbers are Int64, others Float64; a decimal becomes the nearest Float64. Times with a zone are Datetime in
    UTC, those without Datetime without one. Bytes are Binary. Whatever has no type of its own, and a mixture, is text.

    Args:
        name: The column's name.
        values: What the client gives for a row each; None for NULL.
    """
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pl.Series(name, [None] * len(values), dtype=pl.Null)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds <= _NUMBERS:
        return _numbers(name, values)
    if all(issubclass(kind, datetime) for kind in kinds):
        return _times(name, values)
    if kinds == {date}:
        return pl.Series(name, values, dtype=pl.Date)
    if kinds <= _BYTES:
        return pl.Series(name, [None if value is None else bytes(value) for value in values], dtype=pl.Binary)  # type: ignore[call-overload]
    return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)


def _numbers(name: str, values: Sequence[object]) -> pl.Series:
    if all(value is None or _whole(value) for value in values):
        whole = [None if value is None else int(value) for value in values]  # type: ignore[call-overload]
        if all(value is None or -(2**63) <= value < 2**63 for value in whole):
            return pl.Series(name, whole, dtype=pl.Int64)
    real = [None if value is None else float(value) for value in values]  # type: ignore[arg-type]
    return pl.Series(name, real, dtype=pl.Float64)


def _whole(value: object) -> bool:
    # A decimal with digits behind the point is no count, also where they are zeros.
    return isinstance(value, int) or (isinstance(value, Decimal) and value.as_tuple().exponent == 0)


def _times(name: str, values: Sequence[object]) -> pl.Series:
    zoned = [isinstance(value, datetime) and value.tzinfo is not None for value in values]
    if not any(zoned):
        return pl.Series(name, values, dtype=pl.Datetime("us"))
    if all(known or value is None for known, value in zip(zoned, values, strict=True)):
        moments = [value.astimezone(UTC) if isinstance(value, datetime) else None for value in values]
        return pl.Series(name, moments, dtype=TIMESTAMP)
    return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)


def _text(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="replace")
    return str(value)
