"""Two sinks that would write one table are refused, however they spell it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from commands import EXAMPLES

from presage.errors import JobError
from presage.sinks.destination import destination
from presage.spec.job import PredictionJob
from presage.spec.operations import Sink
from presage.steps.sink import require_sinks, write_sinks

VIX = {"name": "vix", "dataset": {"name": "arch/vix"}, "availability": {"lag": "0s"}}


def sql(uri: str) -> Sink:
    return Sink.model_validate({"name": "out", "sql": {"uri": uri}})


def files(uri: str) -> Sink:
    return Sink.model_validate({"name": "out", "files": {"uri": uri}})


def job(*sinks: dict[str, object], more_sources: tuple[dict[str, object], ...] = ()) -> PredictionJob:
    document = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    document["spec"]["sinks"] = list(sinks)
    document["spec"]["sources"] = [document["spec"]["sources"][0], *more_sources]
    document["spec"]["features"] = [{"lag": {"columns": ["sp500.range_volatility"], "steps": [1]}}]
    return PredictionJob.model_validate(document)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("postgresql://db/market", "postgresql+psycopg://DB.:5432/market", ("t", "t")),
        ("postgresql://localhost/market", "postgresql://127.0.0.1/market?sslmode=require", ("t", "t")),
        ("mysql://db/market", "mariadb+pymysql://db:3306/market?charset=utf8mb4", ("t", "t")),
        ("mysql://db/market", "mysql://db/Market", ("prices", "Prices")),
        ("mysql://db/market", "mysql://db/market", ("a%b", "a_b")),
        ("sqlite:///out.db", "sqlite:///folder/../out.db", ("prices", "PRICES")),
        ("sqlite:///out.db", "sqlite:////base/out.db", ("t", "t")),
    ],
)
def test_two_spellings_of_one_table_of_a_database_are_one(one: str, other: str, names: tuple[str, str]) -> None:
    base = Path("/base")
    assert destination(sql(one), names[0], base) == destination(sql(other), names[1], base)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("postgresql://db/market", "postgresql://db:5433/market", ("t", "t")),
        ("postgresql://db/market", "postgresql://db2/market", ("t", "t")),
        ("postgresql://db/market", "postgresql://db/Market", ("t", "t")),
        ("postgresql://db/market", "postgresql://db/market", ("prices", "Prices")),
        ("postgresql://db/market", "postgresql://db/market", ("prices", "public.prices")),
        ("mysql://db/market", "postgresql://db/market", ("t", "t")),
        ("sqlite:///a.db", "sqlite:///b.db", ("t", "t")),
    ],
)
def test_tables_of_databases_that_only_look_alike_stay_apart(one: str, other: str, names: tuple[str, str]) -> None:
    assert destination(sql(one), names[0], Path()) != destination(sql(other), names[1], Path())


def test_two_spellings_of_one_file_are_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    spellings = ["out", "out/", "./out", "link", str(tmp_path / "out"), (tmp_path / "out").as_uri()]
    assert len({destination(files(uri), "t", tmp_path) for uri in spellings}) == 1
    assert destination(files("out"), "T", tmp_path) == destination(files("out"), "t", tmp_path)
    assert destination(files("out"), "t", tmp_path) != destination(files("other"), "t", tmp_path)


def test_two_spellings_of_one_object_are_one() -> None:
    written = {destination(files(uri), "t", Path()) for uri in ("s3://lake/a", "s3://lake/a/", "s3://lake//a")}
    assert len(written) == 1
    assert not written & {destination(files("s3://lake/a"), "T", Path()), destination(files("s3://lake"), "t", Path())}


def test_sinks_that_spell_one_table_in_two_ways_are_refused_before_a_run() -> None:
    twice = job(
        {"name": "out", "data": "bars", "table": "x", "sql": {"uri": "postgresql://db/market"}},
        {"name": "again", "data": "frames", "table": "x", "sql": {"uri": "postgresql+psycopg://db:5432/market"}},
    )
    with pytest.raises(JobError, match=r"spec.sinks\[1\]: it would write the same table as sink 'out'"):
        require_sinks(twice, Path())


def test_the_table_of_one_of_several_sources_is_not_that_of_another_sink() -> None:
    twice = job(
        {"name": "out", "data": "raw", "table": "x", "files": {"uri": "out"}},
        {"name": "again", "data": "frames", "table": "x_vix", "files": {"uri": "out"}},
        more_sources=(VIX,),
    )
    with pytest.raises(JobError, match=r"spec.sinks\[1\]: it would write the same table as sink 'out'"):
        require_sinks(twice, Path())


def test_a_path_and_an_address_of_one_folder_are_told_where_the_folder_of_the_job_is_known(tmp_path: Path) -> None:
    twice = job(
        {"name": "out", "data": "raw", "table": "x", "files": {"uri": "out"}},
        {"name": "again", "data": "bars", "table": "x", "files": {"uri": (tmp_path / "out").as_uri()}},
    )
    require_sinks(twice, Path())
    with pytest.raises(JobError, match="same table as sink 'out'"):
        write_sinks(twice, {}, base=tmp_path)
    assert not (tmp_path / "out").exists()
