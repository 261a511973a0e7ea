"""Charts of what the judged contender gained on the best baseline: fold by fold, and in all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import plotly.graph_objects as go

from presage.evaluation.backtest import BackTest
from presage.evaluation.metrics import by_date, origin_losses
from presage.evaluation.scorecard import Scorecard
from presage.frame import FloatArray
from presage.report.chart import ACCENT, OPPOSITE, Chart, Key, figure_json, thinned, thinning_sentence, times
from presage.report.facts import metric_unit, subject, with_unit
from presage.report.numbers import count, number, percent
from presage.spec.evaluation import Metric

# The scale of MASE differs from fold to fold: a sum over folds is one of absolute errors.
_SUMMED: Final[Mapping[str, Metric]] = {
    "MAE": "MAE",
    "RMSE": "RMSE",
    "MAPE": "MAPE",
    "sMAPE": "sMAPE",
    "MASE": "MAE",
    "CRPS": "CRPS",
}


def skill_by_fold(scorecard: Scorecard) -> Chart | None:
    """Return each fold's skill of the contender that the verdict is about; None where that is the baseline itself."""
    about = subject(scorecard)
    folds = [fold for fold in about.folds if fold.skill is not None]
    if about.name == scorecard.verdict.baseline or not folds:
        return None
    skills = np.array([fold.skill for fold in folds], dtype=np.float64)
    middles = [fold.start + (fold.end - fold.start) / 2 for fold in folds]
    # A fold of one origin has no length of its own.
    least = (folds[-1].end - folds[0].start) / (2 * len(folds)) or timedelta(days=1)
    width = [860 * max(fold.end - fold.start, least).total_seconds() for fold in folds]
    bars = go.Bar(
        x=[_text(middle) for middle in middles],
        y=100 * skills,
        width=width,
        marker={"color": [ACCENT if skill > 0 else OPPOSITE for skill in skills], "line": {"width": 0}},
        customdata=[fold.fold for fold in folds],
        hovertemplate="fold %{customdata}: %{y:.1f} %<extra></extra>",
    )
    baseline = scorecard.verdict.baseline
    better = int((skills > 0).sum())
    return Chart(
        name="skill-by-fold",
        title="Skill in each fold",
        values=f"skill of {about.name} (%)",
        caption=f"{about.name} did better than {baseline} in {better} of {count(len(folds), 'fold')}: from "
        f"{percent(float(skills.min()))} in its worst to {percent(float(skills.max()))} in its best.",
        legend=(Key(f"better than {baseline}", "block"), Key("not better", "block-opposite")),
        figure=figure_json(
            [bars], horizontal="start of the period, UTC", hovermode="closest", yaxis={"zeroline": True}
        ),
        height=300,
    )


def advantage_over_time(scorecard: Scorecard, back_test: BackTest) -> Chart | None:
    """Return the running sum of the loss that the judged contender saved; None where that is the baseline itself."""
    about = subject(scorecard).name
    baseline = scorecard.verdict.baseline
    places = np.flatnonzero(back_test.scored)
    if about == baseline or not places.size:
        return None
    rows = back_test.rows[places]
    at, date = np.unique(back_test.frame.time[rows], return_inverse=True)
    saved = np.cumsum(by_date(_losses(scorecard, back_test, baseline) - _losses(scorecard, back_test, about), date))
    drawn = thinned(saved)
    line = go.Scatter(
        x=times(at[drawn]), y=saved[drawn], name="saved", mode="lines", line={"color": ACCENT, "width": 1.8}
    )
    loss, unit = _loss_name(scorecard)
    total = float(saved[-1])
    did = f"{'saved' if total > 0 else 'lost'} {with_unit(number(abs(total)), unit)}"
    return Chart(
        name="advantage-over-time",
        title="Loss saved so far",
        values=with_unit(f"{loss} of {baseline} minus that of {about}, summed", unit),
        caption=f"Where the line rises, {about} is better than {baseline}. "
        f"Over {count(len(saved), 'forecast origin')} it {did} in all."
        + thinning_sentence(len(drawn), len(saved), "origins"),
        legend=(Key(f"saved by {about}", "accent"),),
        figure=figure_json([line], horizontal="start of the period, UTC", yaxis={"zeroline": True}),
        height=300,
    )


def _losses(scorecard: Scorecard, back_test: BackTest, name: str) -> FloatArray:
    places = np.flatnonzero(back_test.scored)
    forecasts = back_test.forecasts[name]
    return origin_losses(
        _SUMMED[scorecard.metric],
        back_test.frame.target_level[back_test.rows[places]],
        forecasts.mean[places],
        quantiles=forecasts.quantiles[places],
        probabilities=back_test.probabilities,
        scale=np.ones(len(places)),
    )


def _loss_name(scorecard: Scorecard) -> tuple[str, str]:
    summed = _SUMMED[scorecard.metric]
    if summed == "RMSE":
        return "squared error", f"{scorecard.unit}²" if scorecard.unit else ""
    return "absolute error" if summed == "MAE" else summed, metric_unit(scorecard, summed)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}"
