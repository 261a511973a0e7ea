"""How a job must prove itself: the back-test, its intervals, and the gate before promotion."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from presage.spec.base import Rule, SpecModel

Probability = Annotated[float, Field(gt=0, lt=1)]
Metric = Literal["MAE", "RMSE", "MAPE", "sMAPE", "MASE", "CRPS", "LogLoss", "Brier"]
CLASSIFICATION_METRICS: tuple[Metric, ...] = ("LogLoss", "Brier")


class Intervals(SpecModel):
    """Prediction intervals by adaptive conformal inference, calibrated on residuals known at each origin."""

    levels: Annotated[tuple[Probability, ...], Field(min_length=1, max_length=16)] = (0.5, 0.8, 0.9, 0.95)
    """Central coverage of each interval; 0.9 gives the quantiles q0.05 and q0.95."""
    window: Annotated[int, Field(ge=20, le=100000)] = 500
    """Newest residuals, in bars, that the quantiles are taken from."""
    learning_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Step of the adaptation after each covered or missed forecast, divided by how many bars ahead it was."""


class Evaluation(SpecModel):
    """Walk-forward back-test: fit on what was known, forecast the next block of bars, move on."""

    folds: Annotated[int, Field(ge=1, le=1000)] = 12
    """Blocks that are forecast and scored; one more before them calibrates the intervals and is not scored."""
    window: Literal["Expanding", "Rolling"] = "Expanding"
    """Whether training keeps all past bars or only the newest `trainSize`."""
    train_size: Annotated[int, Field(ge=10, le=10000000)] | None = None
    """Bars in the first (Expanding) or every (Rolling) training window; default: half of all bars."""
    test_size: Annotated[int, Field(ge=1, le=1000000)] | None = None
    """Bars in a block; default: what is left after `trainSize`, divided evenly."""
    embargo: Annotated[int, Field(ge=0, le=100000)] = 0
    """Bars left out between training and block, beyond the rows whose outcome was not yet known, which always are."""
    metric: Metric = "MAE"
    """Loss that the gate compares, on the level of the target; for Classification LogLoss or Brier."""
    season: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Bars in a season, for the seasonal naive baseline and MASE; default: 5 (weekdays) or 7 days, 24 hours,
    60 minutes, 52 weeks, 12 months."""
    intervals: Intervals = Intervals()
    """Prediction intervals."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.window != 'Rolling' || has(self.trainSize)", "a Rolling window needs trainSize", ".trainSize"),
    )

    @model_validator(mode="after")
    def _rolling_needs_train_size(self) -> Evaluation:
        if self.window == "Rolling" and self.train_size is None:
            raise PydanticCustomError("field", "required with a Rolling window", {"field": "trainSize"})
        return self


class CoverageGate(SpecModel):
    """The interval that must hold what it promises."""

    level: Probability = 0.9
    """Nominal coverage; one of the evaluation's interval levels."""
    confidence: Probability = 0.99
    """Confidence of the dependence-aware band around the nominal coverage."""


class Promotion(SpecModel):
    """The gate: what a model must show before it takes the baseline's place."""

    policy: Literal["Gate", "Force", "Manual"] = "Gate"
    """Gate promotes by evidence; Force always, with reason Forced; Manual never by itself."""
    significance: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Chance of promoting a model that is no better than the best baseline."""
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    """Chance of seeing an advantage of `effectSize`; it sets how many independent forecasts a verdict needs."""
    effect_size: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Advantage to be seen: mean loss difference over its standard deviation (0.2 is Cohen's "small")."""
    margin: Annotated[float, Field(ge=0, le=1)] = 0.02
    """A scheduled refit may be worse than the incumbent by at most this share of the incumbent's loss."""
    replications: Annotated[int, Field(ge=100, le=100000)] = 1000
    """Bootstrap replications of the test of superior predictive ability."""
    coverage: CoverageGate = CoverageGate()
    """The interval that must hold."""
