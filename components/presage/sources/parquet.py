"""Parquet, row group by row group, as columns that are each in one piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import parquet

from presage.errors import DataError
from presage.sources.memory import zeros


def read_parquet(
    opened: Callable[[], pa.NativeFile], place: str, *, repeated: str | None, needed: Container[str] | None
) -> pl.DataFrame:
    """Return the rows of a file, every value of which is checked.

    Row groups are read by threads that each read one after the other: Arrow's own share the columns of one group, and
    wait for each other at its end. What a group holds is copied, so that the memory it was unpacked into serves the
    next one.

    Args:
        opened: Opens the file; called once a thread, and once before.
        place: What the file is called in errors.
        repeated: Name of a text column whose values repeat, which becomes Categorical.
        needed: Columns without which the rows are of no use; None for all. Others are left out where they hold what
            no table can.

    Raises:
        DataError: A name stands for two columns, or a needed column holds what no table can.
        ArrowException: Or an OSError, OverflowError or ValueError: the file is no Parquet, or is damaged.
    """
    with parquet.ParquetFile(opened()) as file:
        schema = _readable(file.schema_arrow, place, needed)
        names = schema.names if len(schema) < len(file.schema_arrow) else None
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    dictionaries = [field.name for field in schema if field.name == repeated and _is_text(field.type)]
    starts = np.cumsum([0, *sizes])
    columns = [_column(field, int(starts[-1]), len(sizes)) for field in schema]
    readers = max(1, min(len(sizes), pl.thread_pool_size()))

    def read(reader: int) -> None:
        with parquet.ParquetFile(opened(), read_dictionary=dictionaries) as file:
            for group in range(reader, len(sizes), readers):
                table = file.read_row_group(group, columns=names, use_threads=readers == 1)
                table.validate(full=True)
                if table.num_rows != sizes[group] or table.column_names != schema.names:
                    raise ValueError(f"row group {group} is not what the file says of it")
                for column, found in zip(columns, table.columns, strict=True):
                    column.put(group, int(starts[group]), pl.Series(pl.from_arrow(found, rechunk=False)))

    with ThreadPoolExecutor(readers) as threads:
        list(threads.map(read, range(readers)))
    return pl.DataFrame([column.series().alias(field.name) for field, column in zip(schema, columns, strict=True)])


def _readable(schema: pa.Schema, place: str, needed: Container[str] | None) -> pa.Schema:
    """Return the columns that a table can hold."""
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise DataError(f"{place}: the file has column {name!r} {count} times.", "Rename all but one of them.")
    readable = []
    for field in schema:
        if not (
            pa.types.is_decimal256(field.type) or pa.types.is_union(field.type) or pa.types.is_interval(field.type)
        ):
            readable.append(field)
        elif needed is None or field.name in needed:
            raise DataError(
                f"{place}: column {field.name!r} holds {field.type}, which no table can.",
                "Write it as another type, such as double or decimal128, or name the columns to keep in `columns`.",
            )
    return pa.schema(readable)


class _Numbers:
    """A column of numbers as it is read: each goes where it belongs."""

    def __init__(self, rows: int, dtype: np.dtype[np.generic]) -> None:
        self._values = zeros(rows, dtype)
        self._missing = zeros(rows, np.dtype(np.bool_))
        self._some_missing = False

    def put(self, group: int, start: int, found: pl.Series) -> None:  # noqa: ARG002  # as _Parts
        stop = start + len(found)
        if found.has_nulls():
            self._missing[start:stop] = found.is_null().to_numpy()
            self._some_missing = True
        self._values[start:stop] = found.fill_null(0).to_numpy()

    def series(self) -> pl.Series:
        values = pl.Series(self._values)
        return values.zip_with(~pl.Series(self._missing), values.clear(len(values))) if self._some_missing else values


class _Parts:
    """A column of anything else as it is read, in parts."""

    def __init__(self, groups: int, empty: pl.Series) -> None:
        self._parts = [empty] * groups or [empty]

    def put(self, group: int, start: int, found: pl.Series) -> None:  # noqa: ARG002  # as _Numbers
        # A copy, as the memory of Arrow is not to be held on to.
        self._parts[group] = pl.concat([found, found.clear()], rechunk=True)

    def series(self) -> pl.Series:
        return pl.concat(self._parts, rechunk=True)


def _column(field: pa.Field, rows: int, groups: int) -> _Numbers | _Parts:
    empty = pl.Series(pl.from_arrow(pa.chunked_array([], field.type)))
    if empty.dtype.is_integer() or empty.dtype in (pl.Float32, pl.Float64):
        return _Numbers(rows, empty.to_numpy().dtype)
    return _Parts(groups, empty)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
