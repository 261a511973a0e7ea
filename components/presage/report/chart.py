"""A chart as a value: its figure in Plotly's JSON, and the words around it. Colours are named here, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from presage.frame import FloatArray, TimeArray

DRAWN_AT_MOST = 5000

INK: Final = "#1b1f24"
MUTED: Final = "#57606a"
GRID: Final = "#e3e6ea"
PAPER: Final = "#fefefe"
SHADE: Final = "rgba(27, 31, 36, 0.05)"
ACCENT: Final = "#1f5fae"
BAND: Final = "rgba(31, 95, 174, 0.2)"
OPPOSITE: Final = "#b8500b"
NEUTRAL: Final = "#8c959f"

# Each light colour's dark counterpart; lines of either have a contrast of at least 3 to 1 against their paper.
DARK: Final[Mapping[str, str]] = {
    INK: "#e6edf3",
    MUTED: "#9da7b1",
    GRID: "#2d333b",
    PAPER: "#15191f",
    SHADE: "rgba(230, 237, 243, 0.06)",
    ACCENT: "#6cb0ff",
    BAND: "rgba(108, 176, 255, 0.24)",
    OPPOSITE: "#f2a05c",
    NEUTRAL: "#7d8791",
}

Swatch = Literal[
    "ink",
    "accent",
    "band",
    "opposite",
    "neutral",
    "shade",
    "filled",
    "hollow",
    "dot",
    "dot-opposite",
    "tick",
    "muted",
    "block",
    "block-opposite",
]


@dataclass(frozen=True)
class Key:
    """An entry of a chart's legend."""

    name: str
    swatch: Swatch


@dataclass(frozen=True)
class Chart:
    """A chart and the words around it.

    Attributes:
        name: Identifier on the page: lower-case letters and dashes.
        title: What it shows.
        values: What its vertical axis measures, with the unit.
        caption: What to see, as sentences with numbers.
        legend: What its colours mean.
        figure: Plotly's JSON: data and layout.
        height: Height in CSS pixels.
    """

    name: str
    title: str
    values: str
    caption: str
    legend: tuple[Key, ...]
    figure: str
    height: int


def figure_json(
    traces: Sequence[go.Scatter | go.Bar | go.Candlestick],
    *,
    horizontal: str,
    shapes: Sequence[go.layout.Shape] = (),
    annotations: Sequence[go.layout.Annotation] = (),
    **layout: Mapping[str, object] | str | float,
) -> str:
    """Return a figure in Plotly's JSON with the house's look; `layout` adds to its layout.

    Args:
        traces: What is drawn.
        horizontal: Title of the horizontal axis, with its unit; empty where the ticks say it themselves.
        shapes: Shapes behind the traces.
        annotations: Words in the plot.
        layout: Properties of Plotly's layout.
    """
    figure = go.Figure(data=list(traces))
    axis = {
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": GRID,
        "separatethousands": True,
        "zerolinecolor": MUTED,
        "zeroline": False,
        "tickcolor": GRID,
        "tickfont": {"color": MUTED, "size": 12},
    }
    figure.update_layout(
        template=go.layout.Template(),
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        margin={"l": 4, "r": 12, "t": 8, "b": 4},
        showlegend=False,
        hovermode="x unified",
        hoverlabel={"bgcolor": PAPER, "bordercolor": GRID, "font": {"color": INK, "size": 12}},
        dragmode="zoom",
        shapes=list(shapes),
        annotations=list(annotations),
    )
    title = {"text": escape(horizontal), "font": {"color": MUTED, "size": 12}, "standoff": 8}
    figure.update_xaxes(**axis, title=title, showgrid=False, showline=True, ticks="outside", ticklen=4)
    figure.update_yaxes(**axis, nticks=6, hoverformat=",.5~r")
    figure.update_layout(**layout)
    return str(figure.to_json())


def times(values: TimeArray) -> NDArray[np.datetime64]:
    """Return times to the second, which keeps their text short on the page."""
    return values.astype("datetime64[s]")


def single_time(value: np.datetime64) -> str:
    """Return a time as Plotly reads it where it takes one and no array."""
    return str(value.astype("datetime64[s]"))


def thinned(values: FloatArray, limit: int = DRAWN_AT_MOST) -> NDArray[np.intp]:
    """Return the places of the points to draw, ascending.

    All of them up to `limit`; of more, the lowest and the highest of each stretch of equal length, and the first and
    the last, so that no extreme is lost. Of a stretch that is all NaN its first.
    """
    size = len(values)
    if size <= limit:
        return np.arange(size)
    edges = np.linspace(0, size, max(1, (limit - 2) // 2) + 1).astype(np.intp)
    kept = {0, size - 1}
    for start, stop in pairwise(edges):
        stretch = values[start:stop]
        if np.isnan(stretch).all():
            kept.add(int(start))
        else:
            kept.update((int(start + np.nanargmin(stretch)), int(start + np.nanargmax(stretch))))
    return np.array(sorted(kept), dtype=np.intp)


def thinning_sentence(drawn: int, of: int, noun: str) -> str:
    """Return a sentence that says that points are left out, empty where none are."""
    if drawn >= of:
        return ""
    return (
        f" Drawn are {drawn:,} of {of:,} {noun}, the lowest and highest of each stretch; all numbers count every one."
    )
