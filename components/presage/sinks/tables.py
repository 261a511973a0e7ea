"""Results in the shape in which a sink keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME

Data = Literal["raw", "bars", "frames", "forecasts", "metrics", "rows", "predictions"]
"""What a table holds; the last two are the raw rows and the forecasts of a job that predicts rows from themselves."""

_KEYS: dict[Data, tuple[str, ...]] = {
    "raw": KEY,
    "bars": KEY,
    "frames": (SERIES, TIME),
    "forecasts": (SERIES, "issued_at", "target_time", "model"),
    "metrics": ("run", "model"),
    "rows": ("row",),
    "predictions": ("row", "issued_at", "model"),
}
_LEVEL = "level"


@dataclass(frozen=True)
class SinkTable:
    """A table that a sink is to hold.

    Attributes:
        name: Its name.
        rows: Its rows, sorted by the key; numbers are finite or null.
        key: Columns that tell one row from another.
        grows_by: Column whose newest value tells what a sink holds already, because a row never changes once it is
            there; None where rows do.
        complete: Whether the rows are all that there are of their (series, time), so that a sink is to hold no other:
            a bar that was made up is gone once the real one is there.
    """

    name: str
    rows: pl.DataFrame
    key: tuple[str, ...]
    grows_by: str | None = None
    complete: bool = False


def native(name: str, data: Data, parts: Iterable[pl.DataFrame]) -> SinkTable:
    """Return results under their own columns.

    Of rows with the same key the last is kept.

    Args:
        name: The table's name.
        data: What the rows are.
        parts: The rows; a column that a part lacks is null in it.

    Raises:
        DataError: A number is infinite.
    """
    rows = pl.concat(parts, how="diagonal_relaxed")
    return SinkTable(
        name,
        _clean(name, rows, _KEYS[data]),
        _KEYS[data],
        grows_by=INGESTED_AT if data == "raw" else None,
        complete=data == "bars",
    )


def ds_y_symbol(name: str, data: Data, parts: Iterable[pl.DataFrame], target: str) -> SinkTable:
    """Return bars or frames as Prophet reads them: `ds` (UTC, without a zone), `y` and `symbol`.

    Of several vintages of a bar the newest is kept.

    Args:
        name: The table's name.
        data: `bars` or `frames`.
        parts: Bars of the target's source, or frames.
        target: The target's column among the bars.
    """
    rows = pl.concat(parts, how="diagonal_relaxed").sort(KNOWN_AT)
    shaped = rows.select(
        pl.col(TIME).dt.replace_time_zone(None).alias("ds"),
        pl.col(target if data == "bars" else _LEVEL).alias("y"),
        pl.col(SERIES).alias("symbol"),
    )
    key = ("symbol", "ds")
    return SinkTable(name, _clean(name, shaped, key), key)


def _clean(name: str, rows: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    real = [column for column, dtype in rows.schema.items() if dtype.is_float()]
    for column in real:
        if rows[column].is_infinite().any():
            raise DataError(f"table {name!r}: column {column!r} has an infinite number.", "Take it out of the job.")
    finite = rows.with_columns(pl.col(real).fill_nan(None))
    return finite.unique(key, keep="last", maintain_order=True).sort(key)
