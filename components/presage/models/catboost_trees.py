"""Gradient-boosted symmetric trees by CatBoost (Prokhorenkova et al., Advances in NeurIPS 31, 2018, pp. 6638-6648)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import catboost
import numpy as np
from scipy.special import expit

from presage.errors import StorageError
from presage.frame import FloatArray
from presage.models.state import unreadable
from presage.spec.models import CatBoostParameters, ModelName


@dataclass(frozen=True)
class CatBoostRegressor:
    """Fitted trees.

    Attributes:
        content: The trees in CatBoost's binary format.
        trees: The same, ready to use.
        classifies: Whether their value is a probability's log odds.
    """

    content: bytes
    trees: catboost.CatBoost
    classifies: bool

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return "cbm"

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values."""
        values = np.asarray(self.trees.predict(features, thread_count=1), dtype=np.float64)
        return np.asarray(expit(values)) if self.classifies else values

    def importance(self) -> FloatArray:
        """Return (p,) how much the prediction changes with each feature; zeros where it never does."""
        weights = self.trees.get_feature_importance(thread_count=1)
        return np.nan_to_num(np.asarray(weights, dtype=np.float64))

    def dump(self) -> bytes:
        """Return the trees in CatBoost's binary format."""
        return self.content


@dataclass(frozen=True)
class CatBoostEstimator:
    """Fits trees on one thread; a missing feature counts as below all others."""

    settings: CatBoostParameters
    task: Literal["Regression", "Classification"] = "Regression"
    """For a Classification they fit log loss, and say the probability of class 1."""

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "catboost"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> CatBoostRegressor:
        """Fit on (m, p) features and (m,) outcomes; raises StorageError where no temporary file can be written."""
        trees = catboost.CatBoost(
            {
                **self.settings.model_dump(),
                **({"loss_function": "Logloss"} if self._classifies else {}),
                "random_seed": seed,
                "thread_count": 1,
                "allow_writing_files": False,
                "allow_const_label": True,
                "logging_level": "Silent",
            }
        )
        trees.fit(catboost.Pool(features, label=outcome, thread_count=1))
        return self.load(_canonical(trees), features.shape[1])

    def load(self, content: bytes, width: int) -> CatBoostRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        try:
            trees = catboost.CatBoost().load_model(blob=content)
        except catboost.CatBoostError as error:
            raise unreadable("a step of catboost holds no trees") from error
        if len(trees.feature_names_) != width:
            raise unreadable(f"a step of catboost reads {len(trees.feature_names_)} features, not {width}")
        return CatBoostRegressor(content=content, trees=trees, classifies=self._classifies)

    @property
    def _classifies(self) -> bool:
        return self.task == "Classification"


def estimator(settings: CatBoostParameters, task: Literal["Regression", "Classification"]) -> CatBoostEstimator:
    """Return what fits CatBoost's trees."""
    return CatBoostEstimator(settings, task)


def _canonical(trees: catboost.CatBoost) -> bytes:
    # CatBoost writes down a random identity, the time and the training log: the same trees would differ in bytes.
    metadata = trees.get_metadata()
    for key in list(metadata.keys()):
        del metadata[key]
    try:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "trees.cbm")
            trees.save_model(str(file), format="cbm")
            return file.read_bytes()
    except (OSError, catboost.CatBoostError) as error:
        raise StorageError(
            f"no temporary file can be written below {tempfile.gettempdir()}: {error}.",
            "Free some space there, or name another directory in TMPDIR.",
        ) from error
