"""Ridge regression (Hoerl & Kennard, Technometrics 12, 1970, pp. 55-67) on standardised features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from presage.frame import FloatArray
from presage.models.linear import LinearRegressor, Standardised, load_linear
from presage.spec.models import ModelName, RidgeParameters


@dataclass(frozen=True)
class RidgeEstimator:
    """Fits a ridge regression: least squares with a penalty of alpha times the sum of squared weights."""

    alpha: float

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "ridge"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> LinearRegressor:  # noqa: ARG002 - no chance in it
        """Fit on the columns of (m, p) features that vary."""
        table = Standardised.of(features)
        with threadpool_limits(1):
            # The singular value decomposition also stands alpha = 0 and columns that repeat one another.
            ridge = Ridge(alpha=self.alpha, solver="svd").fit(table.values, outcome)
        return LinearRegressor(
            width=features.shape[1],
            intercept=float(ridge.intercept_),
            columns=table.columns,
            mean=table.mean,
            scale=table.scale,
            coefficient=np.asarray(ridge.coef_, dtype=np.float64),
        )

    def load(self, content: bytes, width: int) -> LinearRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        return load_linear(content, width, self.name)


def estimator(settings: RidgeParameters, _task: Literal["Regression", "Classification"]) -> RidgeEstimator:
    """Return what fits a ridge regression."""
    return RidgeEstimator(alpha=settings.alpha)
