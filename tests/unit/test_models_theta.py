"""The Theta method against statsmodels and against its formula in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from model_frames import frame_of, real_frame, with_gaps
from statsmodels.tsa.forecasting.theta import ThetaModel

from presage.models.contract import Task
from presage.models.registry import trainer
from presage.spec.models import Model

TASK = Task(transform="Level", horizon=5, season=5, seed=0)


def fit_theta(frame, task=TASK):
    return trainer(Model(name="theta")).fit(frame, task)


@pytest.mark.parametrize("target", ["volatility", "close"])
@pytest.mark.parametrize("stop", [60, 400, 1500])
def test_at_the_end_of_training_it_forecasts_as_statsmodels(target, stop):
    frame = real_frame(target, 5).rows(0, stop)
    forecasts = fit_theta(frame).predict(frame, np.array([stop - 1]))[0]
    expected = ThetaModel(frame.level, deseasonalize=False).fit().forecast(5)
    assert forecasts == pytest.approx(np.asarray(expected), rel=1e-9)


def test_at_a_later_origin_the_level_runs_on_with_the_fitted_parameters():
    frame = real_frame("volatility", 5)
    theta = fit_theta(frame.rows(0, 1000))
    smoothed = frame.level[0]
    for level in frame.level[1:1201]:
        smoothed = theta.alpha * level + (1 - theta.alpha) * smoothed
    weight = 1 / theta.alpha - (1 - theta.alpha) ** 1201 / theta.alpha
    expected = [smoothed + theta.slope / 2 * (step - 1 + weight) for step in range(1, 6)]
    assert theta.predict(frame, np.array([1200]))[0] == pytest.approx(expected, rel=1e-12)


def test_the_slope_counts_elapsed_bars_across_gaps():
    levels = 3 + 0.25 * np.arange(200.0)
    levels[50:120] = np.nan
    theta = fit_theta(frame_of(levels, horizon=5))
    assert theta.slope == pytest.approx(0.25)


def test_gaps_are_passed_over():
    frame = with_gaps(real_frame("volatility", 5))
    theta = fit_theta(frame)
    known = np.flatnonzero(~np.isnan(frame.level))
    without = frame_of(frame.level[known], horizon=5)
    assert np.array_equal(theta.predict(frame, known), theta.predict(without, np.arange(len(known))))


@pytest.mark.parametrize(
    "levels",
    [
        np.full(40, 0.25),
        np.arange(40.0),
        np.r_[np.ones(39), 2.0],
        np.r_[1e15, np.ones(39)],
        np.linspace(1e-12, 3e-12, 40),
        -np.geomspace(1, 1e9, 40),
        np.tile([0.0, 1.0], 20),
    ],
)
def test_awkward_levels_are_fitted_without_a_warning(levels):
    frame = frame_of(levels, horizon=5)
    theta = fit_theta(frame)
    assert 0 < theta.alpha <= 1
    assert np.isfinite(theta.predict(frame, np.arange(len(frame)))).all()


def test_a_constant_goes_on():
    frame = frame_of(np.full(40, 0.25), horizon=5)
    assert np.all(fit_theta(frame).predict(frame, np.arange(40)) == 0.25)
