"""The baselines against tables worked out by hand, and against plain loops on real levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from model_frames import frame_of, real_frame, with_gaps

from presage.errors import NotSupportedError
from presage.models.baselines import trainer
from presage.models.contract import Task
from presage.spec.models import Model

GAP = float("nan")


def forecast(name, levels, row, *, transform="Level", horizon=3, season=1, **parameters):
    frame = frame_of(levels, horizon=horizon)
    task = Task(transform=transform, horizon=horizon, season=season, seed=0)
    forecaster = trainer(Model(name=name, parameters=parameters)).fit(frame, task)
    return forecaster.predict(frame, np.array([row]))[0].tolist()


@pytest.mark.parametrize(
    ("name", "levels", "row", "options", "expected"),
    [
        ("naive", [1, 2, 4], 2, {}, [4, 4, 4]),
        ("naive", [1, 2, GAP], 2, {}, [GAP, GAP, GAP]),
        # Step k looks at the bar a season before it; steps beyond a season repeat it.
        ("seasonal_naive", [1, 2, 3, 4], 3, {"season": 2}, [3, 4, 3]),
        ("seasonal_naive", [1, 2, 3, 4], 3, {"season": 3, "horizon": 7}, [2, 3, 4, 2, 3, 4, 2]),
        ("seasonal_naive", [1, 2, 3, 4], 3, {"season": 1}, [4, 4, 4]),
        ("seasonal_naive", [1, 2, GAP, 4], 3, {"season": 2}, [1, 4, 1]),
        ("seasonal_naive", [1, 2, GAP, 4], 3, {"season": 4}, [1, 2, GAP]),
        ("seasonal_naive", [1, 2, 3, 4], 2, {"season": 5}, [GAP, GAP, 1]),
        ("drift", [1, 2, 7], 2, {}, [10, 13, 16]),
        ("drift", [1, 2, 7], 0, {}, [GAP, GAP, GAP]),
        # The bars that have elapsed count, not the values that are known.
        ("drift", [GAP, 1, GAP, 7], 3, {}, [10, 13, 16]),
        ("window_mean", [1, 2, 3, 10], 3, {"window": 2}, [6.5, 6.5, 6.5]),
        ("window_mean", [1, 2, 3, 10], 1, {"window": 3}, [1.5, 1.5, 1.5]),
        ("window_mean", [1, 2, GAP, 10], 3, {"window": 2}, [6, 6, 6]),
        ("window_mean", [1, 2, 4, 8], 3, {"window": 2, "transform": "Difference"}, [11, 14, 17]),
        ("window_mean", [1, 2, 4], 2, {"window": 9, "transform": "Difference"}, [5.5, 7, 8.5]),
        ("window_mean", [1, 2, 4, 8], 3, {"window": 2, "transform": "PercentChange"}, [16, 32, 64]),
        ("window_mean", [1, 2, 4, 8], 3, {"window": 2, "transform": "LogChange"}, [16, 32, 64]),
        # 4 to 7 spans a gap, which is no change of one bar: the newest two are 1 to 4 and 7 to 9.
        ("window_mean", [0, 1, 4, GAP, 7, 9], 5, {"window": 2, "transform": "Difference"}, [11.5, 14, 16.5]),
        ("window_mean", [5, 7], 0, {"window": 2, "transform": "Difference"}, [GAP, GAP, GAP]),
        # -1 to 2 has no percent change.
        ("window_mean", [-1, 2, 3], 2, {"window": 5, "transform": "PercentChange"}, [4.5, 6.75, 10.125]),
        ("zero", [1, -2, 4], 2, {}, [0, 0, 0]),
        ("zero", [1, -2, GAP], 2, {}, [GAP, GAP, GAP]),
        ("zero", [1, -2, 4], 2, {"transform": "Difference"}, [4, 4, 4]),
        ("zero", [1, 2, 4], 2, {"transform": "LogChange"}, [4, 4, 4]),
    ],
)
def test_a_baseline_says_what_its_formula_says(name, levels, row, options, expected):
    assert forecast(name, levels, row, **options) == pytest.approx(expected, nan_ok=True, rel=1e-12)


@pytest.mark.parametrize(
    ("levels", "transform", "expected"),
    [
        # Steps of 1, 2, ..., 11: the middle of one is 6, the middle of two in a row lies between 11 and 13.
        ([1, 2, 4, 7, 11, 16, 22, 29, 37, 46, 56, 67], "Level", [22, 25.5]),
        ([1, 2, 4, 7, 11, 16, 22, 29, 37, 46, 56, 67], "Difference", [67 + 6, 67 + 12]),
        (2.0 ** np.arange(12), "PercentChange", [4096, 8192]),
        (2.0 ** np.arange(12), "LogChange", [4096, 8192]),
    ],
)
def test_the_median_is_that_of_what_is_learnt_in_the_training_window(levels, transform, expected):
    assert forecast("median", levels, 11, transform=transform, horizon=2) == pytest.approx(expected)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_window_mean_is_a_plain_mean_on_real_levels(gaps):
    frame = real_frame("close", 1)
    frame = with_gaps(frame) if gaps else frame
    rows = np.flatnonzero(~np.isnan(frame.level))
    task = Task(transform="Level", horizon=1, season=5, seed=0)
    forecasts = trainer(Model(name="window_mean", parameters={"window": 22})).fit(frame, task).predict(frame, rows)
    for row, value in list(zip(rows, forecasts[:, 0], strict=True))[::97]:
        known = [level for level in frame.level[: row + 1] if not math.isnan(level)]
        assert value == pytest.approx(sum(known[-22:]) / len(known[-22:]), rel=1e-13)


def test_the_window_mean_keeps_its_digits_far_from_zero():
    levels = 1e12 + np.arange(100_000) % 7
    frame = frame_of(levels, horizon=1)
    task = Task(transform="Level", horizon=1, season=1, seed=0)
    forecaster = trainer(Model(name="window_mean", parameters={"window": 7})).fit(frame, task)
    assert np.all(forecaster.predict(frame, np.arange(6, len(levels))) == 1e12 + 3)


def test_a_history_of_gaps_alone_has_no_forecast():
    frame = frame_of([GAP] * 20, horizon=2)
    for name in ("naive", "seasonal_naive", "drift", "window_mean", "zero"):
        for transform in ("Level", "LogChange"):
            task = Task(transform=transform, horizon=2, season=3, seed=0)
            forecasts = trainer(Model(name=name)).fit(frame, task).predict(frame, np.arange(20))
            assert np.isnan(forecasts).all()


def test_a_model_that_is_no_baseline_is_refused():
    with pytest.raises(NotSupportedError, match="ridge is no baseline"):
        trainer(Model(name="ridge"))
