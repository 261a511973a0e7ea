from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from feature_bars import real_bars, spec_of
from model_frames import frame_of, real_frame, with_gaps

from presage.engine import LocalEngine
from presage.errors import DataError, NotSupportedError
from presage.evaluation.backtest import BackTest
from presage.evaluation.contenders import Contender, contenders, seed_of
from presage.evaluation.final_fit import final_fit
from presage.evaluation.intervals import calibrate
from presage.evaluation.walk_forward import back_test
from presage.features.build import build_frames
from presage.features.config import FeatureConfig
from presage.features.selection import select
from presage.frame import Frame, Panel
from presage.models.contract import Forecaster, Task
from presage.models.registry import load, trainer
from presage.spec.features import Selection
from presage.spec.job import PredictionJobSpec, TransformName
from presage.spec.models import Model

SEASON = 5
CANDIDATES: tuple[Model, ...] = (
    Model(name="ridge"),
    Model(name="xgboost", parameters={"n_estimators": 20}),
    Model(name="catboost", parameters={"iterations": 20}),
    Model(name="theta"),
    Model(name="mean_combination"),
)


def job(
    *,
    models: Sequence[Model] = CANDIDATES,
    horizon: int = 1,
    transform: TransformName = "Level",
    task: str = "Forecast",
    seed: int = 4,
    evaluation: Mapping[str, int | str] | None = None,
) -> PredictionJobSpec:
    return PredictionJobSpec.model_validate(
        {
            "task": task,
            "frequency": "1d",
            "target": {"source": "sp500", "column": "x", "horizon": horizon, "transform": transform},
            "sources": [{"name": "sp500", "dataset": {"name": "arch/sp500"}, "availability": {"lag": "0s"}}],
            "models": [model.model_dump() for model in models],
            "evaluation": {"folds": 3, **(evaluation or {})},
            "seed": seed,
        }
    )


def walk_of(frame: Frame, spec: PredictionJobSpec, workers: int = 1) -> BackTest:
    return back_test(Panel.of([frame]), spec, season=SEASON, engine=LocalEngine(workers))


def fitted(frame: Frame, spec: PredictionJobSpec, champion: Contender, config: FeatureConfig) -> Forecaster:
    (only,) = final_fit(Panel.of([frame]), spec, champion, season=SEASON, config=config).values()
    return only


@cache
def walked(horizon: int, transform: TransformName, workers: int = 1) -> BackTest:
    frame = real_frame("volatility" if transform == "Level" else "close", horizon)
    spec = job(horizon=horizon, transform=transform)
    return walk_of(frame, spec, workers)


def content(found: BackTest, rows: slice) -> bytes:
    parts = [found.rows[rows].tobytes(), found.fold[rows].tobytes()]
    for name, forecast in found.forecasts.items():
        parts += [name.encode(), forecast.mean[rows].tobytes(), forecast.quantiles[rows].tobytes()]
    return b"".join(parts)


def named(spec: PredictionJobSpec, frame: Frame) -> dict[str, bool]:
    task = Task(spec.target.transform, spec.target.horizon, SEASON, 0)
    return {contender.name: contender.baseline for contender in contenders(spec, task, Panel.of([frame]))}


def test_baselines_come_first_and_candidates_in_the_jobs_order():
    spec = job(models=[Model(name="theta"), Model(name="ridge")], transform="LogChange")
    assert named(spec, real_frame("close", 1)) == {
        "naive": True,
        "seasonal_naive": True,
        "drift": True,
        "window_mean": True,
        "zero": True,
        "theta": False,
        "ridge": False,
    }


def test_a_second_model_of_a_name_is_numbered_and_a_listed_baseline_runs_once():
    spec = job(
        models=[
            Model(name="ridge"),
            Model(name="naive"),
            Model(name="ridge", parameters={"alpha": 9.0}),
            Model(name="window_mean", parameters={"window": 22}),
            Model(name="window_mean", parameters={"window": 60}),
            Model(name="ridge", parameters={"alpha": 99.0}),
            Model(name="zero"),
        ]
    )
    frame = real_frame("volatility", 1)
    assert list(named(spec, frame)) == [
        *("naive", "seasonal_naive", "drift", "window_mean", "window_mean_2", "zero"),
        *("ridge", "ridge_2", "ridge_3"),
    ]
    task = Task("Level", 1, SEASON, 0)
    parameters = {contender.name: contender.model.parameters for contender in contenders(spec, task, Panel.of([frame]))}
    assert parameters["ridge_2"] == {"alpha": 9.0}
    assert parameters["window_mean_2"] == {"window": 60}


@pytest.mark.parametrize(("horizon", "transform"), [(1, "Level"), (5, "LogChange")])
def test_every_contender_forecasts_every_row_of_every_block(horizon, transform):
    found = walked(horizon, transform)
    count, quantiles = len(found.rows), len(found.probabilities)
    assert found.rows.tolist() == list(range(found.folds[0].test_start, len(found.frame) - horizon))
    assert [fold.number for fold in found.folds] == [0, 1, 2, 3]
    for fold in found.folds:
        assert (found.fold[(found.rows >= fold.test_start) & (found.rows < fold.test_stop)] == fold.number).all()
    for name, forecast in found.forecasts.items():
        assert forecast.name == name
        assert forecast.mean.shape == (count, horizon)
        assert forecast.quantiles.shape == (count, horizon, quantiles)
        assert np.isfinite(forecast.mean).all(), name
        assert np.isfinite(forecast.quantiles[found.scored]).all()
        assert (np.diff(forecast.quantiles[found.scored], axis=2) >= 0).all()
    assert found.scored.tolist() == (found.fold > 0).tolist()
    assert set(found.selections) == {0, 1, 2, 3}


def test_importances_are_means_over_scored_folds_of_what_was_kept():
    found = walked(1, "Level")
    assert found.forecasts["naive"].importance == {}
    assert found.forecasts["theta"].importance == {}
    kept = {name for number in (1, 2, 3) for name in found.selections[number].kept}
    for name in ("ridge", "xgboost", "catboost", "mean_combination"):
        shares = found.forecasts[name].importance
        assert set(shares) <= kept
        assert sum(shares.values()) == pytest.approx(1)
    assert not {"constant", "never"} & kept


def test_what_is_judged_is_the_exported_forecaster_fitted_on_what_was_known():
    found = walked(5, "LogChange")
    frame, spec = found.frame, job(horizon=5, transform="LogChange")
    for fold in found.folds:
        training = frame.known_by(fold.cutoff).rows(fold.train_start, fold.train_stop)
        config = select(
            training,
            transform="LogChange",
            selection=spec.selection,
            seed=seed_of(spec.seed, "selection", fold.number),
        )
        assert config == found.selections[fold.number]
        rows = np.arange(fold.test_start, fold.test_stop)
        for model in CANDIDATES[:-1]:
            task = Task("LogChange", 5, SEASON, seed_of(spec.seed, model.name, fold.number))
            fitted = trainer(model).fit(training.with_features(config.kept), task)
            exported = load(model.name, fitted.dump())
            expected = exported.predict(frame.with_features(config.kept), rows)
            forecasts = found.forecasts[model.name].mean[found.fold == fold.number]
            assert forecasts.tobytes() == expected.tobytes(), (model.name, fold.number)


def test_the_combination_is_the_mean_of_the_other_candidates():
    found = walked(5, "LogChange")
    members = [found.forecasts[name].mean for name in ("ridge", "xgboost", "catboost", "theta")]
    np.testing.assert_allclose(found.forecasts["mean_combination"].mean, np.mean(members, axis=0), rtol=1e-14)


@pytest.mark.parametrize(("horizon", "transform"), [(1, "Level"), (5, "LogChange")])
def test_nothing_later_reaches_a_forecast_or_its_quantiles(horizon, transform):
    found = walked(horizon, transform)
    frame, random = found.frame, np.random.default_rng(17)
    for fold, place in ((found.folds[1], -1), (found.folds[2], 10)):
        # The last row of one block, and a row early in another: later rows, and outcomes known later, become noise.
        row = range(fold.test_start, fold.test_stop)[place]
        future = np.arange(len(frame)) > row
        unknown = frame.target_known_at > frame.origin[row]
        scrambled = replace(
            frame,
            level=np.where(future, random.lognormal(3, 2, len(frame)), frame.level),
            features=np.where(future[:, np.newaxis], random.normal(0, 3, frame.features.shape), frame.features),
            target_level=np.where(unknown, random.lognormal(3, 2, frame.target_level.shape), frame.target_level),
        )
        spec = job(horizon=horizon, transform=transform)
        other = walk_of(scrambled, spec)
        until = slice(row - found.rows[0] + 1)
        assert content(other, until) == content(found, until)
        assert content(other, slice(None)) != content(found, slice(None))


def test_a_fit_sees_no_outcome_that_became_known_after_its_cutoff():
    found = walked(5, "LogChange")
    frame, fold = found.frame, found.folds[1]
    after = frame.target_known_at > fold.cutoff
    assert after[: fold.train_stop].any()
    scrambled = replace(frame, target_level=np.where(after, frame.target_level * 3, frame.target_level))
    other = walk_of(scrambled, job(horizon=5, transform="LogChange"))
    block = found.fold == fold.number
    for name, forecast in found.forecasts.items():
        assert other.forecasts[name].mean[block].tobytes() == forecast.mean[block].tobytes(), name
    assert other.selections[fold.number] == found.selections[fold.number]


def test_two_workers_find_the_same_bytes_as_one():
    one, two = walked(1, "Level"), walked(1, "Level", workers=2)
    assert content(one, slice(None)) == content(two, slice(None))
    assert one.selections == two.selections
    assert one.scored.tobytes() == two.scored.tobytes()
    assert [forecast.importance for forecast in one.forecasts.values()] == [
        forecast.importance for forecast in two.forecasts.values()
    ]


def test_the_seed_of_the_job_reaches_the_fits():
    frame = real_frame("volatility", 1)
    models = [Model(name="xgboost", parameters={"n_estimators": 5})]
    means = [walk_of(frame, job(models=models, seed=seed)).forecasts["xgboost"].mean for seed in (1, 1, 2)]
    assert means[0].tobytes() == means[1].tobytes() != means[2].tobytes()


def test_seeds_are_the_same_everywhere_and_differ_by_contender_and_fold():
    assert seed_of(0, "ridge", 1) == 485776560
    seeds = {seed_of(seed, name, fold) for seed in (0, 1) for name in ("ridge", "ridge_2") for fold in range(5)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_gaps_have_no_forecast_and_are_not_scored():
    frame = with_gaps(real_frame("volatility", 2))
    found = walk_of(frame, job(models=CANDIDATES[:1], horizon=2))
    gap = np.isnan(frame.level[found.rows])
    unknown = np.isnan(frame.target_level[found.rows]).any(axis=1)
    assert gap.sum() > 10
    assert not found.scored[gap | unknown].any()
    assert np.isnan(found.forecasts["ridge"].mean[gap]).all()
    assert found.scored.sum() > 0.8 * (found.fold > 0).sum()


def test_an_origin_without_a_forecast_from_one_contender_counts_for_none():
    frame = real_frame("close", 1)
    level, outcome = frame.level.copy(), frame.target_level.copy()
    level[1200] = -5.0
    outcome[1199] = -5.0
    odd = replace(frame, level=level, target_level=outcome)
    found = walk_of(odd, job(models=CANDIDATES[:1], transform="LogChange"))
    assert np.isnan(found.forecasts["ridge"].quantiles[found.rows == 1200]).all()
    assert not found.scored[found.rows == 1200].any()
    assert found.scored[found.rows == 1201].all()


def test_blocks_end_where_outcomes_are_not_yet_known():
    frame = real_frame("volatility", 3)
    today = frame.known_by(frame.origin[1400])
    found = walk_of(today, job(models=CANDIDATES[:1], horizon=3))
    assert len(today) == 1401
    assert found.rows[-1] == 1397
    assert np.isfinite(found.frame.target_level[found.rows]).all()


def test_a_contender_that_cannot_be_fitted_is_named_with_its_fold():
    frame = real_frame("close", 1)
    level = np.where(np.arange(len(frame)) < 1100, -frame.level, frame.level)
    outcome = np.append(level[1:], np.nan)[:, np.newaxis]
    with pytest.raises(DataError, match=r"^ridge in fold 0: ") as caught:
        walk_of(replace(frame, level=level, target_level=outcome), job(models=CANDIDATES[:1], transform="LogChange"))
    assert caught.value.remedy


def test_a_walk_without_an_origin_to_score_is_refused_with_numbers():
    frame = real_frame("close", 1)
    level = np.where(np.arange(len(frame)) > 1000, -frame.level, frame.level)
    outcome = np.append(level[1:], np.nan)[:, np.newaxis]
    with pytest.raises(DataError, match=r"no origin can be scored; of \d+ that were forecast \d+ have a level"):
        walk_of(
            replace(frame, level=level, target_level=outcome),
            job(models=[Model(name="naive")], transform="LogChange", evaluation={"train_size": 1000}),
        )


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="has 79 usable rows and 30 folds need"):
        walk_of(frame_of(np.arange(1.0, 81.0), horizon=1), job(evaluation={"folds": 30}))


def test_a_combination_of_nothing_is_refused():
    frame = real_frame("volatility", 1)
    spec = job(models=[Model(name="mean_combination")])
    with pytest.raises(NotSupportedError, match="nothing to combine"):
        walk_of(frame, spec)


def test_classification_is_refused():
    with pytest.raises(NotSupportedError, match="Classification"):
        walk_of(real_frame("volatility", 1), job(task="Classification"))


def test_the_median_is_a_baseline_of_regression():
    found = walk_of(real_frame("volatility", 1), job(models=CANDIDATES[:1], task="Regression"))
    assert found.forecasts["median"].baseline


@pytest.mark.parametrize("place", range(len(CANDIDATES)), ids=[model.name for model in CANDIDATES])
def test_the_final_fit_learns_from_all_that_is_known(place):
    frame, spec = real_frame("close", 5), job(horizon=5, transform="LogChange")
    task = Task("LogChange", 5, SEASON, spec.seed)
    config = select(frame, transform="LogChange", selection=Selection(max_features=3), seed=1)
    entrants = {contender.name: contender for contender in contenders(spec, task, Panel.of([frame]))}
    champion = entrants[CANDIDATES[place].name]
    newest = np.array([len(frame) - 1])
    found = fitted(frame, spec, champion, config)
    forecast = found.predict(frame, newest)
    assert forecast.shape == (1, 5)
    assert np.isfinite(forecast).all()
    again = load(champion.model.name, found.dump())
    assert again.predict(frame, newest).tobytes() == forecast.tobytes()
    earlier = fitted(frame.known_by(frame.origin[-200]), spec, champion, config)
    assert earlier.predict(frame, newest).tobytes() != forecast.tobytes()


def test_the_final_fit_of_a_rolling_job_learns_from_the_newest_rows_only():
    frame = real_frame("volatility", 1)
    rolling = {"window": "Rolling", "train_size": 400}
    spec = job(models=CANDIDATES[:1], evaluation=rolling)
    config = select(frame, transform="Level", selection=Selection(), seed=1)
    champion = contenders(spec, Task("Level", 1, SEASON, 0), Panel.of([frame]))[-1]
    newest = np.array([len(frame) - 1])
    whole, part = (
        fitted(given, spec, champion, config).predict(frame, newest)
        for given in (frame, frame.rows(len(frame) - 400, len(frame)))
    )
    assert whole.tobytes() == part.tobytes()
    expanding = fitted(frame, job(models=CANDIDATES[:1]), champion, config)
    assert expanding.predict(frame, newest).tobytes() != whole.tobytes()


def test_calibrating_a_contender_again_gives_its_quantiles_and_the_live_state():
    found = walked(5, "LogChange")
    ridge = found.forecasts["ridge"]
    quantiles, state = calibrate(
        found.frame,
        found.rows,
        ridge.mean,
        transform="LogChange",
        probabilities=found.probabilities,
        intervals=job().evaluation.intervals,
    )
    assert quantiles.tobytes() == ridge.quantiles.tobytes()
    assert np.isfinite(state.offsets).all()


def test_range_volatility_of_the_sp500_is_forecast_better_than_by_any_baseline():
    spec = spec_of(
        "sp500.range_volatility",
        features=[
            {"rolling": {"columns": ["sp500.range_volatility"], "windows": [5, 22]}},
            {"lag": {"columns": ["sp500.range_volatility", "vix.vix"], "steps": [1]}},
        ],
        sources={"sp500": {"lag": "0s"}, "vix": {"lag": "0s"}},
    )
    spec = spec.model_copy(update={"models": (Model(name="ridge"),)})
    (frame,) = build_frames(spec, {name: real_bars(name) for name in ("sp500", "vix")})
    found = walk_of(frame, spec)
    outcome = frame.target_level[found.rows][found.scored]
    loss = {
        name: float(np.abs(forecast.mean[found.scored] - outcome).mean()) for name, forecast in found.forecasts.items()
    }
    assert found.scored.sum() > 2000
    assert min(loss, key=lambda name: loss[name]) == "ridge"
    low, high = (list(found.probabilities).index(end) for end in (0.05, 0.95))
    quantiles = found.forecasts["ridge"].quantiles[found.scored]
    covered = (quantiles[..., low] <= outcome) & (outcome <= quantiles[..., high])
    assert abs(covered.mean() - 0.9) < 0.02
