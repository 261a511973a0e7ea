"""The parts that the page is put together from: a section, a chart with its words, a table, a line of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from presage.report.chart import Chart
from presage.report.grid import Column, Grid
from presage.report.markup import Child, Markup, element, json_script

_TALL: Final = 16
_MINUS: Final = re.compile(r"(?<![\w-])-(?=\d)")


def figure(drawn: Chart | None, numbers: Grid | None = None) -> Markup | None:
    """Return a chart with its title, caption and legend, and its numbers folded up; None for none."""
    if drawn is None:
        return None
    legend = (
        element("li", element("span", class_=f"swatch {key.swatch}", aria_hidden="true"), typeset(key.name))
        for key in drawn.legend
    )
    return element(
        "figure",
        element(
            "figcaption",
            element("h3", drawn.title),
            element("p", typeset(drawn.caption)),
            element("ul", *legend, class_="legend") if drawn.legend else None,
        ),
        element("p", drawn.values, class_="axis"),
        element(
            "div",
            id=drawn.name,
            class_="chart",
            role="img",
            aria_label=f"{drawn.title}: {drawn.values}. {drawn.caption}",
            style=f"height:{drawn.height}px",
        ),
        json_script(drawn.figure, id=f"{drawn.name}-figure"),
        _folded("Show the numbers", numbers) if numbers is not None and numbers.rows else None,
    )


def _folded(summary: str, grid: Grid) -> Markup:
    return element("details", element("summary", summary), _table(grid, element("caption", grid.title)))


def card(grid: Grid, *, search: bool = False) -> Markup:
    """Return a table with its title, on paper of its own; with `search` a field above it keeps the rows that match."""
    field = element("input", type="search", class_="search", placeholder="Search", aria_label=f"Search: {grid.title}")
    return element("div", element("h3", grid.title), field if search else None, _table(grid), class_="card")


def _table(grid: Grid, caption: Markup | None = None) -> Markup:
    head = element("thead", element("tr", *(_heading(column) for column in grid.columns)))
    rows = (
        element("tr", *_cells(grid.columns, row), class_="marked" if place == grid.marked else False)
        for place, row in enumerate(grid.rows)
    )
    table = element("table", caption, head, element("tbody", *rows))
    shape = "scroll tall" if len(grid.rows) > _TALL else "scroll"
    return element("div", table, class_=shape, tabindex="0", role="region", aria_label=grid.title)


def _heading(column: Column) -> Markup:
    unit = element("span", column.unit, class_="unit") if column.unit else None
    return element("th", column.name, unit, scope="col", class_=column.kind)


def _cells(columns: Sequence[Column], row: Sequence[str]) -> list[Markup]:
    first = (
        element("td", row[0]) if columns[0].kind == "number" else element("th", element("span", row[0]), scope="row")
    )
    others = (
        element("td", typeset(cell) if column.kind == "number" else cell, class_=column.kind)
        for column, cell in zip(columns[1:], row[1:], strict=True)
    )
    return [first, *others]


def section(title: str, *parts: Markup | None) -> Markup:
    """Return a section of the page under a heading, whose identifier is the title in lower case with dashes."""
    name = title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=name), *parts, aria_labelledby=name)


def pair(*parts: Markup | None) -> Markup | None:
    """Return two figures side by side."""
    return element("div", *parts, class_="pair") if any(parts) else None


def note(*words: Child) -> Markup:
    """Return a line of text that explains what is beside it."""
    return element("p", *words, class_="note")


def typeset(text: str) -> str:
    """Return text with proper signs: a minus as wide as a digit, and no line break before a percent sign."""
    return _MINUS.sub("\N{MINUS SIGN}", text).replace(" %", "\u00a0%").replace("<=", "\N{LESS-THAN OR EQUAL TO}")
