"""What a run found, as gauges for Prometheus: few series a job, whose labels never hold a run's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from presage.evaluation.scorecard import Contender, Scorecard


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
    )
    return tuple(gauge for gauge in gauges if gauge.samples)


def _gauge(name: str, said: str, value: float | None) -> Gauge:
    return Gauge(name, said, () if value is None else (Sample(value),))


def _labels(contender: Contender) -> dict[str, str]:
    return {"model": contender.name, "baseline": str(contender.baseline).lower()}
