"""Grades: issued forecasts beside what came, as tables of cases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from model_frames import frame_of
from polars.testing import assert_frame_equal

from presage.frame import TIMESTAMP, Panel
from presage.ledger.grading import grade, summary, truths_of

ON = ("series", "target_time")
DAY = datetime(2026, 1, 5, tzinfo=UTC)


def day(number: int) -> datetime:
    return DAY + timedelta(days=number)


def issued(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Forecasts of day 1 at day 0, but for what is said."""
    usual = {"series": "a", "issued_at": day(0), "target_time": day(1), "mean": 10.0, "q0.1": 8.0, "q0.9": 12.0}
    usual |= {"model": "ridge", "run": "r", "inputs": "i"}
    times = {"issued_at": TIMESTAMP, "target_time": TIMESTAMP}
    return pl.DataFrame([usual | dict(row) for row in rows], schema_overrides=times, infer_schema_length=None)


def came(*rows: tuple[str, int, float | None, int]) -> pl.DataFrame:
    """What came of a series at a day, and the day on which it was known."""
    columns = {"series": pl.String, "target_time": TIMESTAMP, "actual": pl.Float64, "known_at": TIMESTAMP}
    return pl.DataFrame([(name, day(at), value, day(known)) for name, at, value, known in rows], columns, orient="row")


@pytest.mark.parametrize(
    ("actual", "error", "inside"),
    [(10.0, 0.0, True), (8.0, -2.0, True), (12.0, 2.0, True), (12.5, 2.5, False), (-1.0, -11.0, False)],
    ids=["hit", "lower end", "upper end", "above", "below"],
)
def test_a_forecast_is_graded_by_what_came(actual: float, error: float, inside: bool) -> None:
    (row,) = grade(issued({}), came(("a", 1, actual, 2)), on=ON, now=day(9)).to_dicts()
    assert (row["actual"], row["error"], row["inside_0.8"], row["known_at"]) == (actual, error, inside, day(2))
    assert (row["mean"], row["model"], row["issued_at"]) == (10.0, "ridge", day(0))


@pytest.mark.parametrize(
    "truth",
    [
        ("b", 1, 10.0, 2),
        ("a", 2, 10.0, 3),
        ("a", 1, None, 2),
        ("a", 1, 10.0, 5),
        ("a", 1, 10.0, 0),
    ],
    ids=["another series", "another day", "no value", "known later than now", "known before it was issued"],
)
def test_what_is_no_outcome_of_a_forecast_grades_none(truth: tuple[str, int, float | None, int]) -> None:
    assert grade(issued({}), came(truth), on=ON, now=day(4)).is_empty()


def test_forecasts_are_graded_each_for_itself_in_their_order() -> None:
    given = issued({"model": "theta"}, {"target_time": day(2)}, {"series": "b"}, {"inputs": "j"})
    grades = grade(given, came(("a", 1, 11.0, 2), ("b", 1, 9.0, 2)), on=ON, now=day(2))
    assert grades.select("series", "model", "inputs", "error").rows() == [
        ("a", "theta", "i", 1.0),
        ("b", "ridge", "i", -1.0),
        ("a", "ridge", "j", 1.0),
    ]


def test_an_interval_that_was_not_issued_is_not_judged() -> None:
    given = issued({"q0.025": None, "q0.975": None, "q0.3": 9.0}, {"q0.025": 0.0, "q0.975": 1.0, "q0.3": 9.0})
    grades = grade(given, came(("a", 1, 10.0, 2)), on=ON, now=day(2))
    assert [name for name in grades.columns if name.startswith("inside")] == ["inside_0.8", "inside_0.95"]
    assert grades["inside_0.95"].to_list() == [None, False]


def test_a_probability_is_graded_by_the_class_that_came() -> None:
    given = pl.DataFrame({"row": ["x", "y"], "issued_at": [day(0)] * 2, "probability": [0.8, 0.4]})
    truths = pl.DataFrame({"row": ["x", "y"], "actual": [1.0, 1.0], "known_at": [day(1)] * 2})
    grades = grade(given, truths, on=("row",), now=day(1))
    assert grades["error"].to_list() == pytest.approx([0.2, 0.6])
    assert summary(grades, newest=9) == {"count": 2.0, "brier": pytest.approx(0.2)}


def test_a_summary_counts_the_newest_grades() -> None:
    given = issued(*({"target_time": day(number)} for number in range(1, 6)))
    truths = came(*(("a", number, 10.0 + number, number + 1) for number in range(1, 6)))
    grades = grade(given, truths, on=ON, now=day(9))
    assert summary(grades, newest=5) == {"count": 5.0, "mae": 3.0, "coverage_0.8": 0.4}
    assert summary(grades.reverse(), newest=2) == {"count": 2.0, "mae": 4.5, "coverage_0.8": 0.0}


def test_without_a_grade_a_summary_says_so() -> None:
    assert summary(grade(issued({}), came(), on=ON, now=day(9)), newest=100) == {"count": 0.0}


def test_the_truth_of_a_period_is_told_once_whatever_the_steps_ahead() -> None:
    frame = frame_of(np.arange(1.0, 8.0), horizon=3)
    truths = truths_of(Panel.of([frame]))
    assert truths["target_time"].is_unique().all()
    assert truths["actual"].to_list() == frame.level[1:].tolist()
    one = truths_of(Panel.of([frame_of(np.arange(1.0, 8.0), horizon=1)]))
    assert_frame_equal(truths, one)
