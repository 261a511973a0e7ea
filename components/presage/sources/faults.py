"""Rows that cannot be true, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import or_

import polars as pl

from presage.errors import DataError
from presage.sources.columns import Numbers
from presage.sources.quotes import quoted
from presage.sources.timestamps import Moments, Where, describe_times
from presage.spec.sources import Source

_SLACK = 1e-9
"""Relative difference that prices may have from rounding."""

_LARGEST = 1e38
"""Absolute value above which a number cannot be true: trees compute in single precision, where it would be infinite."""

_PER_DAY = {"days": 1, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_EPOCH = date(1970, 1, 1).toordinal()

_BOUNDS = (
    ("high", "below", "low"),
    ("open", "below", "low"),
    ("open", "above", "high"),
    ("close", "below", "low"),
    ("close", "above", "high"),
)


@dataclass(frozen=True)
class Fault:
    """One way in which rows cannot be true.

    Attributes:
        column: The source's name of the column.
        rows: Boolean; which rows have it.
        sentence: Says of a row what is wrong.
    """

    column: str
    rows: pl.Series
    sentence: Callable[[int], str]


def number_faults(numbers: Mapping[str, Numbers]) -> list[Fault]:
    """Return where cells are no numbers, infinite or beyond 1e38, and where prices are out of order.

    High may not be below low, and open and close not outside of them; columns are told by their new names in any case,
    and a relative difference of 1e-9 is taken as rounding.
    """
    faults = []
    for column in numbers.values():
        faults.append(Fault(column.column, column.unread, _says(column, "is no number")))
        infinite = column.values.is_infinite().fill_null(value=False)
        faults.append(Fault(column.column, infinite, _says(column, "is infinite")))
        huge = (column.values.abs() > _LARGEST).fill_null(value=False) & ~infinite
        faults.append(Fault(column.column, huge, _says(column, f"is beyond {_LARGEST:g}")))
    prices: dict[str, Numbers] = {}
    for name, column in numbers.items():
        prices.setdefault(name.lower(), column)
    for price, side, bound in _BOUNDS:
        if price in prices and bound in prices:
            faults.append(_out_of_order(prices[price], side, prices[bound]))
    return faults


def rows_to_drop(faults: Sequence[Fault], source: Source, where: Where) -> pl.Series:
    """Return which rows (Boolean) the source's `invalid_rows` leaves out.

    Raises:
        DataError: A row cannot be true and the source rejects such rows, or no row is left.
    """
    bad = reduce(or_, (fault.rows for fault in faults))
    count = int(bad.sum())
    if count == 0 or (source.invalid_rows == "Drop" and count < bad.len()):
        return bad
    row = bad.arg_true()[0]
    fault = next(fault for fault in faults if fault.rows[row])
    others = ""
    if count > 1:
        others = f" {count - 1} more {'row' if count == 2 else 'rows'} of {bad.len()} cannot be true either."
    remedy = "Correct the source, or set `invalidRows: Drop` to leave such rows out."
    if count == bad.len():
        remedy = "No row would be left: correct how the source is declared."
    raise DataError(
        f"source {source.name!r}, {where(row)}, column {fault.column!r}: {fault.sentence(row)}.{others}", remedy
    )


def _says(column: Numbers, problem: str) -> Callable[[int], str]:
    return lambda row: f"{quoted(column.cells[row])} {problem}"


def _out_of_order(price: Numbers, side: str, bound: Numbers) -> Fault:
    beyond = price.values - bound.values if side == "above" else bound.values - price.values
    size = pl.select(pl.max_horizontal(price.values.abs(), bound.values.abs())).to_series()
    rows = (beyond > _SLACK * size).fill_null(value=False)
    return Fault(
        price.column,
        rows,
        lambda row: f"{price.column} {price.values[row]:g} is {side} {bound.column} {bound.values[row]:g}",
    )


def unread_times(cells: pl.Series, moments: Moments, source: Source) -> Fault:
    """Return the fault of rows whose cell tells no time; `moments` is what was read of the cells."""

    def sentence(row: int) -> str:
        if cells.is_null()[row]:
            return "the row has no time"
        if cells.dtype.is_temporal():
            return f"{_with_a_year(cells, row)} is no time between the years 1000 and 3000"
        return f"{quoted(cells[row])} is no time {describe_times(source)}"

    return Fault(cells.name, moments.moments.is_null(), sentence)


def _with_a_year(cells: pl.Series, row: int) -> str:
    """Return a time, or its number where it is of a year that Python does not have."""
    number, unit = int(cells.to_physical()[row]), getattr(cells.dtype, "time_unit", "days")
    days = number // _PER_DAY[unit]
    if date.min.toordinal() <= days + _EPOCH <= date.max.toordinal():
        return str(cells[row])
    return f"{number} {unit} since 1970-01-01"
