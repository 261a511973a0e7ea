"""How good probabilities are. Shapes: n rows; an outcome is 0 or 1, a probability that of 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from presage.frame import BoolArray, FloatArray

CLIPPED = 1e-6
"""Log loss takes a probability as no nearer to 0 and 1 than this: one certain miss would be infinite."""
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Rows whose probabilities are alike.

    Attributes:
        rows: How many.
        probability: Their mean probability.
        share: Share of them whose outcome is 1.
    """

    rows: int
    probability: float
    share: float


def log_losses(outcome: FloatArray, probability: FloatArray) -> FloatArray:
    """Return (n,) -ln of the probability given to what came, in nats; probabilities are clipped to `CLIPPED`.

    Good, Journal of the Royal Statistical Society B 14, 1952, p. 112.
    """
    given = np.where(outcome == 1, probability, 1 - probability)
    return np.asarray(-np.log(np.clip(given, CLIPPED, 1 - CLIPPED)))


def clipped(probability: FloatArray) -> BoolArray:
    """Return (n,) whether log loss takes a probability as less certain than it is."""
    return (probability < CLIPPED) | (probability > 1 - CLIPPED)


def brier_losses(outcome: FloatArray, probability: FloatArray) -> FloatArray:
    """Return (n,) squared errors of the probabilities (Brier, Monthly Weather Review 78, 1950, p. 1, one class)."""
    return np.square(probability - outcome)


def roc_area(outcome: FloatArray, probability: FloatArray) -> float | None:
    """Return the area under the ROC curve: the chance that a row of class 1 is given more than one of class 0.

    By the Mann-Whitney statistic; a tie counts one half (Hanley & McNeil, Radiology 143, 1982, p. 30). None where all
    rows are of one class.
    """
    from scipy import stats  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

    ones = int((outcome == 1).sum())
    zeros = len(outcome) - ones
    if not ones or not zeros:
        return None
    ranks = stats.rankdata(probability)
    return float((ranks[outcome == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def reliability(outcome: FloatArray, probability: FloatArray, bins: int = BINS) -> tuple[Bin, ...]:
    """Return rows in bins of equal count, by ascending probability; equal probabilities stay in one bin.

    The reliability diagram of Murphy & Winkler (Applied Statistics 26, 1977, p. 41) with bins of equal count.
    """
    from scipy import stats  # noqa: PLC0415  # as above

    if not len(outcome):
        return ()
    middle = (stats.rankdata(probability) - 0.5) / len(outcome)
    place = np.minimum((bins * middle).astype(np.intp), bins - 1)
    held = (place == number for number in np.unique(place))
    return tuple(Bin(int(one.sum()), float(probability[one].mean()), float(outcome[one].mean())) for one in held)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the expected calibration error: the mean over rows of |share - probability| of their bin.

    Naeini, Cooper & Hauskrecht, Proceedings of AAAI 2015, p. 2903, here with bins of equal count.
    """
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.share - one.probability) for one in bins) / rows


def roc_curve(outcome: FloatArray, probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ROC curve: shares of class 0 and of class 1 at or above each threshold, from (0, 0) to (1, 1).

    Both classes must be there. Equal probabilities make one straight line.
    """
    thresholds, place = np.unique(-probability, return_inverse=True)
    ones = np.bincount(place, weights=outcome, minlength=len(thresholds))
    zeros = np.bincount(place, weights=1 - outcome, minlength=len(thresholds))
    missed = np.concatenate([[0.0], np.cumsum(zeros) / zeros.sum()])
    found = np.concatenate([[0.0], np.cumsum(ones) / ones.sum()])
    return missed, found


def found_among(outcome: FloatArray, probability: FloatArray, share: float) -> float:
    """Return which share of class 1 is among the given share of rows with the largest probabilities.

    Of rows with equal probabilities as many count as are needed, each for their mean.
    """
    missed, found = roc_curve(outcome, probability)
    ones = float(outcome.mean())
    return float(np.interp(share, missed * (1 - ones) + found * ones, found))
