"""Rows of a table as they are: each an observation with an identity of its own, several at one time.

Time. A row's time is the moment that it names, in UTC; it is known a lag later, or when `availability.column` says. A
date without a clock time counts as the end of its day there, since the hour must not be guessed too early.

Identity. Rows have no key: an identity is the digest of the row's time and cells and the number of the row among those
with the same. The target's cell and the time of publication are left out, so that a row whose outcome comes later is
still the same row. The number holds within one read; `presage.tabular.held` gives the one that stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from presage.errors import DataError
from presage.frame import KNOWN_AT, TIME
from presage.sources.columns import Numbers, time_column
from presage.sources.contract import Request, Table
from presage.sources.faults import number_faults, rows_to_drop, unread_times
from presage.sources.formats import join
from presage.sources.periods import DAY, period_ends
from presage.sources.registry import adapter
from presage.sources.timestamps import Moments, Where, read_moments
from presage.spec.base import parse_duration
from presage.spec.sources import Source
from presage.tabular.columns import ROW, TAKEN, Kind, read_columns

__all__ = ["ROW", "Kind", "TableRows", "kinds_of", "read_table", "to_table"]

_DIGITS = 24
_SEPARATOR, _MISSING = "\x1f", "\x00"


@dataclass(frozen=True)
class TableRows:
    """What a source of rows holds.

    Attributes:
        rows: Columns `row` (String), `time` and `known_at` (Datetime, UTC, microseconds), then values: Float64, null
            where missing and never NaN, or String. Sorted by time and row.
        repeated: Rows that are equal to an earlier one in every cell; they are kept.
        dropped: Rows left out because they cannot be true.
    """

    rows: pl.DataFrame
    repeated: int
    dropped: int


def read_table(
    source: Source,
    request: Request,
    *,
    target: str,
    kinds: Mapping[str, Kind] | None = None,
    may_lack: Collection[str] = (),
) -> TableRows:
    """Read a source that fits into memory, whole.

    Args:
        source: The source.
        request: What an adapter is asked.
        target: The column that is predicted, under its new name.
        kinds: What columns held when a model was fitted, by new name. These and no others are kept, as what they held.
            None to tell from the cells.
        may_lack: Those of `kinds` whose values are missing where the source has no such column.

    Raises:
        DataError: The source's data cannot be used as declared.
        MissingExtraError: The source's kind needs a package that is not installed.
        NotSupportedError: The source's kind has no adapter yet.
        SourceUnavailableError: The source does not answer.
    """
    tables = list(adapter(source).read(source, request))
    if not tables:
        raise DataError(f"source {source.name!r}: it gave no rows.", "Check that it has rows of the span asked for.")
    return to_table(source, join(tables, source), target=target, kinds=kinds, may_lack=may_lack)


def to_table(
    source: Source,
    table: Table,
    *,
    target: str,
    kinds: Mapping[str, Kind] | None = None,
    may_lack: Collection[str] = (),
) -> TableRows:
    """Return a fetched table as rows; see `read_table` for what it takes and raises."""
    if table.data.height == 0:
        place = table.parts[0].name if table.parts else "the table"
        raise DataError(f"source {source.name!r}, {place}: there are no rows.", "Get the data again.")
    values = read_columns(source, table, target=target, kinds=kinds, may_lack=may_lack)
    time = time_column(source, table)
    moments = read_moments(table.data[time], source, table.where)
    faults = [unread_times(table.data[time], moments, source)]
    published = None
    if source.availability.column is not None:
        published = read_moments(table.data[source.availability.column], source, table.where)
        faults.append(unread_times(table.data[source.availability.column], published, source))
    numbers = {name: cells for name, cells in values.items() if isinstance(cells, Numbers)}
    dropped = rows_to_drop([*number_faults(numbers), *faults], source, table.where)
    known_at = _known_at(moments, published, source=source, dropped=dropped, where=table.where)
    columns = {name: cells.values if isinstance(cells, Numbers) else cells for name, cells in values.items()}
    rows = pl.DataFrame({TIME: moments.moments, KNOWN_AT: known_at} | columns).filter(~dropped)
    return TableRows(
        rows=_identified(rows, target), repeated=rows.height - rows.unique().height, dropped=int(dropped.sum())
    )


def kinds_of(rows: pl.DataFrame) -> dict[str, Kind]:
    """Return what each value column of rows holds."""
    return {
        name: "text" if dtype == pl.String else "number" for name, dtype in rows.schema.items() if name not in TAKEN
    }


def _known_at(
    times: Moments, published: Moments | None, *, source: Source, dropped: pl.Series, where: Where
) -> pl.Series:
    if published is None:
        return _not_too_early(times, source) + parse_duration(source.availability.lag)
    known_at = _not_too_early(published, source)
    early = (known_at < times.moments).fill_null(value=False) & ~dropped
    if early.any():
        row = early.arg_true()[0]
        raise DataError(
            f"source {source.name!r}, {where(row)}, column {source.availability.column!r}: published at "
            f"{known_at[row]:%Y-%m-%dT%H:%MZ}, before its own time {times.moments[row]:%Y-%m-%dT%H:%MZ}.",
            "Correct `availability.column` or `timeZone`, or leave the column out so that the lag holds.",
        )
    return known_at


def _not_too_early(times: Moments, source: Source) -> pl.Series:
    if not times.is_date.any():
        return times.moments
    ends = period_ends(times.moments.filter(times.is_date), DAY, source.time_zone)
    return times.moments.clone().scatter(times.is_date.arg_true(), ends)


def _identified(rows: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return rows with their identities, in the order of time and identity."""
    names = sorted(name for name in rows.columns if name not in (target, KNOWN_AT))
    cells = [pl.col(name).to_physical().cast(pl.String).fill_null(_MISSING) for name in names]
    text = rows.select(pl.concat_str(cells, separator=_SEPARATOR)).to_series()
    digests = pl.Series(ROW, [hashlib.sha256(row.encode()).hexdigest()[:_DIGITS] for row in text])
    # By outcome and publication, not by the source's order: rows that are given in another order are the same ones.
    ordered = rows.insert_column(0, digests).sort(ROW, target, KNOWN_AT, nulls_last=True)
    number = pl.int_range(pl.len()).over(ROW)
    return ordered.with_columns(pl.format("{}-{}", ROW, number)).sort(TIME, ROW)
