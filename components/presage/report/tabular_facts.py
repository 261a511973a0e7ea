"""What a reader of a report on predicted rows asks first."""

from __future__ import annotations

import math

from presage.evaluation.scorecard import Contender, Scorecard
from presage.report.facts import KeyNumber, subject, watched, with_unit
from presage.report.numbers import UNDEFINED, count, level_name, moment, number, p_value, percent

LOSS_NOTE = (
    "The loss is averaged within each period before periods are averaged and tested, so that a busy day is not many "
    "days; the other metrics count every scored row once."
)


def key_numbers(scorecard: Scorecard) -> tuple[KeyNumber, ...]:
    """Return skill, loss against the baseline, p-value, and coverage or calibration."""
    about = subject(scorecard)
    baseline = scorecard.contender(scorecard.verdict.baseline)
    unit = "nats" if scorecard.metric == "LogLoss" else "%" if "MAPE" in scorecard.metric else scorecard.unit
    return (
        KeyNumber(f"Skill of {about.name}", percent(about.skill), f"against {baseline.name}, the best baseline"),
        KeyNumber(
            with_unit(f"{scorecard.metric} of {about.name} by {scorecard.frequency}", unit),
            number(about.loss),
            f"{baseline.name}: {number(baseline.loss)}",
        ),
        _evidence(scorecard),
        _honesty(scorecard, about),
    )


def evidence_sentence(scorecard: Scorecard) -> str:
    """Return what the verdict stands on, as one sentence."""
    evidence = scorecard.evidence
    return (
        f"{count(scorecard.rows or 0, 'scored row')} of {count(evidence.origins, 'period')} of {scorecard.frequency} "
        f"in {count(scorecard.folds, 'fold')}, {moment(scorecard.start)} to {moment(scorecard.end)} UTC, are worth "
        f"{math.floor(evidence.effective):,} independent periods, and the declared power needs {evidence.required:,}."
    )


def open_sentence(scorecard: Scorecard, open_rows: int) -> str:
    """Return what was predicted of rows whose outcome is not known, as one sentence."""
    champion = scorecard.verdict.champion
    if not open_rows:
        return f"Every row's outcome is known, so {champion} had nothing to predict."
    return f"{champion} predicted {count(open_rows, 'row')} whose outcome is not known."


def _evidence(scorecard: Scorecard) -> KeyNumber:
    test = scorecard.test
    if test is None:
        why = "too few periods to test" if scorecard.verdict.candidate else "no candidate to test"
        return KeyNumber("p-value", UNDEFINED, why)
    return KeyNumber(
        f"p-value ({test.name} test)", p_value(test.p_value), f"{count(scorecard.tried, 'configuration')} tried"
    )


def _honesty(scorecard: Scorecard, about: Contender) -> KeyNumber:
    if about.classification is not None:
        return KeyNumber(
            f"Calibration error of {about.name}",
            percent(about.classification.calibration_error),
            f"AUC {number(about.classification.auc)}, prevalence {percent(about.classification.prevalence)}",
        )
    champion = scorecard.contender(scorecard.verdict.champion)
    watch = watched(champion)
    if watch is None:
        return KeyNumber(f"Coverage of {champion.name}", UNDEFINED, "it has no interval")
    where = "inside" if watch.inside else "outside"
    return KeyNumber(
        f"{level_name(watch.level)} interval of {champion.name} held",
        percent(watch.coverage),
        f"{where} the band {100 * watch.lower:.1f} to {percent(watch.upper)}",
    )
