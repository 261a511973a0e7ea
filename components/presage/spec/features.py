"""What a model sees at each forecast origin. Every feature looks only at rows that were known at the origin.

Step 1 is the newest bar known at the origin (the field's convention: one step before the first one forecast), and
every window ends with that bar.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from presage.spec.base import NameText, ReferenceText, SpecModel

References = Annotated[tuple[ReferenceText, ...], Field(min_length=1, max_length=256)]
Steps = Annotated[tuple[Annotated[int, Field(ge=1, le=10000)], ...], Field(min_length=1, max_length=64)]
Windows = Annotated[tuple[Annotated[int, Field(ge=2, le=10000)], ...], Field(min_length=1, max_length=64)]
Statistic = Literal["mean", "std", "min", "max", "zscore"]
CalendarPart = Literal["hour", "day_of_week", "day_of_month", "week_of_year", "month", "quarter"]


class Lag(SpecModel):
    """Past values."""

    columns: References
    """Columns to look at."""
    steps: Steps
    """Bars back; 1 is the newest known bar."""


class Change(SpecModel):
    """Change of a column over a number of bars, up to the newest known one."""

    columns: References
    """Columns to look at."""
    periods: Steps = (1,)
    """Bars over which the change is taken."""


class Rolling(SpecModel):
    """Statistics over a window of bars that ends with the newest known one."""

    columns: References
    """Columns to look at."""
    windows: Windows
    """Window lengths in bars."""
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1, max_length=5)] = ("mean",)
    """Statistics to take; std is the sample one, zscore is (newest - mean) / std."""


class ExponentialMean(SpecModel):
    """Exponentially weighted mean, weight 2 / (span + 1) on the newest known bar."""

    columns: References
    """Columns to look at."""
    spans: Windows
    """Spans in bars."""


class Ratio(SpecModel):
    """One column over another, each as known at the origin."""

    numerator: ReferenceText
    """Column above the line."""
    denominator: ReferenceText
    """Column below the line; where it is 0 the feature is missing."""


class Premium(SpecModel):
    """How far a price stands above a reference price: price / reference - 1."""

    price: ReferenceText
    """Price of interest, such as a local exchange's."""
    reference: ReferenceText
    """Price to compare with, in the same unit."""


class CalendarFeature(SpecModel):
    """Parts of the first forecast period's date, each as a sine and a cosine so that its ends meet."""

    parts: Annotated[tuple[CalendarPart, ...], Field(min_length=1, max_length=6)]
    """Parts of the date, in the target source's time zone."""


class RangeVolatility(SpecModel):
    """Volatility in percent a bar from high and low prices (Parkinson, Journal of Business 53, 1980, p. 61)."""

    sources: Annotated[tuple[NameText, ...], Field(min_length=1, max_length=64)]
    """Sources with high and low columns."""
    windows: Steps = (1,)
    """Bars over which the squared range is averaged."""


class Columns(SpecModel):
    """Values of the row itself, for Regression and Classification; text columns are categories."""

    columns: References
    """Columns to look at."""


FEATURE_KINDS = (
    "columns",
    "lag",
    "difference",
    "percent_change",
    "log_change",
    "rolling",
    "exponential_mean",
    "ratio",
    "premium",
    "calendar",
    "range_volatility",
)


class Feature(SpecModel):
    """One entry of the feature list: exactly one of its fields."""

    columns: Columns | None = None
    """Values of the row itself."""
    lag: Lag | None = None
    """Past values."""
    difference: Change | None = None
    """Newest value minus an older one."""
    percent_change: Change | None = None
    """Newest value over an older one, minus 1 (a fraction: 0.01 is one percent)."""
    log_change: Change | None = None
    """Natural logarithm of the newest value over an older one."""
    rolling: Rolling | None = None
    """Statistics over a window."""
    exponential_mean: ExponentialMean | None = None
    """Exponentially weighted mean."""
    ratio: Ratio | None = None
    """One column over another."""
    premium: Premium | None = None
    """How far a price stands above a reference price."""
    calendar: CalendarFeature | None = None
    """Parts of the forecast period's date."""
    range_volatility: RangeVolatility | None = None
    """Volatility from high and low prices."""

    one_of: ClassVar[tuple[str, ...]] = FEATURE_KINDS

    @property
    def kind(self) -> str:
        """Name of the one field that is set."""
        return next(kind for kind in FEATURE_KINDS if getattr(self, kind) is not None)


class Selection(SpecModel):
    """Which features training keeps: chosen anew inside each training window, never from later rows."""

    method: Literal["Importance", "None"] = "Importance"
    """Importance prunes correlated features, then keeps the most important by XGBoost gain; None keeps all."""
    max_correlation: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Of two features whose absolute Pearson correlation is above this, the less correlated with the target goes."""
    max_features: Annotated[int, Field(ge=1, le=10000)] = 50
    """Most features to keep."""
    min_importance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Features whose share of the total gain is below this go."""
