"""What selection keeps and drops, and the sentences that say why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from feature_bars import real_bars, spec_of
from model_frames import frame_of

from presage.features.build import build_frames
from presage.features.config import FeatureConfig, from_json, to_json
from presage.features.selection import correlations, select
from presage.frame import FloatArray, Frame
from presage.spec.features import Selection
from presage.spec.job import TransformName

ROWS = 400


def planted(horizon: int = 1, **more: FloatArray) -> Frame:
    """Return a frame whose next level is `cause` and a little noise, beside a twin of the cause and pure noise."""
    generator = np.random.default_rng(5)
    cause = generator.standard_normal(ROWS)
    features: Mapping[str, FloatArray] = {
        "noise": generator.standard_normal(ROWS),
        "twin": cause + 0.1 * generator.standard_normal(ROWS),
        "cause": cause,
        "other": generator.standard_normal(ROWS),
        **more,
    }
    level = 10 + np.append(0.0, cause[:-1]) + 0.2 * generator.standard_normal(ROWS)
    return frame_of(level, np.column_stack(list(features.values())), names=tuple(features), horizon=horizon)


def chosen(frame: Frame, transform: TransformName = "Level", seed: int = 0, **settings: object) -> FeatureConfig:
    return select(frame, transform=transform, selection=Selection(**settings), seed=seed)


def reasons(config: FeatureConfig) -> dict[str, str]:
    return {dropped.name: dropped.reason for dropped in config.dropped}


def test_of_two_features_that_say_the_same_the_one_that_says_less_goes() -> None:
    frame = planted()
    config = chosen(frame)
    assert config.kept == ("noise", "cause", "other")
    table = (
        pd.DataFrame(frame.features[:-1], columns=frame.feature_names).assign(next=frame.target_level[:-1, 0]).corr()
    )
    assert reasons(config) == {
        "twin": f"correlation {table.loc['twin', 'cause']:.3f} with cause, which says more about the target "
        f"({table.loc['cause', 'next']:.3f} against {table.loc['twin', 'next']:.3f})"
    }


def test_a_copy_goes_and_the_first_of_the_two_stays() -> None:
    frame = planted()
    copied = replace(frame, features=frame.features[:, [2, 2]], feature_names=("first", "second"))
    config = chosen(copied)
    assert config.kept == ("first",)
    assert "correlation 1.000 with first, which says as much, and stands first, about" in reasons(config)["second"]


def test_the_opposite_of_a_feature_says_the_same() -> None:
    frame = planted()
    mirrored = replace(frame, features=frame.features * [1, -1, 1, 1])
    assert chosen(mirrored).kept == ("noise", "cause", "other")


def test_a_correlation_at_the_limit_is_allowed() -> None:
    assert chosen(planted(), max_correlation=1.0).kept == ("noise", "twin", "cause", "other")


def test_features_without_information_go_with_their_reason() -> None:
    once = np.full(ROWS, np.nan)
    once[-1] = 1.0  # The newest row has no outcome yet, so nothing can be learnt from it.
    config = chosen(planted(empty=np.full(ROWS, np.nan), constant=np.full(ROWS, 2.5), once=once))
    assert config.kept == ("noise", "cause", "other")
    assert reasons(config)["empty"] == "it has no value in the training window"
    assert reasons(config)["constant"] == "it is 2.5 throughout the training window"
    assert reasons(config)["once"] == "it has no value in the training window"


def test_importance_finds_the_cause_and_its_shares_add_up_to_one() -> None:
    config = chosen(planted())
    assert tuple(config.importance) == ("noise", "cause", "other")
    assert sum(config.importance.values()) == pytest.approx(1, abs=1e-12)
    assert config.importance["cause"] > 0.8


def test_only_the_most_important_features_stay() -> None:
    config = chosen(planted(), max_features=1)
    share = config.importance
    second, third = sorted(("noise", "other"), key=lambda name: -share[name])
    assert config.kept == ("cause",)
    assert reasons(config)[second] == f"importance {share[second]:.4f} ranks 2 of 3, and 1 are kept"
    assert reasons(config)[third] == f"importance {share[third]:.4f} ranks 3 of 3, and 1 are kept"


def test_features_below_the_least_importance_go() -> None:
    config = chosen(planted(), min_importance=0.5)
    assert config.kept == ("cause",)
    assert reasons(config)["noise"] == f"importance {config.importance['noise']:.4f} is below 0.5"


def test_the_best_feature_stays_however_unimportant() -> None:
    generator = np.random.default_rng(1)
    level = generator.standard_normal(ROWS)
    frame = frame_of(level, generator.standard_normal((ROWS, 4)), names=("a", "b", "c", "d"), horizon=1)
    config = chosen(frame, min_importance=0.9)
    assert config.kept == (max(config.importance, key=lambda name: config.importance[name]),)


def test_method_none_keeps_everything() -> None:
    config = chosen(planted(empty=np.full(ROWS, np.nan)), method="None", max_features=1)
    assert config == FeatureConfig(("noise", "twin", "cause", "other", "empty"), (), {})


@pytest.mark.parametrize("level", [[1.0] * 60, list(range(9))], ids=["a constant target", "nine rows"])
def test_where_nothing_can_be_judged_every_feature_stays(level: list[float]) -> None:
    frame = frame_of(level, np.ones((len(level), 2)), names=("a", "b"), horizon=1)
    assert chosen(frame) == FeatureConfig(("a", "b"), (), {})


def test_a_frame_without_features_selects_none() -> None:
    assert chosen(frame_of(list(np.arange(60.0) % 7), horizon=1)) == FeatureConfig((), (), {})


def test_features_that_no_tree_can_use_stay_without_a_rank() -> None:
    # One row in 200 differs: a single row's weight splits nothing off under the trees' own limits, or gains nothing.
    frame = frame_of(list(np.arange(200.0) % 2), np.eye(200)[:, [150]], names=("rare",), horizon=1)
    config = chosen(frame)
    assert config.kept == ("rare",)
    assert config.importance in ({}, {"rare": 1.0})


@pytest.mark.parametrize("transform", ["Difference", "PercentChange", "LogChange"])
def test_changes_over_several_steps_are_learnt(transform: TransformName) -> None:
    frame = planted().with_features(("noise", "cause", "other"))
    walk = 100 * np.exp(0.01 * np.cumsum(np.append(0.0, frame.features[:-1, 1])))
    walked = frame_of(walk, frame.features, names=frame.feature_names, horizon=2)
    config = chosen(walked, transform=transform)
    assert config.kept == ("noise", "cause", "other")
    assert max(config.importance, key=lambda name: config.importance[name]) == "cause"
    assert config.importance["cause"] > 0.5


def test_rows_of_which_only_the_first_steps_are_known_count() -> None:
    frame = planted(horizon=3)
    cutoff = frame.target_known_at[20, 0]
    known = frame.known_by(cutoff)
    fresh = np.full((len(known), 1), np.nan)
    fresh[18:21, 0] = [1.0, 2.0, 3.0]
    config = chosen(replace(known, features=fresh, feature_names=("fresh",)))
    assert config.kept == ("fresh",)
    assert not config.dropped


@pytest.fixture(scope="module")
def real() -> Frame:
    """The S&P 500's volatility with many features, the VIX with most of its history missing."""
    spec = spec_of(
        "sp500.range_volatility",
        sources={"sp500": {"lag": "0s"}, "vix": {"lag": "0s"}},
        features=[
            {"lag": {"columns": ["sp500.range_volatility", "vix.vix"], "steps": [1, 2, 3]}},
            {"rolling": {"columns": ["sp500.range_volatility"], "windows": [5, 22], "statistics": ["mean", "max"]}},
            {"logChange": {"columns": ["sp500.Close"], "periods": [1, 5]}},
        ],
    )
    (frame,) = build_frames(spec, {"sp500": real_bars("sp500", "2010"), "vix": real_bars("vix")})
    return frame


def test_real_volatility_is_best_told_by_its_own_recent_mean(real: Frame) -> None:
    config = chosen(real)
    assert max(config.importance, key=lambda name: config.importance[name]) == "sp500.range_volatility.mean_5"
    assert from_json(to_json(config)) == config
    assert set(config.kept).isdisjoint(reasons(config))
    assert set(config.kept) | set(reasons(config)) == set(real.feature_names)
    assert list(config.kept) == [name for name in real.feature_names if name in config.kept]


def test_the_same_frame_and_seed_give_the_same_selection(real: Frame) -> None:
    assert to_json(chosen(real, seed=3)) == to_json(chosen(real, seed=3))


def test_nothing_after_the_cutoff_reaches_a_selection(real: Frame) -> None:
    cutoff = real.origin[1200]
    later = real.origin > cutoff
    unknown = ~(real.target_known_at <= cutoff)
    scrambled = replace(
        real,
        level=np.where(later, 1e6, real.level),
        features=np.where(later[:, None], -1e6, real.features),
        target_level=np.where(unknown, 1e6, real.target_level),
    )
    assert to_json(chosen(scrambled.known_by(cutoff))) == to_json(chosen(real.known_by(cutoff)))


def test_correlations_agree_with_pandas_where_values_are_missing(real: Frame) -> None:
    generator = np.random.default_rng(2)
    features = np.where(generator.random(real.features.shape) < 0.2, np.nan, real.features)
    features = np.column_stack([features, np.where(np.arange(len(real)) < 9, features[:, 0], np.nan)])
    expected = pd.DataFrame(features).corr(min_periods=10).fillna(0.0).to_numpy()
    found = correlations(np.ascontiguousarray(features.T))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_column_that_is_constant_where_another_has_values_has_no_correlation_with_it() -> None:
    first = np.append(np.full(50, 3.3), np.arange(50.0))
    second = np.append(np.arange(50.0), np.full(50, np.nan))
    assert correlations(np.vstack([first, second]))[0, 1] == 0
