"""The rules of the bitemporal lake, by example and against a plain dictionary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presage.errors import DataError
from presage.frame import INGESTED_AT, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.tables import Lake
from presage.lake.vintages import as_known, check_rows, latest, new_vintages

START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ("x", "y")


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def batch(*rows: tuple, columns: tuple[str, ...] = ("x",)) -> pl.DataFrame:
    """Make rows of (known_at in hours, values...) or ((series, time), known_at, values...)."""
    schema = {SERIES: pl.String, TIME: TIMESTAMP, KNOWN_AT: TIMESTAMP} | dict.fromkeys(columns, pl.Float64)
    full = [row if isinstance(row[0], tuple) else (("s", 0), *row) for row in rows]
    data = [(series, at(time), at(known), *values) for (series, time), known, *values in full]
    return pl.DataFrame(data, schema=schema, orient="row")


def merged(*batches: tuple[float, pl.DataFrame]) -> pl.DataFrame:
    """Merge batches, each with its ingestion time in hours, and return all vintages in the order of known_at."""
    held = batches[0][1].clear().with_columns(pl.lit(None, TIMESTAMP).alias(INGESTED_AT))
    for ingested_at, rows in batches:
        held = pl.concat([held, new_vintages(held, rows, at(ingested_at))], how="diagonal")
    return held.sort(SERIES, TIME, KNOWN_AT)


def hours(rows: pl.DataFrame, *columns: str) -> list[tuple]:
    """Return (known_at in hours, values...)."""
    known = (rows[KNOWN_AT] - START).dt.total_microseconds() / 3.6e9
    return [(moment, *values) for moment, values in zip(known, rows.select(columns).iter_rows(), strict=True)]


MICROSECOND = 1 / 3.6e9


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([(9, [(1, 5.0)])], [(1, 5.0)]),
        ([(9, [(1, 5.0)]), (10, [(1, 5.0)])], [(1, 5.0)]),
        ([(9, [(1, 5.0)]), (10, [(3, 5.0)])], [(1, 5.0)]),
        ([(9, [(1, 5.0)]), (10, [(1, 6.0)])], [(1, 5.0), (10, 6.0)]),
        ([(9, [(1, 5.0)]), (10, [(1, 6.0)]), (11, [(1, 5.0)])], [(1, 5.0), (10, 6.0), (11, 5.0)]),
        ([(9, [(1, 5.0)]), (10, [(3, 6.0)])], [(1, 5.0), (3, 6.0)]),
        ([(9, [(1, 5.0)]), (10, [(1, None)])], [(1, 5.0), (10, None)]),
        ([(9, [(1, None)]), (10, [(1, None)])], [(1, None)]),
        ([(9, [(20, 5.0)]), (10, [(20, 6.0)])], [(20, 5.0), (20 + MICROSECOND, 6.0)]),
        ([(9, [(1, 5.0)]), (10, [(1, 6.0)]), (10, [(1, 7.0)])], [(1, 5.0), (10, 6.0), (10 + MICROSECOND, 7.0)]),
        ([(9, [(1, 5.0)]), (3, [(1, 6.0)])], [(1, 5.0), (9, 6.0)]),
        ([(9, [(1, 5.0)]), (3, [(1, 6.0)]), (4, [(1, 7.0)])], [(1, 5.0), (9, 6.0), (9 + MICROSECOND, 7.0)]),
        ([(9, [(1, 5.0), (2, 6.0), (3, 6.0), (4, 5.0)])], [(1, 5.0), (2, 6.0), (4, 5.0)]),
        ([(9, [(1, 5.0), (2, 6.0)]), (10, [(1, 5.0), (2, 6.0)])], [(1, 5.0), (2, 6.0)]),
        ([(9, [(1, 5.0), (2, 6.0)]), (10, [(1, 5.0), (2, 6.0), (8, 7.0)])], [(1, 5.0), (2, 6.0), (8, 7.0)]),
        ([(9, [(2, 6.0)]), (10, [(1, 5.0), (2, 6.0)])], [(1, 5.0), (2, 6.0)]),
        ([(9, [(1, 5.0), (2, 6.0)]), (10, [(1, 9.0), (2, 6.0)])], [(1, 5.0), (2, 6.0)]),
    ],
    ids=[
        "a new row keeps its known_at",
        "the same row again is nothing new",
        "nor is the same value published later",
        "a revision of a back-filled row is known when it is ingested",
        "so is its withdrawal",
        "a vintage that the source publishes keeps its known_at",
        "a value can be withdrawn",
        "no value twice is nothing new",
        "a revision is known after what it revises",
        "also in the same ingestion",
        "a read that is dated back finds revisions of what was read before it",
        "also one after the other",
        "published vintages that repeat each other are one",
        "a history that comes again is nothing new",
        "a history goes on",
        "an older vintage that the table lacks is added where it belongs",
        "what was recorded of the past stands",
    ],
)
def test_the_rules_of_vintages(batches, expected):
    found = merged(*((moment, batch(*rows)) for moment, rows in batches))
    assert found["x"].to_list() == [value for _, value in expected]
    assert found[KNOWN_AT].to_list() == [at(known) for known, _ in expected]


def test_a_revision_waits_for_the_ingestion_of_its_own_row_alone():
    other = (("s", 4), 2, 1.0)
    found = merged((4, batch((1, 5.0))), (9, batch((1, 5.0), other)), (6, batch((1, 6.0), (("s", 4), 2, 2.0))))
    assert hours(found, "x") == [(1, 5.0), (6, 6.0), (2, 1.0), (9, 2.0)]


def test_every_vintage_says_when_it_was_ingested():
    found = merged((9, batch((1, 5.0))), (10, batch((1, 6.0))), (11, batch((1, 6.0))))
    assert found[INGESTED_AT].to_list() == [at(9), at(10)]


def test_a_new_column_is_null_in_old_vintages_and_a_dropped_one_keeps_its_value():
    found = merged(
        (9, batch((1, 5.0))),
        (10, batch((1, 5.0, 7.0), columns=("x", "y"))),
        (11, batch((1, 8.0), columns=("y",))),
        (12, batch((20, 1.0), (21, 2.0), columns=("y",))),
    )
    assert hours(found, "x", "y") == [(1, 5.0, None), (10, 5.0, 7.0), (11, 5.0, 8.0), (20, 5.0, 1.0), (21, 5.0, 2.0)]


def test_what_was_known_at_a_moment_is_the_newest_vintage_then():
    rows = merged((9, batch((1, 5.0), (("s", 4), 6, 1.0))), (10, batch((1, 6.0))))
    assert as_known(rows, at(0)).is_empty()
    assert as_known(rows, at(1))["x"].to_list() == [5.0]
    assert as_known(rows, at(9))["x"].to_list() == [5.0, 1.0]
    assert as_known(rows, at(10))["x"].to_list() == [6.0, 1.0]
    assert latest(rows).equals(as_known(rows, at(10)))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (batch((1, 5.0)).drop(TIME), "column 'time' is missing"),
        (batch((1, 5.0)).with_columns(pl.col(TIME).dt.replace_time_zone(None)), "column 'time' is Datetime"),
        (batch((1, 5.0)).cast({"x": pl.Int64}), "column 'x' is Int64, not Float64"),
        (batch((1, 5.0)).with_columns(pl.lit(None, pl.String).alias(SERIES)), "a null in series, time or known_at"),
        (batch((1, 5.0), (1, 6.0)), "two rows of the same series, time and known_at"),
        (batch((1, float("nan"))), "a value that is NaN or infinite"),
        (batch((1, float("-inf"))), "a value that is NaN or infinite"),
    ],
)
def test_rows_that_break_the_contract_are_refused(rows, complaint):
    with pytest.raises(DataError, match="Table raw/x: .*" + complaint):
        check_rows("raw/x", rows)


class Model:
    """The same rules on dictionaries: vintages[series, time][known_at] holds the values of all columns."""

    def __init__(self) -> None:
        self.vintages: dict[tuple, dict[datetime, dict[str, float | None]]] = {}
        self.ingested: dict[tuple, dict[datetime, datetime]] = {}

    def merge(self, rows: pl.DataFrame, ingested_at: datetime) -> None:
        batches: dict[tuple, dict[datetime, dict[str, float | None]]] = {}
        for row in rows.iter_rows(named=True):
            values = {name: row[name] for name in COLUMNS if name in row}
            batches.setdefault((row[SERIES], row[TIME]), {})[row[KNOWN_AT]] = values
        for key, published in batches.items():
            held = self.vintages.setdefault(key, {})
            *superseded, newest = sorted(published)
            for known_at in superseded:
                before = self.known(key, known_at)
                said = (before or dict.fromkeys(COLUMNS)) | published[known_at]
                if known_at not in held and said != before:
                    held[known_at] = said
            before = self.known(key, max(held, default=START))
            said = (before or dict.fromkeys(COLUMNS)) | published[newest]
            if before is None:
                held[newest] = said
            elif said != before:
                last = max(held)
                revised = max(
                    ingested_at, last + timedelta(microseconds=1), self.ingested.get(key, {}).get(last, ingested_at)
                )
                held[newest if newest > last else revised] = said
            times = self.ingested.setdefault(key, {})
            times.update({known_at: ingested_at for known_at in held if known_at not in times})

    def known(self, key: tuple, moment: datetime) -> dict[str, float | None] | None:
        held = {known_at: values for known_at, values in self.vintages[key].items() if known_at <= moment}
        return held[max(held)] if held else None

    def as_of(self, moment: datetime) -> dict[tuple, dict[str, float | None]]:
        seen = {key: self.known(key, moment) for key in self.vintages}
        return {key: values for key, values in seen.items() if values is not None}


values = st.sampled_from([None, 1.0, 2.0, 3.0])
keys = st.tuples(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), st.integers(0, 12))


@st.composite
def batches(draw) -> tuple[int, pl.DataFrame]:
    columns = draw(st.sampled_from([("x",), ("y",), ("x", "y")]))
    row = st.tuples(*[values] * len(columns))
    rows = draw(st.dictionaries(keys, row, max_size=8))
    return draw(st.integers(0, 14)), batch(*((*key, *row) for key, row in rows.items()), columns=columns)


def seen_as_of(rows: pl.DataFrame, moment: datetime) -> dict[tuple, dict[str, float | None]]:
    known = as_known(rows, moment)
    return {(row[SERIES], row[TIME]): {name: row.get(name) for name in COLUMNS} for row in known.iter_rows(named=True)}


@settings(max_examples=100, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=6))
def test_any_merges_give_as_of_any_moment_what_a_plain_dictionary_gives(merges):
    model = Model()
    for ingested_at, rows in merges:
        model.merge(rows, at(ingested_at))
    found = merged(*merges)
    for moment in [at(number) for number in range(-1, 16)] + found[KNOWN_AT].to_list():
        assert seen_as_of(found, moment) == model.as_of(moment)
    again = merged(*merges, merges[-1])
    assert again.equals(found)


@settings(max_examples=12, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=4))
def test_the_lake_gives_what_a_plain_dictionary_gives(tmp_path_factory, merges):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    model = Model()
    for ingested_at, rows in merges:
        version = lake.merge("raw/x", rows, ingested_at=at(ingested_at), monthly=len(merges) % 2 == 0)
        model.merge(rows, at(ingested_at))
    for number in range(-1, 16):
        assert seen_as_of(lake.read(version, as_of=at(number)), at(number)) == model.as_of(at(number))
