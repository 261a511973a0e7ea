"""Rows of a table: what is kept, their identities, when they are known, and what cannot be true."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from table_case import NOW, make_spec, observations, read

from presage.errors import DataError, JobError
from presage.lake.tables import Lake
from presage.tabular.held import first_published, keep_rows
from presage.tabular.observations import observe
from presage.tabular.rows import kinds_of

ROWS = pl.DataFrame(
    {
        "at": ["2020-01-01T10:00Z", "2020-01-01T10:00Z", "2020-01-02T09:00Z"],
        "miles": ["1.5", "1.5", ""],
        "shop": ["north", "north", " south "],
        "note": [None, None, None],
        "price": ["7", "7", "9.5"],
    },
    schema_overrides={"note": pl.String},
)


def test_numbers_text_and_time_are_told_apart_and_empty_columns_left_out() -> None:
    rows = read(ROWS, make_spec()).rows
    assert kinds_of(rows) == {"miles": "number", "shop": "text", "price": "number"}
    assert rows["shop"].to_list() == ["north", "north", "south"]
    assert rows["miles"].to_list() == [1.5, 1.5, None]
    assert rows["time"].to_list()[0] == datetime(2020, 1, 1, 10, tzinfo=UTC)


def test_equal_rows_of_one_moment_are_kept_and_have_identities_of_their_own() -> None:
    given = read(ROWS, make_spec())
    first, second, third = given.rows["row"].to_list()
    assert first.removesuffix("-0") == second.removesuffix("-1")
    assert third not in (first, second)
    assert given.repeated == 1


def test_the_order_of_the_source_changes_no_identity() -> None:
    spec = make_spec()
    assert read(ROWS.reverse(), spec).rows.equals(read(ROWS, spec).rows)


def test_an_outcome_that_comes_later_leaves_the_identity_as_it_was() -> None:
    spec = make_spec()
    without = ROWS.with_columns(price=pl.Series(["7", "7", None]))
    assert read(without, spec).rows["row"].to_list() == read(ROWS, spec).rows["row"].to_list()


def test_rows_are_known_a_lag_after_their_time_and_days_at_their_end() -> None:
    spec = make_spec(source={"availability": {"lag": "6h"}})
    assert read(ROWS, spec).rows["known_at"].to_list()[0] == datetime(2020, 1, 1, 16, tzinfo=UTC)
    days = ROWS.with_columns(at=pl.lit("2020-01-01"))
    assert read(days, spec).rows["known_at"].to_list()[0] == datetime(2020, 1, 2, 6, tzinfo=UTC)


def test_a_row_that_is_published_before_its_own_time_is_refused() -> None:
    spec = make_spec(source={"availability": {"lag": "0s", "column": "told"}})
    told = ROWS.with_columns(told=pl.lit("2020-01-01T09:59Z"))
    with pytest.raises(DataError, match=r"trips\.csv, line 2, column 'told': published at 2020-01-01T09:59Z, before"):
        read(told, spec)


def test_a_cell_that_is_no_number_is_an_error_with_its_place_or_dropped() -> None:
    bad = pl.concat([ROWS, ROWS]).with_columns(price=pl.Series(["7", "x", "9.5", "7", "inf", "8"]))
    with pytest.raises(DataError, match=r"trips\.csv, line 3, column 'price': 'x' is no number\. 1 more row of 6"):
        read(bad, make_spec())
    given = read(bad, make_spec(source={"invalidRows": "Drop"}))
    assert (given.rows.height, given.dropped) == (4, 2)


def test_a_row_without_a_time_is_an_error_with_its_place() -> None:
    with pytest.raises(DataError, match=r"trips\.csv, line 4, column 'at': the row has no time"):
        read(ROWS.with_columns(at=pl.Series(["2020-01-01T10:00Z", "2020-01-01T10:00Z", None])), make_spec())


def test_a_target_that_holds_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"the target 'price' holds text such as 'cheap', not numbers"):
        read(ROWS.with_columns(price=pl.lit("cheap")), make_spec())


def test_a_missing_column_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no column 'price'; did you mean 'prize'\?"):
        read(ROWS.rename({"price": "prize"}), make_spec())


def test_a_column_whose_name_is_taken_is_refused() -> None:
    with pytest.raises(DataError, match="'Row' cannot be a column's name"):
        read(ROWS.rename({"miles": "Row"}), make_spec())


def test_dates_are_left_out_unless_they_are_asked_for() -> None:
    dated = ROWS.with_columns(ended=pl.lit(datetime(2020, 1, 3, tzinfo=UTC)))
    assert "ended" not in kinds_of(read(dated, make_spec()).rows)
    with pytest.raises(DataError, match="column 'ended' holds Datetime"):
        read(dated, make_spec(source={"columns": {"price": "price", "ended": "ended"}}))


def test_new_rows_may_lack_what_tells_the_outcome_and_nothing_else() -> None:
    spec = make_spec()
    kinds = {"miles": "number", "shop": "text", "price": "number"}
    rows = read(ROWS.drop("price"), spec, kinds=kinds, may_lack={"price"}).rows
    assert rows["price"].null_count() == 3
    with pytest.raises(DataError, match="no column 'shop'"):
        read(ROWS.drop("price", "shop"), spec, kinds=kinds, may_lack={"price"})


def test_later_rows_are_gone_and_later_outcomes_not_known() -> None:
    spec = make_spec(source={"availability": {"lag": "1d"}})
    seen = observe(read(ROWS, spec).rows, spec, datetime(2020, 1, 2, 10, tzinfo=UTC))
    assert (len(seen), len(seen.settled), len(seen.open)) == (3, 2, 1)
    assert len(observe(read(ROWS, spec).rows, spec, datetime(2020, 1, 1, 12, tzinfo=UTC))) == 2


def classify(**target: object) -> object:
    return make_spec(
        task="Classification",
        target={"source": "trips", "column": "price"} | target,
        models=[{"name": "xgboost"}],
        evaluation={"metric": "Brier"},
    )


def test_a_class_is_above_a_value_or_above_a_share_of_another_column() -> None:
    assert observations(ROWS, classify(above=8.0)).outcome.tolist() == [0, 0, 1]
    shared = observations(ROWS.with_columns(miles=pl.Series(["1", "1", ""])), classify(above=5.0, relativeTo="miles"))
    assert shared.outcome.tolist()[:2] == [1, 1]
    assert len(shared.open) == 1, "without the other column the class is not known"


def test_values_that_are_no_classes_are_refused() -> None:
    with pytest.raises(DataError, match="7 is no class; 3 of 3 rows are neither 0 nor 1"):
        observations(ROWS, classify())


@pytest.mark.parametrize(("target", "sentence"), [
    ({"relativeTo": "miles"}, "stands without spec.target.above"),
    ({"above": 0.2, "relativeTo": "shop"}, "no column 'shop' that holds numbers"),
])  # fmt: skip
def test_a_share_of_what_is_no_number_is_refused(target: dict[str, object], sentence: str) -> None:
    with pytest.raises(JobError, match=sentence):
        observations(ROWS, classify(**target))


def test_the_first_published_outcome_counts_and_was_known_no_sooner_than_it_was_fetched(tmp_path: Path) -> None:
    spec, lake = make_spec(), Lake(str(tmp_path))
    waiting = ROWS.with_columns(price=pl.Series(["7", "7", None]))
    revised = ROWS.with_columns(price=pl.Series(["8", "7", "11"]))
    fetched = [datetime(2020, 1, day, tzinfo=UTC) for day in (3, 5, 7)]
    for data, at in zip((waiting, ROWS, revised), fetched, strict=True):
        version = keep_rows(lake, "raw/trips", read(data, spec).rows, target="price", ingested_at=at)
    rows = first_published(lake.read(version), "price")
    assert rows["price"].to_list() == [7.0, 7.0, 9.5]
    assert rows["known_at"].to_list()[2] == fetched[1]
    again = keep_rows(lake, "raw/trips", read(ROWS, spec).rows, target="price", ingested_at=NOW)
    assert again == version, "a repeat adds nothing"


def tell(lake: Lake, prices: list[str | None], day: int) -> list[tuple[float | None, int]]:
    """What a lake tells of equal rows once a source gave them on a day: prices, and the days they were known."""
    data = pl.DataFrame(
        {"at": ["2020-01-01T10:00Z"] * len(prices), "miles": ["1.5"] * len(prices), "price": prices},
        schema_overrides={"price": pl.String},
    )
    at = datetime(2020, 1, day, tzinfo=UTC)
    version = keep_rows(lake, "raw/trips", read(data, make_spec()).rows, target="price", ingested_at=at)
    again = keep_rows(lake, "raw/trips", read(data, make_spec()).rows, target="price", ingested_at=NOW)
    assert again == version, "a repeat adds nothing"
    told = first_published(lake.read(version), "price")
    assert told["row"].n_unique() == told.height
    known = told["known_at"].dt.day()
    return sorted(zip(told["price"], known, strict=True), key=lambda one: (one[0] is None, one))


@pytest.mark.parametrize(("before", "after", "expected"), [
    (["5", None], ["5", "3"], [(3, 5), (5, 1)]),
    (["5"], ["5", "3"], [(3, 1), (5, 1)]),
    ([None], ["3", None], [(3, 5), (None, 1)]),
    (["5", "5"], ["5", "3", "5"], [(3, 1), (5, 1), (5, 1)]),
    (["7", None], ["8", None], [(7, 1), (None, 1)]),
    (["7", None, None], ["8", None, None, "4"], [(4, 5), (7, 1), (None, 1), (None, 1)]),
    (["7", None], ["6", "7"], [(6, 5), (7, 1)]),
    (["7", "8"], ["8"], [(7, 1), (8, 1)]),
    (["7"], [None], [(7, 1)]),
])  # fmt: skip
def test_outcomes_of_equal_rows_are_neither_lost_nor_doubled(
    tmp_path: Path, before: list[str | None], after: list[str | None], expected: list[tuple[float | None, int]]
) -> None:
    lake = Lake(str(tmp_path))
    tell(lake, before, 3)
    assert tell(lake, after, 5) == expected


def test_equal_rows_that_come_and_are_settled_over_time_are_told_as_the_source_has_them(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    lake = Lake(str(tmp_path))
    prices: list[str | None] = []
    for day in range(3, 11):
        prices = [price or random.choice([None, "1", "2", "3"]) for price in [*prices, None, None]]
        told = [price for price, _ in tell(lake, prices, day)]
        assert told == [*sorted(float(price) for price in prices if price), *[None] * prices.count(None)]


def test_an_outcome_that_comes_with_a_later_publication_settles_its_row(tmp_path: Path) -> None:
    spec = make_spec(source={"availability": {"lag": "0s", "column": "told"}})
    waiting = ROWS.with_columns(price=pl.Series(["7", "7", None]), told=pl.lit("2020-01-03T00:00Z"))
    settled = ROWS.with_columns(told=pl.Series(["2020-01-03T00:00Z"] * 2 + ["2020-01-06T00:00Z"]))
    lake = Lake(str(tmp_path))
    for data, at in ((waiting, datetime(2020, 1, 4, tzinfo=UTC)), (settled, datetime(2020, 1, 7, tzinfo=UTC))):
        version = keep_rows(lake, "raw/trips", read(data, spec).rows, target="price", ingested_at=at)
    rows = first_published(lake.read(version), "price")
    assert rows["price"].to_list() == [7.0, 7.0, 9.5]
    assert rows["known_at"].to_list()[2] == datetime(2020, 1, 7, tzinfo=UTC)
