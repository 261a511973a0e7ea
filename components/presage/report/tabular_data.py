"""What a report on predicted rows is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from presage.evaluation.scorecard import Condition, Scorecard
from presage.features.config import FeatureConfig
from presage.tabular.walk import Walk


@dataclass(frozen=True)
class TableReport:
    """One run over rows, ready to be shown.

    Attributes:
        job: Name of the job.
        namespace: Its namespace.
        run: The run's id.
        digest: Digest of the job's spec.
        created_at: When the run was made, UTC.
        scorecard: What the run found.
        conditions: The job's conditions after the run.
        back_test: The predictions that were judged.
        open_rows: Rows whose outcome is not known, which the champion predicted.
        config: Features of the final training window, and how important selection found them.
    """

    job: str
    namespace: str
    run: str
    digest: str
    created_at: datetime
    scorecard: Scorecard
    conditions: tuple[Condition, ...]
    back_test: Walk
    open_rows: int
    config: FeatureConfig
