"""Random forests (Breiman, Machine Learning 45, 2001, pp. 5-32)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from presage.frame import FloatArray, IntArray
from presage.models.libraries import library
from presage.models.onnx_trees import OnnxTrees, SingleArray, Tree, export, load_trees, trainable
from presage.spec.models import ModelName, RandomForestParameters


@dataclass(frozen=True)
class RandomForestEstimator:
    """Fits a forest by scikit-learn on one thread; a missing feature counts as its median of the training window."""

    settings: RandomForestParameters
    task: Literal["Regression", "Classification"] = "Regression"
    """For a Classification the trees' shares of class 1 are averaged."""

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "random_forest"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> OnnxTrees:
        """Fit on (m, p) features and (m,) outcomes."""
        sklearn = library("sklearn.ensemble", needed_by=self.name)
        classifies = self.task == "Classification"
        kind = sklearn.RandomForestClassifier if classifies else sklearn.RandomForestRegressor
        table = trainable(features)
        median = np.nanmedian(table, axis=0)
        forest = kind(**self.settings.model_dump(), n_jobs=1, random_state=seed)
        forest.fit(np.where(np.isnan(table), median, table), outcome)
        return export(
            [_tree(grown.tree_, median, len(forest.estimators_)) for grown in forest.estimators_],
            base=0.0,
            log_odds=False,
            importance=np.asarray(forest.feature_importances_, dtype=np.float64),
            name=self.name,
        )

    def load(self, content: bytes, width: int) -> OnnxTrees:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        return load_trees(content, width, self.name)


def estimator(settings: RandomForestParameters, task: Literal["Regression", "Classification"]) -> RandomForestEstimator:
    """Return what fits a random forest."""
    return RandomForestEstimator(settings, task)


class _GrownTree(Protocol):
    """What scikit-learn keeps of a tree."""

    children_left: IntArray
    children_right: IntArray
    feature: IntArray
    threshold: FloatArray
    value: FloatArray


def _tree(grown: _GrownTree, median: SingleArray, count: int) -> Tree:
    leaf = grown.children_left < 0
    feature = np.where(leaf, 0, grown.feature)
    # A classifier's leaf holds the shares of both classes, a regressor's its mean.
    return Tree(
        left=np.where(leaf, 0, grown.children_left),
        right=np.where(leaf, 0, grown.children_right),
        leaf=leaf,
        feature=feature,
        threshold=np.where(leaf, 0.0, grown.threshold),
        missing_left=~leaf & (median[feature] <= grown.threshold),
        value=grown.value[:, 0, -1] / count,
    )
