from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_frames import frame_of

from presage.errors import DataError
from presage.evaluation.folds import make_folds
from presage.frame import Frame, Panel
from presage.spec.evaluation import Evaluation


def rising(bars: int, horizon: int = 1) -> Frame:
    return frame_of(np.arange(1.0, bars + 1), horizon=horizon)


def bounds(frame: Frame, evaluation: Evaluation) -> list[tuple[int, int, int, int]]:
    folds = make_folds(Panel.of([frame]), evaluation)
    assert [fold.number for fold in folds] == list(range(evaluation.folds + 1))
    return [(fold.train_start, fold.train_stop, fold.test_start, fold.test_stop) for fold in folds]


CASES = {
    "half of the rows train and the rest is divided evenly": (
        201,
        1,
        Evaluation(folds=3),
        [(0, 100, 100, 125), (0, 125, 125, 150), (0, 150, 150, 175), (0, 175, 175, 200)],
    ),
    "the calibration block takes the remainder": (
        204,
        1,
        Evaluation(folds=3),
        [(0, 101, 101, 128), (0, 128, 128, 153), (0, 153, 153, 178), (0, 178, 178, 203)],
    ),
    "the calibration block holds enough residuals for the first scored origin": (
        101,
        5,
        Evaluation(folds=6),
        [(0, 48, 48, 72), *((0, start, start, start + 4) for start in range(72, 96, 4))],
    ),
    "train size leaves the rest to the blocks": (
        201,
        1,
        Evaluation(folds=1, train_size=40),
        [(0, 40, 40, 120), (0, 120, 120, 200)],
    ),
    "test size takes the newest rows and an expanding window all before": (
        201,
        1,
        Evaluation(folds=2, test_size=30),
        [(0, 110, 110, 140), (0, 140, 140, 170), (0, 170, 170, 200)],
    ),
    "a small test size leaves the calibration block its residuals": (
        201,
        3,
        Evaluation(folds=2, test_size=5),
        [(0, 166, 166, 188), (0, 188, 188, 193), (0, 193, 193, 198)],
    ),
    "a rolling window trains on the newest rows": (
        201,
        1,
        Evaluation(folds=2, window="Rolling", train_size=50, test_size=30),
        [(60, 110, 110, 140), (90, 140, 140, 170), (120, 170, 170, 200)],
    ),
    "an embargo parts training and block": (
        201,
        1,
        Evaluation(folds=1, train_size=50, embargo=10),
        [(0, 50, 60, 130), (0, 120, 130, 200)],
    ),
    "a rolling window keeps its length under an embargo": (
        201,
        1,
        Evaluation(folds=1, window="Rolling", train_size=50, embargo=10),
        [(0, 50, 60, 130), (70, 120, 130, 200)],
    ),
}


@pytest.mark.parametrize(("bars", "horizon", "evaluation", "expected"), CASES.values(), ids=CASES.keys())
def test_folds_lie_where_the_evaluation_says(bars, horizon, evaluation, expected):
    assert bounds(rising(bars, horizon), evaluation) == expected


def test_the_cutoff_is_the_origin_of_the_last_training_row():
    frame = rising(201)
    for fold in make_folds(Panel.of([frame]), Evaluation(folds=3, embargo=4)):
        assert fold.cutoff == frame.origin[fold.train_stop - 1]
        assert fold.cutoff < frame.origin[fold.test_start]


def test_rows_without_a_level_at_the_start_and_without_outcomes_at_the_end_are_not_used():
    frame = rising(220)
    level, outcome = frame.level.copy(), frame.target_level.copy()
    level[:12] = np.nan
    outcome[-8:] = np.nan
    frame = replace(frame, level=level, target_level=outcome)
    assert bounds(frame, Evaluation(folds=3)) == [
        (12, 112, 112, 137),
        (12, 137, 137, 162),
        (12, 162, 162, 187),
        (12, 187, 187, 212),
    ]


SHORT = {
    "evenly divided": (Evaluation(folds=12), 1, 63),
    "many steps": (Evaluation(folds=12), 30, 121),
    "embargo": (Evaluation(folds=12, embargo=7), 1, 77),
    "train size": (Evaluation(folds=12, train_size=100), 1, 132),
    "test size": (Evaluation(folds=12, test_size=30), 1, 401),
    "rolling": (Evaluation(folds=12, window="Rolling", train_size=250, test_size=21), 1, 523),
}


@pytest.mark.parametrize(("evaluation", "horizon", "needed"), SHORT.values(), ids=SHORT.keys())
def test_too_few_rows_are_refused_with_how_many_there_are_and_how_many_are_needed(evaluation, horizon, needed):
    assert make_folds(Panel.of([rising(needed + horizon, horizon)]), evaluation)
    with pytest.raises(DataError) as caught:
        make_folds(Panel.of([rising(needed + horizon - 1, horizon)]), evaluation)
    assert f"has {needed - 1} usable rows and 12 folds need {needed}:" in caught.value.what
    assert "fewer folds" in caught.value.remedy
    assert "smaller trainSize" in caught.value.remedy
    assert "more data" in caught.value.remedy


def test_the_parts_of_what_is_needed_add_up():
    with pytest.raises(DataError) as caught:
        make_folds(Panel.of([rising(150)]), Evaluation(folds=2, train_size=100, test_size=14, embargo=3))
    assert caught.value.what == (
        "Series 'sp500' has 149 usable rows and 2 folds need 151: 100 to train on, 3 of embargo, 20 to calibrate the "
        "intervals and 14 in each fold."
    )
    assert 100 + 3 + 20 + 2 * 14 == 151


@pytest.mark.parametrize("bars", [0, 1, 5])
def test_a_frame_of_gaps_is_refused(bars):
    frame = frame_of(np.full(bars, np.nan), horizon=1)
    with pytest.raises(DataError, match="has 0 usable rows"):
        make_folds(Panel.of([frame]), Evaluation())


EVALUATIONS = st.builds(
    lambda rolling, sizes: Evaluation(window="Rolling" if rolling and "train_size" in sizes else "Expanding", **sizes),
    rolling=st.booleans(),
    sizes=st.fixed_dictionaries(
        {"folds": st.integers(1, 15), "embargo": st.integers(0, 20)},
        optional={"train_size": st.integers(10, 150), "test_size": st.integers(1, 40)},
    ),
)


@settings(deadline=None)
@given(bars=st.integers(1, 400), horizon=st.integers(1, 12), evaluation=EVALUATIONS)
def test_folds_are_refused_or_tile_the_newest_rows(bars, horizon, evaluation):
    frame = rising(bars, horizon)
    try:
        made = make_folds(Panel.of([frame]), evaluation)
    except DataError:
        return
    blocks = [fold.test_stop - fold.test_start for fold in made]
    assert made[-1].test_stop == bars - horizon
    assert all(one.test_stop == other.test_start for one, other in pairwise(made))
    assert len(set(blocks[1:])) == 1
    assert blocks[0] >= max(19 + horizon, blocks[1])
    for fold in made:
        training = fold.train_stop - fold.train_start
        assert fold.test_start - fold.train_stop == evaluation.embargo
        assert training >= (evaluation.train_size or 10 + horizon)
        if evaluation.window == "Rolling":
            assert training == evaluation.train_size
            assert fold.train_start >= 0
        else:
            assert fold.train_start == 0
