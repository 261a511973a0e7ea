"""The rules of a bitemporal table: which of the rows that come in are new vintages, and which vintage was known when.

1. A (series, time) that the table lacks is added with its own known_at.
2. A row that equals the newest vintage changes nothing.
3. A row that differs is a revision. Where its known_at is later than the newest vintage's, the source publishes
   vintages and that known_at holds. Else its known_at says when the *first* value was known, not this one: the revision
   was known when it was ingested, and never before the vintage that it revises was known and ingested: what a read
   that is dated back finds has come after what was read before it.
4. Of several vintages of the same (series, time) in one batch, the newest follows rules 1 to 3. The others are history
   that the source publishes: each is added with its own known_at, unless the table has a vintage of that known_at or
   already said the same at that moment.
5. A value column that a batch lacks keeps its last value; a column that the table lacks is null in the vintages it has.
6. Where the source tells when each row was published, rule 4 also holds for the newest of a batch that was published
   before the table's newest vintage.
7. A read of a source may come in several batches. What an earlier batch of the same read added is no vintage of its own
   beside what a later one says of the same (series, time): as within one batch, the later row of the same key counts,
   and the earlier one leaves the table as if it had never come. Other vintages of such a (series, time), which the
   source publishes, are judged together with the batch. So a read gives the same table in one batch or in many, where
   the vintages of one row come in the order of their publication. A read that was broken off and goes on later is two
   reads: what the second one says otherwise is a revision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP, value_columns

_GROUP = [SERIES, TIME]
_HELD = "held by the table"
_PLACE = "place of the last held row"
_NEWEST = "when the newest held row was known"
_REVISED = "when a revision of it was known"
_NEXT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Continued:
    """That a batch is one of several of one read.

    Attributes:
        since: Version of the table before the read's first batch; -1 where there was no table.
        published: Whether the source tells when each row was published, so that rows of the same series and time are
            vintages of each other; else the later one counts.
    """

    since: int
    published: bool


@dataclass(frozen=True)
class Merged:
    """A table, or a month of one, and what a batch adds to it.

    Attributes:
        kept: The rows that stay.
        new: The rows that are added.
        replaces: Whether others than those that stay were there.
    """

    kept: pl.DataFrame
    new: pl.DataFrame
    replaces: bool = False

    @property
    def changes(self) -> bool:
        """Whether the batch changes anything."""
        return self.replaces or not self.new.is_empty()

    @property
    def content(self) -> pl.DataFrame:
        """All rows, in no order."""
        return self.kept if self.new.is_empty() else pl.concat([self.kept, self.new], how="diagonal")


def check_rows(table: str, rows: pl.DataFrame) -> None:
    """Raise DataError unless the rows keep the row contract of `presage.frame`; their order does not matter."""
    wanted: dict[str, pl.DataType] = {SERIES: pl.String(), TIME: TIMESTAMP, KNOWN_AT: TIMESTAMP}
    wanted |= dict.fromkeys(value_columns(rows), pl.Float64())
    for name, kind in wanted.items():
        found = rows.schema.get(name)
        if found != kind:
            raise DataError(
                f"Table {table}: column {name!r} is {'missing' if found is None else found}, not {kind}.",
                "Give it that type before the rows are merged.",
            )
    values = [rows.get_column(name) for name in value_columns(rows)]
    faults = {
        "a null in series, time or known_at": any(rows.select(KEY).null_count().row(0)),
        "two rows of the same series, time and known_at": rows.select(KEY).is_duplicated().any(),
        "a value that is NaN or infinite": any(not column.is_finite().all() for column in values),
    }
    for fault, present in faults.items():
        if present:
            raise DataError(f"Table {table}: the rows have {fault}.", "Correct the rows before they are merged.")


def merge_batch(
    held: pl.DataFrame,
    rows: pl.DataFrame,
    ingested_at: datetime,
    *,
    continued: Continued | None = None,
    before: Callable[[], pl.DataFrame],
) -> Merged:
    """Return what a table holds after a batch, by the rules above.

    Args:
        held: All vintages of the table, with `ingested_at`; it may be empty.
        rows: The batch: the row contract of `presage.frame`, in any order.
        ingested_at: When the batch was fetched, UTC; the same for all batches of a read.
        continued: Given, the batch is one of several of one read.
        before: Gives what the table held before that read; called only where rule 7 may hold.
    """
    published = continued is not None and continued.published
    plain = Merged(held, new_vintages(held, rows, ingested_at, published=published))
    if continued is None:
        return plain
    rows = rows.drop(INGESTED_AT, strict=False)
    fresh = held.filter(pl.col(INGESTED_AT) == ingested_at).drop(INGESTED_AT)
    fresh = fresh.join(rows.select(_GROUP).unique(), on=_GROUP, how="semi")
    told = [name for name in fresh.columns if name in rows.columns]
    otherwise = rows.join(fresh, on=told, how="anti", nulls_equal=True).select(_GROUP).unique()
    fresh = fresh.join(otherwise, on=_GROUP, how="semi")
    if fresh.is_empty():
        return plain
    fresh = fresh.join(before().select(KEY), on=KEY, how="anti")
    if fresh.is_empty():
        return plain
    kept = held.join(fresh, on=KEY, how="anti")
    if published:
        told_before = _as_told(fresh, kept, ingested_at)
        rows = pl.concat([rows, told_before.join(rows, on=KEY, how="anti")], how="diagonal")
    again = Merged(kept, new_vintages(kept, rows, ingested_at, published=published), replaces=True)
    return Merged(held, held.clear()) if _say_the_same(again.content, held) else again


def _as_told(fresh: pl.DataFrame, kept: pl.DataFrame, ingested_at: datetime) -> pl.DataFrame:
    """Return vintages that a read added with the known_at that the source told; rule 3 may have made it later."""
    revised_at = _revised_at(ingested_at).alias(_REVISED)
    before = latest(kept).select(*_GROUP, pl.col(KNOWN_AT).alias(_NEWEST), revised_at)
    told = pl.when(pl.col(KNOWN_AT) == pl.col(_REVISED)).then(_NEWEST).otherwise(KNOWN_AT)
    told_before = fresh.join(before, on=_GROUP, how="left").with_columns(told.alias(KNOWN_AT)).drop(_NEWEST, _REVISED)
    return told_before.unique(KEY, keep="last", maintain_order=True)


def _revised_at(ingested_at: datetime) -> pl.Expr:
    """Return when a revision of each vintage was known that comes at a moment and does not tell it; see rule 3."""
    return pl.max_horizontal(pl.lit(ingested_at).cast(TIMESTAMP), pl.col(KNOWN_AT) + _NEXT, pl.col(INGESTED_AT))


def _say_the_same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    one, other = one.drop(INGESTED_AT), other.drop(INGESTED_AT)
    same_columns = set(one.columns) == set(other.columns)
    return same_columns and one.sort(KEY).equals(other.select(one.columns).sort(KEY))


def new_vintages(
    held: pl.DataFrame, rows: pl.DataFrame, ingested_at: datetime, *, published: bool = False
) -> pl.DataFrame:
    """Return the rows that a table has to add so that it also says what a batch says.

    Args:
        held: All vintages of the table, with `ingested_at`; it may be empty.
        rows: The batch: the row contract of `presage.frame`, in any order.
        ingested_at: When the batch was fetched, UTC.
        published: Whether the source tells when each row was published.

    Returns:
        The new vintages, sorted by series, time and known_at, with `ingested_at` and the value columns of both.
    """
    absent = [name for name in value_columns(held) if name not in rows.columns]
    rows = rows.drop(INGESTED_AT, strict=False).sort(KEY)
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)
    held = pl.concat([held, rows.clear()], how="diagonal").select(*rows.columns, INGESTED_AT)
    ingested = pl.lit(ingested_at).cast(TIMESTAMP).alias(INGESTED_AT)
    last = rows.select(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in _GROUP)
    ).to_series()
    if published:
        last &= ~_is_older(rows, latest(held))
    history = _history(held.drop(INGESTED_AT), rows.filter(~last), absent)
    if history.height:
        held = pl.concat([held, history.with_columns(ingested)]).sort(KEY)
    changes = _changes(latest(held), rows.filter(last), absent, ingested_at)
    new = pl.concat([history, changes]).sort(KEY)
    return new.with_columns(ingested)


def _is_older(rows: pl.DataFrame, newest: pl.DataFrame) -> pl.Series:
    """Return whether each row was published before the newest vintage of its series and time."""
    joined = rows.select(KEY).join(
        newest.select(*_GROUP, pl.col(KNOWN_AT).alias(_NEWEST)), on=_GROUP, how="left", maintain_order="left"
    )
    return joined.select((pl.col(KNOWN_AT) < pl.col(_NEWEST)).fill_null(value=False)).to_series()


def latest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the newest vintage of each (series, time), sorted by both."""
    return rows.sort(KEY).unique(_GROUP, keep="last", maintain_order=True)


def as_known(rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Return the vintage of each (series, time) that was the newest at a moment; what was not known yet is left out."""
    return latest(rows.filter(pl.col(KNOWN_AT) <= moment))


def _history(held: pl.DataFrame, superseded: pl.DataFrame, absent: list[str]) -> pl.DataFrame:
    """Return the vintages that a batch itself supersedes and that the table has no word of."""
    if superseded.is_empty():
        return superseded
    unknown = superseded.join(held, on=KEY, how="anti")
    groups = held.join(unknown.select(_GROUP).unique(), on=_GROUP, how="semi")
    lines = pl.concat(
        [groups.with_columns(pl.lit(value=True).alias(_HELD)), unknown.with_columns(pl.lit(value=False).alias(_HELD))]
    )
    lines = lines.sort(KEY)
    if absent:
        place = pl.when(_HELD).then(_PLACE).forward_fill().over(_GROUP)
        lines = lines.with_row_index(_PLACE).with_columns(pl.col(absent).gather(place)).drop(_PLACE)
    same = [*_GROUP, *value_columns(superseded)]
    repeats = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in same)
    return lines.filter(~pl.col(_HELD) & ~repeats).drop(_HELD)


def _changes(known: pl.DataFrame, newest: pl.DataFrame, absent: list[str], ingested_at: datetime) -> pl.DataFrame:
    """Return the rows of a batch that say something else than the table's newest vintages, with their known_at."""
    places = known.select(*_GROUP, pl.int_range(pl.len()).alias(_PLACE))
    place = newest.select(_GROUP).join(places, on=_GROUP, how="left", maintain_order="left").get_column(_PLACE)
    added = newest.filter(place.is_null())
    revised = newest.filter(place.is_not_null())
    before = known[place.drop_nulls()]
    revised = revised.with_columns(before.select(absent))
    differs = pl.Series([False]).new_from_index(0, revised.height)
    for name in value_columns(revised):
        differs |= revised.get_column(name).ne_missing(before.get_column(name))
    revised_at = before.select(_revised_at(ingested_at)).to_series()
    published = pl.col(KNOWN_AT) > before.get_column(KNOWN_AT)
    revised = revised.with_columns(pl.when(published).then(KNOWN_AT).otherwise(revised_at).alias(KNOWN_AT))
    return pl.concat([added, revised.filter(differs)])
