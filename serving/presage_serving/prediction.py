"""What a request may ask of an issued forecast. Each check names the field that asks for more, and what was issued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from presage_serving.forecast import Forecast, Served
from presage_serving.refusal import Refusal

LARGEST_BATCH = 100
"""Forecasts that one request may ask for: what bounds the answer to a small body."""


def forecast_of(served: Served, series: str, field: str) -> Forecast:
    """Return the forecast of a series; raises Refusal for one that is not served."""
    found = served.by_series.get(series)
    if found is None:
        names = [forecast.series for forecast in served.forecasts]
        there = f"the series is {names[0]!r}" if len(names) == 1 else f"{len(names)} series are, such as {names[0]!r}"
        raise Refusal(400, f"{field}: {series!r} is not served; {there}.")
    return found


def require_batch(served: Served, wanted: int, field: str) -> None:
    """Raise Refusal for more forecasts in one answer than a batch, or all series once."""
    most = max(LARGEST_BATCH, len(served.forecasts))
    if wanted > most:
        raise Refusal(400, f"{field}: {wanted} forecasts are asked for, and {most} at most are given at once.")


def steps(forecast: Forecast | Served, horizon: int | None, field: str) -> int:
    """Return how many steps are asked for, all where none says; raises Refusal for more than were issued."""
    if horizon is None:
        return forecast.horizon
    if not 1 <= horizon <= forecast.horizon:
        raise Refusal(400, f"{field}: {horizon} steps were not issued; 1 to {forecast.horizon} are served.")
    return horizon


def quantile_places(forecast: Forecast, probabilities: Sequence[float] | None, field: str) -> tuple[int, ...]:
    """Return where the wanted quantiles stand among the issued ones, all where none says.

    Raises:
        Refusal: A quantile was not issued.
    """
    issued = forecast.probabilities
    if probabilities is None:
        return tuple(range(len(issued)))
    for probability in probabilities:
        if probability not in issued:
            served = ", ".join(map(str, issued)) or "none"
            raise Refusal(400, f"{field}: the quantile {probability} was not issued; served are {served}.")
    return tuple(issued.index(probability) for probability in dict.fromkeys(probabilities))


def utc_text(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
