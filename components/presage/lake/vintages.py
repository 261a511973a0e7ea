"""The rules of a bitemporal table: which of the rows that come in are new vintages, and which vintage was known when.

1. A (series, time) that the table lacks is added with its own known_at.
2. A row that equals the newest vintage changes nothing.
3. A row that differs is a revision. Where its known_at is later than the newest vintage's, the source publishes
   vintages and that known_at holds. Else its known_at says when the *first* value was known, not this one: the revision
   was known when it was ingested, and never before the vintage that it revises.
4. Of several vintages of the same (series, time) in one batch, the newest follows rules 1 to 3. The others are history
   that the source publishes: each is added with its own known_at, unless the table has a vintage of that known_at or
   already said the same at that moment.
5. A value column that a batch lacks keeps its last value; a column that the table lacks is null in the vintages it has.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from presage.errors import DataError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP, value_columns

_GROUP = [SERIES, TIME]
_HELD = "held by the table"
_PLACE = "place of the last held row"


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


def new_vintages(held: pl.DataFrame, rows: pl.DataFrame, ingested_at: datetime) -> pl.DataFrame:
    """Return the rows that a table has to add so that it also says what a batch says.

    Args:
        held: All vintages of the table, with `ingested_at`; it may be empty.
        rows: The batch: the row contract of `presage.frame`, in any order.
        ingested_at: When the batch was fetched, UTC.

    Returns:
        The new vintages, sorted by series, time and known_at, with `ingested_at` and the value columns of both.
    """
    absent = [name for name in value_columns(held) if name not in rows.columns]
    rows = rows.drop(INGESTED_AT, strict=False).sort(KEY)
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)
    held = pl.concat([held.drop(INGESTED_AT), rows.clear()], how="diagonal").select(rows.columns)
    last = rows.select(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in _GROUP)
    ).to_series()
    history = _history(held, rows.filter(~last), absent)
    if history.height:
        held = pl.concat([held, history]).sort(KEY)
    changes = _changes(latest(held), rows.filter(last), absent, ingested_at)
    new = pl.concat([history, changes]).sort(KEY)
    return new.with_columns(pl.lit(ingested_at).cast(TIMESTAMP).alias(INGESTED_AT))


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
    revised_at = pl.max_horizontal(
        pl.lit(ingested_at).cast(TIMESTAMP), before.get_column(KNOWN_AT) + pl.duration(microseconds=1)
    )
    published = pl.col(KNOWN_AT) > before.get_column(KNOWN_AT)
    revised = revised.with_columns(pl.when(published).then(KNOWN_AT).otherwise(revised_at).alias(KNOWN_AT))
    return pl.concat([added, revised.filter(differs)])
