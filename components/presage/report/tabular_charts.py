"""Charts of predicted rows: whether probabilities hold, how well they rank, and where predictions are off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import plotly.graph_objects as go

from presage.evaluation.scorecard import Scorecard
from presage.report.chart import ACCENT, MUTED, NEUTRAL, Chart, Key, figure_json, thinned
from presage.report.facts import subject, with_unit
from presage.report.numbers import number, percent
from presage.report.tabular_facts import scored_rows
from presage.tabular.metrics import roc_curve
from presage.tabular.walk import Walk

_SHARES: Final[Mapping[str, object]] = {"range": [-2, 102], "tickfont": {"color": MUTED, "size": 12}}


def reliability(scorecard: Scorecard) -> Chart | None:
    """Return the reliability diagram of the judged contender; None where there are no probabilities."""
    about = subject(scorecard)
    found = about.classification
    if found is None:
        return None
    given = [100 * one.probability for one in found.bins]
    came = [100 * one.share for one in found.bins]
    held = go.Scatter(
        x=given, y=came, mode="lines+markers", name="came", line={"color": ACCENT, "width": 2}, marker={"size": 8},
        customdata=[one.rows for one in found.bins],
        hovertemplate="given %{x:.1f} %, came %{y:.1f} % of %{customdata:,} rows<extra></extra>",
    )  # fmt: skip
    worst = max(found.bins, key=lambda one: abs(one.share - one.probability))
    return Chart(
        name="reliability",
        title="Reliability",
        values="share of rows that are of class 1 (%)",
        caption=f"The expected calibration error is {percent(found.calibration_error)}; furthest off are "
        f"{worst.rows:,} rows given {percent(worst.probability)}, of which {percent(worst.share)} came.",
        legend=(Key(about.name, "accent"), Key("as promised", "neutral")),
        figure=_against_diagonal(held, "probability given (%)"),
        height=360,
    )


def ranking(scorecard: Scorecard, walked: Walk) -> Chart | None:
    """Return the ROC curve of the judged contender; None where there are no probabilities or one class only."""
    about = subject(scorecard)
    if about.classification is None or about.classification.auc is None:
        return None
    missed, found = roc_curve(*scored_rows(scorecard, walked))
    drawn = thinned(found)
    curve = go.Scatter(
        x=100 * missed[drawn], y=100 * found[drawn], mode="lines", name=about.name, line={"color": ACCENT, "width": 2},
        hovertemplate="%{y:.1f} % of class 1 at %{x:.1f} % of class 0<extra></extra>",
    )  # fmt: skip
    return Chart(
        name="roc",
        title="ROC curve",
        values="share of class 1 found (%)",
        caption=f"The area under it is {number(about.classification.auc)}: the chance that a row of class 1 is given "
        f"more than one of class 0.",
        legend=(Key(about.name, "accent"), Key("chance", "neutral")),
        figure=_against_diagonal(curve, "share of class 0 taken for it (%)"),
        height=360,
    )


def residuals(scorecard: Scorecard, walked: Walk) -> Chart | None:
    """Return how the judged contender's residuals are spread; None for a Classification."""
    if scorecard.task == "Classification":
        return None
    about = subject(scorecard)
    outcome, mean = scored_rows(scorecard, walked)
    residual = outcome - mean
    low, high = np.quantile(residual, [0.01, 0.99])
    counts, edges = np.histogram(residual, bins=40, range=(low, high) if low < high else None)
    bars = go.Bar(
        x=(edges[1:] + edges[:-1]) / 2, y=100 * counts / len(residual), width=np.diff(edges),
        marker={"color": ACCENT, "line": {"width": 0}}, hovertemplate="%{y:.1f} % around %{x:,.4~g}<extra></extra>",
    )  # fmt: skip
    outside = 1 - counts.sum() / len(residual)
    return Chart(
        name="residuals",
        title="Residuals",
        values="share of scored rows (%)",
        caption=f"Outcome minus prediction of {about.name}: half of the rows lie between "
        f"{number(float(np.quantile(residual, 0.25)))} and {number(float(np.quantile(residual, 0.75)))}; "
        f"{percent(float(outside))} lie beyond the drawing, at either end.",
        legend=(),
        figure=figure_json(
            [bars], horizontal=with_unit("outcome minus prediction", scorecard.unit), hovermode="closest", bargap=0.0
        ),
        height=320,
    )


def _against_diagonal(line: go.Scatter, horizontal: str) -> str:
    diagonal = go.Scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": NEUTRAL, "width": 1, "dash": "dot"}, hoverinfo="skip"
    )
    return figure_json([diagonal, line], horizontal=horizontal, hovermode="closest", xaxis=_SHARES, yaxis=_SHARES)
