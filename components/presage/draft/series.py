"""Which rows of a table belong together: those of one series, of several, or each to itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import NoReturn

import polars as pl

from presage.draft.times import TimeGuess, evenness, reads_as_times
from presage.errors import DataError
from presage.sources.columns import read_numbers
from presage.sources.contract import Table
from presage.spec.sources import Source

_SURE_NAMES = frozenset({"series", "seriesid", "uniqueid", "itemid", "symbol", "ticker", "tsid"})
_NAMES = _SURE_NAMES | frozenset(
    {"name", "asset", "instrument", "pair", "market", "coin", "currency", "isin", "cusip", "permno", "id", "key"}
    | {"code", "item", "store", "station", "region", "country", "group", "stock", "security"}
)
_FEW = 0.01
_MANY = 0.2
"""Share of rows at a time that another row has too, from which times alone show that there are several series."""
_EVEN = 0.5
_COPIES = 5
"""Different counts of rows at a time up to which a table may be several tables, one written behind the other."""
_PRICES = re.compile(r"price|close|bid|ask")
_TRADED = frozenset({"volume", "size", "quantity", "qty", "amount", "side", "bid", "ask", "bidprice", "askprice"})
_SHOWN = 5
_CLOCK = r"^\s*\d{1,2}:\d{2}"
_SPANS = frozenset({"quarter", "month", "week", "day", "hour", "minute", "time"})


@dataclass(frozen=True)
class SeriesGuess:
    """The column that tells series apart.

    Attributes:
        column: Its name.
        names: The series, sorted.
        why: Why this column.
    """

    column: str
    names: tuple[str, ...]
    why: str


def find_series(table: Table, times: TimeGuess) -> SeriesGuess | None:
    """Return the column that tells one series from another; None for a table without one.

    It has text, or is called like one that tells series, and keeps rows of the same time apart. A column whose name
    leaves no doubt does so also where no two rows share a time. One called like it comes first, then the one with
    the fewest names. Rows that are repeated whole tell nothing.

    Raises:
        DataError: The time is in two columns, or only two columns together keep the rows apart.
    """
    rows = _rows(table, times)
    repeated = rows.height - rows[times.column].n_unique()
    if repeated:
        _require_one_time(rows, times.column, table.parts[0].name)
    found = [cells.name for cells in rows if _tells(cells, rows, times.column, repeated)]
    if not found:
        if repeated >= _MANY * rows.height and evenness(rows[times.column]) >= _EVEN:
            _require_one_column(rows, times.column, table.parts[0].name)
        return None
    counts = {column: rows[column].n_unique() for column in found}
    column = min(found, key=lambda name: (_rank(name), counts[name]))
    names = tuple(sorted(_names(rows[column])))
    how = "by its name; it" if _rank(column) < 2 else "it"
    return SeriesGuess(column, names, f"{how} tells {len(names):,} series apart: {_listed(names)}")


def are_observations(table: Table, times: TimeGuess, source: Source) -> bool:
    """Return whether the rows of a table without a series column each stand for themselves, such as trips or orders.

    They do where rows of the same time differ, or there is a column of categories, and times are not evenly spaced, or
    have now few rows and now many. Trades and quotes are not meant, nor are revisions, which a second column of times
    tells apart.
    """
    rows = _rows(table, times)
    counts = rows[times.column].value_counts()["count"]
    even = evenness(rows[times.column]) >= _EVEN
    if rows.height - len(counts) < _FEW * rows.height:
        if even or not any(_is_text(cells) and 1 < cells.n_unique() <= rows.height / 2 for cells in rows):
            return False
    elif even and counts.n_unique() <= _COPIES:
        return False
    letters = [_letters(name) for name in rows.columns]
    if any(_PRICES.search(name) for name in letters) and not _TRADED.isdisjoint(letters):
        return False
    if rows.height - len(counts) < _MANY * rows.height:
        return True
    together = (name for name in rows.columns if name != times.column and _part(rows, times.column, name))
    return not any(reads_as_times(rows[name], source) for name in together)


def _rows(table: Table, times: TimeGuess) -> pl.DataFrame:
    """Return the different rows that have a time, with their moments in its place."""
    data = table.data.with_columns(times.moments.alias(times.column))
    return data.filter(pl.col(times.column).is_not_null()).unique(maintain_order=True)


def _tells(cells: pl.Series, rows: pl.DataFrame, time: str, repeated: int) -> bool:
    rank = _rank(cells.name)
    if cells.name in ("", time) or not (_is_text(cells) or (rank < 2 and _may_name(cells))):
        return False
    names = cells.drop_nulls().n_unique()
    if not 1 < names <= rows.height / 2:
        return False
    together = rows.height - rows.select(cells.name, time).n_unique()
    if rank == 0:
        return together <= _FEW * rows.height
    # Of a few rows that share a time any text may keep them apart.
    enough = repeated > 0 if rank == 1 else repeated >= _MANY * rows.height
    return enough and together <= min(_FEW * rows.height, repeated / 2)


def _require_one_time(rows: pl.DataFrame, time: str, place: str) -> None:
    """Raise DataError where a second column says when in the day, month or year a row is."""
    for cells in rows:
        if cells.name == time or not _part(rows, time, cells.name):
            continue
        is_clock = _is_text(cells) and bool(cells.drop_nulls().cast(pl.String).str.contains(_CLOCK).all())
        if is_clock or _letters(cells.name) in _SPANS:
            raise DataError(
                f"{place}: the time is in two columns, {time!r} and {cells.name!r}.",
                "Join them into one, such as 2020-01-31T14:30:00, or 2020-01 for a month.",
            )


def _require_one_column(rows: pl.DataFrame, time: str, place: str) -> None:
    """Raise DataError where two columns together tell series apart."""
    usable = [cells.name for cells in rows if cells.name not in ("", time) and (_is_text(cells) or _named(cells))]
    for pair in combinations(usable[:_SHOWN], 2):
        count = rows.select(pair).n_unique()
        if 1 < count <= rows.height / 2 and _part(rows, time, *pair):
            _refuse_pair(pair, count, place)


def _refuse_pair(pair: tuple[str, ...], count: int, place: str) -> NoReturn:
    raise DataError(
        f"{place}: only the columns {pair[0]!r} and {pair[1]!r} together tell its {count:,} series apart.",
        "Join them into one column, such as series, and draft the job again.",
    )


def _part(rows: pl.DataFrame, *columns: str) -> bool:
    return rows.height - rows.select(columns).n_unique() <= _FEW * rows.height


def _rank(name: str) -> int:
    """Return 0 for a name that only a series column has, 1 for one that it often has, 2 for others."""
    letters = _letters(name)
    return 0 if letters in _SURE_NAMES else 1 if letters in _NAMES else 2


def _named(cells: pl.Series) -> bool:
    return _rank(cells.name) < 2 and _may_name(cells)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _names(cells: pl.Series) -> list[str]:
    return [str(name)[:40] for name in cells.drop_nulls().unique()]


def _may_name(cells: pl.Series) -> bool:
    return cells.dtype.is_integer() or cells.dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_text(cells: pl.Series) -> bool:
    if cells.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return False
    numbers = read_numbers(cells)
    return int(numbers.unread.sum()) > numbers.values.len() - numbers.values.null_count()


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
