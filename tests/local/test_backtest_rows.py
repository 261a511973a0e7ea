"""`presage backtest` of jobs over rows: the scorecard of a past period, which nothing later changes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml
from commands import content, presage
from row_job_case import DAYS, NOW, TRIPS, make_job, run, trips

from presage.errors import DataError, JobError, LeakageError
from presage.spec.job import PredictionJob
from presage.steps.backtest import PastScore, run_backtest

START, END = datetime(2020, 3, 12, tzinfo=UTC), datetime(2020, 4, 10, 23, 59, 59, 999999, tzinfo=UTC)
SPAN_DAYS = 30


def put(folder: Path, table: pl.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    table.write_csv(folder / "trips.csv")
    return folder


def judge(
    job: PredictionJob, folder: Path, *, start: datetime = START, end: datetime = END, workers: int | None = None
) -> PastScore:
    return run_backtest(
        job,
        base=folder,
        workdir=folder / "past",
        now=NOW,
        sources={},
        workers=workers,
        start=start,
        end=end,
        progress=lambda *_: None,
    )


def small(task: str) -> PredictionJob:
    return make_job(task, models=[{"name": "xgboost", "parameters": {"n_estimators": 20}}], selection={})


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_a_period_has_a_scorecard_of_its_own(task, tmp_path):
    found = judge(small(task), put(tmp_path / "in", trips()))
    card = found.scorecard
    assert (card.task, card.rows, card.evidence.origins, card.folds) == (task, SPAN_DAYS * TRIPS, SPAN_DAYS, 3)
    assert (f"{card.start:%Y-%m-%d}", f"{card.end:%Y-%m-%d}") == ("2020-03-12", "2020-04-10")
    assert card.features
    assert found.digest == card.digest()
    champion = card.contender("xgboost")
    assert champion.skill is not None
    assert champion.skill > 0.1
    assert bool(champion.coverage) == (task == "Regression")


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_nothing_later_than_the_period_is_known_in_it(task, tmp_path):
    late = pl.int_range(pl.len()) >= (pl.col("at") <= f"{END:%Y-%m-%dT%H:%M:%SZ}").sum()
    changed = trips().with_columns(
        price=pl.when(late).then(-50 * pl.col("price")).otherwise("price"),
        shop=pl.when(late).then(pl.lit("new")).otherwise("shop"),
        miles=pl.when(late).then(1e6 * pl.col("miles")).otherwise("miles"),
    )
    cards = [
        judge(small(task), put(tmp_path / name, table)).scorecard.model_copy(update={"sources": ()})
        for name, table in [
            ("whole", trips()),
            ("changed", changed),
            ("cut", trips().filter(pl.col("at") <= f"{END:%Y-%m-%dT%H:%M:%SZ}")),
        ]
    ]
    assert cards[0] == cards[1] == cards[2]


def test_a_column_that_is_filled_after_the_period_is_no_feature_of_it(tmp_path):
    before = pl.col("at") <= f"{END:%Y-%m-%dT%H:%M:%SZ}"
    later = trips().with_columns(tip=pl.when(~before).then(pl.col("miles").abs()))
    found = judge(make_job(), put(tmp_path / "later", later)).scorecard
    assert not [name for name in found.features if "tip" in name]
    assert found.features == judge(make_job(), put(tmp_path / "cut", later.filter(before))).scorecard.features
    named = make_job(features=[{"columns": {"columns": ["trips.miles", "trips.tip"]}}])
    with pytest.raises(DataError, match="column 'tip' has no value up to the end of the period") as told:
        judge(named, put(tmp_path / "named", later))
    assert "a later --end" in told.value.remedy


def test_a_copy_of_the_target_is_found_in_the_rows_up_to_the_end_of_the_period(tmp_path):
    after = pl.int_range(pl.len()) >= 440
    copied = trips().with_columns(fee=pl.when(after).then(0.0).otherwise(2 * pl.col("price")))
    with pytest.raises(LeakageError, match=r"feature trips\.fee"):
        judge(small("Regression"), put(tmp_path / "in", copied))


def test_nothing_but_the_sources_rows_is_kept(tmp_path):
    folder = put(tmp_path / "in", trips())
    run(make_job(), folder, workdir=folder / "past")
    before = content(folder / "past")
    first, again = (judge(make_job(), folder, workers=workers) for workers in (1, 2))
    assert first == again
    assert content(folder / "past") == before


def test_a_period_that_cannot_be_judged_is_refused(tmp_path):
    folder = put(tmp_path / "in", trips())
    with pytest.raises(JobError, match="before its start"):
        judge(make_job(), folder, start=END, end=START)
    with pytest.raises(DataError, match="rows with a known outcome before 2020-01-05"):
        judge(make_job(), folder, start=datetime(2020, 1, 5, tzinfo=UTC))
    day = datetime(2020, 4, 10, tzinfo=UTC)
    with pytest.raises(DataError, match=r"fold 1 has .* and 0 to predict") as told:
        judge(make_job(), folder, start=day, end=day)
    assert told.value.remedy.startswith("Give a longer period (--start, --end)")
    with pytest.raises(DataError, match="there are 0 rows with a known outcome"):
        judge(make_job(), folder, start=datetime(2021, 1, 5, tzinfo=UTC), end=datetime(2021, 3, 5, tzinfo=UTC))


def test_the_command_shows_the_period_and_gives_it_to_programs(tmp_path):
    folder = put(tmp_path / "in", trips())
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(make_job().model_dump(mode="json", by_alias=True, exclude_none=True)))
    words = ("backtest", file, "--workdir", tmp_path / "work", "--start", "2020-03-12", "--end", "2020-04-10")
    shown = presage(*words).out
    assert "trips, 2020-03-12 to 2020-04-10" in shown
    assert f"{SPAN_DAYS * TRIPS} scored rows of {SPAN_DAYS} periods of 1d" in " ".join(shown.split())
    told = presage(*words, "-o", "json").json()
    assert told["scorecard"]["rows"] == SPAN_DAYS * TRIPS
    assert not (tmp_path / "work" / "champions").exists()
    assert presage(*words[:-3], "2021-01-01", "--end", "2021-02-01", code=5).err
    assert len(trips()) == DAYS * TRIPS
