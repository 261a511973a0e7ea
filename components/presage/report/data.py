"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from presage.bars import Bars
from presage.evaluation.backtest import BackTest
from presage.evaluation.scorecard import Condition, Scorecard
from presage.features.config import FeatureConfig
from presage.frame import FloatArray, TimeArray


@dataclass(frozen=True)
class IssuedForecast:
    """The champion's newest forecast.

    Attributes:
        series: Name of the series.
        issued_at: When it was issued, UTC: what it knows was known by then.
        target_time: (h,) datetime64[us], UTC; start of the bar of each step ahead.
        mean: (h,) float64; expected level, in the target's unit.
        probabilities: (q,) float64, ascending; the probabilities of the quantiles.
        quantiles: (h, q) float64; level at each probability; NaN where there are none.
    """

    series: str
    issued_at: datetime
    target_time: TimeArray
    mean: FloatArray
    probabilities: FloatArray
    quantiles: FloatArray


@dataclass(frozen=True, kw_only=True)
class JudgedRun:
    """One run, of bars or of rows, and what it found.

    Attributes:
        job: Name of the job.
        namespace: Its namespace.
        run: The run's id.
        digest: Digest of the job's spec.
        created_at: When the run was made, UTC.
        scorecard: What the run found.
        conditions: The job's conditions after the run.
        config: Features of the final training window, and how important selection found them.
    """

    job: str
    namespace: str
    run: str
    digest: str
    created_at: datetime
    scorecard: Scorecard
    conditions: tuple[Condition, ...]
    config: FeatureConfig

    @property
    def qualified_job(self) -> str:
        """The job's name behind its namespace."""
        return f"{self.namespace}/{self.job}"


@dataclass(frozen=True, kw_only=True)
class Report(JudgedRun):
    """One run over bars, ready to be shown.

    Attributes:
        back_test: The forecasts that were judged.
        bars: Bars of the target's source; None where they are not at hand.
        forecasts: The champion's newest forecast of each series; empty where none was issued.
    """

    back_test: BackTest
    bars: Bars | None
    forecasts: tuple[IssuedForecast, ...]

    @property
    def shown(self) -> BackTest:
        """The back-test of the series that is drawn: of a panel, the first of those with the most scored origins."""
        bounds = np.searchsorted(self.back_test.rows, self.back_test.panel.bounds)
        scored = np.concatenate([[0], np.cumsum(self.back_test.scored)])[bounds]
        return self.back_test.of(int(np.argmax(np.diff(scored))))

    @property
    def forecast(self) -> IssuedForecast | None:
        """The newest forecast of the series that is drawn, or the first one where that has none."""
        name = self.shown.panel.names[0]
        first = self.forecasts[0] if self.forecasts else None
        return next((forecast for forecast in self.forecasts if forecast.series == name), first)
