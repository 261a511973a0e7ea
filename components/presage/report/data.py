"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True)
class Report:
    """One run, ready to be shown.

    Attributes:
        job: Name of the job.
        namespace: Its namespace.
        run: The run's id.
        digest: Digest of the job's spec.
        created_at: When the run was made, UTC.
        scorecard: What the run found.
        conditions: The job's conditions after the run.
        back_test: The forecasts that were judged.
        bars: Bars of the target's source; None where they are not at hand.
        forecast: The champion's newest forecast; None where none was issued.
        config: Features of the final training window, and how important selection found them.
    """

    job: str
    namespace: str
    run: str
    digest: str
    created_at: datetime
    scorecard: Scorecard
    conditions: tuple[Condition, ...]
    back_test: BackTest
    bars: Bars | None
    forecast: IssuedForecast | None
    config: FeatureConfig
