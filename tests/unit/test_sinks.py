"""What a sink is given: tables, names, keys and layouts; and what is refused before a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from commands import EXAMPLES
from polars.testing import assert_frame_equal
from row_job_case import make_job

from presage.errors import DataError, JobError, NotSupportedError
from presage.frame import TIMESTAMP
from presage.lake.tables import Lake
from presage.sinks.columns import identifier, require_keys_that_fit
from presage.sinks.tables import native
from presage.spec.job import PredictionJob
from presage.steps.promote import Champion, Champions, write_champions
from presage.steps.records import keep_forecast
from presage.steps.sink import issued_results, require_sinks, sink_tables
from presage.steps.supported import require_supported
from presage.steps.workdir import WorkDirectory

START = datetime(2024, 1, 1, tzinfo=UTC)


def job(*sinks, more_sources=()) -> PredictionJob:
    document = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    document["metadata"]["name"] = "sp500-daily"
    document["spec"]["sinks"] = list(sinks)
    document["spec"]["sources"] = [document["spec"]["sources"][0], *more_sources]
    document["spec"]["features"] = [{"lag": {"columns": ["sp500.range_volatility"], "steps": [1]}}]
    return PredictionJob.model_validate(document)


def sink(**fields):
    return {"name": "out", "sql": {"uri": "sqlite:///out.db"}} | fields


def rows(count=3, **columns) -> pl.DataFrame:
    times = pl.Series([START + timedelta(days=day) for day in range(count)], dtype=TIMESTAMP)
    return pl.DataFrame({"series": ["sp500"] * count, "time": times, "known_at": times + timedelta(days=1)} | columns)


def tables(job, results):
    return sink_tables(job, job.spec.sinks[0], results)


def test_a_table_is_called_after_the_job_and_the_data():
    (table,) = tables(job(sink(data="bars")), {"bars": {"sp500": rows(Close=[1.0, 2.0, 3.0])}})
    assert (table.name, table.key) == ("sp500_daily_bars", ("series", "time", "known_at"))
    (named,) = tables(job(sink(data="bars", table="prices")), {"bars": {"sp500": rows()}})
    assert named.name == "prices"


def test_several_sources_have_a_table_each():
    more = {"name": "vix", "dataset": {"name": "arch/vix"}, "availability": {"lag": "0s"}}
    several = job(sink(data="raw"), more_sources=[more])
    made = tables(several, {"raw": {"sp500": rows(), "vix": rows()}})
    assert [table.name for table in made] == ["sp500_daily_raw_sp500", "sp500_daily_raw_vix"]
    assert {table.grows_by for table in made} == {"ingested_at"}


def test_what_is_not_there_is_not_written():
    assert tables(job(sink(data="frames")), {"bars": {"sp500": rows()}}) == ()


def test_rows_are_sorted_by_the_key_and_numbers_finite_or_null():
    given = rows(Close=[1.0, float("nan"), None]).sample(fraction=1.0, shuffle=True, seed=3)
    (table,) = tables(job(sink(data="bars")), {"bars": {"sp500": given}})
    assert table.rows["Close"].to_list() == [1.0, None, None]
    assert table.rows["time"].is_sorted()


def test_an_infinite_number_is_refused():
    with pytest.raises(DataError, match="'Close' has an infinite number"):
        tables(job(sink(data="bars")), {"bars": {"sp500": rows(1, Close=[float("inf")])}})


def champion(run: str, inputs: str) -> Champion:
    said = {"model": "ridge", "procedure": "p", "promoted": True, "reason": "Forced", "message": "m", "since": START}
    return Champion.model_validate({"run": run, "inputs": inputs} | said)


FIRST, SECOND = champion("20240101T000000Z-a", "a"), champion("20240102T000000Z-b", "b")


@pytest.mark.parametrize("tabular", [False, True], ids=["forecasts", "predictions"])
@pytest.mark.parametrize(
    ("serves", "kept"),
    [
        (FIRST, 1.0),
        (SECOND, 2.0),
        (champion("20240103T000000Z-a", "a"), 1.0),
        (champion("20240104T000000Z-c", "c"), 2.0),
        (None, 2.0),
    ],
    ids=["brought back", "newest", "repeated", "another", "none"],
)
def test_of_the_same_forecast_that_of_what_serves_is_kept_else_the_newest_runs(tmp_path, tabular, serves, kept):
    made = make_job(sinks=[sink()]) if tabular else job(sink())
    work = WorkDirectory(tmp_path)
    lake = Lake(work.lake.as_uri())
    for mean, one in ((2.0, SECOND), (1.0, FIRST)):
        issued = rows(1, issued_at=[START], mean=[mean])
        issued = issued.with_columns(row=pl.lit("b-0")) if tabular else issued.rename({"time": "target_time"})
        keep_forecast(lake, made, issued.drop("known_at"), one)
    if serves is not None:
        write_champions(work.champion(made), Champions(current=serves))
    (table,) = tables(made, {"predictions" if tabular else "forecasts": issued_results(made, lake)})
    assert table.name == ("trips_forecasts" if tabular else "sp500_daily_forecasts")
    assert table.rows["mean"].to_list() == [kept]


def test_bars_in_prophets_shape_have_the_targets_newest_value_without_a_zone():
    source, column = job().spec.target.source, job().spec.target.column
    first = rows(2, **{column: [1.0, 2.0], "filled": [False, False]})
    revised = first.tail(1).with_columns(pl.col("known_at") + timedelta(days=9), pl.lit(2.5).alias(column))
    results = {"bars": {source: pl.concat([revised, first]), "other": rows(1)}}
    (table,) = tables(job(sink(data="bars", layout="DsYSymbol")), results)
    days = [datetime(2024, 1, 1), datetime(2024, 1, 2)]
    wanted = pl.DataFrame({"ds": days, "y": [1.0, 2.5], "symbol": ["sp500"] * 2})
    assert_frame_equal(table.rows, wanted)
    assert table.key == ("symbol", "ds")


def test_frames_in_prophets_shape_have_the_level():
    given = {
        "a": rows(2, level=[1.0, None], lag=[0.5, 0.6]),
        "b": rows(1, level=[9.0]).with_columns(series=pl.lit("b")),
    }
    (table,) = tables(job(sink(data="frames", layout="DsYSymbol")), {"frames": given})
    assert table.rows.rows() == [
        (datetime(2024, 1, 1), 9.0, "b"),
        (datetime(2024, 1, 1), 1.0, "sp500"),
        (datetime(2024, 1, 2), None, "sp500"),
    ]


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"data": "grades"}, NotSupportedError, r"spec.sinks\[0\].data: this version writes no grades to sinks"),
        ({"layout": "DsYSymbol"}, NotSupportedError, r"spec.sinks\[0\].layout"),
        ({"table": "../x"}, JobError, r"spec.sinks\[0\].table"),
        ({"table": ".hidden"}, JobError, "cannot be a name"),
        ({"sql": {"uri": "oracle://host/db"}}, JobError, "sink 'out'"),
        ({"sql": None, "files": {"uri": "http://host/folder"}}, JobError, "http"),
        ({"sql": None, "files": {"uri": "s3://bucket/prefix?versionId=1"}}, JobError, "no place in a bucket"),
    ],
)
def test_what_cannot_be_written_is_refused_before_a_run(fields, error, words):
    with pytest.raises(error, match=words):
        require_supported(job(sink(**fields)), Path())


@pytest.mark.parametrize("data", ["bars", "frames"])
def test_what_rows_do_not_have_is_refused_before_a_run(data):
    with pytest.raises(NotSupportedError, match=rf"spec.sinks\[0\].data: task Regression has no {data}") as told:
        require_supported(make_job(sinks=[sink(data=data)]), Path())
    assert "raw (the rows), forecasts (their predictions) or metrics" in told.value.remedy


def test_grades_of_predictions_are_refused_as_those_of_forecasts_are():
    with pytest.raises(NotSupportedError, match="writes no grades to sinks"):
        require_supported(make_job(sinks=[sink(data="grades")]), Path())


@pytest.mark.parametrize("data", ["raw", "forecasts"])
def test_rows_and_predictions_have_no_shape_of_prophets(data):
    with pytest.raises(NotSupportedError, match=r"spec.sinks\[0\].layout: DsYSymbol is for bars and frames"):
        require_supported(make_job(sinks=[sink(data=data, layout="DsYSymbol")]), Path())


def test_rows_are_told_apart_by_their_identity_and_predictions_also_by_model_and_moment():
    over_rows = make_job(sinks=[sink(data="raw"), sink(name="predicted")])
    require_supported(over_rows, Path())
    held = rows(2, row=["a-0", "b-0"], price=[1.0, None]).drop("series")
    issued = rows(2, row=["b-0"] * 2, issued_at=[START] * 2, model=["ridge"] * 2, mean=[2.0, 1.0], run=["r2", "r1"])
    given = {"rows": {"trips": held}, "predictions": {"trips": issued}}
    raw, predicted = (sink_tables(over_rows, one, given)[0] for one in over_rows.spec.sinks)
    assert (raw.name, raw.key, raw.grows_by) == ("trips_raw", ("row",), None)
    assert raw.rows["price"].to_list() == [1.0, None]
    assert (predicted.name, predicted.key) == ("trips_forecasts", ("row", "issued_at", "model"))
    assert predicted.rows["mean"].to_list() == [1.0], "of the same prediction the last is kept"


def test_two_sinks_of_one_table_are_refused():
    twice = job(sink(data="bars", table="x"), sink(name="again", data="frames", table="x"))
    with pytest.raises(JobError, match=r"spec.sinks\[1\]: it would write the same table as sink 'out'"):
        require_sinks(twice, Path())


def test_sinks_that_can_be_written_are_supported():
    places = [{"sql": {"uri": "mysql+pymysql://db/market"}}, {"sql": {"uri": "postgresql://db/market"}}]
    sinks = [sink(name=f"s{number}", **place) for number, place in enumerate(places)]
    require_supported(job(*sinks, {"name": "files", "data": "bars", "files": {"uri": "out"}}), Path())


def test_names_that_are_too_long_stay_apart():
    long = "x" * 70
    names = {identifier(long + end, "postgresql") for end in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {63}
    assert identifier("é" * 40, "mysql").encode() <= b"\xff" * 64
    assert identifier("Change %", "mysql") == "Change _"
    assert identifier("Change %", "postgresql") == "Change %"


@pytest.mark.parametrize("name", ["x" * 256, "BTC "])
def test_a_series_that_cannot_be_a_key_is_refused(name):
    table = native("t", "bars", [rows(1).with_columns(series=pl.lit(name))])
    with pytest.raises(DataError, match="cannot be a key"):
        require_keys_that_fit(table, "sink 'out'")
