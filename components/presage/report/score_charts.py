"""Charts of the scorecard: error by horizon, what intervals promised and held, what features gave."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

import numpy as np
import plotly.graph_objects as go

from presage.evaluation.scorecard import Contender, Scorecard
from presage.features.config import FeatureConfig
from presage.report.chart import ACCENT, BAND, INK, MUTED, NEUTRAL, OPPOSITE, Chart, Key, figure_json
from presage.report.facts import measured, metric_unit, subject, with_unit
from presage.report.numbers import count, level_name, number, percent

SHOWN_FEATURES: Final = 15
_LABEL: Final = 40


def error_by_horizon(scorecard: Scorecard) -> Chart | None:
    """Return the error at each step ahead, the judged contender's against the others'; None at a horizon of 1."""
    if scorecard.horizon == 1:
        return None
    about = subject(scorecard)
    baseline = scorecard.contender(scorecard.verdict.baseline)
    others = [one for one in scorecard.contenders if one.name not in (about.name, baseline.name)]
    lines = [_error_line(scorecard, one, NEUTRAL, 1.0) for one in others]
    lines.append(_error_line(scorecard, baseline, OPPOSITE, 2.0))
    legend = [Key(f"{baseline.name}, the best baseline", "opposite")]
    if about.name != baseline.name:
        lines.append(_error_line(scorecard, about, ACCENT, 2.4))
        legend.insert(0, Key(about.name, "accent"))
    if others:
        legend.append(Key("other contenders", "neutral"))
    first, last = (number(measured(scorecard, about.steps[place].metrics)) for place in (0, -1))
    metric = scorecard.metric
    return Chart(
        name="error-by-horizon",
        title="Error by horizon",
        values=with_unit(metric, metric_unit(scorecard, metric)),
        caption=f"The {metric} of {about.name} goes from {first} one bar ahead to {last} at {scorecard.horizon} bars.",
        legend=tuple(legend),
        figure=figure_json(
            lines,
            horizontal=f"bars of {scorecard.frequency} ahead",
            xaxis={"tick0": 1, "dtick": -(-scorecard.horizon // 12)},
        ),
        height=320,
    )


def coverage(scorecard: Scorecard) -> Chart | None:
    """Return what the champion's intervals promised and held; None where it has none."""
    champion = scorecard.contender(scorecard.verdict.champion)
    levels = sorted(champion.coverage, key=lambda one: one.level)
    if not levels:
        return None
    names = [level_name(one.level) for one in levels]
    band = go.Bar(
        y=names, x=[100 * (one.upper - one.lower) for one in levels], base=[100 * one.lower for one in levels],
        orientation="h", width=0.5, marker={"color": BAND, "line": {"width": 0}}, hoverinfo="skip",
    )  # fmt: skip
    promised = go.Scatter(
        y=names, x=[100 * one.level for one in levels], mode="markers", name="promised", hoverinfo="skip",
        marker={"symbol": "line-ns", "size": 20, "line": {"width": 2, "color": MUTED}},
    )  # fmt: skip
    held = go.Scatter(
        y=names, x=[100 * one.coverage for one in levels], mode="markers", name="held",
        marker={"size": 11, "color": [ACCENT if one.inside else OPPOSITE for one in levels]},
        hovertemplate="%{y} promised, %{x:.1f} % held<extra></extra>",
    )  # fmt: skip
    outside = [one for one in levels if not one.inside]
    legend = [Key("held", "dot"), Key("promised", "tick"), Key("band that chance explains", "band")]
    if outside:
        legend.insert(1, Key("held, outside the band", "dot-opposite"))
        caption = f"{count(len(outside), 'interval')} of {len(levels)} held too little or too much: " + ", ".join(
            f"{level_name(one.level)} promised, {percent(one.coverage)} held" for one in outside
        )
    else:
        caption = "Every interval held what it promised, within what chance and dependence allow"
    return Chart(
        name="coverage",
        title="Coverage promised and held",
        values=f"interval of {champion.name}",
        caption=caption + ".",
        legend=tuple(legend),
        figure=figure_json(
            [band, promised, held],
            horizontal="share of outcomes inside (%)",
            hovermode="closest",
            yaxis={"type": "category", "showgrid": False},
            xaxis={"showgrid": True},
        ),
        height=110 + 46 * len(levels),
    )


def importance(scorecard: Scorecard, config: FeatureConfig) -> Chart | None:
    """Return the largest shares of the features; None where nothing ranked them.

    They are the champion's own, as a mean over folds, or, where the champion has none (a baseline), the gain that
    selection measured in the final training window.
    """
    champion = scorecard.contender(scorecard.verdict.champion)
    shares: Mapping[str, float] = champion.importance or config.importance
    if not shares:
        return None
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked[:SHOWN_FEATURES]
    # A name stands above its bar and not beside it, where a phone has no room.
    names = [
        go.layout.Annotation(
            text=escape(_shortened(name)), x=0, xref="paper", xanchor="left", y=place + 0.46, yanchor="middle",
            showarrow=False, font={"size": 12, "color": INK},
        )
        for place, (name, _) in enumerate(reversed(shown))
    ]  # fmt: skip
    bars = go.Bar(
        y=list(range(len(shown))),
        x=[100 * share for _, share in reversed(shown)],
        orientation="h",
        width=0.42,
        marker={"color": ACCENT, "line": {"width": 0}},
        text=[percent(share) for _, share in reversed(shown)],
        textposition="outside",
        textfont={"color": INK, "size": 12},
        cliponaxis=False,
        hoverinfo="skip",
    )
    if champion.importance:
        whose = f"what {champion.name} learnt, on average over the folds"
    else:
        whose = f"XGBoost's gain in the final training window; {champion.name}, which is served, uses no features"
    rest = sum(share for _, share in ranked[SHOWN_FEATURES:])
    more = f" The other {len(ranked) - SHOWN_FEATURES} share {percent(rest)}." if rest else ""
    widest = max(100 * share for _, share in shown)
    return Chart(
        name="importance",
        title="Importance of features",
        values="feature",
        caption=f"Shares of {whose}. {shown[0][0]} gives {percent(shown[0][1])}." + more,
        legend=(),
        figure=figure_json(
            [bars],
            horizontal="share (%)",
            hovermode=False,
            annotations=names,
            yaxis={"visible": False, "range": [-0.4, len(shown) - 0.2]},
            xaxis={"range": [0, widest * 1.25 or 1], "showgrid": True},
        ),
        height=60 + 44 * len(shown),
    )


def _error_line(scorecard: Scorecard, contender: Contender, colour: str, width: float) -> go.Scatter:
    errors = [measured(scorecard, step.metrics) for step in contender.steps]
    return go.Scatter(
        x=[step.step for step in contender.steps],
        y=np.array([np.nan if error is None else error for error in errors]),
        name=escape(contender.name),
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"color": colour, "size": 5},
    )


def _shortened(name: str) -> str:
    return name if len(name) <= _LABEL else "…" + name[1 - _LABEL :]  # what tells features apart is at the end
