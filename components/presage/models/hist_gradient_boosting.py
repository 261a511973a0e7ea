"""Gradient-boosted trees on histograms (Friedman, Annals of Statistics 29, 2001, pp. 1189-1232) by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from presage.frame import FloatArray
from presage.models.libraries import library
from presage.models.onnx_trees import OnnxTrees, Tree, export, load_trees, trainable
from presage.spec.models import HistGradientBoostingParameters, ModelName


@dataclass(frozen=True)
class HistGradientBoostingEstimator:
    """Fits trees on one thread; missing features go the way that fits best."""

    settings: HistGradientBoostingParameters
    task: Literal["Regression", "Classification"] = "Regression"
    """For a Classification they fit log loss, and say the probability of class 1."""

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "hist_gradient_boosting"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> OnnxTrees:
        """Fit on (m, p) features and (m,) outcomes."""
        sklearn = library("sklearn.ensemble", needed_by=self.name)
        settings = {**self.settings.model_dump(), "early_stopping": False, "random_state": seed}
        if self.task == "Classification":
            boosting = sklearn.HistGradientBoostingClassifier(**{**settings, "loss": "log_loss"})
        else:
            boosting = sklearn.HistGradientBoostingRegressor(**settings)
        with threadpool_limits(1):
            boosting.fit(trainable(features), outcome)
        # The trees' nodes are public nowhere; the tests hold what is exported to scikit-learn's own forecasts.
        nodes = [predictors[0].nodes for predictors in boosting._predictors]  # noqa: SLF001
        base = float(boosting._baseline_prediction.item())  # noqa: SLF001
        return export(
            [_tree(grown) for grown in nodes],
            base=base,
            log_odds=self.task == "Classification",
            importance=_gains(nodes, features.shape[1]),
            name=self.name,
        )

    def load(self, content: bytes, width: int) -> OnnxTrees:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        return load_trees(content, width, self.name)


def estimator(
    settings: HistGradientBoostingParameters, task: Literal["Regression", "Classification"]
) -> HistGradientBoostingEstimator:
    """Return what fits gradient-boosted trees on histograms."""
    return HistGradientBoostingEstimator(settings, task)


def _tree(nodes: NDArray[np.void]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, 0, nodes["left"].astype(np.intp)),
        right=np.where(leaf, 0, nodes["right"].astype(np.intp)),
        leaf=leaf,
        feature=np.where(leaf, 0, nodes["feature_idx"].astype(np.intp)),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
        missing_left=~leaf & nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"],
    )


def _gains(trees: list[NDArray[np.void]], width: int) -> FloatArray:
    """Return (p,) the total gain of the splits on each feature."""
    gains = np.zeros(width)
    for nodes in trees:
        splits = nodes[~nodes["is_leaf"].astype(bool)]
        np.add.at(gains, splits["feature_idx"], np.maximum(splits["gain"], 0.0))
    return gains
