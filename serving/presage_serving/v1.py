"""KServe's first protocol: instances in, predictions out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from presage_serving.forecast import Forecast, Served
from presage_serving.prediction import LARGEST_BATCH, forecast_of, quantile_places, require_batch, steps, utc_text
from presage_serving.refusal import malformed

_REMEDY = (
    'Issued forecasts are served, none from given features: {"instances": [{}]}, and an instance may hold series, '
    "horizon and quantiles."
)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Instance(_Body):
    """One question; an empty one asks for the whole forecast, of all series where there are many."""

    series: str | None = None
    horizon: int | None = None
    quantiles: tuple[float, ...] | None = None


class PredictRequest(_Body):
    """The body of a prediction."""

    instances: Annotated[tuple[Instance, ...], Field(min_length=1, max_length=LARGEST_BATCH)]


def predict(body: bytes, served: Served, now: datetime) -> dict[str, JsonValue]:
    """Return the answer to the body of a request.

    Args:
        body: JSON.
        served: What is served.
        now: Present moment, UTC; decides whether a forecast is stale.

    Raises:
        Refusal: The body is no request, or asks for what was not issued.
    """
    try:
        request = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise malformed(error, _REMEDY) from error
    all_series = sum(instance.series is None for instance in request.instances)
    single = len(request.instances) - all_series
    require_batch(served, single + all_series * len(served.forecasts), "instances")
    return {
        "predictions": [
            _prediction(instance, f"instances[{place}]", served, forecast, now)
            for place, instance in enumerate(request.instances)
            for forecast in _asked(instance, f"instances[{place}]", served)
        ]
    }


def _asked(instance: Instance, field: str, served: Served) -> tuple[Forecast, ...]:
    if instance.series is None:
        return served.forecasts
    return (forecast_of(served, instance.series, f"{field}.series"),)


def _prediction(
    instance: Instance, field: str, served: Served, forecast: Forecast, now: datetime
) -> dict[str, JsonValue]:
    horizon = steps(forecast, instance.horizon, f"{field}.horizon")
    uncalibrated = served.probabilities and not forecast.probabilities
    places = () if uncalibrated else quantile_places(forecast, instance.quantiles, f"{field}.quantiles")
    return {
        "series": forecast.series,
        "issued_at": utc_text(forecast.issued_at),
        "model": served.model,
        "model_version": served.run,
        "promoted": served.promoted,
        "stale": forecast.stale(now),
        "steps": [
            {
                "step": step + 1,
                "target_time": utc_text(forecast.target_times[step]),
                "mean": forecast.means[step],
                "quantiles": {str(forecast.probabilities[place]): forecast.quantiles[step][place] for place in places},
            }
            for step in range(horizon)
        ],
    }
