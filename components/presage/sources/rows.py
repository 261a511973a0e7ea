"""Rows that keep the contract of `presage.frame`, made of any adapter's table.

What is missing. Blank cells, the source's null values and NaN are "no value". A row without any value is left out
before anything else of it is read, so that it becomes a gap; the note under a table goes with it.

What cannot be true. A cell that is no number, an infinite value, prices out of order, a time or series that cannot be
read: by the source's `invalid_rows` the first such row is an error, or all of them are left out and counted.

Time. A row's time is the start of its period, in UTC. Under `time_label: PeriodEnd` a time names the period that ends
with it; a date, where periods are a day or longer, the period that contains it. It is known at the end of its period
plus the source's lag, or when `availability.column` says; a date there counts as the end of that day, because the hour
is not known and must not be guessed too early. Under `time_label: PeriodStart` a row whose time lies within a period,
such as a session that starts at 22:00 or a week from Saturday on, has the start of that period for its time, but ends
a period's length after its own: it is known a lag after the later of the two ends, and published no sooner.

Duplicates. See `duplicates`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce
from operator import or_
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl

from presage.errors import DataError
from presage.frame import KEY, KNOWN_AT, SERIES, TIME
from presage.sources.columns import plainly_sound, series_column, time_column, value_numbers
from presage.sources.contract import Request, Table
from presage.sources.duplicates import last_of_each_key, refuse_contradictions, too_many
from presage.sources.faults import Fault, number_faults, rows_to_drop, unread_times
from presage.sources.formats import join
from presage.sources.periods import DAY, one_period_later, period_ends, period_starts
from presage.sources.registry import adapter
from presage.sources.spacing import refuse_rarer_rows
from presage.sources.timestamps import Moments, Where, read_moments
from presage.spec.base import Frequency, parse_duration, parse_frequency
from presage.spec.sources import Source

# No value can have this name: Presage keeps it.
_OWN_TIME = "ingested_at"


@dataclass(frozen=True)
class SourceRows:
    """What a source holds.

    Attributes:
        rows: The row contract of `presage.frame`, without ingested_at: sorted by `KEY`, whose values are unique.
        duplicates: Rows left out because a later one of the source has the same key.
        dropped: Rows left out because they cannot be true.
    """

    rows: pl.DataFrame
    duplicates: int
    dropped: int


def read_rows(source: Source, request: Request) -> SourceRows:
    """Read a source that fits into memory, whole.

    Raises:
        DataError: The source's data cannot be used as declared.
        MissingExtraError: The source's kind needs a package that is not installed.
        NotSupportedError: The source's kind has no adapter yet.
        SourceUnavailableError: The source does not answer.
    """
    # Nothing here refers to the table: `to_rows` frees what it has used.
    return to_rows(source, _whole(source, request), frequency=request.frequency)


def _whole(source: Source, request: Request) -> Table:
    tables = list(adapter(source).read(source, request))
    if not tables:
        raise DataError(f"source {source.name!r}: it gave no rows.", "Check that it has rows of the span asked for.")
    return join(tables, source)


def to_rows(source: Source, table: Table, *, frequency: Frequency) -> SourceRows:
    """Return a fetched table as rows.

    Args:
        source: The source.
        table: What its adapter fetched.
        frequency: The job's frequency, which is the rows' own where the source does not say another.

    Raises:
        DataError: The table cannot be used as declared.
    """
    _require_zone(source)
    period = frequency if source.frequency is None else parse_frequency(source.frequency)
    judged = _judge(source, table, period)
    del table
    dropped = int(judged.dropped.sum())
    kept = (~judged.dropped).arg_true() if dropped else None
    key = pl.DataFrame([column for name, column in judged.columns.items() if name in KEY])
    order = last_of_each_key(key, kept, period.approximate)
    del key
    count = judged.dropped.len() - dropped
    if too_many(count, order.len()):
        kept = (~judged.dropped).arg_true()
        rows = _arrange(dict(judged.columns), kept, period, source)
        told = replace(judged.time, moments=judged.time.moments.gather(kept))
        refuse_contradictions(rows, told, order.len(), period, source)
    rows = _arrange(judged.columns, order, period, source)
    refuse_rarer_rows(rows, period, source)
    return SourceRows(rows=rows, duplicates=count - order.len(), dropped=dropped)


@dataclass(frozen=True)
class _Judged:
    """The columns of rows, in the order of the source, and which of the rows cannot be true.

    Attributes:
        columns: By name: series (none where there is only one), time, known_at (where the source tells it), the row's
            own time (where it is not the start of its period), and the values.
        time: The times as the source tells them.
        dropped: Boolean; whether a row is left out.
    """

    columns: dict[str, pl.Series]
    time: Moments
    dropped: pl.Series


def _judge(source: Source, table: Table, period: Frequency) -> _Judged:
    _require_rows(source, table, table.data.height > 0, "there are no rows")
    time = time_column(source, table)
    numbers = value_numbers(source, table)
    present = reduce(or_, (column.values.is_not_null() | column.unread for column in numbers.values()))
    _require_rows(source, table, present.any(), "no row has a value")
    data = table.data
    if not present.all():
        data = data.filter(present)
        numbers = {name: column.filter(present) for name, column in numbers.items()}

    def where(row: int) -> str:
        return table.where(present.arg_true()[row])

    with ThreadPoolExecutor(1) as beside:
        sound = beside.submit(plainly_sound, numbers)
        labels = _read_labels(source, data, time, series_column(source, table), where)
        faults = [] if sound.result() else number_faults(numbers)
    dropped = rows_to_drop([*faults, *labels.faults], source, where)
    moments = labels.time.moments
    starts = _starts(labels.time, period, source)
    columns = {TIME: starts.alias(TIME)}
    if labels.series is not None:
        columns = {SERIES: _sorted_names(labels.series.alias(SERIES))} | columns
    if labels.published is not None:
        # Without a time of publication rows of one period are no revisions of each other, whatever their own ends.
        ends = _ends(moments, starts, period, source)
        known_at = _published(labels.published, ends, source=source, dropped=dropped, where=where)
        columns[KNOWN_AT] = known_at.alias(KNOWN_AT)
    elif starts is not moments:
        columns[_OWN_TIME] = moments
    return _Judged(columns | {name: column.values for name, column in numbers.items()}, labels.time, dropped)


def _arrange(columns: dict[str, pl.Series], places: pl.Series, period: Frequency, source: Source) -> pl.DataFrame:
    """Return the rows at some places under the row contract; takes the columns away, so that each can be freed."""
    names = list(columns)
    with ThreadPoolExecutor(pl.thread_pool_size()) as threads:
        taken = threads.map(lambda name: columns.pop(name).rechunk().gather(places), names)
        chosen = dict(zip(names, taken, strict=True))
    if KNOWN_AT not in chosen:
        ends = _ends(chosen.pop(_OWN_TIME, chosen[TIME]), chosen[TIME], period, source)
        lag = parse_duration(source.availability.lag)
        chosen[KNOWN_AT] = ends + lag if lag else ends
    series = pl.lit(source.name).alias(SERIES)
    if SERIES in chosen:
        series = pl.lit(_names(chosen.pop(SERIES)))
    return pl.DataFrame(chosen).select(series, TIME, KNOWN_AT, pl.exclude(KEY))


def _sorted_names(series: pl.Series) -> pl.Series:
    """Return names as categories in the order of their letters."""
    known = series.unique().drop_nulls()
    names = pl.Enum(known.cast(pl.String).sort())
    if series.dtype != pl.Categorical or known.is_empty() or series.has_nulls():
        return series.cast(names)
    # A cast reads the name of each row, and they are few: what each number becomes is looked up.
    number = known.to_physical().to_numpy()
    rank = known.cast(pl.String).cast(names).to_physical().to_numpy()
    ranks = np.zeros(number.max() + 1, dtype=rank.dtype)
    ranks[number] = rank
    return pl.Series(series.name, ranks).gather(series.to_physical()).cat.to(names)


def _names(categories: pl.Series) -> pl.Series:
    """Return categories as text; looked up, as a cast reads them one by one."""
    names = categories.dtype.categories  # type: ignore[attr-defined]  # an Enum
    return pl.Series(categories.name, names).gather(categories.to_physical())


@dataclass(frozen=True)
class _Labels:
    series: pl.Series | None
    time: Moments
    published: Moments | None
    faults: tuple[Fault, ...]


def _read_labels(source: Source, data: pl.DataFrame, time: str, column: str | None, where: Where) -> _Labels:
    times = read_moments(data[time], source, where)
    faults = [unread_times(data[time], times, source)]
    series = None
    if column is not None:
        series = data[column] if data[column].dtype == pl.Categorical else data[column].cast(pl.String)
        faults.append(Fault(column, (series == "").fill_null(value=True), lambda _: "the row names no series"))
    published = None
    if source.availability.column is not None:
        published = read_moments(data[source.availability.column], source, where)
        faults.append(unread_times(data[source.availability.column], published, source))
    return _Labels(series, times, published, tuple(faults))


def _require_rows(source: Source, table: Table, some: bool, problem: str) -> None:
    if not some:
        name = table.parts[0].name if len(table.parts) == 1 else f"{len(table.parts)} files"
        raise DataError(f"source {source.name!r}, {name}: {problem}.", "Get the data again, or name another source.")


def _require_zone(source: Source) -> None:
    try:
        ZoneInfo(source.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"source {source.name!r}: there is no time zone {source.time_zone!r}.",
            "Set `timeZone` to a name of the IANA database, such as UTC or America/New_York.",
        ) from error


def _starts(times: Moments, period: Frequency, source: Source) -> pl.Series:
    moments = times.moments
    if source.time_label == "PeriodEnd":
        within = moments - timedelta(microseconds=1)
        moments = within if period.intraday else moments.zip_with(times.is_date, within)
    return period_starts(moments, period, source.time_zone)


def _ends(times: pl.Series, starts: pl.Series, period: Frequency, source: Source) -> pl.Series:
    """Return when each row's own period has ended; never before the period that its time is rounded down to."""
    ends = period_ends(starts, period, source.time_zone)
    if source.time_label == "PeriodEnd" or times is starts:
        return ends
    within = (times != starts).fill_null(value=False)
    own = one_period_later(times.filter(within), period, source.time_zone)
    return ends.scatter(within.arg_true(), own) if within.any() else ends


def _published(published: Moments, ends: pl.Series, *, source: Source, dropped: pl.Series, where: Where) -> pl.Series:
    """Return when each row was published; raise DataError for a row that was so before its period had ended."""
    known_at = published.moments
    dates = published.is_date
    if dates.any():
        day_ends = period_ends(known_at.filter(dates), DAY, source.time_zone)
        known_at = known_at.clone().scatter(dates.arg_true(), day_ends)
    early = (known_at < ends).fill_null(value=False) & ~dropped
    if early.any():
        row = early.arg_true()[0]
        raise DataError(
            f"source {source.name!r}, {where(row)}, column {source.availability.column!r}: published at "
            f"{known_at[row]:%Y-%m-%dT%H:%MZ}, before its period ends at {ends[row]:%Y-%m-%dT%H:%MZ}.",
            "Correct `availability.column`, `timeLabel`, `timeZone` or `frequency`, or leave the column out so that "
            "the lag holds.",
        )
    return known_at
