"""Which columns of a table a source needs, and their cells as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import polars as pl

from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY
from presage.sources.contract import Table
from presage.sources.quotes import quoted
from presage.spec.sources import Source

_EXAMPLES = 5
"""Columns that an error quotes a cell of."""

_MODERATE = 1e30
"""Absolute value up to which a number is surely none that cannot be true."""

# `filled` marks made-up bars; a value of that name would collide with it one step later.
RESERVED = frozenset({*KEY, INGESTED_AT, "filled"})


def time_column(source: Source, table: Table) -> str:
    """Return the name of the column that holds the time: the job's, or the table's own under the default."""
    default = Source.model_fields["time"].default
    if table.time is not None and source.time == default and default not in table.data.columns:
        return table.time
    return source.time


def series_column(source: Source, table: Table) -> str | None:
    """Return the name of the column that tells series apart: the job's, or else the table's own, if it has one."""
    return source.series if source.series is not None else table.series


def needed_columns(source: Source, table: Table) -> dict[str, str]:
    """Return the columns that a source cannot do without, each with the job's field that asks for it."""
    needed = dict.fromkeys(source.columns.values(), "columns")
    series = series_column(source, table)
    if series is not None:
        needed[series] = "series"
    if source.availability.column is not None:
        needed[source.availability.column] = "availability.column"
    return needed | {time_column(source, table): "time"}


def needed_names(source: Source) -> frozenset[str] | None:
    """Return the only columns that a source reads of a table; None where it takes all that hold numbers."""
    if not source.columns:
        return None
    named = (*source.columns.values(), source.time, source.series, source.availability.column)
    return frozenset(filter(None, named))


def require_columns(source: Source, needed: Mapping[str, str], present: Iterable[str], place: str) -> None:
    """Raise DataError, with the nearest name, for the first needed column that is not present."""
    names = list(present)
    for column, field in needed.items():
        if column in names:
            continue
        lower = {name.lower(): name for name in names}
        close = get_close_matches(column.lower(), lower, n=1)
        hint = f"; did you mean {lower[close[0]]!r}?" if close else "."
        listing = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        remedy = f"Name an existing column in `{field}`."
        if len(names) == 1 and any(mark in names[0] for mark in ",;\t|"):
            remedy = "Set `delimiter` to the character between cells."
        raise DataError(f"source {source.name!r}, {place}: no column {column!r}{hint} It has: {listing}.", remedy)


@dataclass(frozen=True)
class Numbers:
    """The cells of a column as numbers.

    Attributes:
        column: The source's name of the column.
        cells: What stands in the source, any dtype.
        values: Float64; null where there is no value or no number, never NaN; infinities are still there.
        unread: Boolean; whether a cell holds something that is no number.
    """

    column: str
    cells: pl.Series
    values: pl.Series
    unread: pl.Series

    def filter(self, rows: pl.Series) -> Numbers:
        """Return the cells of the rows (Boolean) that are true."""
        return Numbers(self.column, self.cells.filter(rows), self.values.filter(rows), self.unread.filter(rows))


def read_numbers(cells: pl.Series) -> Numbers:
    """Return a column as numbers; blank text and NaN are "no value"."""
    text = cells.cast(pl.String) if cells.dtype in (pl.Categorical, pl.Enum) else cells
    values = text.cast(pl.Float64, strict=False)
    unread = values.is_null() & text.is_not_null()
    if text.dtype == pl.String and unread.any():
        bare = text.str.strip_chars()
        values = bare.cast(pl.Float64, strict=False)
        unread = values.is_null() & (bare != "").fill_null(value=False)
    return Numbers(cells.name, cells, values.fill_nan(None) if values.is_nan().any() else values, unread)


def plainly_sound(numbers: Mapping[str, Numbers]) -> bool:
    """Return whether a glance at whole columns shows that no number is at fault.

    It does where every cell is read, none is beyond 1e30, and low is the lowest and high the highest of the prices;
    else `faults` judges row by row.
    """
    prices: dict[str, pl.Series] = {}
    for name, column in numbers.items():
        prices.setdefault(name.lower(), column.values)
        if column.unread.any() or not column.values.is_between(-_MODERATE, _MODERATE).all():
            return False
    return all(
        (prices[lower] <= prices[higher]).all()
        for lower, higher in (("low", "open"), ("low", "close"), ("low", "high"), ("open", "high"), ("close", "high"))
        if lower in prices and higher in prices
    )


def value_numbers(source: Source, table: Table) -> dict[str, Numbers]:
    """Return the value columns of a table under the names that they shall have, in the job's order.

    Without `columns` these are, under their own names, all numeric columns and all text columns most of whose cells
    are numbers or, beside such columns, that are empty throughout, except those that hold the time, the series or the
    time of publication.

    Raises:
        DataError: A column is missing, cannot hold numbers or would have a reserved name, or there is none.
    """
    data = table.data
    place = table.parts[0].name if table.parts else "the table"
    needed = needed_columns(source, table)
    require_columns(source, needed, data.columns, place)
    if source.columns:
        for column in source.columns.values():
            _refuse_dtype(source, data[column], place)
        found = {name: read_numbers(data[column]) for name, column in source.columns.items()}
    else:
        candidates = [data[name] for name in data.columns if name and name not in needed]
        readable = [read_numbers(cells) for cells in candidates if _may_hold_numbers(cells.dtype)]
        # An empty column is not worth an error about its name.
        taken = RESERVED | {numbers.column.lower() for numbers in readable if _mostly_numbers(numbers)}
        found = {
            numbers.column: numbers
            for numbers in readable
            if _mostly_numbers(numbers) or (_empty(numbers) and numbers.column.lower() not in taken)
        }
        if all(_empty(numbers) and not numbers.cells.dtype.is_numeric() for numbers in found.values()):
            raise _no_numbers(source, table, readable, place)
    _refuse_names(source, {name: numbers.column for name, numbers in found.items()}, place)
    return found


def _refuse_names(source: Source, columns: Mapping[str, str], place: str) -> None:
    """Raise DataError for a name that tables cannot keep; they tell names apart without regard to case."""
    seen: dict[str, str] = {}
    for name, column in columns.items():
        fault = ""
        if name.lower() in RESERVED:
            fault = f"a value column cannot be called {name!r}; Presage uses that name"
        elif "\0" in name:
            fault = f"the column name {name!r} has a zero character"
        elif name.lower() in seen:
            fault = f"the columns {seen[name.lower()]!r} and {name!r} differ in case only"
        if fault:
            other = f"{name.lower()}_value".replace("\0", "")
            raise DataError(
                f"source {source.name!r}, {place}: {fault}.",
                f"Name the columns to keep in `columns`, such as {{{other}: {column}}}.",
            )
        seen[name.lower()] = name


def _no_numbers(source: Source, table: Table, readable: Iterable[Numbers], place: str) -> DataError:
    """Return the error of a table without numbers, with the first cell of each text column that is none."""
    unread = [(numbers, numbers.unread.arg_true()[0]) for numbers in readable if numbers.unread.any()]
    examples = "".join(
        f" {table.where(row)}, column {numbers.column!r}: {quoted(numbers.cells[row])} is no number."
        for numbers, row in unread[:_EXAMPLES]
    )
    listing = ", ".join(table.data.columns)
    return DataError(
        f"source {source.name!r}, {place}: no column holds numbers beside the time. It has: {listing}.{examples}",
        "Write numbers without signs of currency, percent or thousands, and name the columns to keep in `columns`."
        if unread
        else "Name the columns to keep in `columns`.",
    )


def _may_hold_numbers(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)


def _mostly_numbers(numbers: Numbers) -> bool:
    if numbers.cells.dtype.is_numeric():
        return True
    read = numbers.values.len() - numbers.values.null_count()
    return read > int(numbers.unread.sum())


def _empty(numbers: Numbers) -> bool:
    return numbers.values.null_count() == numbers.values.len() and not numbers.unread.any()


def _refuse_dtype(source: Source, cells: pl.Series, place: str) -> None:
    if not _may_hold_numbers(cells.dtype) and cells.dtype != pl.Boolean:
        raise DataError(
            f"source {source.name!r}, {place}: column {cells.name!r} holds {cells.dtype}, which are no numbers.",
            "Take it out of `columns`.",
        )
