"""Gradient-boosted trees by LightGBM (Ke et al., Advances in NeurIPS 30, 2017, pp. 3146-3154)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lightgbm
import numpy as np

from presage.frame import FloatArray
from presage.models.state import unreadable
from presage.spec.models import LightGBMParameters, ModelName


@dataclass(frozen=True)
class LightGBMRegressor:
    """Fitted trees; their file says whether their value is a probability.

    Attributes:
        booster: The trees.
    """

    booster: lightgbm.Booster

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return "txt"

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values."""
        return np.asarray(self.booster.predict(features, num_threads=1), dtype=np.float64)

    def importance(self) -> FloatArray:
        """Return (p,) the total gain of the splits on each feature."""
        return np.asarray(self.booster.feature_importance(importance_type="gain"), dtype=np.float64)

    def dump(self) -> bytes:
        """Return the trees in LightGBM's text format."""
        return str(self.booster.model_to_string()).encode()


@dataclass(frozen=True)
class LightGBMEstimator:
    """Fits trees on one thread; missing features go the way that fits best."""

    settings: LightGBMParameters
    task: Literal["Regression", "Classification"] = "Regression"
    """For a Classification they fit log loss, and say the probability of class 1."""

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "lightgbm"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> LightGBMRegressor:
        """Fit on (m, p) features and (m,) outcomes."""
        parameters = {
            **self.settings.model_dump(exclude={"n_estimators"}),
            "seed": seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        if self.task == "Classification":
            parameters["objective"] = "binary"
        data = lightgbm.Dataset(features, label=outcome, params={"verbosity": -1, "num_threads": 1})
        booster = lightgbm.train(parameters, data, num_boost_round=self.settings.n_estimators)
        return self.load(str(booster.model_to_string()).encode(), features.shape[1])

    def load(self, content: bytes, width: int) -> LightGBMRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        try:
            booster = lightgbm.Booster(model_str=content.decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise unreadable("a step of lightgbm holds no trees") from error
        if booster.num_feature() != width:
            raise unreadable(f"a step of lightgbm reads {booster.num_feature()} features, not {width}")
        return LightGBMRegressor(booster)


def estimator(settings: LightGBMParameters, task: Literal["Regression", "Classification"]) -> LightGBMEstimator:
    """Return what fits LightGBM's trees."""
    return LightGBMEstimator(settings, task)
