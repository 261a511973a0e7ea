"""Until when the newest bar or row may be the newest one: two periods behind it, of which a weekend has none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import yaml
from commands import EXAMPLES
from row_job_case import make_job

from presage.frame import TIMESTAMP
from presage.spec.job import PredictionJob
from presage.steps.staleness import bar_due, row_due

MONDAY = datetime(2024, 1, 8, tzinfo=UTC)
DUE = [
    ("Monday", 0, 3),
    ("Tuesday", 1, 4),
    ("Wednesday", 2, 5),
    ("Thursday", 3, 8),
    ("Friday", 4, 9),
]
"""A newest day, and behind which days its own third one is over: all counted from a Monday."""


def days(count: int) -> list[datetime]:
    """The weekdays up to a number of days behind the Monday, three weeks of them before it."""
    return [day for number in range(-21, count + 1) if (day := MONDAY + timedelta(number)).weekday() < 5]


def times(moments: list[datetime]) -> pl.DataFrame:
    return pl.DataFrame({"time": pl.Series(moments, dtype=TIMESTAMP)})


def bar_job(**spec: object) -> PredictionJob:
    document = yaml.safe_load((EXAMPLES / "quickstart.yaml").read_text())
    document["spec"] |= spec
    source = document["spec"]["sources"][0]
    source["availability"] = {"lag": "0s"}
    source["timeZone"] = "UTC"
    return PredictionJob.model_validate(document)


@pytest.mark.parametrize(("newest", "due"), [(newest, due) for _, newest, due in DUE], ids=[name for name, *_ in DUE])
def test_two_days_that_are_no_weekends_may_pass_behind_the_newest_bar(newest, due):
    job = bar_job()
    newest_day, due_day = (MONDAY + timedelta(number) for number in (newest, due))
    assert bar_due(job, job.spec.sources[0], newest_day, times(days(newest))) == due_day


@pytest.mark.parametrize(("newest", "due"), [(newest, due) for _, newest, due in DUE], ids=[name for name, *_ in DUE])
def test_two_days_that_are_no_weekends_may_pass_behind_the_newest_row(newest, due):
    moment = MONDAY + timedelta(days=newest, hours=11)
    assert row_due(make_job(), moment, times(days(newest))) == MONDAY + timedelta(days=due)


def test_a_weekend_counts_where_it_has_bars():
    job = bar_job()
    thursday = MONDAY + timedelta(days=3)
    every_day = times([MONDAY + timedelta(number) for number in range(-21, 4)])
    assert bar_due(job, job.spec.sources[0], thursday, every_day) == thursday + timedelta(days=3)
    assert row_due(make_job(), thursday, every_day) == thursday + timedelta(days=3)


def test_hours_of_weekdays_go_on_on_monday():
    job = bar_job(frequency="1h", calendar="Weekdays")
    late = MONDAY + timedelta(days=4, hours=22)
    due = bar_due(job, job.spec.sources[0], late, times([late]))
    assert due == MONDAY + timedelta(days=7, hours=1), "the hour behind it, and Monday's first"
