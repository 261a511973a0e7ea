"""What Kubeflow shows of a run: its numbers, what its model is, and how a Classification ranks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from presage.evaluation.scorecard import Scorecard
from presage.frame import FloatArray
from presage.report.tables import guarded
from presage.steps.history import RunSummary
from presage.tabular.metrics import roc_curve

CLASSES = ("0", "1")
_POINTS = 200
_EVEN = 0.5


@dataclass(frozen=True)
class Ranking:
    """How the champion's probabilities tell class 1 from class 0, over the scored rows.

    Attributes:
        missed: Of each threshold, the share of class 0 at or above it.
        found: Of each, the share of class 1 there.
        thresholds: Descending; of many, some.
        confusion: Rows by class (down) and by class given at a probability of 0.5 or more (across).
    """

    missed: list[float]
    found: list[float]
    thresholds: list[float]
    confusion: list[list[int]]


def metrics(scorecard: Scorecard) -> dict[str, float]:
    """Return the champion's numbers by name, and those of the verdict; one that is not defined is left out."""
    champion = scorecard.contender(scorecard.verdict.champion)
    found: dict[str, float | None] = dict(champion.metrics.model_dump())
    if champion.classification is not None:
        found |= champion.classification.model_dump(exclude={"bins"})
    found |= {
        "loss": champion.loss,
        "skill": champion.skill,
        "p_value": None if scorecard.test is None else scorecard.test.p_value,
        "promoted": float(scorecard.verdict.promoted),
    }
    return {name: value for name, value in found.items() if value is not None}


def model(summary: RunSummary) -> dict[str, str]:
    """Return what tells the run's model from others."""
    return {
        "framework": summary.scorecard.verdict.champion,
        "job": f"{summary.namespace}.{summary.job}",
        "run": summary.run,
        "digest": summary.digest,
        "spec_digest": summary.spec_digest,
        "reason": summary.scorecard.verdict.reason,
    }


def ranking(scorecard: Scorecard, predictions: Path) -> Ranking | None:
    """Return how the champion's probabilities rank; None where there are none, or rows of one class only.

    Args:
        scorecard: What the run found.
        predictions: The run's predictions.csv.
    """
    champion = scorecard.contender(scorecard.verdict.champion)
    if champion.classification is None or champion.classification.auc is None:
        return None
    name = guarded(champion.name)
    scored = pl.read_csv(predictions, columns=["scored", "actual", name]).filter(pl.col("scored"))
    outcome, probability = (scored[column].cast(pl.Float64).to_numpy() for column in ("actual", name))
    missed, found = roc_curve(outcome, probability)
    # Nothing is at or above the first threshold.
    thresholds = np.concatenate([[1.0], -np.unique(-probability)])
    drawn = np.unique(np.linspace(0, len(missed) - 1, _POINTS).astype(np.intp))
    return Ranking(
        missed=missed[drawn].tolist(),
        found=found[drawn].tolist(),
        thresholds=thresholds[drawn].tolist(),
        confusion=_confusion(outcome, probability),
    )


def _confusion(outcome: FloatArray, probability: FloatArray) -> list[list[int]]:
    given = probability >= _EVEN
    return [[int(((outcome == one) & (given == other)).sum()) for other in (0, 1)] for one in (0, 1)]
