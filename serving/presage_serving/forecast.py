"""What is served: one issued forecast, checked once and then only read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from pydantic import ValidationError

from presage.errors import DataError
from presage.spec.forecast import ForecastSummary

_ISSUE_AGAIN = "Issue the forecast again."


@dataclass(frozen=True)
class Forecast:
    """An issued forecast of one series.

    Attributes:
        job: Namespace, a dot, the job's name.
        series: Name of the series.
        run: Run whose bundle forecast: the model's version.
        model: Name of the forecaster.
        promoted: Whether the gate promoted it; otherwise it is the best baseline.
        issued_at: Moment that the forecast was made for, UTC.
        stale_after: When it is too old to be relied on, UTC; None where that is not known.
        target_times: Start of each step's bar, UTC, ascending.
        means: One a step, finite.
        probabilities: Probabilities of the quantiles, in the order in which they were issued.
        quantiles: For each step one a probability, finite.
    """

    job: str
    series: str
    run: str
    model: str
    promoted: bool
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


def parse_forecast(content: bytes) -> Forecast:
    """Return the forecast that a file holds.

    Raises:
        DataError: It is no such file, a number is not finite, a time has no zone, or the steps do not fit together.
    """
    try:
        summary = ForecastSummary.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise _wrong(f"{fault['msg']} at {field or 'the top'}") from error
    names = tuple(summary.steps[0].quantiles) if summary.steps else ()
    _check(summary, names)
    return Forecast(
        job=f"{summary.namespace}.{summary.job}",
        series=summary.series,
        run=summary.run,
        model=summary.model,
        promoted=summary.promoted,
        issued_at=summary.issued_at,
        stale_after=summary.stale_after,
        target_times=tuple(step.target_time for step in summary.steps),
        means=tuple(step.mean for step in summary.steps),
        probabilities=tuple(_probability(name) for name in names),
        quantiles=tuple(tuple(step.quantiles[name] for name in names) for step in summary.steps),
    )


def _check(summary: ForecastSummary, names: tuple[str, ...]) -> None:
    if not summary.steps:
        raise _wrong("there are no steps")
    for place, step in enumerate(summary.steps):
        if not all(map(math.isfinite, (step.mean, *step.quantiles.values()))):
            raise _wrong(f"a number is not finite at steps.{place}")
        if set(step.quantiles) != set(names):
            raise _wrong(f"other quantiles than in the first step at steps.{place}")
    times = [step.target_time for step in summary.steps]
    moments = [summary.issued_at, *times, *([summary.stale_after] if summary.stale_after else [])]
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
