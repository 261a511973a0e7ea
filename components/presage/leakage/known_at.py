"""Whether rows say honestly when they were known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from presage.bars.periods import periods_between
from presage.frame import KNOWN_AT, SERIES, TIME, BoolArray, IntArray, TimeArray, moment
from presage.leakage.finding import Finding, leak, passed, skipped
from presage.spec.base import Frequency

NAME = "known-at"


def period_ends_of(rows: pl.DataFrame, frequency: Frequency, zone: str) -> TimeArray:
    """Return the end (exclusive) of each row's period; (n,) datetime64[us], UTC.

    Args:
        rows: The row contract of `presage.frame`, in any order.
        frequency: Length of a row's period.
        zone: IANA zone whose days periods cover.
    """
    time: TimeArray = rows[TIME].to_numpy()
    if not len(time):
        return time
    periods = periods_between(moment(time.min()), moment(time.max()), frequency, zone)
    return periods.end(periods.number(time))


def early_rows(rows: pl.DataFrame, frequency: Frequency, zone: str) -> BoolArray:
    """Return which rows were known before their period ended; (n,) bool. The arguments are as of `period_ends_of`."""
    early: BoolArray = rows[KNOWN_AT].to_numpy() < period_ends_of(rows, frequency, zone)
    return early


def check_known_at(source: str, early: pl.DataFrame, *, columns: Sequence[str], rows: int) -> Finding:
    """Tell of the rows of a source that were known before their period ended.

    Args:
        source: Name of the source.
        early: Those rows.
        columns: The columns that the job reads.
        rows: All rows of the source.
    """
    name = f"{NAME} {source}"
    if early.is_empty():
        return passed(name, f"none of {rows:,} rows was known before its period ended")
    first = early.sort(TIME, KNOWN_AT).row(0, named=True)
    whose = f" of series {first[SERIES]!r}" if first[SERIES] != source else ""
    return leak(
        name,
        "unclosed bar",
        f"The row of {first[TIME]:%Y-%m-%dT%H:%MZ}{whose} was known at {first[KNOWN_AT]:%Y-%m-%dT%H:%MZ}, before its "
        f"period ended; so were {early.height:,} of {rows:,} rows.",
        column=", ".join(f"{source}.{column}" for column in columns),
        time=first[TIME],
    )


def check_contradictions(source: str, table: pl.DataFrame, keys: Mapping[str, str], columns: Sequence[str]) -> Finding:
    """Tell whether a source gives several values for one time and moment of publication.

    Of such rows the last one is kept, with the moment at which the first could be known.

    Args:
        source: Name of the source.
        table: The table as its adapter fetched it.
        keys: Its columns that tell one row from another, by what they are.
        columns: The columns that the job reads, as the table calls them.
    """
    name = f"revisions {source}"
    present = [column for column in columns if column in table.columns]
    if not present:
        return skipped(name, "none of the columns that the job reads is in its table")
    groups = table.with_row_index("place").group_by(list(keys.values()), maintain_order=True)
    told = groups.agg(
        pl.col("place").get(1, null_on_oob=True), *(pl.col(column).drop_nulls().n_unique() for column in present)
    )
    several: dict[str, IntArray] = {column: (told[column] > 1).arg_true().to_numpy() for column in present}
    column = next((column for column, places in several.items() if len(places)), None)
    if column is None:
        return passed(name, "no time has several values that were known at the same moment")
    row = told.row(int(several[column][0]), named=True)
    time = row[keys[TIME]]
    return leak(
        name,
        "revision used too early",
        f"{len(several[column]):,} times have several values that were all known at once, the first {time}: the last "
        f"of them would count as known from the first on.",
        column=f"{source}.{column}",
        row=row["place"],
    )
