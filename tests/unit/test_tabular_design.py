"""What models see of a row, what is learnt of categories, and features that tell the target."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from table_case import make_spec, make_table, observations

from presage.errors import DataError, JobError, LakeError, LeakageError
from presage.features.dates import calendar_part
from presage.spec.job import PredictionJobSpec
from presage.tabular.design import DESIGN, Inputs, fit_design, inputs_of, read_design
from presage.tabular.leakage import require_no_copies
from presage.tabular.rows import kinds_of

DATA = make_table(1, signal=1.0, days=50)


def inputs(spec: PredictionJobSpec, data: pl.DataFrame = DATA) -> Inputs:
    return inputs_of(spec, kinds_of(observations(data, spec).table))


def features(*entries: dict[str, object]) -> PredictionJobSpec:
    return make_spec(features=list(entries))


def columns(*names: str) -> dict[str, object]:
    return {"columns": {"columns": [f"trips.{name}" for name in names]}}


def test_by_default_all_columns_but_the_target_are_features() -> None:
    assert inputs(make_spec()).columns == {"miles": "number", "shop": "text", "mood": "number", "dear": "number"}


def test_categories_are_columns_and_rare_and_unseen_ones_share_one() -> None:
    spec = features(columns("miles", "shop"))
    seen = observations(DATA.with_columns(shop=pl.Series(["once"] + ["north", "south"] * 99 + ["north"])), spec)
    design = fit_design(inputs(spec), seen.table, "Regression")
    assert design.names == ("trips.miles", "trips.shop=north", "trips.shop=south", "trips.shop~rare")
    new = seen.table[:5].with_columns(shop=pl.Series(["north", "south", "once", "never seen", None]))
    coded = design.matrix(new)[:, 1:]
    assert coded[:4].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert np.isnan(coded[4]).all(), "a missing category stays missing"


def test_prose_and_the_many_are_no_categories() -> None:
    spec = features(columns("shop"))
    seen = observations(DATA.with_columns(shop=pl.lit("long " * 30)), spec)
    assert fit_design(inputs(spec), seen.table, "Regression").names == ("trips.shop~rare",)


def test_missing_numbers_stay_missing() -> None:
    spec = features(columns("miles"))
    seen = observations(DATA.with_columns(miles=pl.when(pl.int_range(pl.len()) > 0).then("miles")), spec)
    matrix = fit_design(inputs(spec), seen.table, "Regression").matrix(seen.table)
    assert np.isnan(matrix).sum() == 1


def test_the_calendar_is_that_of_the_rows_own_time_in_the_sources_zone() -> None:
    spec = make_spec(features=[{"calendar": {"parts": ["hour"]}}], source={"timeZone": "America/Chicago"})
    seen = observations(DATA, spec)
    design = fit_design(inputs(spec), seen.table, "Regression")
    assert design.names == ("calendar.hour_sin", "calendar.hour_cos")
    wanted = calendar_part(seen.time, zone="America/Chicago", part="hour", wave="sin")
    assert design.matrix(seen.table)[:, 0].tolist() == wanted.tolist()


def test_a_design_is_read_back_as_it_was_and_a_damaged_one_refused() -> None:
    spec = make_spec()
    design = fit_design(inputs(spec), observations(DATA, spec).table, "Regression")
    assert read_design({DESIGN: design.to_bytes()}) == design
    for files in ({}, {DESIGN: b"{}"}, {DESIGN: design.to_bytes()[:-9]}):
        with pytest.raises(LakeError, match=r"design\.json"):
            read_design(files)


def test_rows_without_a_column_that_was_learnt_from_are_refused() -> None:
    spec = make_spec()
    seen = observations(DATA, spec)
    with pytest.raises(DataError, match="no column 'mood', which the model learnt from"):
        fit_design(inputs(spec), seen.table, "Regression").matrix(seen.table.drop("mood"))


@pytest.mark.parametrize(("feature", "sentence"), [
    ({"lag": {"columns": ["trips.price"], "steps": [1]}}, r"features\[0\]: lag looks at earlier bars"),
    ({"columns": {"columns": ["weather.rain"]}}, "weather.rain is of another source"),
])  # fmt: skip
def test_features_that_look_beyond_the_row_are_refused(feature: dict[str, object], sentence: str) -> None:
    with pytest.raises(JobError, match=sentence):
        inputs(features(feature))


def test_a_feature_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no column 'mile'; the nearest is 'miles'"):
        inputs(features(columns("mile")))


def test_the_target_is_no_feature_under_any_name() -> None:
    with pytest.raises(LeakageError, match=r"feature trips\.price: the target is made of it"):
        inputs(features(columns("price")))
    named = make_spec(
        source={"columns": {"price": "price", "cost": "price", "miles": "miles"}}, features=[columns("cost")]
    )
    with pytest.raises(LeakageError, match=r"feature trips\.cost: the target is made of it"):
        inputs(named)
    assert "cost" not in inputs(named.model_copy(update={"features": ()})).columns


def test_the_column_of_a_share_stays_a_feature() -> None:
    spec = make_spec(
        task="Classification",
        target={"source": "trips", "column": "price", "above": 1.5, "relativeTo": "mood"},
        models=[{"name": "xgboost"}],
        evaluation={"metric": "LogLoss"},
    )
    assert "mood" in inputs(spec).columns
    assert "price" not in inputs(spec).columns


def test_a_feature_that_is_known_later_than_the_row_is_refused() -> None:
    published = make_spec(
        source={
            "columns": {"price": "price", "miles": "miles", "told": "told"},
            "availability": {"lag": "0s", "column": "told"},
            "timeUnit": "s",
        },
        features=[columns("told")],
    )
    with pytest.raises(LeakageError, match="it tells when the row was published, which is later than the row"):
        inputs_of(published, {"price": "number", "miles": "number", "told": "number"})


def check(data: pl.DataFrame, spec: PredictionJobSpec) -> None:
    require_no_copies(observations(data, spec), inputs(spec, data))


@pytest.mark.parametrize("copy", [
    pl.col("price"),
    -3.5 * pl.col("price") + 2,
    pl.col("price").exp(),
    pl.col("price").rank(),
    pl.col("price").round(1),
], ids=["itself", "unit", "exponential", "rank", "rounded"])  # fmt: skip
def test_a_copy_of_the_target_is_refused_in_any_unit(copy: pl.Expr) -> None:
    with pytest.raises(LeakageError, match=r"feature trips\.sly: over 200 rows it tells the target"):
        check(DATA.drop("dear").with_columns(sly=copy), make_spec())


def test_the_target_written_as_text_is_refused() -> None:
    whole = (
        make_table(3, signal=8.0).drop("dear").with_columns(pl.col("price").round(0).cast(pl.Int64).cast(pl.Float64))
    )
    with pytest.raises(LeakageError, match=r"feature trips\.sly"):
        check(whole.with_columns(sly=pl.format("{} USD", "price")), make_spec())


def test_what_the_class_is_made_from_is_refused_as_a_feature() -> None:
    spec = make_spec(
        task="Classification",
        target={"source": "trips", "column": "dear"},
        models=[{"name": "xgboost"}],
        evaluation={"metric": "LogLoss"},
    )
    with pytest.raises(LeakageError, match=r"feature trips\.price"):
        check(DATA, spec)
    with pytest.raises(LeakageError, match=r"feature trips\.kind"):
        check(
            DATA.drop("price").with_columns(kind=pl.when(pl.col("dear") > 0).then(pl.lit("a")).otherwise(pl.lit("b"))),
            spec,
        )


def test_a_strong_but_honest_feature_passes() -> None:
    check(make_table(2, signal=30.0).drop("dear"), make_spec())
    check(DATA.drop("dear").with_columns(flag=(pl.col("price") > 10).cast(pl.Float64)), make_spec())
