from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import ceil, floor, sqrt

import numpy as np
import pytest
from model_frames import DAY, frame_of, real_frame, with_gaps

from presage.evaluation.intervals import IntervalState, calibrate, issue, quantile_probabilities
from presage.evaluation.residuals import HALF_LIFE, LEAST_SCALE
from presage.frame import FloatArray, Frame, to_change, to_level
from presage.spec.evaluation import Intervals
from presage.spec.job import TransformName

LEVELS = (0.8, 0.9, 0.95)
PROBABILITIES = quantile_probabilities(LEVELS)
BAND = 2.58  # two-sided 99 % of the normal distribution


def naive(frame: Frame) -> FloatArray:
    return np.repeat(frame.level[:, np.newaxis], frame.horizon, axis=1)


def quantiles_of(
    frame: Frame, mean: FloatArray, *, transform: TransformName = "Level", **settings: float
) -> FloatArray:
    quantiles, _ = calibrate(
        frame,
        np.arange(len(frame)),
        mean,
        transform=transform,
        probabilities=PROBABILITIES,
        intervals=Intervals(levels=LEVELS, **settings),
    )
    return quantiles


def inside(frame: Frame, quantiles: FloatArray, place: int) -> FloatArray:
    """Return, for outcomes that are known and have quantiles, whether the interval of LEVELS[place] holds them."""
    known = np.isfinite(quantiles).all(axis=2) & np.isfinite(frame.target_level)
    low, high = (list(PROBABILITIES).index(round((1 + side * LEVELS[place]) / 2, 12)) for side in (-1, 1))
    held = (quantiles[..., low] <= frame.target_level) & (frame.target_level <= quantiles[..., high])
    return held[known]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((0.9,), [0.05, 0.5, 0.95]),
        ((0.95, 0.8), [0.025, 0.1, 0.5, 0.9, 0.975]),
        ((0.5, 0.5), [0.25, 0.5, 0.75]),
    ],
)
def test_probabilities_are_the_ends_of_the_levels_and_the_median(levels, expected):
    assert quantile_probabilities(levels).tolist() == expected


def simulated(name: str) -> tuple[Frame, FloatArray]:
    """Return 4,000 bars and a forecast of each next one."""
    random = np.random.default_rng(41)
    noise = random.standard_normal(4000)
    if name == "independent":
        frame = frame_of(noise, horizon=1)
        return frame, np.zeros((len(frame), 1))
    if name == "autoregressive, forecast as if it were not":
        values = np.zeros(4000)
        for bar in range(1, 4000):
            values[bar] = 0.7 * values[bar - 1] + noise[bar]
        frame = frame_of(values, horizon=1)
        return frame, np.zeros((len(frame), 1))
    wild = (np.arange(4000) // 250) % 2 == 1
    frame = frame_of(np.cumsum(np.where(wild, 4.0, 1.0) * noise), horizon=1)
    return frame, naive(frame)


@pytest.mark.parametrize("place", range(len(LEVELS)), ids=[f"{level:.0%}" for level in LEVELS])
@pytest.mark.parametrize(
    "name", ["independent", "autoregressive, forecast as if it were not", "calm and wild by turns"]
)
def test_intervals_hold_what_they_promise(name, place):
    frame, mean = simulated(name)
    held = inside(frame, quantiles_of(frame, mean), place)
    level = LEVELS[place]
    assert len(held) > 3900
    assert abs(held.mean() - level) <= BAND * sqrt(level * (1 - level) / len(held))


def test_intervals_adapt_after_the_variance_jumps():
    random = np.random.default_rng(5)
    noise = random.standard_normal(1600) * np.where(np.arange(1600) < 1000, 1.0, 4.0)
    frame = frame_of(noise, horizon=1)
    quantiles = quantiles_of(frame, np.zeros((1600, 1)))
    low, high = list(PROBABILITIES).index(0.05), list(PROBABILITIES).index(0.95)
    after = slice(1050, 1599)
    outcome = frame.target_level[after, 0]
    frozen = np.mean((quantiles[900, 0, low] <= outcome) & (outcome <= quantiles[900, 0, high]))
    adapted = np.mean((quantiles[after, 0, low] <= outcome) & (outcome <= quantiles[after, 0, high]))
    assert frozen < 0.5
    assert abs(adapted - 0.9) <= BAND * sqrt(0.09 / len(outcome))


def test_the_level_itself_adapts_where_the_sample_is_of_another_time():
    # The scale follows what the size of residuals does, but not that they all come to lean to one side.
    random = np.random.default_rng(6)
    size = np.abs(random.standard_normal(2000))
    frame = frame_of(np.where(np.arange(2000) < 1000, size * random.choice([-1, 1], 2000), size), horizon=1)
    low = list(PROBABILITIES).index(0.1)
    later = slice(1500, 1999)

    def share_below(learning_rate: float) -> float:
        quantiles = quantiles_of(frame, np.zeros((2000, 1)), window=2000, learning_rate=learning_rate)
        return float(np.mean(frame.target_level[later, 0] < quantiles[later, 0, low]))

    assert share_below(0.0) == 0
    assert abs(share_below(0.01) - 0.1) <= BAND * sqrt(0.09 / 499)


def test_the_first_quantiles_are_order_statistics_of_twenty_residuals():
    values = np.array([0.0, 3, -1, 4, -1.5, 9, -2, 6, 5.5, -3, 5, 8, -9, 7, 9.5, -3.5, 2, 3.5, -8, 4.5, -6, 1, 1])
    frame = frame_of(values, horizon=1)
    quantiles = quantiles_of(frame, np.zeros((len(values), 1)))
    assert np.isnan(quantiles[:20]).all()
    residuals = np.sort(values[1:21])
    # 21 p is 0.525, 1.05, 2.1, 10.5, 18.9, 19.95, 20.475: down below one half, up above, both at one half.
    median = residuals[9]
    expected = [
        residuals[0] - 0.5 * 0.475 * (median - residuals[0]),
        residuals[0],
        residuals[1],
        (residuals[9] + residuals[10]) / 2,
        residuals[18],
        residuals[19],
        residuals[19] + 0.5 * 0.475 * (residuals[19] - median),
    ]
    np.testing.assert_allclose(quantiles[20, 0], expected, rtol=1e-12)


def plainly(frame: Frame, mean: FloatArray, transform: TransformName, window: int, learning_rate: float) -> FloatArray:
    """Return the quantiles by the definition, one origin, step and probability at a time, with no cleverness."""
    change = to_change(transform, frame.level[:, np.newaxis], mean)
    residual = to_change(transform, frame.level[:, np.newaxis], frame.target_level) - change

    def known(step: int, moment: np.datetime64) -> list[int]:
        heard = [
            (frame.target_known_at[row, step], row)
            for row in range(len(frame))
            if np.isfinite(residual[row, step]) and frame.target_known_at[row, step] <= moment
        ]
        return [row for _, row in sorted(heard)]

    def scale(moment: np.datetime64) -> float:
        heard = known(0, moment)
        if len(heard) < 20:
            heard = known(0, frame.origin[-1])[:20]
        sizes = np.array([abs(residual[row, 0]) for row in heard])
        weights = 0.5 ** (np.arange(len(sizes))[::-1] / HALF_LIFE)
        return max(np.sum(weights * sizes) / np.sum(weights), LEAST_SCALE * sizes.mean())

    scales = [scale(moment) for moment in frame.origin]
    offsets = np.full((*mean.shape, len(PROBABILITIES)), np.nan)
    for step in range(mean.shape[1]):
        levels = PROBABILITIES.copy()
        heard_before = 0
        for row, moment in enumerate(frame.origin):
            heard = known(step, moment)
            for other in heard[heard_before:]:
                if np.isfinite(offsets[other, step]).all():
                    below = residual[other, step] / scales[other] <= offsets[other, step] / scales[other]
                    levels = np.clip(levels + learning_rate / (step + 1) * (PROBABILITIES - below), 0, 1)
            heard_before = len(heard)
            if min(len(heard), len(known(0, moment))) < 20:
                continue
            sample = sorted(residual[other, step] / scales[other] for other in heard[-window:])
            found = [
                order_statistic(sample, level, nominal) for level, nominal in zip(levels, PROBABILITIES, strict=True)
            ]
            offsets[row, step] = np.sort(found) * scales[row]
    return to_level(transform, frame.level[:, np.newaxis, np.newaxis], change[:, :, np.newaxis] + offsets)


def order_statistic(sample: list[float], level: float, nominal: float) -> float:
    size = len(sample)
    rank = (size + 1) * level
    median = sample[(size - 1) // 2]
    if nominal == 0.5:
        return (sample[floor(rank + 1e-9) - 1] + sample[ceil(rank - 1e-9) - 1]) / 2
    if rank > size:
        return sample[-1] + min(rank - size, 1) / 2 * (sample[-1] - median)
    if rank < 1:
        return sample[0] - (1 - rank) / 2 * (median - sample[0])
    return sample[(ceil(rank - 1e-9) if nominal > 0.5 else floor(rank + 1e-9)) - 1]


@pytest.mark.parametrize(
    ("transform", "horizon", "gaps", "late"),
    [("Level", 1, False, False), ("LogChange", 5, False, False), ("PercentChange", 3, True, True)],
)
def test_quantiles_are_those_of_the_definition(transform, horizon, gaps, late):
    whole = real_frame("close", horizon)
    frame = (with_gaps(whole) if gaps else whole).rows(280, 480)
    if late:
        # Every seventh outcome is published four days late, behind outcomes of later bars.
        known_at = frame.target_known_at.copy()
        known_at[::7] += 4 * DAY
        frame = replace(frame, target_known_at=known_at)
    mean = naive(frame) * 1.001
    expected = plainly(frame, mean, transform, window=60, learning_rate=0.05)
    found = quantiles_of(frame, mean, transform=transform, window=60, learning_rate=0.05)
    assert np.isfinite(found).mean() > 0.6
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_an_outcome_is_heard_of_as_many_bars_later_as_it_is_ahead():
    frame = real_frame("close", 5).rows(0, 200)
    mean = naive(frame)
    before = quantiles_of(frame, mean, transform="LogChange")
    heard = {}
    for step in range(5):
        outcome = frame.target_level.copy()
        outcome[100, step] *= 1.5
        after = quantiles_of(replace(frame, target_level=outcome), mean, transform="LogChange")
        changed = np.abs(after - before).max(axis=2) > 1e-9
        heard[step + 1] = [int(np.flatnonzero(rows)[0]) if rows.any() else None for rows in changed.T]
    # From the outcome one step ahead all steps take their scale; the others only speak for their own step.
    assert heard == {
        1: [101, 101, 101, 101, 101],
        2: [None, 102, None, None, None],
        3: [None, None, 103, None, None],
        4: [None, None, None, 104, None],
        5: [None, None, None, None, 105],
    }


@pytest.mark.parametrize("horizon", [1, 5])
def test_nothing_later_than_an_origin_reaches_its_quantiles(horizon):
    frame = real_frame("volatility", horizon)
    mean = np.repeat(frame.features[:, [1]], horizon, axis=1)
    quantiles = quantiles_of(frame, mean)
    random = np.random.default_rng(2)
    for row in (60, 700, 1200):
        future = np.arange(len(frame)) > row
        unknown = frame.target_known_at > frame.origin[row]
        scrambled = replace(
            frame,
            level=np.where(future, random.lognormal(size=len(frame)), frame.level),
            target_level=np.where(unknown, random.lognormal(3, 3, frame.target_level.shape), frame.target_level),
        )
        other_mean = np.where(future[:, np.newaxis], random.normal(size=mean.shape), mean)
        assert quantiles_of(scrambled, other_mean)[: row + 1].tobytes() == quantiles[: row + 1].tobytes()


def test_a_live_forecast_gets_the_quantiles_that_the_back_test_gives_its_origin():
    frame = real_frame("close", 5)
    mean = naive(frame)
    quantiles = quantiles_of(frame, mean, transform="LogChange")
    newest = 900
    today = frame.known_by(frame.origin[newest])
    _, state = calibrate(
        today,
        np.arange(newest),
        mean[:newest],
        transform="LogChange",
        probabilities=PROBABILITIES,
        intervals=Intervals(levels=LEVELS),
    )
    np.testing.assert_array_equal(issue(state, frame.level[newest], mean[newest]), quantiles[newest])


def test_no_quantile_falls_below_the_declared_minimum_and_coverage_stays():
    frame = real_frame("volatility", 1)
    settings = {"transform": "Level", "probabilities": PROBABILITIES, "intervals": Intervals(levels=LEVELS)}
    rows, mean = np.arange(len(frame)), naive(frame)
    free, free_state = calibrate(frame, rows, mean, **settings)
    bounded, state = calibrate(frame, rows, mean, minimum=0.0, **settings)
    assert np.nanmin(free) < 0 <= np.nanmin(bounded)
    inside = free[:, :, 0] <= frame.target_level
    np.testing.assert_array_equal(inside, bounded[:, :, 0] <= frame.target_level)
    np.testing.assert_array_equal(
        issue(state, 0.1, np.array([0.1])), np.maximum(issue(free_state, 0.1, np.array([0.1])), 0.0)
    )


def test_the_state_survives_json():
    frame = real_frame("volatility", 2)
    _, state = calibrate(
        frame,
        np.arange(len(frame)),
        naive(frame),
        transform="Difference",
        probabilities=PROBABILITIES,
        intervals=Intervals(levels=LEVELS),
    )
    read = json.loads(json.dumps(asdict(state), allow_nan=False))
    offsets = tuple(tuple(step) for step in read["offsets"])
    assert IntervalState(read["transform"], tuple(read["probabilities"]), offsets) == state
    assert len(state.offsets) == 2
    assert len(state.offsets[0]) == len(PROBABILITIES)


def test_too_few_residuals_give_no_quantiles_live_either():
    frame = frame_of(np.arange(1.0, 20.0), horizon=2)
    quantiles, state = calibrate(
        frame,
        np.arange(len(frame)),
        naive(frame),
        transform="Level",
        probabilities=PROBABILITIES,
        intervals=Intervals(),
    )
    assert np.isnan(quantiles).all()
    assert state.offsets == ()
    assert np.isnan(issue(state, 5.0, np.array([5.0, 6.0]))).all()
    assert issue(state, 5.0, np.array([5.0, 6.0])).shape == (2, len(PROBABILITIES))


@pytest.mark.parametrize("transform", ["Level", "Difference", "PercentChange", "LogChange"])
def test_quantiles_never_cross_and_gaps_have_none(transform):
    frame = with_gaps(real_frame("close", 3))
    quantiles = quantiles_of(frame, naive(frame), transform=transform, learning_rate=0.2)
    gap = np.isnan(frame.level)
    assert gap.sum() > 50
    assert np.isnan(quantiles[gap]).all()
    assert np.isfinite(quantiles[~gap][100:]).all()
    assert (np.diff(quantiles[~gap][100:], axis=2) >= 0).all()


def test_unknown_outcomes_at_the_end_teach_nothing():
    frame = real_frame("volatility", 1)
    late = frame.target_known_at.copy()
    late[-40:] = np.datetime64("NaT", "us")
    outcome = np.where(np.isnat(late), np.nan, frame.target_level)
    unknown = replace(frame, target_level=outcome, target_known_at=late)
    quantiles = quantiles_of(unknown, naive(frame))
    assert np.isfinite(quantiles[-40:]).all()
    width = quantiles[-39:, 0, -1] - quantiles[-39:, 0, 0]
    np.testing.assert_allclose(width, width[0], rtol=1e-12)


def test_residuals_that_are_all_zero_give_a_point():
    frame = frame_of(np.full(60, 7.0), horizon=1)
    quantiles = quantiles_of(frame, naive(frame))
    assert (quantiles[20:] == 7.0).all()


def test_a_shock_after_a_dead_calm_widens_intervals_by_no_more_than_the_floor_of_the_scale_allows():
    random = np.random.default_rng(8)
    calm = np.where((np.arange(900) >= 300) & (np.arange(900) < 600), 0.0, random.standard_normal(900))
    frame = frame_of(calm, horizon=1)
    quantiles = quantiles_of(frame, np.zeros((900, 1)))
    assert np.nanmax(np.abs(quantiles)) < 1.5 * np.abs(calm).max() / LEAST_SCALE
