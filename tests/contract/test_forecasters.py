"""The suite that every forecaster passes, on real frames; `presage.models.contract` says what it must keep."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import get_args

import numpy as np
import pytest
from model_frames import real_frame, with_gaps

from presage.errors import DataError, LakeError
from presage.evaluation.contenders import Contender
from presage.frame import Frame
from presage.models.combination import combine
from presage.models.contract import Forecaster, Task
from presage.models.registry import load, trainer
from presage.models.state import STATE
from presage.spec.job import TransformName
from presage.spec.models import COMBINATION_NAMES, FORECASTER_NAMES, Model, ModelName

TRAINING = 1000
TRANSFORMS: tuple[TransformName, ...] = get_args(TransformName)
SEEDED: tuple[ModelName, ...] = ("random_forest", "xgboost", "catboost")
LEARNS_FROM_FEATURES: tuple[ModelName, ...] = (
    *("ridge", "elastic_net", "random_forest", "hist_gradient_boosting", "xgboost", "lightgbm", "catboost"),
)
LEARNS_FROM_LEVELS: tuple[ModelName, ...] = ("theta", "auto_arima", "auto_ets", "prophet")
PARAMETERS = {
    "random_forest": {"n_estimators": 10},
    "hist_gradient_boosting": {"max_iter": 30},
    "xgboost": {"n_estimators": 30},
    "lightgbm": {"n_estimators": 30},
    "catboost": {"iterations": 30},
    "auto_arima": {"max_p": 2, "max_q": 1},
}

every_forecaster = pytest.mark.parametrize("name", FORECASTER_NAMES)
every_feature_learner = pytest.mark.parametrize("name", LEARNS_FROM_FEATURES)
every_transform = pytest.mark.parametrize("transform", TRANSFORMS)
every_horizon = pytest.mark.parametrize("horizon", [1, 5])


def make_frame(transform: TransformName, horizon: int) -> Frame:
    return real_frame("volatility" if transform in ("Level", "Difference") else "close", horizon)


def fit_on(name: ModelName, frame: Frame, task: Task) -> Forecaster:
    if name in COMBINATION_NAMES:
        members = {"naive": fit_on("naive", frame, task), "ridge": fit_on("ridge", frame, task)}
        says = np.linspace(0.2, 0.7, task.horizon)
        return combine(members, name, {"naive": says, "ridge": 1 - says} if name == "weighted_combination" else None)
    return trainer(Model(name=name, parameters=PARAMETERS.get(name, {}))).fit(frame, task)


def training_part(frame: Frame) -> Frame:
    return frame.known_by(frame.origin[TRAINING - 1]).rows(0, TRAINING)


def task_of(transform: TransformName, horizon: int, seed: int = 3) -> Task:
    return Task(transform=transform, horizon=horizon, season=5, seed=seed)


@cache
def fitted(name: ModelName, transform: TransformName, horizon: int) -> Forecaster:
    return fit_on(name, training_part(make_frame(transform, horizon)), task_of(transform, horizon))


def scrambled_after(frame: Frame, row: int) -> Frame:
    """Return the frame with everything later than a row, and every outcome, replaced by noise."""
    random = np.random.default_rng(13)
    later = slice(row + 1, None)
    level, features = frame.level.copy(), frame.features.copy()
    level[later] = random.lognormal(3, 2, size=level[later].shape)
    level[row + 1 :: 7] = np.nan
    features[later] = random.normal(size=features[later].shape) * 1e6
    target_known_at = frame.target_known_at.copy()
    target_known_at[:] = np.datetime64("1999-01-01", "us")
    return replace(
        frame,
        level=level,
        features=features,
        target_level=random.normal(size=frame.target_level.shape),
        target_known_at=target_known_at,
    )


@every_horizon
@every_transform
@every_forecaster
def test_forecasts_are_one_finite_level_a_step_at_every_origin(name, transform, horizon):
    frame = make_frame(transform, horizon)
    rows = np.arange(30, len(frame))
    forecasts = fitted(name, transform, horizon).predict(frame, rows)
    assert forecasts.shape == (len(rows), horizon)
    assert forecasts.dtype == np.float64
    assert np.isfinite(forecasts).all()


@every_horizon
@every_transform
@every_forecaster
def test_a_forecast_is_a_level_near_the_series_whatever_was_learnt(name, transform, horizon):
    frame = make_frame(transform, horizon)
    rows = np.arange(TRAINING, len(frame) - horizon)
    error = np.abs(fitted(name, transform, horizon).predict(frame, rows) - frame.target_level[rows]).mean()
    zero_level = name == "zero" and transform == "Level"
    assert error < (2.0 if zero_level else 1.0) * np.abs(frame.target_level[rows]).mean()


@every_horizon
@every_transform
@every_forecaster
def test_nothing_later_than_the_origin_and_no_outcome_is_read(name, transform, horizon):
    frame = make_frame(transform, horizon)
    forecaster = fitted(name, transform, horizon)
    for row in (40, TRAINING, TRAINING + 203):
        rows = np.arange(row - 10, row + 1)
        expected = forecaster.predict(frame, rows)
        assert np.array_equal(forecaster.predict(scrambled_after(frame, row), rows), expected)
        assert np.array_equal(forecaster.predict(frame.rows(0, row + 1), rows), expected)


@every_transform
@every_forecaster
def test_an_origin_is_forecast_alike_alone_and_among_others(name, transform):
    frame = make_frame(transform, 5)
    forecaster = fitted(name, transform, 5)
    everything = forecaster.predict(frame, np.arange(len(frame)))
    for rows in (np.arange(TRAINING, len(frame)), np.array([17, 555, 1201]), np.array([len(frame) - 1])):
        assert np.array_equal(forecaster.predict(frame, rows), everything[rows], equal_nan=True)
    assert forecaster.predict(frame, np.array([], dtype=np.intp)).shape == (0, 5)


@every_horizon
@every_transform
@every_forecaster
def test_what_is_loaded_forecasts_as_what_was_dumped(name, transform, horizon):
    frame = with_gaps(make_frame(transform, horizon))
    rows = np.arange(len(frame))
    forecaster = fitted(name, transform, horizon)
    files = forecaster.dump()
    loaded = load(name, files)
    assert np.array_equal(loaded.predict(frame, rows), forecaster.predict(frame, rows), equal_nan=True)
    assert loaded.importance() == forecaster.importance()
    assert loaded.dump() == files


@every_transform
@every_forecaster
def test_the_same_frame_and_seed_give_the_same_bytes(name, transform):
    again = fit_on(name, training_part(make_frame(transform, 5)), task_of(transform, 5))
    assert again.dump() == fitted(name, transform, 5).dump()


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_other_trees(name):
    frame = training_part(make_frame("Level", 1))
    one, two = (fit_on(name, frame, task_of("Level", 1, seed=seed)).dump() for seed in (3, 4))
    assert one != two


@every_transform
@every_forecaster
def test_gaps_and_missing_features_are_learnt_around(name, transform):
    frame = with_gaps(make_frame(transform, 5))
    forecaster = fit_on(name, training_part(frame), task_of(transform, 5))
    rows = np.arange(30, len(frame))
    gap = np.isnan(frame.level[rows])
    forecasts = forecaster.predict(frame, rows)
    assert np.isnan(forecasts[gap]).all()
    assert np.isfinite(forecasts[~gap]).all()


@every_transform
@every_forecaster
def test_the_training_window_is_left_as_it_was(name, transform):
    frame = training_part(make_frame(transform, 1))
    before = (frame.level.tobytes(), frame.features.tobytes(), frame.target_level.tobytes())
    fit_on(name, frame, task_of(transform, 1)).predict(frame, np.arange(len(frame)))
    assert (frame.level.tobytes(), frame.features.tobytes(), frame.target_level.tobytes()) == before


@every_transform
@every_forecaster
def test_importance_adds_up_to_one_or_is_empty(name, transform):
    shares = fitted(name, transform, 5).importance()
    with_features = name in (*LEARNS_FROM_FEATURES, *COMBINATION_NAMES)
    assert bool(shares) == with_features
    if shares:
        assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
        assert min(shares.values()) >= 0
        assert set(shares) == set(make_frame(transform, 5).feature_names)
        assert shares["never"] == 0


@pytest.mark.parametrize("name", ["median", *LEARNS_FROM_FEATURES, *LEARNS_FROM_LEVELS])
def test_too_few_rows_are_refused_in_numbers(name):
    frame = make_frame("Level", 1).rows(100, 109)
    with pytest.raises(DataError, match=r"9 of the 9 rows.*10|10 levels.*9 of the 9") as error:
        fit_on(name, frame, task_of("Level", 1))
    assert error.value.remedy


@every_feature_learner
@pytest.mark.parametrize("kept", [(), ("constant", "never")])
def test_where_no_feature_varies_the_mean_is_forecast(name, kept):
    frame = make_frame("Level", 1).with_features(kept)
    training = training_part(frame)
    forecaster = fit_on(name, training, task_of("Level", 1))
    forecasts = load(name, forecaster.dump()).predict(frame, np.arange(TRAINING, len(frame)))
    assert forecasts == pytest.approx(np.nanmean(training.target_level))
    assert forecaster.importance() == {}


@every_feature_learner
def test_features_are_found_by_name_in_a_wider_frame(name):
    frame = make_frame("Level", 1)
    kept = ("volatility.mean_5", "volatility.lag_1")
    narrow = frame.with_features(kept)
    forecaster = fit_on(name, training_part(narrow), task_of("Level", 1))
    rows = np.arange(TRAINING, len(frame))
    assert np.array_equal(forecaster.predict(frame, rows), forecaster.predict(narrow, rows))
    with pytest.raises(DataError, match=r"'volatility\.mean_5'"):
        forecaster.predict(frame.with_features(("volatility.lag_1",)), rows)


def broken_files(name: ModelName) -> dict[str, dict[str, bytes]]:
    files = dict(fitted(name, "Level", 1).dump())
    state = files[STATE]
    other = "drift" if name == "naive" else "naive"
    broken = {
        "none at all": {},
        "no state": {file: content for file, content in files.items() if file != STATE},
        "no JSON": files | {STATE: state[:-3]},
        "an unknown field": files | {STATE: state.replace(b'"version"', b'"more":1,"version"', 1)},
        "another forecaster's": dict(fitted(other, "Level", 1).dump()),
        "a file too many": files | {"more.bin": b"more"},
        "a newer version": files | {STATE: state.replace(b'"v1"', b'"v2"', 1)},
    }
    for file in files.keys() - {STATE}:
        broken[f"a damaged {file}"] = files | {file: files[file][:-1] + b"?"}
        broken[f"an empty {file}"] = files | {file: b""}
        broken[f"no {file}"] = {kept: content for kept, content in files.items() if kept != file}
    return broken


@every_forecaster
def test_files_that_are_none_of_its_own_are_refused_with_a_remedy(name):
    for fault, files in broken_files(name).items():
        with pytest.raises(LakeError) as error:
            load(name, files)
        assert error.value.remedy, fault


@every_transform
def test_what_is_said_to_learn_nothing_is_the_same_whatever_it_was_fitted_on(transform):
    names = [name for name in FORECASTER_NAMES if not Contender(name, Model(name=name), baseline=True).learns]
    assert "naive" in names
    frame, task = training_part(make_frame(transform, 2)), task_of(transform, 2)
    for name in names:
        assert fit_on(name, frame, task).dump() == fit_on(name, frame.rows(500, 520), task).dump()
