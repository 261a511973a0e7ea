"""Search of a model's parameters inside a training window of rows, by time-ordered validation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from presage.errors import DataError
from presage.evaluation.metrics import origin_losses
from presage.evaluation.search import minimise
from presage.frame import FloatArray, TimeArray
from presage.models.learners import TableTask, learner
from presage.spec.evaluation import Evaluation, Metric
from presage.spec.models import Model
from presage.tabular.metrics import brier_losses, log_losses

_POINT: dict[Metric, Metric] = {"CRPS": "MAE"}


@dataclass(frozen=True)
class Window:
    """A training window of rows in the order of time.

    Attributes:
        features: (m, p) float64, NaN where missing.
        outcome: (m,) float64.
        time: (m,) datetime64[us], UTC.
        known_at: (m,) datetime64[us], UTC; when the outcome was known.
    """

    features: FloatArray
    outcome: FloatArray
    time: TimeArray
    known_at: TimeArray


def search_rows(model: Model, window: Window, task: TableTask, evaluation: Evaluation, *, seed: int) -> Model:
    """Return the model with the parameters that predict the end of a training window best, and no search.

    The newer half of the window's rows is predicted in `search.folds` blocks, each by a fit on the rows before it and
    its embargo whose outcome was known then.

    Args:
        model: The model; one without a search is returned as it is.
        window: The training window.
        task: What is predicted.
        evaluation: The metric, whose point loss is minimised (the absolute error under CRPS), and the embargo.
        seed: Seed of the search and of every fit.

    Raises:
        DataError: The window is too short for the blocks, or no configuration predicts them.
        MissingExtraError: Optuna, or the library behind the model, is not installed.
    """
    if model.search is None:
        return model
    count, folds, embargo = len(window.outcome), model.search.folds, evaluation.embargo
    size = (count // 2 - embargo) // folds
    if size < 1:
        raise DataError(
            f"a search that validates on {folds} blocks needs at least {2 * (folds + embargo)} rows in the training "
            f"window, and it has {count}.",
            "Give more rows or a larger trainSize, or set fewer search.folds.",
        )
    starts = [count - place * size for place in range(folds, 0, -1)]

    metric = _POINT.get(evaluation.metric, evaluation.metric)

    def loss(tried: Model) -> float:
        scored = []
        for start in starts:
            try:
                outcome, mean = _validate(
                    tried, window, task, start=start, stop=start + size, embargo=embargo, seed=seed
                )
            except DataError:
                return math.inf
            there = outcome != 0 if metric == "MAPE" else np.ones(len(outcome), dtype=np.bool_)
            scored.append(row_losses(metric, outcome[there], mean[there]))
        losses = np.concatenate(scored)
        return float(losses.mean()) if len(losses) and np.isfinite(losses).all() else math.inf

    return minimise(model, loss, seed=seed)


def _validate(
    model: Model, window: Window, task: TableTask, *, start: int, stop: int, embargo: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return the outcomes of a block of rows, and what a fit on what was known before it predicts.

    Raises:
        DataError: Too few outcomes were known before it.
    """
    before = np.arange(start - embargo)
    known = before[window.known_at[before] <= window.time[start]]
    fitted = learner(model, task).fit(window.features[known], window.outcome[known], seed)
    return window.outcome[start:stop], fitted.predict(window.features[start:stop])


def row_losses(
    metric: Metric,
    outcome: FloatArray,
    mean: FloatArray,
    quantiles: FloatArray | None = None,
    probabilities: FloatArray | None = None,
) -> FloatArray:
    """Return (n,) the loss of each row, by `presage.evaluation.metrics` and `presage.tabular.metrics`.

    Args:
        metric: What the loss is; that of RMSE is the squared error. Not MASE.
        outcome: (n,) what came.
        mean: (n,) the expected value, or the probability of class 1.
        quantiles: (n, q); read for CRPS only.
        probabilities: (q,); read for CRPS only.

    Raises:
        DataError: The metric is not defined on the outcomes, as MAPE at 0.
    """
    if metric == "LogLoss":
        return log_losses(outcome, mean)
    if metric == "Brier":
        return brier_losses(outcome, mean)
    none = np.empty((len(outcome), 0))
    return origin_losses(
        metric,
        outcome[:, None],
        mean[:, None],
        quantiles=(none if quantiles is None else quantiles)[:, None, :],
        probabilities=np.empty(0) if probabilities is None else probabilities,
        scale=np.full(len(outcome), np.nan),
    )
