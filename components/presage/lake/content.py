"""The content of a table, apart from how it is stored: its order and the digest that tells whether two are equal.

A table that is kept by months has a digest that is made of its months' digests, so that a change of one month costs the
reading of that month only. The two kinds of digest begin differently: `sha256:` and `sha256-by-month:`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY, TIMESTAMP

COLUMN_TYPES: dict[pl.DataType, bytes] = {
    TIMESTAMP: b"timestamp[us, UTC]",
    pl.String(): b"string",
    pl.Float64(): b"float64",
    pl.Int64(): b"int64",
    pl.Boolean(): b"boolean",
}
BY_MONTH = "sha256-by-month:"
_LAYOUT = b"presage-content-1"
_MONTHS_LAYOUT = b"presage-months-1"


class MonthContent(BaseModel):
    """What a month of a table holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rows: int
    """Rows, all vintages counted."""
    digest: str
    """SHA-256 of them, by `month_content`."""


def check_columns(table: str, data: pl.DataFrame) -> None:
    """Raise DataError unless every column has one of the types that a table keeps."""
    for name, kind in data.schema.items():
        if kind not in COLUMN_TYPES:
            allowed = ", ".join(str(allowed) for allowed in COLUMN_TYPES)
            raise DataError(
                f"Table {table}: column {name!r} has the type {kind}, which a table cannot keep.",
                f"Cast it to one of {allowed}.",
            )


def ordered(data: pl.DataFrame) -> pl.DataFrame:
    """Return the rows in their one order: by the row contract's key, then by the other columns in name order."""
    if _is_ordered(data):
        return data
    if set(KEY) <= set(data.columns):
        # Where the key tells all rows apart, the other columns have no say.
        by_key = data.sort(KEY)
        if _is_ordered(by_key):
            return by_key
    return data.sort(_sort_columns(data))


def digest(data: pl.DataFrame) -> str:
    """Return the SHA-256 of what a table says: its columns by name and type, and its rows.

    The bytes depend neither on the order of rows or columns, nor on files, nor on library versions. `ingested_at` does
    not count. They are: the layout's name; the number of rows; then, for each column in name order, the name, the type,
    a bit a row that is 1 where the value is null (first row in the lowest bit), and the values, little-endian: 8 bytes
    a number or time (microseconds since 1970-01-01 UTC), 1 a Boolean, and for text the 8-byte lengths in bytes, then
    the UTF-8. Each part follows its own length in 8 bytes; null is 0 or empty, -0.0 is 0.0, all NaN are one.

    Args:
        data: Columns of the types in `COLUMN_TYPES`.

    Returns:
        `sha256:` and 64 hexadecimal digits.
    """
    numbers = pl.col(pl.Float64)
    unsigned = pl.when(numbers.ne_missing(0.0)).then(numbers).otherwise(0.0)
    data = data.drop(INGESTED_AT, strict=False).with_columns(unsigned)
    data = ordered(data)
    parts = hashlib.sha256()
    _add(parts, _LAYOUT)
    _add(parts, data.height.to_bytes(8, "little"))
    for name in sorted(data.columns):
        values = data.get_column(name)
        _add(parts, name.encode())
        _add(parts, COLUMN_TYPES[values.dtype])
        _add(parts, np.packbits(values.is_null().to_numpy(), bitorder="little").tobytes())
        _add(parts, _value_bytes(values))
    return "sha256:" + parts.hexdigest()


def month_content(data: pl.DataFrame) -> MonthContent:
    """Return what a month holds; a column without any value in it does not count, for a later month may bring it."""
    told = [name for name in data.columns if data.get_column(name).null_count() < data.height]
    return MonthContent(rows=data.height, digest=digest(data.select(told)))


def months_digest(months: Mapping[str, MonthContent]) -> str:
    """Return the digest of a table that is kept by months.

    It is the SHA-256 of the layout's name and, for each month that has rows, in the order of time, its name such as
    `2024-01`, the number of its rows in 8 bytes, little-endian, and its digest; each part follows its own length, as in
    `digest`.

    Returns:
        `sha256-by-month:` and 64 hexadecimal digits.
    """
    parts = hashlib.sha256()
    _add(parts, _MONTHS_LAYOUT)
    for name, content in sorted(months.items()):
        if content.rows:
            _add(parts, name.encode())
            _add(parts, content.rows.to_bytes(8, "little"))
            _add(parts, content.digest.encode())
    return BY_MONTH + parts.hexdigest()


def _sort_columns(data: pl.DataFrame) -> list[str]:
    key = [name for name in KEY if name in data.columns]
    return key + sorted(name for name in data.columns if name not in KEY)


def _is_ordered(data: pl.DataFrame) -> bool:
    """Return whether rows stand in the order of the row contract's key, which tells them all apart."""
    if not set(KEY) <= set(data.columns) or data.select(pl.any_horizontal(pl.col(KEY).has_nulls())).item():
        return False
    ahead = pl.lit(value=False)
    for name in reversed(KEY):
        ahead = (pl.col(name) > pl.col(name).shift()) | ((pl.col(name) == pl.col(name).shift()) & ahead)
    return bool(data.select(ahead).to_series()[1:].all())


def _value_bytes(values: pl.Series) -> bytes:
    if values.dtype == pl.String:
        text = values.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        offsets = np.frombuffer(text.buffers()[1], "<i8")[text.offset : text.offset + len(text) + 1]
        content = memoryview(text.buffers()[2] or b"")[offsets[0] : offsets[-1]]
        return np.diff(offsets).astype("<i8").tobytes() + content.tobytes()
    if values.dtype == pl.Boolean:
        return values.fill_null(value=False).to_numpy().astype(np.uint8).tobytes()
    if values.dtype == pl.Float64:
        numbers = values.fill_null(0.0).to_numpy()
        return np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()
    return values.to_physical().fill_null(0).to_numpy().astype("<i8").tobytes()


def _add(parts: hashlib._Hash, part: bytes) -> None:
    parts.update(len(part).to_bytes(8, "little"))
    parts.update(part)
