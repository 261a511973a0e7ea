"""ARIMA, exponential smoothing and Prophet against the libraries that fit them."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from model_frames import frame_of, real_frame, with_gaps
from statsforecast.arima import auto_arima_f, forecast_arima, forward_arima
from statsforecast.ets import ets_f, forecast_ets

from presage.errors import DataError
from presage.frame import Frame
from presage.models.auto_arima import AutoARIMA
from presage.models.contract import Task
from presage.models.registry import load, trainer
from presage.spec.models import Model

HORIZON = 6
STATISTICAL = ("auto_arima", "auto_ets", "prophet")


def fit(name, frame, transform="Level", **parameters):
    return trainer(Model(name=name, parameters=parameters)).fit(frame, Task(transform, HORIZON, 5, 3))


def seasonal_frame(rows=200):
    random = np.random.default_rng(0)
    season = np.tile([0.0, 3.0, -2.0, 5.0, 1.0], rows // 5)
    return frame_of(50 + 0.1 * np.arange(rows) + season + random.normal(size=rows), horizon=HORIZON)


def learnt(level, transform):
    return np.log(level) if transform == "LogChange" else level


def level(values, transform):
    return np.exp(values) if transform == "LogChange" else values


@pytest.mark.parametrize(
    ("target", "transform", "seasonal"),
    [
        ("close", "LogChange", False),
        ("close", "Level", False),
        ("volatility", "Level", False),
        ("season", "Level", True),
    ],
)
def test_arima_forecasts_as_statsforecast(target, transform, seasonal):
    frame = seasonal_frame() if target == "season" else real_frame(target, HORIZON).rows(0, 700)
    train = len(frame) - 50
    model = fit("auto_arima", frame.rows(0, train), transform, seasonal=seasonal)
    values = learnt(frame.level, transform)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"max_p": 3, "max_q": 3, "seasonal": seasonal, "period": 5 if seasonal else 1}
        fitted = auto_arima_f(values[:train], **given)
        at_the_end = forecast_arima(fitted, h=HORIZON)["mean"]
        later = forecast_arima(forward_arima(auto_arima_f(values[:train], **given), values), h=HORIZON)["mean"]
    found = model.predict(frame, np.array([train - 1, len(frame) - 1]))
    assert found[0] == pytest.approx(level(at_the_end, transform), rel=1e-4)
    assert found[1] == pytest.approx(level(later, transform), rel=1e-4)


def test_arima_is_its_formula_in_plain_loops():
    model = AutoARIMA(
        horizon=3,
        first=int(np.datetime64("2001-01-01", "us").astype(np.int64)),
        logarithm=False,
        phi=(0.6, -0.2),
        theta=(0.4,),
        differences=1,
        seasonal_differences=0,
        season=1,
        intercept=0.0,
        drift=0.5,
        before=(98.0, 99.0, 101.0),
    )
    level = np.cumsum(np.random.default_rng(4).normal(size=30)) + 100
    apart = level - 0.5 * np.arange(1, 31)
    changes = list(np.diff(np.r_[98.0, 99.0, 101.0, apart]))
    shocks = [0.0]
    for bar in range(30):
        shocks.append(changes[bar + 2] - 0.6 * changes[bar + 1] + 0.2 * changes[bar] - 0.4 * shocks[-1])
    expected, value = [], apart[-1]
    shocks.append(0.0)
    for step in (1, 2, 3):
        changes.append(0.6 * changes[-1] - 0.2 * changes[-2] + (0.4 * shocks[-2] if step == 1 else 0.0))
        value += changes[-1]
        expected.append(value + 0.5 * (30 + step))
    frame = frame_of(level, horizon=3)
    assert model.predict(frame, np.array([29]))[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", ["ZZN", "ZZZ", "AAA", "ANA", "MAM", "MMM", "MMN"])
def test_exponential_smoothing_forecasts_as_statsforecast(form):
    frame = seasonal_frame()
    model = fit("auto_ets", frame.rows(0, 150), model=form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ets_f(frame.level[:150], 5, form)
        at_the_end = forecast_ets(fitted, HORIZON)["mean"]
        later = forecast_ets(ets_f(frame.level, 5, fitted), HORIZON)["mean"]
    found = model.predict(frame, np.array([149, 199]))
    assert found[0] == pytest.approx(at_the_end, rel=1e-9)
    assert found[1] == pytest.approx(later, rel=1e-9)


def test_a_damped_trend_and_logarithms_are_smoothed_as_statsforecast_does():
    frame = real_frame("close", HORIZON).rows(0, 400)
    model = fit("auto_ets", frame, "LogChange", model="AAN", damped=True)
    assert model.phi < 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ets_f(np.log(frame.level), 5, "AAN", damped=True)
    # The library's own forecasts of a damped trend use phi where the formula has its square.
    smoothed, slope = fitted["states"][-1]
    expected = smoothed + slope * np.cumsum(model.phi ** np.arange(1, HORIZON + 1))
    assert model.predict(frame, np.array([399]))[0] == pytest.approx(np.exp(expected), rel=1e-9)


def test_a_form_that_the_levels_forbid_is_refused():
    frame = frame_of(np.random.default_rng(0).normal(size=60), horizon=HORIZON)
    with pytest.raises(DataError, match=r"auto_ets finds no form of 'MNN'") as error:
        fit("auto_ets", frame, model="MNN")
    assert "ZZN" in error.value.remedy


@pytest.mark.parametrize(
    ("transform", "parameters"),
    [
        ("Level", {}),
        ("LogChange", {"seasonality_mode": "multiplicative"}),
        ("Level", {"growth": "flat"}),
        ("Level", {"yearly_seasonality": False, "weekly_seasonality": False}),
    ],
)
def test_prophet_forecasts_as_the_library(transform, parameters, caplog):
    frame = real_frame("close", HORIZON)
    with caplog.at_level(logging.DEBUG):
        model = fit("prophet", frame.rows(0, 900), transform, **parameters)
    assert caplog.messages == []
    from prophet import Prophet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = Prophet(**parameters, uncertainty_samples=0)
        fitted.fit(pd.DataFrame({"ds": frame.time[:900], "y": learnt(frame.level[:900], transform)}), seed=3)
        expected = fitted.predict(pd.DataFrame({"ds": frame.target_time[1000, :]}))["yhat"].to_numpy()
    found = model.predict(frame, np.array([1000]))[0]
    assert found == pytest.approx(level(expected, transform), rel=1e-9)


def test_newer_levels_do_not_change_what_prophet_says():
    frame = real_frame("close", HORIZON)
    model = fit("prophet", frame.rows(0, 300))
    doubled = frame_of(2 * frame.level, horizon=HORIZON)
    rows = np.arange(300, 400)
    assert np.array_equal(model.predict(doubled, rows), model.predict(frame, rows))


def weekday_frame(rows=300):
    """Return a frame of weekdays only, whose level follows the day of the week."""
    days = np.datetime64("2001-01-01") + np.arange(2 * rows)
    days = days[np.is_busday(days)][:rows]
    number = (days.astype(np.int64) + 3) % 7
    frame = frame_of(10.0 + number, horizon=2)
    time = days.astype("datetime64[us]")
    return Frame(**{**vars(frame), "time": time, "origin": time + np.timedelta64(1, "D")})


def test_prophet_takes_the_day_after_friday_to_be_monday():
    frame = weekday_frame()
    model = fit("prophet", frame)
    assert model.weekdays == (True,) * 5 + (False,) * 2
    friday = 299
    assert frame.time[friday].astype("datetime64[D]") == np.datetime64("2002-02-22")
    assert model.predict(frame, np.array([friday]))[0, :2] == pytest.approx([10.0, 11.0], abs=0.2)


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_constant_goes_on(name):
    frame = frame_of(np.full(40, 0.25), horizon=HORIZON)
    assert fit(name, frame).predict(frame, np.arange(40)) == pytest.approx(0.25)


@pytest.mark.parametrize("name", STATISTICAL)
def test_levels_that_have_no_logarithm_are_passed_over(name):
    frame = real_frame("close", HORIZON).rows(0, 200)
    level = frame.level.copy()
    level[[20, 150]] = 0.0, -3.0
    damaged = frame_of(level, horizon=HORIZON)
    model = fit(name, damaged, "LogChange")
    forecasts = model.predict(damaged, np.arange(200))
    assert np.isnan(forecasts[[20, 150]]).all()
    assert np.isfinite(np.delete(forecasts, [20, 150], axis=0)).all()
    with pytest.raises(DataError, match=f"{name} needs at least 10 levels above 0"):
        fit(name, frame_of(-frame.level, horizon=HORIZON), "LogChange")


@pytest.mark.parametrize("name", ["auto_arima", "auto_ets"])
def test_what_is_learnt_starts_where_the_training_window_did(name):
    frame = real_frame("close", HORIZON).rows(0, 300)
    trend = frame_of(100 + np.arange(300.0) + np.random.default_rng(0).normal(size=300), horizon=HORIZON)
    for one in (frame, trend):
        model = fit(name, one.rows(150, 250))
        rows = np.arange(150, 300)
        behind = model.predict(one.rows(150, 300), rows - 150)
        assert np.array_equal(model.predict(one, rows), behind)
        assert np.isnan(model.predict(one, np.arange(150))).all()
        with pytest.raises(DataError, match=r"bar of 2001-05-31.*begins with that of 2001-06-20") as error:
            model.predict(one.rows(170, 300), np.arange(10))
        assert "run the job again" in error.value.remedy


@pytest.mark.parametrize("name", ["auto_arima", "auto_ets"])
def test_gaps_are_passed_over(name):
    frame = with_gaps(real_frame("volatility", HORIZON).rows(0, 400))
    known = np.flatnonzero(~np.isnan(frame.level))
    without = frame_of(frame.level[known], horizon=HORIZON)
    model = fit(name, frame)
    assert model == fit(name, without)
    assert np.array_equal(model.predict(frame, known), model.predict(without, np.arange(len(known))))


AWKWARD = {
    "line": np.arange(40.0),
    "step": np.r_[np.ones(39), 2.0],
    "fall": np.r_[1e15, np.ones(39)],
    "tiny": np.linspace(1e-12, 3e-12, 40),
    "explosion": -np.geomspace(1, 1e9, 40),
    "alternation": np.tile([0.0, 1.0], 20),
    "short": np.arange(10.0) ** 2,
}


# Stan takes seconds to find a line without noise.
SLOW = [("prophet", "line"), ("prophet", "tiny")]


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name in STATISTICAL for shape in AWKWARD if (name, shape) not in SLOW]
)
def test_awkward_levels_are_fitted_without_a_warning(name, shape):
    frame = frame_of(AWKWARD[shape], horizon=HORIZON)
    model = fit(name, frame)
    assert np.isfinite(model.predict(frame, np.arange(len(frame)))).all()
    assert load(name, model.dump()) == model
