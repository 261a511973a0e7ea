"""An issued forecast as a file and as programs read it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

FORECAST = "forecast.json"
"""Name of the file beside a bundle that holds its newest issued forecast."""


class ForecastStep(BaseModel):
    """The forecast of one bar."""

    model_config = ConfigDict(frozen=True)

    target_time: datetime
    """Start of the bar, UTC."""
    mean: float
    quantiles: dict[str, float]
    """Quantiles by name, such as q0.05."""


class ForecastSummary(BaseModel):
    """An issued forecast, as programs read it."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    series: str
    run: str
    """Run whose bundle forecast."""
    model: str
    promoted: bool
    issued_at: datetime
    """Moment that the forecast was made for: nothing that was known later is in it, UTC."""
    stale_after: datetime | None = None
    """When it is too old to be relied on, UTC; none where that is not known."""
    steps: tuple[ForecastStep, ...]
