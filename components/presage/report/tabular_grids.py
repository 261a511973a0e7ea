"""The tables of a report on predicted rows, as grids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from presage.evaluation.scorecard import ClassificationMetrics, Scorecard
from presage.report import grids
from presage.report.facts import metric_unit, subject
from presage.report.grid import Column, FilledColumn, Grid
from presage.report.numbers import aligned, moment
from presage.report.tabular_facts import scored_rows
from presage.tabular.metrics import found_among
from presage.tabular.predictions import RowForecast, quantile_names
from presage.tabular.walk import Walk

LIFT_SHARES: Final = (0.05, 0.1, 0.2, 0.5)
PREDICTION_BINS: Final = 10
PREDICTIONS_SHOWN: Final = 20

_ERRORS: Final = ("MAE", "RMSE", "CRPS", "MAPE", "sMAPE", "Pinball")
_PROBABILITIES: Final[Mapping[str, Callable[[ClassificationMetrics], float | None]]] = {
    "Log loss": lambda metrics: metrics.log_loss,
    "Brier": lambda metrics: metrics.brier,
    "AUC": lambda metrics: metrics.auc,
    "Calibration error": lambda metrics: metrics.calibration_error,
}


def contenders(scorecard: Scorecard) -> Grid:
    """Return all contenders, the smallest loss first; the loss is a mean over periods, the metrics are over rows."""
    found = grids.best_first(scorecard)
    unit = metric_unit(scorecard, scorecard.metric)
    loss = (Column(f"{scorecard.metric} by {scorecard.frequency}", unit=unit), aligned(one.loss for one in found))
    metrics: list[FilledColumn]
    if scorecard.task == "Classification":
        scores = [one.classification for one in found]
        metrics = [
            (Column(name), aligned(None if one is None else value(one) for one in scores))
            for name, value in _PROBABILITIES.items()
        ]
    else:
        errors = [one.metrics for one in found]
        metrics = [
            *grids.errors(scorecard, errors, _ERRORS, narrow=_ERRORS[:-1]),
            (Column("Coverage", unit="%"), grids.percents(one.coverage for one in errors)),
        ]
    return grids.comparison(scorecard, found, losses=[loss], metrics=metrics)


def folds(scorecard: Scorecard) -> Grid:
    """Return each fold of the contender that the verdict is about."""
    return grids.folds(scorecard, first="From", last="To", scored="Periods")


def reliability(scorecard: Scorecard) -> Grid:
    """Return the reliability bins of the contender that the verdict is about; no rows where it has none."""
    about = subject(scorecard)
    bins = () if about.classification is None else about.classification.bins
    return Grid.of(
        f"Reliability of {about.name}",
        (Column("Rows"), [f"{one.rows:,}" for one in bins]),
        (Column("Probability given", unit="%"), grids.percents(one.probability for one in bins)),
        (Column("Share that came", unit="%"), grids.percents(one.share for one in bins)),
    )


def lift(scorecard: Scorecard, walked: Walk) -> Grid:
    """Return what share of class 1 is among the rows that the judged contender gave the most; none for one class."""
    outcome, probability = scored_rows(scorecard, walked)
    shares = () if outcome.min() == outcome.max() else LIFT_SHARES
    found = [found_among(outcome, probability, share) for share in shares]
    return Grid.of(
        f"Lift of {subject(scorecard).name}",
        (Column("Rows given most", unit="%"), grids.percents(shares)),
        (Column("Hold of class 1", unit="%"), grids.percents(found)),
        (Column("Lift"), [f"{held / share:.2f}" for share, held in zip(shares, found, strict=True)]),
    )


def residuals(scorecard: Scorecard, walked: Walk) -> Grid:
    """Return outcome minus prediction of the judged contender, by predictions in bins of equal count."""
    outcome, mean = scored_rows(scorecard, walked)
    bins = [part for part in np.array_split(np.argsort(mean, kind="stable"), PREDICTION_BINS) if len(part)]
    unit, residual = scorecard.unit, outcome - mean
    return Grid.of(
        f"Residuals of {subject(scorecard).name}, by prediction",
        (Column("Rows"), [f"{len(part):,}" for part in bins]),
        (Column("Mean prediction", unit=unit), aligned(float(mean[part].mean()) for part in bins)),
        (Column("Mean outcome", unit=unit), aligned(float(outcome[part].mean()) for part in bins)),
        (Column("Mean residual", unit=unit), aligned(float(residual[part].mean()) for part in bins)),
        (Column("Mean absolute residual", unit=unit), aligned(float(np.abs(residual[part]).mean()) for part in bins)),
    )


def sources(scorecard: Scorecard) -> Grid:
    """Return what the source gave."""
    found = scorecard.sources
    return Grid.of(
        "What the source gave",
        (Column("Source", kind="name"), [one.name for one in found]),
        (Column("Rows"), [f"{one.rows:,}" for one in found]),
        (Column("First", unit="UTC", kind="name"), [moment(one.start) for one in found]),
        (Column("Last", unit="UTC", kind="name"), [moment(one.end) for one in found]),
        (Column("Repeated", unit="rows"), [f"{one.duplicates:,}" for one in found]),
        (Column("Left out", unit="rows"), [f"{one.dropped:,}" for one in found]),
        (Column("Lag", kind="name"), [one.lag for one in found]),
        grids.units(found),
    )


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
