"""The metrics of probabilities and the intervals of rows: against scikit-learn, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as known
from sklearn.calibration import calibration_curve

from presage.frame import FloatArray
from presage.tabular.conformal import offsets_of, with_offsets
from presage.tabular.metrics import (
    CLIPPED,
    Bin,
    brier_losses,
    calibration_error,
    clipped,
    found_among,
    log_losses,
    reliability,
    roc_area,
    roc_curve,
)


def draw(count: int = 1000, decimals: int | None = None) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(7)
    probability = random.beta(2, 3, size=count)
    outcome = (random.uniform(size=count) < probability).astype(np.float64)
    return outcome, probability if decimals is None else probability.round(decimals)


def test_log_loss_and_brier_score_are_scikit_learns() -> None:
    outcome, probability = draw()
    assert log_losses(outcome, probability).mean() == pytest.approx(known.log_loss(outcome, probability))
    assert brier_losses(outcome, probability).mean() == pytest.approx(known.brier_score_loss(outcome, probability))


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_the_area_under_the_roc_curve_is_scikit_learns_whatever_the_ties(decimals: int | None) -> None:
    outcome, probability = draw(decimals=decimals)
    assert roc_area(outcome, probability) == pytest.approx(known.roc_auc_score(outcome, probability))
    missed, found = roc_curve(outcome, probability)
    assert known.auc(missed, found) == pytest.approx(known.roc_auc_score(outcome, probability))


def test_one_class_alone_has_no_area() -> None:
    assert roc_area(np.ones(5), np.linspace(0, 1, 5)) is None


def test_bins_of_equal_count_are_scikit_learns_quantile_bins() -> None:
    outcome, probability = draw()
    share, given = calibration_curve(outcome, probability, n_bins=10, strategy="quantile")
    bins = reliability(outcome, probability)
    assert [one.share for one in bins] == pytest.approx(share.tolist())
    assert [one.probability for one in bins] == pytest.approx(given.tolist())


def test_equal_probabilities_stay_in_one_bin() -> None:
    outcome, _ = draw()
    bins = reliability(outcome, np.full(len(outcome), 0.4))
    assert bins == (Bin(1000, pytest.approx(0.4), pytest.approx(outcome.mean())),)
    assert calibration_error(bins) == pytest.approx(abs(outcome.mean() - 0.4))


def test_the_calibration_error_weighs_bins_by_their_rows() -> None:
    assert calibration_error((Bin(30, 0.2, 0.4), Bin(10, 0.9, 0.8))) == pytest.approx((30 * 0.2 + 10 * 0.1) / 40)


def test_a_certain_miss_costs_a_finite_log_loss_and_is_counted() -> None:
    outcome, probability = np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.5, 1.0])
    assert log_losses(outcome, probability).tolist() == pytest.approx([-np.log(CLIPPED), np.log(2), 0], abs=2e-6)
    assert clipped(probability).tolist() == [True, False, True]


def test_a_share_of_rows_holds_its_share_of_class_1_where_all_are_given_the_same() -> None:
    outcome, probability = draw()
    assert found_among(outcome, np.full(1000, 0.5), 0.2) == pytest.approx(0.2)
    assert found_among(outcome, outcome, outcome.mean()) == pytest.approx(1.0)
    assert found_among(outcome, probability, 0.2) > 0.2


def test_offsets_are_the_order_statistics_of_split_conformal_prediction() -> None:
    residual = np.arange(1.0, 20.0)[::-1]
    assert offsets_of(residual, np.array([0.05, 0.5, 0.95])).tolist() == [1.0, 10.0, 19.0]
    assert np.isnan(offsets_of(np.empty(0), np.array([0.5]))).all()


def test_split_conformal_intervals_hold_what_they_promise() -> None:
    random = np.random.default_rng(3)
    held = []
    for _ in range(400):
        offsets = offsets_of(random.gamma(1.0, size=39), np.array([0.1, 0.9]))
        outcome = random.gamma(1.0, size=50)
        held.append(((outcome >= offsets[0]) & (outcome <= offsets[1])).mean())
    assert np.mean(held) == pytest.approx(0.8, abs=0.012)


def test_no_quantile_falls_below_the_targets_minimum() -> None:
    quantiles = with_offsets(np.array([1.0, 5.0]), np.array([-2.0, 0.0, 2.0]), minimum=0.0)
    assert quantiles.tolist() == [[0.0, 1.0, 3.0], [3.0, 5.0, 7.0]]
