"""The tables of a report on predicted rows, as grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from presage.evaluation.scorecard import ClassificationMetrics, Contender, Metrics, Scorecard
from presage.report.facts import subject
from presage.report.grid import Column, Grid
from presage.report.numbers import UNDEFINED, aligned, moment, percent
from presage.tabular.metrics import found_among
from presage.tabular.predictions import RowForecast, quantile_names
from presage.tabular.walk import Walk

LIFT_SHARES: Final = (0.05, 0.1, 0.2, 0.5)
PREDICTION_BINS: Final = 10
PREDICTIONS_SHOWN: Final = 20

_ERRORS: Final[Sequence[tuple[str, Callable[[Metrics], float | None]]]] = (
    ("MAE", lambda metrics: metrics.mae),
    ("RMSE", lambda metrics: metrics.rmse),
    ("CRPS", lambda metrics: metrics.crps),
    ("MAPE", lambda metrics: metrics.mape),
    ("sMAPE", lambda metrics: metrics.smape),
    ("Pinball", lambda metrics: metrics.pinball),
)
_PROBABILITIES: Final[Sequence[tuple[str, Callable[[ClassificationMetrics], float | None]]]] = (
    ("Log loss", lambda metrics: metrics.log_loss),
    ("Brier", lambda metrics: metrics.brier),
    ("AUC", lambda metrics: metrics.auc),
    ("Calibration error", lambda metrics: metrics.calibration_error),
)


def contenders(scorecard: Scorecard) -> Grid:
    """Return all contenders, the smallest loss first; the loss is a mean over periods, the metrics are over rows."""
    ranked = sorted(scorecard.contenders, key=lambda one: (one.loss, one.name))
    columns = [
        Column("Contender", kind="name"),
        Column(f"{scorecard.metric} by {scorecard.frequency}", unit=_unit(scorecard, scorecard.metric)),
        Column("Skill", unit="%"),
        Column("Superior", kind="name", narrow=False),
    ]
    cells = [
        [_served(scorecard, one) for one in ranked],
        aligned([one.loss for one in ranked]),
        [percent(one.skill).removesuffix(" %") for one in ranked],
        ["baseline" if one.baseline else "yes" if one.superior else "no" for one in ranked],
    ]
    if scorecard.task == "Classification":
        for name, value in _PROBABILITIES:
            columns.append(Column(name))
            cells.append(aligned([_of(one, value) for one in ranked]))
    else:
        for name, error in _ERRORS:
            columns.append(Column(name, unit=_unit(scorecard, name), narrow=name != "Pinball"))
            cells.append(aligned([error(one.metrics) for one in ranked]))
        columns.append(Column("Coverage", unit="%"))
        cells.append([percent(one.metrics.coverage).removesuffix(" %") for one in ranked])
    marked = next(place for place, one in enumerate(ranked) if one.name == scorecard.verdict.champion)
    return Grid("Contenders, best first", tuple(columns), tuple(zip(*cells, strict=True)), marked)


def folds(scorecard: Scorecard) -> Grid:
    """Return each fold of the contender that the verdict is about."""
    about = subject(scorecard)
    columns = (
        Column("Fold"),
        Column("From", unit="UTC", kind="name"),
        Column("To", unit="UTC", kind="name"),
        Column("Periods"),
        Column(scorecard.metric, unit=_unit(scorecard, scorecard.metric)),
        Column("Skill", unit="%"),
    )
    cells = [
        [str(fold.fold) for fold in about.folds],
        [moment(fold.start) for fold in about.folds],
        [moment(fold.end) for fold in about.folds],
        [f"{fold.origins:,}" for fold in about.folds],
        aligned([fold.loss for fold in about.folds]),
        [percent(fold.skill).removesuffix(" %") for fold in about.folds],
    ]
    return Grid(f"Folds of {about.name}", columns, tuple(zip(*cells, strict=True)))


def reliability(scorecard: Scorecard) -> Grid:
    """Return the reliability bins of the contender that the verdict is about; no rows where it has none."""
    about = subject(scorecard)
    columns = (Column("Rows"), Column("Probability given", unit="%"), Column("Share that came", unit="%"))
    bins = () if about.classification is None else about.classification.bins
    rows = tuple(
        (f"{one.rows:,}", *(percent(share).removesuffix(" %") for share in (one.probability, one.share)))
        for one in bins
    )
    return Grid(f"Reliability of {about.name}", columns, rows)


def lift(scorecard: Scorecard, walked: Walk) -> Grid:
    """Return what share of class 1 is among the rows that the judged contender gave the most; none for one class."""
    about = subject(scorecard)
    columns = (Column("Rows given most", unit="%"), Column("Hold of class 1", unit="%"), Column("Lift"))
    scored = walked.fold > 0
    outcome, probability = walked.outcome[scored], walked.predictions[about.name].mean[scored]
    if outcome.min() == outcome.max():
        return Grid(f"Lift of {about.name}", columns, ())
    found = [found_among(outcome, probability, share) for share in LIFT_SHARES]
    rows = tuple(
        (percent(share).removesuffix(" %"), percent(held).removesuffix(" %"), f"{held / share:.2f}")
        for share, held in zip(LIFT_SHARES, found, strict=True)
    )
    return Grid(f"Lift of {about.name}", columns, rows)


def residuals(scorecard: Scorecard, walked: Walk) -> Grid:
    """Return outcome minus prediction of the judged contender, by predictions in bins of equal count."""
    about = subject(scorecard)
    columns = (
        Column("Rows"),
        Column("Mean prediction", unit=scorecard.unit),
        Column("Mean outcome", unit=scorecard.unit),
        Column("Mean residual", unit=scorecard.unit),
        Column("Mean absolute residual", unit=scorecard.unit),
    )
    scored = walked.fold > 0
    outcome, mean = walked.outcome[scored], walked.predictions[about.name].mean[scored]
    bins = [part for part in np.array_split(np.argsort(mean, kind="stable"), PREDICTION_BINS) if len(part)]
    cells = [
        [f"{len(part):,}" for part in bins],
        aligned([float(mean[part].mean()) for part in bins]),
        aligned([float(outcome[part].mean()) for part in bins]),
        aligned([float((outcome[part] - mean[part]).mean()) for part in bins]),
        aligned([float(np.abs(outcome[part] - mean[part]).mean()) for part in bins]),
    ]
    return Grid(f"Residuals of {about.name}, by prediction", columns, tuple(zip(*cells, strict=True)))


def sources(scorecard: Scorecard) -> Grid:
    """Return what the source gave."""
    parts = scorecard.sources
    columns = (
        Column("Source", kind="name"),
        Column("Rows"),
        Column("First", unit="UTC", kind="name"),
        Column("Last", unit="UTC", kind="name"),
        Column("Repeated", unit="rows"),
        Column("Left out", unit="rows"),
        Column("Lag", kind="name"),
        Column("Units", kind="sentence", narrow=False),
    )
    cells = [
        [one.name for one in parts],
        [f"{one.rows:,}" for one in parts],
        [moment(one.start) for one in parts],
        [moment(one.end) for one in parts],
        [f"{one.duplicates:,}" for one in parts],
        [f"{one.dropped:,}" for one in parts],
        [one.lag for one in parts],
        [", ".join(f"{name}: {unit}" for name, unit in sorted(one.units.items())) or UNDEFINED for one in parts],
    ]
    return Grid("What the source gave", columns, tuple(zip(*cells, strict=True)))


def predictions(forecast: RowForecast) -> Grid:
    """Return the newest predictions, at most `PREDICTIONS_SHOWN` of them."""
    places = np.arange(len(forecast))[::-1][:PREDICTIONS_SHOWN]
    value = "Probability" if forecast.classifies else "Prediction"
    names = [name for name in quantile_names(forecast.probabilities) if name != "q0.5"]
    columns = (
        Column("Time", unit="UTC", kind="name"),
        Column("Row", kind="name"),
        Column(value),
        *(Column(name, narrow=place in (0, len(names) - 1)) for place, name in enumerate(names)),
    )
    kept = [place for place, name in enumerate(quantile_names(forecast.probabilities)) if name in names]
    numbers = np.column_stack([forecast.mean, forecast.quantiles[:, kept]])[places]
    rows = tuple(
        (moment(forecast.time[place]), forecast.row[place], *(f"{cell:.5g}" for cell in cells))
        for place, cells in zip(places.tolist(), numbers.tolist(), strict=True)
    )
    return Grid("Predictions, newest first", columns, rows)


def _of(contender: Contender, value: Callable[[ClassificationMetrics], float | None]) -> float | None:
    return None if contender.classification is None else value(contender.classification)


def _unit(scorecard: Scorecard, metric: str) -> str:
    if metric in ("MAPE", "sMAPE"):
        return "%"
    return "nats" if metric == "LogLoss" else scorecard.unit


def _served(scorecard: Scorecard, contender: Contender) -> str:
    return f"{contender.name} (served)" if contender.name == scorecard.verdict.champion else contender.name
