"""The comparison of frames behind the truncation test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from feature_bars import real_bars, spec_of

from presage.features.build import build_frames
from presage.features.truncation import first_difference, first_unequal, truncate
from presage.frame import KNOWN_AT, Frame


def frame() -> Frame:
    (found,) = build_frames(
        spec_of("sp500.Close", sources={"sp500": {"lag": "0s"}}, horizon=2), {"sp500": real_bars("sp500", "2018")}
    )
    return found


def changed(array: np.ndarray, place: tuple[int, ...], value: object) -> np.ndarray:
    copy = array.copy()
    copy[place] = value
    return copy


def test_equal_frames_have_no_difference() -> None:
    assert first_difference(frame(), frame()) is None


@pytest.mark.parametrize(
    ("field", "place", "name"),
    [
        ("features", (40, 1), "sp500.Close.mean_5"),
        ("level", (40,), "level"),
        ("target_level", (40, 1), "target_level of step 2"),
    ],
)
def test_one_changed_bit_is_found_and_named(field: str, place: tuple[int, ...], name: str) -> None:
    full = frame()
    value = np.nextafter(getattr(full, field)[place], np.inf)
    found = first_difference(full, replace(full, **{field: changed(getattr(full, field), place, value)}))
    assert found is not None
    assert (found.name, found.row, found.truncated) == (name, 40, value)
    assert found.full == getattr(full, field)[place]
    assert (found.time, found.origin) == (full.time[40], full.origin[40])
    assert name in str(found)
    assert str(full.time[40]) in str(found)


@pytest.mark.parametrize("field", ["time", "origin", "target_time", "target_known_at"])
def test_a_changed_time_is_found(field: str) -> None:
    full = frame()
    array = getattr(full, field)
    place = (40,) if array.ndim == 1 else (40, 0)
    found = first_difference(
        full, replace(full, **{field: changed(array, place, array[place] + np.timedelta64(1, "us"))})
    )
    assert found is not None
    assert found.name.startswith(field)


def test_the_first_of_several_differences_is_named() -> None:
    full = frame()
    features = changed(changed(full.features, (50, 0), 0.0), (45, 2), 0.0)
    found = first_difference(full, replace(full, features=features))
    assert found is not None
    assert (found.name, found.row) == ("sp500.Close.mean_22", 45)


@pytest.mark.parametrize(
    ("ours", "theirs", "row"),
    [
        ([], [], None),
        ([1.0, np.nan], [1.0, np.nan], None),
        ([0.0, 1.0], [-0.0, 1.0], 0),
        ([1.0, 2.0], [1.0, 3.0], 1),
        ([1.0, 2.0, 3.0], [1.0, 2.0], 2),
        ([], [1.0], 0),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 5.0]], 1),
    ],
)
def test_the_first_row_that_differs_in_any_bit_is_told(ours: list, theirs: list, row: int | None) -> None:
    assert first_unequal(np.array(ours), np.array(theirs)) == row


def test_a_missing_origin_is_a_difference_and_a_gap_at_the_end_is_none() -> None:
    full = frame()
    newest = len(full) - 1
    found = first_difference(full, full.rows(0, newest))
    assert found is not None
    assert (found.name, found.row) == ("level", newest)
    assert first_difference(replace(full, level=changed(full.level, (newest,), np.nan)), full.rows(0, newest)) is None


def test_a_row_that_only_the_truncated_frame_has_is_a_difference() -> None:
    full = frame()
    found = first_difference(full.rows(0, 200), full)
    assert found is not None
    assert (found.name, found.row) == ("time", 200)


def test_the_time_of_an_outcome_that_is_not_known_yet_may_differ() -> None:
    full = frame()
    later = changed(full.target_time, (len(full) - 1, 0), full.target_time[-1, 0] + np.timedelta64(1, "D"))
    assert first_difference(full, replace(full, target_time=later)) is None


def test_frames_of_different_features_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same series, features and horizon"):
        first_difference(frame(), frame().with_features(("sp500.Close.lag_1",)))


def test_truncated_bars_keep_what_was_known_at_the_cutoff_itself() -> None:
    bars = real_bars("sp500", "2018")
    cutoff = bars.rows[KNOWN_AT].to_numpy()[100]
    assert truncate(bars, cutoff).rows.height == 101
    assert truncate(bars, cutoff - np.timedelta64(1, "us")).rows.height == 100
