"""The scorecard: what a run found, in numbers, and the digest that tells whether two runs found the same."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

SIGNIFICANT_DIGITS = 6

Reason = Literal[
    "BetterThanBaseline",
    "NotWorseThanIncumbent",
    "NotBetterThanBaseline",
    "WorseThanIncumbent",
    "CoverageOutOfBand",
    "LeakageDetected",
    "InsufficientEvidence",
    "Forced",
    "ManualApprovalRequired",
]


class Card(BaseModel):
    """Base of the scorecard's parts: frozen, and read back strictly."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after the first version: left out where they have their default, so that digests stay."""

    @model_serializer(mode="wrap")
    def _without_defaults_of_added(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        content: dict[str, object] = serialize(self)
        fields = type(self).model_fields
        absent = {name for name in self.added if getattr(self, name) == fields[name].get_default()}
        return {name: value for name, value in content.items() if name not in absent}


class Metrics(Card):
    """Errors over all scored origins, of all series of a panel, and steps, in the field's usual definitions.

    `presage.evaluation.metrics` states them.

    A value is None where it is not defined, such as MAPE at an outcome of 0.
    """

    mae: float | None
    """Mean absolute error, in the target's unit."""
    rmse: float | None
    """Root of the mean squared error, in the target's unit."""
    mape: float | None
    """Mean absolute percentage error, in percent."""
    smape: float | None
    """Symmetric MAPE, in percent, from 0 to 200."""
    mase: float | None
    """Mean absolute error over that of the seasonal naive forecast inside the training window."""
    theil_u: float | None
    """Theil's U2: root mean squared relative error over that of the naive forecast."""
    directional_accuracy: float | None
    """Share of outcomes on the forecast's side of the origin's level, among those that moved."""
    pinball: float | None
    """Mean quantile loss over the forecast's probabilities, in the target's unit."""
    crps: float | None
    """Continuous ranked probability score, from the quantiles, in the target's unit."""
    coverage: float | None
    """Share of outcomes inside the interval that the gate watches."""


class StepMetrics(Card):
    """Metrics of one step ahead."""

    step: int
    metrics: Metrics


class FoldMetrics(Card):
    """Metrics of one scored fold."""

    fold: int
    start: datetime
    """Start of the bar of the fold's first origin, UTC."""
    end: datetime
    """Start of the bar of the fold's last origin, UTC."""
    origins: int
    loss: float
    """Mean of the gate's loss."""
    skill: float | None
    """1 - loss / loss of the best baseline."""


class Coverage(Card):
    """What an interval promised and held."""

    level: float
    """Nominal coverage."""
    coverage: float
    """Share of outcomes inside."""
    lower: float
    """Lower end of the dependence-aware band around the nominal coverage."""
    upper: float
    """Upper end of the band."""
    width: float
    """Mean width of the interval, in the target's unit."""

    @property
    def inside(self) -> bool:
        """Whether the coverage is inside the band."""
        return self.lower <= self.coverage <= self.upper


class ReliabilityBin(Card):
    """Rows that were given much the same probability."""

    rows: int
    probability: float
    """Mean probability of class 1 that they were given."""
    share: float
    """Share of them that are of class 1."""


class ClassificationMetrics(Card):
    """How good probabilities were, over all scored rows (see `presage.tabular.metrics`)."""

    log_loss: float
    """Mean log loss, in nats."""
    brier: float
    """Mean squared error of the probability."""
    auc: float | None
    """Area under the ROC curve, ties counting one half; None where all rows are of one class."""
    calibration_error: float
    """Expected calibration error over the bins."""
    prevalence: float
    """Share of class 1."""
    bins: tuple[ReliabilityBin, ...]
    """Rows in bins of equal count, by ascending probability."""


class Contender(Card):
    """One forecaster of the back-test."""

    name: str
    baseline: bool
    loss: float
    """Mean of the gate's loss over scored origins; a panel is averaged by date first."""
    skill: float | None
    """1 - loss / loss of the best baseline; 0 for that baseline itself."""
    superior: bool
    """Whether StepM finds it better than the best baseline at the job's significance."""
    metrics: Metrics
    steps: tuple[StepMetrics, ...]
    folds: tuple[FoldMetrics, ...]
    coverage: tuple[Coverage, ...]
    importance: dict[str, float] = {}
    classification: ClassificationMetrics | None = None
    """Of a Classification."""

    added: ClassVar[frozenset[str]] = frozenset({"classification"})


class DieboldMariano(Card):
    """Diebold-Mariano test of equal loss, with the correction of Harvey, Leybourne and Newbold."""

    statistic: float
    p_value: float
    """One-sided: the candidate's loss is smaller."""
    lag: int
    """Autocovariances in the long-run variance."""


class SuperiorityTest(Card):
    """Test that some candidate beats the best baseline, all configurations tried counted."""

    name: Literal["SPA"] = "SPA"
    p_value: float
    """Consistent p-value of Hansen's test, times the correction for earlier trials on other origins."""
    benchmark: str
    """Baseline that was compared with."""
    block_length: float
    """Mean block of the stationary bootstrap, in origins."""
    replications: int
    diebold_mariano: DieboldMariano | None
    """The best candidate against the benchmark; reported, not deciding."""


class Evidence(Card):
    """How many forecasts the verdict stands on."""

    origins: int
    """Scored origins; in a panel, dates, whose losses are means over its series."""
    effective: float
    """Independent origins that carry as much evidence, given the autocorrelation of the loss difference."""
    required: int
    """Independent origins that the declared power needs."""


class Verdict(Card):
    """The gate's decision."""

    promoted: bool
    reason: Reason
    message: str
    """The reason in numbers, one sentence."""
    champion: str
    """What is served: the promoted candidate, else the best baseline, or an incumbent that stays."""
    candidate: str | None
    """The best candidate."""
    baseline: str
    """The best baseline."""


class SourceSummary(Card):
    """What a source gave."""

    name: str
    rows: int
    """Bars."""
    start: datetime
    end: datetime
    gaps: int
    """Periods without a bar."""
    filled: int
    """Bars that forward fill made."""
    duplicates: int
    """Rows of the source that repeated another's series and time."""
    dropped: int
    """Rows that could not be true and were left out, where the job allows it."""
    lag: str
    revised: bool
    units: dict[str, str] = {}
    digest: str
    """SHA-256 of the rows that the run used."""


class SeriesScore(Card):
    """What one series of a panel contributed, of the contender that the verdict is about."""

    name: str
    origins: int
    """Scored origins."""
    loss: float | None
    """Mean of the gate's loss; None without a scored origin."""
    skill: float | None
    """1 - loss / loss of the best baseline of the panel on this series."""
    coverage: float | None
    """Share of outcomes inside the interval that the gate watches."""


class DroppedFeature(Card):
    """A feature that selection dropped in the final training window."""

    name: str
    reason: str


class ChampionScore(Card):
    """What is served."""

    name: str
    metrics: Metrics


class BaselineScore(Card):
    """The best baseline."""

    name: str
    metrics: Metrics


class Scorecard(Card):
    """What a run found. Times are UTC; values are in the target's unit unless a field says otherwise."""

    version: Literal["v1"] = "v1"
    target: str
    """Source and column, such as sp500.range_volatility."""
    unit: str
    """Unit of the target, empty where the job does not declare one."""
    transform: str
    horizon: int
    frequency: str
    metric: str
    champion: ChampionScore
    baseline: BaselineScore
    test: SuperiorityTest | None
    """None where there were too few origins to test."""
    verdict: Verdict
    evidence: Evidence
    folds: int
    """Scored folds."""
    tried: int
    """Configurations tried in the job's history, this run's included."""
    start: datetime
    """Start of the first scored origin's bar."""
    end: datetime
    """Start of the last scored origin's bar."""
    contenders: tuple[Contender, ...]
    """Baselines first, then candidates."""
    features: tuple[str, ...]
    """Features of the final training window."""
    dropped: tuple[DroppedFeature, ...]
    sources: tuple[SourceSummary, ...]
    caveats: tuple[str, ...] = ()
    """What a reader must know before trusting the numbers, such as revised series."""
    series: tuple[SeriesScore, ...] = ()
    """Each series of a panel; empty for a single series."""
    task: Literal["Forecast", "Regression", "Classification"] = "Forecast"
    rows: int | None = None
    """Of a Regression or Classification: scored rows. An origin is then a period of the frequency, whose loss is the
    mean over its rows."""

    added: ClassVar[frozenset[str]] = frozenset({"series", "task", "rows"})

    def contender(self, name: str) -> Contender:
        """Return the contender of this name; raises KeyError where there is none."""
        for contender in self.contenders:
            if contender.name == name:
                return contender
        raise KeyError(name)

    def digest(self) -> str:
        """Return the SHA-256 of decisions and metrics, floats rounded to six significant digits."""
        text = json.dumps(
            rounded(self.model_dump(mode="json")), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class Condition(Card):
    """A condition in Kubernetes' words."""

    type: Literal["DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted", "Serving", "Ready", "Stalled"]
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = Field(max_length=32768)


Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def rounded(value: Json) -> Json:
    """Return a value as the scorecard's digest sees it: floats as text of six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a scorecard holds finite numbers only")
        return f"{value:.{SIGNIFICANT_DIGITS - 1}e}" if value else "0"
    return value
