"""Gradient-boosted trees by XGBoost (Chen & Guestrin, Proceedings of KDD 2016, pp. 785-794)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xgboost

from presage.frame import FloatArray
from presage.models.state import unreadable
from presage.spec.models import ModelName, XGBoostParameters

_ONE_THREAD: dict[str, int] = {"nthread": 1, "verbosity": 0}


@dataclass(frozen=True)
class XGBoostRegressor:
    """Fitted trees.

    Attributes:
        booster: The trees.
        width: Features that they read, p.
    """

    booster: xgboost.Booster
    width: int

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return "ubj"

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values, computed in single precision."""
        return np.asarray(self.booster.inplace_predict(features), dtype=np.float64)

    def importance(self) -> FloatArray:
        """Return (p,) the total gain of the splits on each feature."""
        gains = self.booster.get_score(importance_type="total_gain")
        return np.array([gains.get(f"f{place}", 0.0) for place in range(self.width)], dtype=np.float64)

    def dump(self) -> bytes:
        """Return the trees as Universal Binary JSON."""
        return bytes(self.booster.save_raw("ubj"))


@dataclass(frozen=True)
class XGBoostEstimator:
    """Fits trees by histograms, on one thread; missing features go the way that fits best."""

    settings: XGBoostParameters
    task: Literal["Regression", "Classification"] = "Regression"
    """For a Classification they fit log loss, and say the probability of class 1."""

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "xgboost"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> XGBoostRegressor:
        """Fit on (m, p) features and (m,) outcomes."""
        parameters = {
            **_ONE_THREAD,
            **self.settings.model_dump(exclude={"n_estimators"}),
            "tree_method": "hist",
            "seed": seed,
        }
        if self.task == "Classification":
            parameters["objective"] = "binary:logistic"
        matrix = xgboost.DMatrix(features, label=outcome, nthread=1)
        booster = xgboost.train(parameters, matrix, num_boost_round=self.settings.n_estimators)
        return XGBoostRegressor(booster=booster, width=features.shape[1])

    def load(self, content: bytes, width: int) -> XGBoostRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        try:
            booster = xgboost.Booster(_ONE_THREAD, model_file=bytearray(content))
        except xgboost.core.XGBoostError as error:
            raise unreadable("a step of xgboost holds no trees") from error
        if booster.num_features() != width:
            raise unreadable(f"a step of xgboost reads {booster.num_features()} features, not {width}")
        return XGBoostRegressor(booster=booster, width=width)


def estimator(settings: XGBoostParameters, task: Literal["Regression", "Classification"]) -> XGBoostEstimator:
    """Return what fits XGBoost's trees."""
    return XGBoostEstimator(settings, task)
