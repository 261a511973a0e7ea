"""The configurations that a job has tried, with what each lost: a search counts against what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from presage.frame import TIMESTAMP, FloatArray, TimeArray

SCHEMA = {
    "procedure": pl.String(),
    "contender": pl.String(),
    "question": pl.String(),
    "origin": TIMESTAMP,
    "loss": pl.Float64(),
}


@dataclass(frozen=True)
class Trial:
    """One candidate of one back-test.

    Attributes:
        procedure: Digest of what makes the forecasting procedure (`presage.spec.digest`).
        contender: Name of the candidate in that procedure.
        question: What the losses measure: metric, target, horizon and, of a panel, its scored series. Losses compare
            only under the same question.
        origins: (n,) datetime64[us], UTC, ascending; the origins that were scored, of a panel the bars' starts.
        losses: (n,) float64; the loss at each.
    """

    procedure: str
    contender: str
    question: str
    origins: TimeArray
    losses: FloatArray

    @property
    def key(self) -> tuple[str, str]:
        """What is tried: the contender of a procedure."""
        return (self.procedure, self.contender)

    def losses_at(self, origins: TimeArray) -> FloatArray | None:
        """Return the losses at other origins, ascending; None unless the trial covers all of them."""
        places = np.searchsorted(self.origins, origins)
        if not len(self.origins) or not np.array_equal(
            self.origins[np.minimum(places, len(self.origins) - 1)], origins
        ):
            return None
        return self.losses[places]


def merge(history: Sequence[Trial], newer: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return all trials, each contender of a procedure once: its newest, at the place where it was first tried."""
    merged = {trial.key: trial for trial in history}
    merged.update({trial.key: trial for trial in newer})
    return tuple(merged.values())


def common_losses(first: Trial, second: Trial) -> tuple[FloatArray, FloatArray]:
    """Return both trials' losses at the origins that they share, in time order."""
    _, left, right = np.intersect1d(first.origins, second.origins, assume_unique=True, return_indices=True)
    return first.losses[left], second.losses[right]


def to_rows(trials: Sequence[Trial]) -> pl.DataFrame:
    """Return trials as rows of `SCHEMA`, one an origin."""
    parts = [
        pl.DataFrame(
            {
                "procedure": [trial.procedure] * len(trial.origins),
                "contender": [trial.contender] * len(trial.origins),
                "question": [trial.question] * len(trial.origins),
                "origin": pl.Series(trial.origins.astype("datetime64[us]")).dt.replace_time_zone("UTC"),
                "loss": trial.losses,
            },
            schema=SCHEMA,
        )
        for trial in trials
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *parts])


def from_rows(rows: pl.DataFrame) -> tuple[Trial, ...]:
    """Return the trials that `to_rows` wrote; rows may come in any order of origins."""
    groups = rows.group_by("procedure", "contender", "question", maintain_order=True)
    return tuple(
        Trial(
            procedure=str(procedure),
            contender=str(contender),
            question=str(question),
            origins=part["origin"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
            losses=part["loss"].to_numpy(),
        )
        for (procedure, contender, question), group in groups
        for part in [group.sort("origin")]
    )
