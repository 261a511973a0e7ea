"""What a reader of a report on predicted rows asks first."""

from __future__ import annotations

from presage.evaluation.scorecard import ClassificationMetrics, Scorecard
from presage.frame import FloatArray
from presage.report.facts import (
    KeyNumber,
    coverage_number,
    metric_unit,
    significance_number,
    subject,
    with_unit,
    worth_sentence,
)
from presage.report.numbers import count, number, percent
from presage.tabular.walk import Walk

LOSS_NOTE = (
    "The loss is averaged within each period before periods are averaged and tested, so that a busy day is not many "
    "days; the other metrics count every scored row once."
)


def key_numbers(scorecard: Scorecard) -> tuple[KeyNumber, ...]:
    """Return skill, loss against the baseline, p-value, and coverage or calibration."""
    about = subject(scorecard)
    baseline = scorecard.contender(scorecard.verdict.baseline)
    found = about.classification
    loss = f"{scorecard.metric} of {about.name} by {scorecard.frequency}"
    return (
        KeyNumber(f"Skill of {about.name}", percent(about.skill), f"against {baseline.name}, the best baseline"),
        KeyNumber(
            with_unit(loss, metric_unit(scorecard, scorecard.metric)),
            number(about.loss),
            f"{baseline.name}: {number(baseline.loss)}",
        ),
        significance_number(scorecard, "periods"),
        coverage_number(scorecard) if found is None else _calibration(about.name, found),
    )


def evidence_sentence(scorecard: Scorecard) -> str:
    """Return what the verdict stands on, as one sentence."""
    periods = f"{count(scorecard.evidence.origins, 'period')} of {scorecard.frequency}"
    return worth_sentence(scorecard, f"{count(scorecard.rows or 0, 'scored row')} of {periods}", "periods")


def open_sentence(scorecard: Scorecard, open_rows: int) -> str:
    """Return what was predicted of rows whose outcome is not known, as one sentence."""
    champion = scorecard.verdict.champion
    if not open_rows:
        return f"Every row's outcome is known, so {champion} had nothing to predict."
    return f"{champion} predicted {count(open_rows, 'row')} whose outcome is not known."


def scored_rows(scorecard: Scorecard, walked: Walk) -> tuple[FloatArray, FloatArray]:
    """Return the outcomes of the scored rows, and what the judged contender predicted of them: two (n,) float64."""
    scored = walked.fold > 0
    return walked.outcome[scored], walked.predictions[subject(scorecard).name].mean[scored]


def _calibration(name: str, found: ClassificationMetrics) -> KeyNumber:
    return KeyNumber(
        f"Calibration error of {name}",
        percent(found.calibration_error),
        f"AUC {number(found.auc)}, prevalence {percent(found.prevalence)}",
    )
