"""The elastic net (Zou & Hastie, Journal of the Royal Statistical Society B 67, 2005, pp. 301-320)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from threadpoolctl import threadpool_limits

from presage.frame import FloatArray
from presage.models.linear import LinearRegressor, Standardised, load_linear
from presage.spec.models import ElasticNetParameters, ModelName

_SWEEPS_AT_MOST = 10_000


@dataclass(frozen=True)
class ElasticNetEstimator:
    """Fits an elastic net by coordinate descent, on standardised features and outcomes.

    With m rows it minimises |y - Xw|^2 / (2 m) + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio) |w|_2^2 / 2.
    """

    settings: ElasticNetParameters

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "elastic_net"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> LinearRegressor:  # noqa: ARG002 - no chance in it
        """Fit on the columns of (m, p) features that vary."""
        table = Standardised.of(features)
        middle, spread = float(outcome.mean()), float(outcome.std())
        coefficient = np.zeros(len(table.columns))
        if spread > 0:
            net = ElasticNet(
                alpha=self.settings.alpha,
                l1_ratio=self.settings.l1_ratio,
                fit_intercept=True,
                max_iter=_SWEEPS_AT_MOST,
            )
            with threadpool_limits(1), warnings.catch_warnings():
                # Columns that repeat one another converge slowly, to weights that forecast alike.
                warnings.simplefilter("ignore", ConvergenceWarning)
                net.fit(table.values, (outcome - middle) / spread)
            coefficient = spread * np.asarray(net.coef_, dtype=np.float64)
            middle += spread * float(net.intercept_)
        return LinearRegressor(
            width=features.shape[1],
            intercept=middle,
            columns=table.columns,
            mean=table.mean,
            scale=table.scale,
            coefficient=coefficient,
        )

    def load(self, content: bytes, width: int) -> LinearRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        return load_linear(content, width, self.name)


def estimator(settings: ElasticNetParameters, _task: Literal["Regression", "Classification"]) -> ElasticNetEstimator:
    """Return what fits an elastic net."""
    return ElasticNetEstimator(settings)
