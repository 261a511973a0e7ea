"""Small tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from presage.report.console import printable


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], target: Console, *, numbers: int = 0) -> None:
    """Print rows of text under headings; the last column may be broken into lines.

    What comes from data can neither style the text nor steer the terminal.

    Args:
        headings: One a column.
        rows: Cells, one a column.
        target: Where to print.
        numbers: How many columns behind the first one hold numbers, which stand on the right.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, heading in enumerate(headings):
        last = place == len(headings) - 1
        justify = "right" if 0 < place <= numbers else "left"
        table.add_column(heading, justify=justify, no_wrap=not last, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    target.print(table)
