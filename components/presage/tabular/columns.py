"""The columns of a table of rows: which are kept, and what they hold.

A column most of whose cells are numbers holds numbers, and a cell of it that is none cannot be true; any other text
column holds categories. Blank cells are missing. Without `columns` a source keeps every column that holds numbers or
text, but the time, the time of publication, and columns that are empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import polars as pl

from presage.errors import DataError
from presage.sources.columns import RESERVED, Numbers, read_numbers, require_columns, time_column
from presage.sources.contract import Table
from presage.sources.quotes import quoted
from presage.spec.sources import Source

ROW = "row"
"""Column of the rows' identities."""
TAKEN = RESERVED | {ROW}
"""Names that no value column may have."""

Kind = Literal["number", "text"]


def read_columns(
    source: Source, table: Table, *, target: str, kinds: Mapping[str, Kind] | None, may_lack: Collection[str]
) -> dict[str, Numbers | pl.Series]:
    """Return the value columns of a table by new name: numbers, or text (String) without surrounding blanks.

    Args:
        source: The source.
        table: What its adapter fetched.
        target: The column that is predicted, which must hold numbers.
        kinds: What columns held when a model was fitted; None to tell from the cells.
        may_lack: Those of `kinds` whose values are missing where the source has no such column.

    Raises:
        DataError: A column is missing, holds what it must not, or would have a name that is taken.
    """
    data = table.data
    place = table.parts[0].name if table.parts else "the table"
    time = time_column(source, table)
    needed = {time: "time"}
    if source.availability.column is not None:
        needed[source.availability.column] = "availability.column"
    if kinds is None:
        kept = dict(source.columns) or _all_columns(data, needed, target)
    else:
        kept = {name: source.columns.get(name, name) for name in kinds}
        kept = {name: column for name, column in kept.items() if column in data.columns or name not in may_lack}
    require_columns(source, dict.fromkeys(kept.values(), "columns") | needed, data.columns, place)
    _check(source, data, kept, place)
    values = {name: _values(data[column], None if kinds is None else kinds[name]) for name, column in kept.items()}
    if kinds is None and not source.columns:
        values = {name: cells for name, cells in values.items() if not _empty(cells) or name == target}
    for name in kinds or ():
        if name not in values:
            values[name] = read_numbers(pl.Series(name, [None] * data.height, dtype=pl.Float64))
    told = values[target]
    if isinstance(told, pl.Series):
        raise DataError(
            f"source {source.name!r}, {place}: the target {target!r} holds text such as "
            f"{quoted(told.drop_nulls()[0])}, not numbers.",
            "Write the target as numbers; a class is 0 or 1.",
        )
    return values


def _all_columns(data: pl.DataFrame, needed: Mapping[str, str], target: str) -> dict[str, str]:
    usable = [name for name in data.columns if name and name not in needed and not _unusable(data[name].dtype)]
    return {name: name for name in dict.fromkeys((*usable, target))}


def _check(source: Source, data: pl.DataFrame, kept: Mapping[str, str], place: str) -> None:
    seen: set[str] = set()
    for name, column in kept.items():
        if name.lower() in TAKEN or "\0" in name or name.lower() in seen:
            problem = "differs from another in case only" if name.lower() in seen else "cannot be a column's name"
            raise DataError(
                f"source {source.name!r}, {place}: {name!r} {problem}; Presage uses {', '.join(sorted(TAKEN))}.",
                "Name the columns to keep in `columns`, under names of their own.",
            )
        seen.add(name.lower())
        if _unusable(data[column].dtype):
            raise DataError(
                f"source {source.name!r}, {place}: column {column!r} holds {data[column].dtype}, which is neither a "
                f"number nor text.",
                "Take it out of `columns`; a `calendar` feature gives parts of the row's own time.",
            )


def _unusable(dtype: pl.DataType) -> bool:
    return dtype.is_temporal() or dtype.is_nested() or dtype in (pl.Binary, pl.Object)


def _values(cells: pl.Series, kind: Kind | None) -> Numbers | pl.Series:
    numbers = read_numbers(cells)
    text = cells.cast(pl.String).str.strip_chars()
    text = text.set((text == "").fill_null(value=False), None)
    mostly_text = int(numbers.unread.sum()) > len(cells) - numbers.values.null_count()
    return text if kind == "text" or (kind is None and mostly_text) else numbers


def _empty(cells: Numbers | pl.Series) -> bool:
    values = cells.values if isinstance(cells, Numbers) else cells
    return values.null_count() == len(values)
