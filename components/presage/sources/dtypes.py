"""Which columns of a CSV can be read as numbers at once, instead of as text whose cells are judged one by one.

It must not matter to anyone: wherever a cell could be told differently, the column is text. So a column is read as
numbers where its first cells are, and the text is looked at again where a later one is not.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from presage.sources.timestamps import possible_counts
from presage.spec.sources import Source

_MODERATE = 1e30
"""Absolute value up to which a number is surely not one that an error has to quote."""


def likely_dtypes(first: pl.DataFrame, source: Source, *, quotes: bool) -> Mapping[str, pl.DataType]:
    """Return the columns that are likely numbers, and the one of series, with their types.

    Args:
        first: The first rows, as text.
        source: Says what its columns are.
        quotes: Whether quotes occur in the file; a quoted name may hold line breaks, by which lines are counted.
    """
    roles = [source.time, source.series, source.availability.column, *set(source.columns.values())]
    dtypes: dict[str, pl.DataType] = {}
    for cells in first:
        column = cells.name.strip()
        if roles.count(column) > 1 or is_pattern(column):
            continue
        if column == source.series:
            if not quotes:
                dtypes[cells.name] = pl.Categorical()
        elif column == source.time:
            if source.time_unit is not None and source.time_format is None and _reads(cells, pl.Int64()):
                dtypes[cells.name] = pl.Int64()
        elif column != source.availability.column and _holds_values(column, source) and _reads(cells, pl.Float64()):
            dtypes[cells.name] = pl.Float64()
    return dtypes


def is_pattern(column: str) -> bool:
    """Return whether polars takes a column's name for all columns, or for a pattern of their names."""
    return column == "*" or (column.startswith("^") and column.endswith("$"))


def surely_read(data: pl.DataFrame, source: Source) -> bool:
    """Return whether no number of the typed columns is one that an error has to quote as it is written."""
    for cells in data.select(pl.col(pl.Int64, pl.Float64)):
        bounds = (-_MODERATE, _MODERATE)
        if cells.dtype == pl.Int64 and source.time_unit is not None:
            bounds = possible_counts(source.time_unit)
        if not cells.is_between(*bounds).all():
            return False
    return True


def _holds_values(column: str, source: Source) -> bool:
    # A source that does not say yet what its time is called is one to be guessed, from cells as they are written.
    return column in source.columns.values() if source.columns else "time" in source.model_fields_set


def _reads(cells: pl.Series, dtype: pl.DataType) -> bool:
    known = cells.drop_nulls()
    return known.len() > 0 and known.cast(dtype, strict=False).null_count() == 0
