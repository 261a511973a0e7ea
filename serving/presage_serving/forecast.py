"""What is served: the issued forecast of each series, checked once and then only read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from pydantic import ValidationError

from presage.errors import DataError
from presage.spec.forecast import ForecastSummary, SeriesForecast

_ISSUE_AGAIN = "Issue the forecast again."


@dataclass(frozen=True)
class Forecast:
    """An issued forecast of one series.

    Attributes:
        series: Name of the series.
        issued_at: Moment that the forecast was made for, UTC.
        stale_after: When it is too old to be relied on, UTC; None where that is not known.
        target_times: Start of each step's bar, UTC, ascending.
        means: One a step, finite.
        probabilities: Probabilities of the quantiles, in the order in which they were issued; none where the intervals
            of the series are not calibrated yet.
        quantiles: For each step one a probability, finite.
    """

    series: str
    issued_at: datetime
    stale_after: datetime | None
    target_times: tuple[datetime, ...]
    means: tuple[float, ...]
    probabilities: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return len(self.means)

    def stale(self, now: datetime) -> bool:
        """Return whether the forecast is too old to be relied on; False where that is not known."""
        return self.stale_after is not None and now >= self.stale_after


@dataclass(frozen=True)
class Served:
    """The issued forecasts of a job.

    Attributes:
        job: Namespace, a dot, the job's name.
        run: Run whose bundle forecast: the model's version.
        model: Name of the forecaster.
        promoted: Whether the gate promoted it; otherwise it is the best baseline.
        issued_at: The newest moment that a forecast was made for, UTC.
        forecasts: One a series, at least one; all of the same horizon.
    """

    job: str
    run: str
    model: str
    promoted: bool
    issued_at: datetime
    forecasts: tuple[Forecast, ...]

    @cached_property
    def by_series(self) -> Mapping[str, Forecast]:
        """The forecasts by their series."""
        return {forecast.series: forecast for forecast in self.forecasts}

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.forecasts[0].horizon

    @cached_property
    def probabilities(self) -> tuple[float, ...]:
        """Probabilities of the quantiles, of the first series that has any."""
        return next((forecast.probabilities for forecast in self.forecasts if forecast.probabilities), ())

    def stale(self, now: datetime) -> bool:
        """Return whether all of it is too old to be relied on."""
        return all(forecast.stale(now) for forecast in self.forecasts)


def parse_forecast(content: bytes) -> Served:
    """Return the forecasts that a file holds.

    Raises:
        DataError: It is no such file, a number is not finite, a time has no zone, or the steps do not fit together.
    """
    try:
        summary = ForecastSummary.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise _wrong(f"{fault['msg']} at {field or 'the top'}") from error
    parts = summary.forecasts
    many = bool(summary.panel)
    forecasts = tuple(_parsed(part, f"panel.{place}." if many else "") for place, part in enumerate(parts))
    served = Served(
        job=f"{summary.namespace}.{summary.job}",
        run=summary.run,
        model=summary.model,
        promoted=summary.promoted,
        issued_at=summary.issued_at,
        forecasts=forecasts,
    )
    if summary.issued_at.utcoffset() is None:
        raise _wrong("a time has no zone")
    if len(served.by_series) < len(forecasts):
        raise _wrong("two series have the same name")
    if len({forecast.horizon for forecast in forecasts}) > 1:
        raise _wrong("the series have not as many steps")
    if any(forecast.probabilities not in ((), served.probabilities) for forecast in forecasts):
        raise _wrong("the series have not the same quantiles")
    return served


def _parsed(part: SeriesForecast, place: str) -> Forecast:
    names = tuple(part.steps[0].quantiles) if part.steps else ()
    _check(part, names, place)
    return Forecast(
        series=part.series,
        issued_at=part.issued_at,
        stale_after=part.stale_after,
        target_times=tuple(step.target_time for step in part.steps),
        means=tuple(step.mean for step in part.steps),
        probabilities=tuple(_probability(name) for name in names),
        quantiles=tuple(tuple(step.quantiles[name] for name in names) for step in part.steps),
    )


def _check(part: SeriesForecast, names: tuple[str, ...], at: str) -> None:
    if not part.steps:
        raise _wrong("there are no steps" + (f" at {at.removesuffix('.')}" if at else ""))
    for place, step in enumerate(part.steps):
        if not all(map(math.isfinite, (step.mean, *step.quantiles.values()))):
            raise _wrong(f"a number is not finite at {at}steps.{place}")
        if set(step.quantiles) != set(names):
            raise _wrong(f"other quantiles than in the first step at {at}steps.{place}")
    times = [step.target_time for step in part.steps]
    moments = [part.issued_at, *times, *([part.stale_after] if part.stale_after else [])]
    if any(moment.utcoffset() is None for moment in moments):
        raise _wrong("a time has no zone")
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise _wrong("the target times do not ascend")


def _probability(name: str) -> float:
    try:
        probability = float(name.removeprefix("q"))
    except ValueError:
        probability = math.nan
    if not (name.startswith("q") and 0 < probability < 1):
        raise _wrong(f"{name!r} is no quantile such as q0.05")
    return probability


def _wrong(what: str) -> DataError:
    return DataError(f"the forecast cannot be served: {what}.", _ISSUE_AGAIN)
