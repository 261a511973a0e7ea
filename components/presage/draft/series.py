"""Whether a table holds one series or several."""

from __future__ import annotations

import re
from typing import NoReturn

import polars as pl

from presage.draft.times import TimeGuess
from presage.errors import DataError
from presage.sources.columns import read_numbers
from presage.sources.contract import Table

_FEW = 0.01
_SHOWN = 5
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}")


def require_one_series(table: Table, times: TimeGuess) -> None:
    """Check that a table holds one series: a job of this version predicts one.

    Several are told by a text column that keeps rows of the same time apart. Rows that are repeated whole tell nothing.

    Raises:
        DataError: The table holds several series.
    """
    rows = (
        table.data.with_columns(times.moments.alias(times.column)).filter(pl.col(times.column).is_not_null()).unique()
    )
    repeated = rows.height - rows[times.column].n_unique()
    if repeated == 0:
        return
    for cells in rows:
        if cells.name == times.column or not _is_text(cells):
            continue
        names = cells.drop_nulls().unique().sort()
        together = rows.height - rows.select(cells.name, times.column).n_unique()
        if 1 < names.len() <= rows.height / 2 and together <= min(_FEW * rows.height, repeated / 2):
            _refuse(cells.name, [str(name)[:40] for name in names], times.column, table.parts[0].name)


def _refuse(column: str, names: list[str], time: str, place: str) -> NoReturn:
    if all(_CLOCK.match(name) for name in names):
        raise DataError(
            f"{place}: the time is in two columns, {time!r} and {column!r}.",
            "Join them into one, such as 2020-01-31T14:30:00.",
        )
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    raise DataError(
        f"{place}: column {column!r} names {len(names)} series ({shown}), and this version predicts one series a job.",
        f"Write the rows of one series, such as {names[0]!r}, to a file of its own and draft a job for that.",
    )


def _is_text(cells: pl.Series) -> bool:
    if cells.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return False
    numbers = read_numbers(cells)
    return int(numbers.unread.sum()) > numbers.values.len() - numbers.values.null_count()
