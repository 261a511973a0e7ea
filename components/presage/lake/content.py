"""The content of a table, apart from how it is stored: its order and the digest that tells whether two are equal."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY, TIMESTAMP

COLUMN_TYPES: dict[pl.DataType, bytes] = {
    TIMESTAMP: b"timestamp[us, UTC]",
    pl.String(): b"string",
    pl.Float64(): b"float64",
    pl.Int64(): b"int64",
    pl.Boolean(): b"boolean",
}
_LAYOUT = b"presage-content-1"


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
    data = data.sort(_sort_columns(data))
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


def _sort_columns(data: pl.DataFrame) -> list[str]:
    key = [name for name in KEY if name in data.columns]
    return key + sorted(name for name in data.columns if name not in KEY)


def _value_bytes(values: pl.Series) -> bytes:
    if values.dtype == pl.String:
        text = values.fill_null("")
        lengths = text.str.len_bytes().to_numpy().astype("<i8").tobytes()
        return lengths + "".join(text.to_list()).encode()
    if values.dtype == pl.Boolean:
        return values.fill_null(value=False).to_numpy().astype(np.uint8).tobytes()
    if values.dtype == pl.Float64:
        numbers = values.fill_null(0.0).to_numpy()
        return np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()
    return values.to_physical().fill_null(0).to_numpy().astype("<i8").tobytes()


def _add(parts: hashlib._Hash, part: bytes) -> None:
    parts.update(len(part).to_bytes(8, "little"))
    parts.update(part)
