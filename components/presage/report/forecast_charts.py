"""Charts of the champion's newest forecast: the fan, and the market that it continues."""

from __future__ import annotations

from datetime import UTC
from typing import Final

import numpy as np
import plotly.graph_objects as go
import polars as pl

from presage.bars import Bars
from presage.evaluation.backtest import BackTest
from presage.evaluation.scorecard import Scorecard
from presage.frame import KNOWN_AT, SERIES, TIME, FloatArray, TimeArray
from presage.report.chart import ACCENT, BAND, INK, PAPER, Chart, Key, figure_json, single_time, times
from presage.report.data import IssuedForecast
from presage.report.facts import Interval, intervals, with_unit
from presage.report.numbers import count, level_name, listing

HISTORY: Final = 60
_PRICES: Final = ("open", "high", "low", "close")


def fan(scorecard: Scorecard, back_test: BackTest, bars: Bars | None, forecast: IssuedForecast) -> Chart:
    """Return the newest forecast behind the newest bars: as candles where the target is one of their prices."""
    candles = None if bars is None else newest_candles(bars, forecast)
    priced = candles is not None and scorecard.target.rpartition(".")[2].lower() in _PRICES
    if priced and candles is not None:
        past: list[go.Scatter | go.Candlestick] = [_candlestick(candles)]
        legend = [Key("closed higher", "hollow"), Key("closed lower", "filled")]
        drawn = candles.height
    else:
        at, level = _newest_levels(back_test, forecast)
        marks = {"color": INK, "size": 4}
        past = [
            go.Scatter(
                x=at, y=level, name="actual", mode="lines+markers", line={"color": INK, "width": 1.2}, marker=marks
            )
        ]
        legend = [Key("actual", "ink")]
        drawn = len(at)
    found = intervals(forecast.probabilities)
    shown = [
        interval for interval in found if np.isfinite(forecast.quantiles[:, [interval.lower, interval.upper]]).all()
    ]
    ahead = _column(forecast, shown) if len(forecast.mean) == 1 else _areas(forecast, shown)
    legend.append(Key(f"forecast of {scorecard.verdict.champion}", "accent"))
    levels = listing([level_name(interval.level) for interval in reversed(shown)])
    following = "bar" if len(forecast.mean) == 1 else f"{len(forecast.mean)} bars"
    caption = f"The newest {count(drawn, 'bar')}, then the forecast of the next {following}."
    if shown:
        legend.append(Key(f"its {levels} interval" + ("s" if len(shown) > 1 else ""), "band"))
        caption += " The darker the band, the likelier the outcome is to fall into it."
    return Chart(
        name="fan",
        title="Forecast and its intervals",
        values=with_unit(scorecard.target, scorecard.unit),
        caption=caption,
        legend=tuple(legend),
        figure=figure_json(
            [*past, *ahead], horizontal="start of the bar, UTC", xaxis={"rangeslider": {"visible": False}}
        ),
        height=330,
    )


def market(scorecard: Scorecard, bars: Bars | None, forecast: IssuedForecast) -> Chart | None:
    """Return the newest bars as candles, where there are prices and the fan does not show them already."""
    candles = None if bars is None else newest_candles(bars, forecast)
    if bars is None or candles is None or scorecard.target.rpartition(".")[2].lower() in _PRICES:
        return None
    units = next((source.units for source in scorecard.sources if source.name == bars.source), {})
    close = next((unit for name, unit in units.items() if name.lower() == "close"), "")
    return Chart(
        name="market",
        title=f"Prices of {bars.source}",
        values=with_unit("price", close),
        caption=f"The newest {count(candles.height, 'bar')} of the target's source, over the same time as above.",
        legend=(Key("closed higher", "hollow"), Key("closed lower", "filled")),
        figure=figure_json(
            [_candlestick(candles)], horizontal="start of the bar, UTC", xaxis={"rangeslider": {"visible": False}}
        ),
        height=300,
    )


def newest_candles(bars: Bars, forecast: IssuedForecast) -> pl.DataFrame | None:
    """Return the newest bars that were known when the forecast was issued.

    Returns:
        Columns time, open, high, low and close, by time; the last vintage known of each bar; None where the bars have
        no such columns or no such rows.
    """
    by_lower = {name.lower(): name for name in bars.rows.columns}
    if not all(price in by_lower for price in _PRICES):
        return None
    candles = (
        bars.rows.filter((pl.col(SERIES) == forecast.series) & (pl.col(KNOWN_AT) <= forecast.issued_at))
        .sort(TIME, KNOWN_AT)
        .unique(TIME, keep="last", maintain_order=True)
        .select(TIME, **{price: pl.col(by_lower[price]) for price in _PRICES})
        .drop_nulls()
        .tail(HISTORY)
    )
    return candles if candles.height else None


def _candlestick(candles: pl.DataFrame) -> go.Candlestick:
    return go.Candlestick(
        x=times(candles[TIME].to_numpy()),
        **{price: candles[price].to_numpy() for price in _PRICES},
        name="prices",
        increasing={"line": {"color": INK, "width": 1}, "fillcolor": PAPER},
        decreasing={"line": {"color": INK, "width": 1}, "fillcolor": INK},
    )


def _newest_levels(back_test: BackTest, forecast: IssuedForecast) -> tuple[TimeArray, FloatArray]:
    frame = back_test.frame
    issued_at = np.datetime64(forecast.issued_at.astimezone(UTC).replace(tzinfo=None), "us")
    known = np.flatnonzero((frame.origin <= issued_at) & np.isfinite(frame.level))[-HISTORY:]
    return times(frame.time[known]), frame.level[known]


def _areas(forecast: IssuedForecast, shown: list[Interval]) -> list[go.Scatter]:
    at = times(forecast.target_time)
    edges = [
        go.Scatter(
            x=at, y=forecast.quantiles[:, place], mode="lines",
            line={"width": 0, "color": BAND}, fill=fill, fillcolor=BAND,
            name=f"{level_name(float(forecast.probabilities[place]))} quantile",
        )
        for interval in shown
        for place, fill in ((interval.lower, None), (interval.upper, "tonexty"))
    ]  # fmt: skip
    mean = go.Scatter(
        x=at, y=forecast.mean, name="forecast", mode="lines+markers",
        line={"color": ACCENT, "width": 2}, marker={"color": ACCENT, "size": 5},
    )  # fmt: skip
    return [*edges, mean]


def _column(forecast: IssuedForecast, shown: list[Interval]) -> list[go.Scatter]:
    at = single_time(forecast.target_time[0])
    bands = [
        go.Scatter(
            x=[at, at], y=forecast.quantiles[0, [interval.lower, interval.upper]], mode="lines",
            line={"width": 14, "color": BAND}, name=f"{level_name(interval.level)} interval",
        )
        for interval in shown
    ]  # fmt: skip
    mean = go.Scatter(
        x=[at], y=forecast.mean, name="forecast", mode="markers",
        marker={"color": ACCENT, "size": 9, "line": {"color": PAPER, "width": 1.5}},
    )  # fmt: skip
    return [*bands, mean]
