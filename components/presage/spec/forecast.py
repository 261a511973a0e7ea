"""An issued forecast as a file and as programs read it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

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


class SeriesForecast(BaseModel):
    """An issued forecast of one series of a panel."""

    model_config = ConfigDict(frozen=True)

    series: str
    issued_at: datetime
    """Moment that the forecast was made for, UTC."""
    stale_after: datetime | None = None
    """When it is too old to be relied on, UTC; none where that is not known."""
    steps: tuple[ForecastStep, ...]


class ForecastSummary(BaseModel):
    """An issued forecast, as programs read it: of one series, or of each series of a panel."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    series: str = ""
    """Name of the series; empty for a panel."""
    run: str
    """Run whose bundle forecast."""
    model: str
    promoted: bool
    issued_at: datetime
    """Moment that the forecast was made for: nothing that was known later is in it, UTC; of a panel, the newest."""
    stale_after: datetime | None = None
    """When it is too old to be relied on, UTC; of a panel, when all of it is; none where that is not known."""
    steps: tuple[ForecastStep, ...] = ()
    """One a bar; none for a panel."""
    panel: tuple[SeriesForecast, ...] = ()
    """The forecast of each series of a panel; left out for one series."""

    @property
    def forecasts(self) -> tuple[SeriesForecast, ...]:
        """The forecast of each series, also where there is one only."""
        alone = SeriesForecast(
            series=self.series, issued_at=self.issued_at, stale_after=self.stale_after, steps=self.steps
        )
        return self.panel or (alone,)

    @model_serializer(mode="wrap")
    def _of_one_series_or_of_many(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        content: dict[str, object] = serialize(self)
        absent = {"series", "steps"} if self.panel else {"panel"}
        return {name: part for name, part in content.items() if name not in absent}
