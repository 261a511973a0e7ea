"""What a run found, as gauges for Prometheus: few series a job, whose labels never hold a run's id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from presage.evaluation.scorecard import Contender, Coverage, Scorecard, SourceSummary


@dataclass(frozen=True)
class Sample:
    """A value and the labels that tell it from others of its gauge."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gauge:
    """A gauge in base units: seconds, shares from 0 to 1, counts, and the target's own unit."""

    name: str
    help: str
    samples: tuple[Sample, ...]


def run_gauges(
    scorecard: Scorecard, *, made_at: datetime, seconds: float, held_back: str | None = None
) -> tuple[Gauge, ...]:
    """Return the gauges of a run; one whose value is not defined is left out.

    Args:
        scorecard: What the run found.
        made_at: When the job was run, UTC.
        seconds: How long that took.
        held_back: Why the run does not serve though the gate let it through, as one word; None where it is not so.
    """
    verdict, test, evidence = scorecard.verdict, scorecard.test, scorecard.evidence
    named = scorecard.contender(verdict.champion)
    watched = _watched(named)
    promoted, reason = verdict.promoted and held_back is None, held_back or verdict.reason
    about = {"model": named.name, "task": scorecard.task, "metric": scorecard.metric, "reason": reason}
    gauges = (
        _gauge("presage_run_timestamp_seconds", "When the job was last run, since 1970, UTC.", made_at.timestamp()),
        _gauge("presage_run_duration_seconds", "How long that took.", seconds),
        _gauge("presage_run_promoted", "Whether its newest run promoted a model: 1 or 0.", float(promoted)),
        Gauge("presage_run_info", "The model that its verdict names, and why; always 1.", (Sample(1.0, about),)),
        _gauge(
            "presage_run_skill",
            "1 - loss / loss of the best baseline, of the model that the verdict names.",
            named.skill,
        ),
        _gauge(
            "presage_run_coverage_ratio",
            "Share of outcomes inside the interval that the gate watches, of the model that the verdict names.",
            named.metrics.coverage,
        ),
        _gauge(
            "presage_run_coverage_lower_ratio",
            "Lower end of the band that this coverage may be in.",
            None if watched is None else watched.lower,
        ),
        _gauge(
            "presage_run_coverage_upper_ratio",
            "Upper end of the band that this coverage may be in.",
            None if watched is None else watched.upper,
        ),
        _gauge(
            "presage_run_p_value",
            "P-value of the test that some candidate beats the best baseline.",
            None if test is None else test.p_value,
        ),
        _gauge("presage_run_scored_origins", "Forecast origins that were scored.", float(evidence.origins)),
        _gauge("presage_run_effective_origins", "Independent origins of the same evidence.", evidence.effective),
        _gauge("presage_run_required_origins", "Independent origins that the gate asks for.", float(evidence.required)),
        Gauge(
            "presage_contender_loss",
            "Mean of the gate's loss.",
            tuple(Sample(one.loss, _labels(one)) for one in scorecard.contenders),
        ),
        Gauge(
            "presage_contender_skill",
            "1 - loss / loss of the best baseline.",
            tuple(Sample(one.skill, _labels(one)) for one in scorecard.contenders if one.skill is not None),
        ),
        *_source_gauges(scorecard),
    )
    return tuple(gauge for gauge in gauges if gauge.samples)


def _gauge(name: str, said: str, value: float | None) -> Gauge:
    return Gauge(name, said, () if value is None else (Sample(value),))


def _source_gauges(scorecard: Scorecard) -> tuple[Gauge, ...]:
    said: tuple[tuple[str, str, Callable[[SourceSummary], float]], ...] = (
        ("presage_source_rows", "Bars, or rows, that the run had of a source.", lambda one: one.rows),
        ("presage_source_gaps", "Periods without a bar.", lambda one: one.gaps),
        ("presage_source_filled", "Bars that forward fill made.", lambda one: one.filled),
        ("presage_source_duplicates", "Rows that repeated another's series and time.", lambda one: one.duplicates),
        ("presage_source_dropped", "Rows that could not be true and were left out.", lambda one: one.dropped),
        (
            "presage_source_newest_timestamp_seconds",
            "Start of the newest bar, or time of the newest row, since 1970, UTC.",
            lambda one: one.end.timestamp(),
        ),
    )
    return tuple(
        Gauge(name, text, tuple(Sample(float(value(one)), {"source": one.name}) for one in scorecard.sources))
        for name, text, value in said
    )


def _watched(contender: Contender) -> Coverage | None:
    """Return what the interval that the gate watches promised and held; None where there is none."""
    share = contender.metrics.coverage
    if share is None:
        return None
    # A panel's share is of rows, and here of dates: they differ by little. Of equal shares, the kindest band holds.
    near = sorted(contender.coverage, key=lambda one: (abs(one.coverage - share), abs(one.level - share)))
    return near[0] if near else None


def _labels(contender: Contender) -> dict[str, str]:
    return {"model": contender.name, "baseline": str(contender.baseline).lower()}
