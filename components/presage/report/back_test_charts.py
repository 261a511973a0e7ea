"""Charts of the back-test: what was forecast against what came."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go

from presage.evaluation.backtest import BackTest
from presage.evaluation.scorecard import Scorecard
from presage.frame import FloatArray, IntArray, TimeArray
from presage.report.chart import (
    ACCENT,
    BAND,
    MUTED,
    SHADE,
    Chart,
    Key,
    figure_json,
    single_time,
    thinned,
    thinning_sentence,
    times,
)
from presage.report.facts import shown_interval, watched, with_unit
from presage.report.numbers import count, level_name, percent

SHADED_AT_MOST: Final = 100
NUMBERED_AT_MOST: Final = 16
NEWEST: Final = 120


def actual_against_forecast(scorecard: Scorecard, back_test: BackTest) -> Chart:
    """Return the outcomes of all folds, the champion's forecasts of them at the last step, and its interval."""
    walked = np.flatnonzero(back_test.fold >= 1)
    step = back_test.frame.horizon - 1
    drawn = walked[thinned(back_test.frame.target_level[back_test.rows[walked], step])]
    traces, legend = _lines(scorecard, back_test, drawn)
    stripes, labels = _fold_stripes(back_test, step)
    if stripes:
        legend.append(Key("every other fold", "shade"))
    champion = scorecard.verdict.champion
    ahead = "one bar" if step == 0 else f"{step + 1} bars"
    return Chart(
        name="actual-against-forecast",
        title="Actual against forecast",
        values=with_unit(scorecard.target, scorecard.unit),
        caption=f"Each forecast was issued {ahead} before, by {champion} fitted on what was known before its fold."
        + _held(scorecard)
        + thinning_sentence(len(drawn), len(walked), "forecasts"),
        legend=tuple(legend),
        figure=figure_json(traces, horizontal="start of the bar, UTC", shapes=stripes, annotations=labels),
        height=400,
    )


def newest_forecasts(scorecard: Scorecard, back_test: BackTest) -> Chart | None:
    """Return the newest forecasts of the back-test from near; None where there are no more than these."""
    walked = np.flatnonzero(back_test.fold >= 1)
    if len(walked) <= NEWEST:
        return None
    traces, legend = _lines(scorecard, back_test, walked[-NEWEST:])
    return Chart(
        name="newest-forecasts",
        title="The same from near",
        values=with_unit(scorecard.target, scorecard.unit),
        caption=f"The newest {count(NEWEST, 'forecast')} of the back-test.",
        legend=tuple(legend),
        figure=figure_json(traces, horizontal="start of the bar, UTC"),
        height=320,
    )


def _lines(scorecard: Scorecard, back_test: BackTest, places: IntArray) -> tuple[list[go.Scatter], list[Key]]:
    """Return the lines and their legend for some places among the rows of a back-test."""
    champion = back_test.forecasts[scorecard.verdict.champion]
    step = back_test.frame.horizon - 1
    rows = back_test.rows[places]
    at = times(back_test.frame.target_time[rows, step])
    actual, forecast = back_test.frame.target_level[rows, step], champion.mean[places, step]
    traces = [
        go.Scatter(x=at, y=actual, name="actual", mode="lines", line={"color": MUTED, "width": 1.1}),
        go.Scatter(x=at, y=forecast, name="forecast", mode="lines", line={"color": ACCENT, "width": 1.6}),
    ]
    legend = [Key("actual", "muted"), Key(f"forecast of {champion.name}", "accent")]
    interval = shown_interval(scorecard, back_test.probabilities)
    if interval is None:
        return traces, legend
    lower, upper = (champion.quantiles[places, step, place] for place in (interval.lower, interval.upper))
    band = _band(at, lower, upper, back_test.probabilities[[interval.lower, interval.upper]])
    return [*band, *traces], [*legend, Key(f"its {level_name(interval.level)} interval", "band")]


def _band(at: TimeArray, lower: FloatArray, upper: FloatArray, probabilities: FloatArray) -> list[go.Scatter]:
    known = np.isfinite(lower) & np.isfinite(upper)  # a filled area cannot show a hole
    edges = ((lower, probabilities[0], None), (upper, probabilities[1], "tonexty"))
    return [
        go.Scatter(
            x=at[known], y=edge[known], name=f"{level_name(float(probability))} quantile", mode="lines",
            line={"width": 0, "color": BAND}, fill=fill, fillcolor=BAND,
        )
        for edge, probability, fill in edges
    ]  # fmt: skip


def _fold_stripes(back_test: BackTest, step: int) -> tuple[list[go.layout.Shape], list[go.layout.Annotation]]:
    numbers = np.unique(back_test.fold[back_test.fold >= 1]).tolist()
    if len(numbers) > SHADED_AT_MOST:
        return [], []
    at = back_test.frame.target_time[back_test.rows, step]
    starts = [at[back_test.fold == number].min() for number in numbers]
    ends = [*starts[1:], at[back_test.fold == numbers[-1]].max()] if numbers else []
    stripes = [
        go.layout.Shape(
            type="rect", xref="x", yref="paper", x0=single_time(start), x1=single_time(end), y0=0, y1=1,
            fillcolor=SHADE, line={"width": 0}, layer="below",
        )
        for number, start, end in zip(numbers, starts, ends, strict=True)
        if number % 2
    ]  # fmt: skip
    labels = [
        go.layout.Annotation(
            text=str(number), x=single_time(start + (end - start) / 2), y=1, xref="x", yref="paper", yanchor="top",
            showarrow=False, font={"size": 11, "color": MUTED},
        )
        for number, start, end in zip(numbers, starts, ends, strict=True)
        if len(numbers) <= NUMBERED_AT_MOST
    ]  # fmt: skip
    return stripes, labels


def _held(scorecard: Scorecard) -> str:
    watch = watched(scorecard.contender(scorecard.verdict.champion))
    if watch is None:
        return ""
    return f" Its {level_name(watch.level)} interval held {percent(watch.coverage)} of the outcomes."
