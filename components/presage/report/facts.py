"""What a reader asks first, answered from the scorecard: the verdict, its numbers, the newest forecast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from presage.evaluation.scorecard import Contender, Coverage, Metrics, Reason, Scorecard
from presage.frame import FloatArray
from presage.report.data import IssuedForecast
from presage.report.numbers import UNDEFINED, aligned, count, level_name, moment, number, p_value, percent

_HEADLINES: Final[dict[Reason, str]] = {
    "BetterThanBaseline": "{champion} is promoted: it beats {baseline}, the best baseline",
    "NotWorseThanIncumbent": "{champion} is promoted: the refit is no worse than the model it replaces",
    "Forced": "{champion} is promoted by force, not by evidence",
    "NotBetterThanBaseline": "No model beats the best baseline, so {champion} is served",
    "WorseThanIncumbent": "The refit is worse than the model it would replace, so the earlier {champion} stays",
    "CoverageOutOfBand": "The interval of {candidate} does not hold what it promises, so {champion} is served",
    "LeakageDetected": "A feature knows the future, so {champion} is served",
    "InsufficientEvidence": "There are too few forecasts for a verdict, so {champion} is served",
    "ManualApprovalRequired": "{candidate} waits for approval, and {champion} is served",
}

ERRORS: Final[Mapping[str, Callable[[Metrics], float | None]]] = {
    "MAE": lambda metrics: metrics.mae,
    "RMSE": lambda metrics: metrics.rmse,
    "MASE": lambda metrics: metrics.mase,
    "Theil's U": lambda metrics: metrics.theil_u,
    "CRPS": lambda metrics: metrics.crps,
    "Pinball": lambda metrics: metrics.pinball,
    "MAPE": lambda metrics: metrics.mape,
    "sMAPE": lambda metrics: metrics.smape,
}


@dataclass(frozen=True)
class KeyNumber:
    """A number with what it is and what it means."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Interval:
    """A central interval of a forecast.

    Attributes:
        level: Nominal coverage.
        lower: Place of its lower quantile among the probabilities.
        upper: Place of its upper quantile.
    """

    level: float
    lower: int
    upper: int


def headline(scorecard: Scorecard) -> str:
    """Return the verdict as one sentence without its numbers."""
    verdict = scorecard.verdict
    return _HEADLINES[verdict.reason].format(
        champion=verdict.champion, baseline=verdict.baseline, candidate=verdict.candidate or "a candidate"
    )


def reason(scorecard: Scorecard) -> str:
    """Return the verdict's reason in numbers, as a sentence with its full stop."""
    return scorecard.verdict.message.rstrip(".") + "."


def outcome(scorecard: Scorecard) -> str:
    """Return the verdict in two words at most."""
    return "Promoted" if scorecard.verdict.promoted else "Not promoted"


def subject(scorecard: Scorecard) -> Contender:
    """Return the contender that the verdict is about: the champion if promoted, else the best candidate, if any."""
    verdict = scorecard.verdict
    return scorecard.contender(verdict.champion if verdict.promoted else verdict.candidate or verdict.champion)


def measured(scorecard: Scorecard, metrics: Metrics) -> float | None:
    """Return the metric that the job is judged by."""
    return ERRORS[scorecard.metric](metrics)


def metric_unit(scorecard: Scorecard, metric: str) -> str:
    """Return the unit of a metric, empty where it has none or the target declares none."""
    if metric in ("MAPE", "sMAPE"):
        return "%"
    if metric == "LogLoss":
        return "nats"
    return "" if metric in ("MASE", "Theil's U") else scorecard.unit


def with_unit(name: str, unit: str) -> str:
    """Return a name with its unit in brackets."""
    return f"{name} ({unit})" if unit else name


def watched(contender: Contender) -> Coverage | None:
    """Return the interval that the gate watches, the one whose coverage is among the metrics; None without intervals.

    Two intervals of equal coverage are told apart by nothing: the narrower promise is taken.
    """
    promised = contender.metrics.coverage
    if promised is None:
        return None
    return min(contender.coverage, key=lambda one: (abs(one.coverage - promised), one.level), default=None)


def intervals(probabilities: FloatArray) -> tuple[Interval, ...]:
    """Return the central intervals that (q,) ascending probabilities make, widest first."""
    last = len(probabilities) - 1
    return tuple(
        Interval(level=round(float(upper - lower), 10), lower=place, upper=last - place)
        for place, (lower, upper) in enumerate(zip(probabilities, reversed(probabilities), strict=True))
        if place < last - place and abs(lower + upper - 1) < 1e-9
    )


def shown_interval(scorecard: Scorecard, probabilities: FloatArray) -> Interval | None:
    """Return the interval to draw: the one that the gate watches, else the widest; None where there is none."""
    found = intervals(probabilities)
    watch = watched(scorecard.contender(scorecard.verdict.champion))
    if watch is None or not found:
        return found[0] if found else None
    return min(found, key=lambda interval: abs(interval.level - watch.level))


def key_numbers(scorecard: Scorecard) -> tuple[KeyNumber, ...]:
    """Return skill, loss against the best baseline, p-value and coverage."""
    about = subject(scorecard)
    return (
        _skill(scorecard, about),
        KeyNumber(
            name=with_unit(f"{scorecard.metric} of {about.name}", metric_unit(scorecard, scorecard.metric)),
            value=number(_judged(scorecard, about)),
            note=f"{scorecard.verdict.baseline}, the best baseline: "
            + number(_judged(scorecard, scorecard.contender(scorecard.verdict.baseline))),
        ),
        significance_number(scorecard, "forecasts"),
        coverage_number(scorecard),
    )


def evidence_sentence(scorecard: Scorecard) -> str:
    """Return what the verdict stands on, as one sentence."""
    origins = scorecard.evidence.origins
    dates = f"{count(origins, 'date')} with scored origins" if scorecard.series else ""
    return worth_sentence(scorecard, dates or count(origins, "scored origin"), "ones")


def forecast_sentence(scorecard: Scorecard, forecast: IssuedForecast) -> str:
    """Return the newest forecast, its first and its last step, as one sentence."""
    steps = (0,) if len(forecast.mean) == 1 else (0, len(forecast.mean) - 1)
    interval = shown_interval(scorecard, forecast.probabilities)
    parts = []
    for step in steps:
        shown = [forecast.mean[step]]
        if interval is not None:
            shown += forecast.quantiles[step, [interval.lower, interval.upper]].tolist()
        mean, *ends = aligned(shown, 5)
        held = f" ({level_name(interval.level)} interval: {' to '.join(ends)})" if interval is not None else ""
        parts.append(f"{mean} for the bar of {moment(forecast.target_time[step])}{held}")
    target = with_unit(scorecard.target, scorecard.unit)
    return (
        f"{scorecard.verdict.champion} expects {target} of {' and of '.join(parts)}, "
        f"issued at {moment(forecast.issued_at)} UTC."
    )


def worth_sentence(scorecard: Scorecard, scored: str, independent: str) -> str:
    """Return what was scored, when, and how much independent evidence it is worth, as one sentence.

    Args:
        scorecard: What the run found.
        scored: What was scored, with its count.
        independent: What evidence is counted in, as a plural.
    """
    evidence = scorecard.evidence
    return (
        f"{scored} in {count(scorecard.folds, 'fold')}, {moment(scorecard.start)} to {moment(scorecard.end)} UTC, "
        f"are worth {math.floor(evidence.effective):,} independent {independent}, "
        f"and the declared power needs {evidence.required:,}."
    )


def significance_number(scorecard: Scorecard, scored: str) -> KeyNumber:
    """Return the p-value of the gate's test; where there was none, why: too few of what is `scored`, a plural."""
    test = scorecard.test
    if test is None:
        why = f"too few {scored} to test" if scorecard.verdict.candidate else "no candidate to test"
        return KeyNumber(name="p-value", value=UNDEFINED, note=why)
    tried = f"{count(scorecard.tried, 'configuration')} tried"
    return KeyNumber(name=f"p-value ({test.name} test)", value=p_value(test.p_value), note=tried)


def coverage_number(scorecard: Scorecard) -> KeyNumber:
    """Return what the champion's watched interval held."""
    champion = scorecard.contender(scorecard.verdict.champion)
    watch = watched(champion)
    if watch is None:
        return KeyNumber(name=f"Coverage of {champion.name}", value=UNDEFINED, note="it has no interval")
    where = "inside" if watch.inside else "outside"
    return KeyNumber(
        name=f"{level_name(watch.level)} interval of {champion.name} held",
        value=percent(watch.coverage),
        note=f"{where} the band {100 * watch.lower:.1f} to {percent(watch.upper)}",
    )


def _skill(scorecard: Scorecard, about: Contender) -> KeyNumber:
    compared = "smaller" if about.skill is not None and about.skill > 0 else "not smaller"
    note = f"{scorecard.metric} {compared} than that of {scorecard.verdict.baseline}"
    if about.name == scorecard.verdict.baseline:
        note = "the best baseline, against itself"
    return KeyNumber(name=f"Skill of {about.name}", value=percent(about.skill), note=note)


def _judged(scorecard: Scorecard, contender: Contender) -> float | None:
    # A panel is judged by the mean over dates, its metrics are means over all origins.
    return contender.loss if scorecard.series else measured(scorecard, contender.metrics)
