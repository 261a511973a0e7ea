"""Logistic regression with a ridge penalty (le Cessie & van Houwelingen, Applied Statistics 41, 1992, pp. 191-201)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from presage.frame import FloatArray
from presage.models.linear import LinearRegressor, Standardised, load_linear
from presage.spec.models import LogisticRegressionParameters, ModelName

_ITERATIONS_AT_MOST = 1_000


@dataclass(frozen=True)
class LogisticRegressionEstimator:
    """Fits the log odds of class 1 as a linear function of standardised features."""

    settings: LogisticRegressionParameters

    @property
    def name(self) -> ModelName:
        """The model's name."""
        return "logistic_regression"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> LinearRegressor:  # noqa: ARG002 - no chance in it
        """Fit on the columns of (m, p) features that vary, and (m,) outcomes of 0 and 1, both there."""
        table = Standardised.of(features)
        regression = LogisticRegression(C=self.settings.C, max_iter=_ITERATIONS_AT_MOST)
        with threadpool_limits(1), warnings.catch_warnings():
            # Where the classes can be told apart, a weak penalty lets weights grow slowly; probabilities hardly move.
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(table.values, outcome)
        return LinearRegressor(
            width=features.shape[1],
            intercept=float(regression.intercept_[0]),
            columns=table.columns,
            mean=table.mean,
            scale=table.scale,
            coefficient=np.asarray(regression.coef_[0], dtype=np.float64),
            log_odds=True,
        )

    def load(self, content: bytes, width: int) -> LinearRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        return load_linear(content, width, self.name, log_odds=True)


def estimator(
    settings: LogisticRegressionParameters, _task: Literal["Regression", "Classification"]
) -> LogisticRegressionEstimator:
    """Return what fits a logistic regression."""
    return LogisticRegressionEstimator(settings)
