"""Text on a terminal that no data can steer; it needs nothing of a report."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

INDENT: Final = 2


def printable(text: str) -> str:
    """Return text in which nothing can steer a terminal: a replacement mark stands for each control character."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def heading(title: str, console: Console) -> None:
    """Print a heading."""
    console.print()
    console.print(Text(printable(title), "bold"))


def paragraph(text: str, console: Console, *, style: str = "", indent: int = INDENT) -> None:
    """Print a text, wrapped to the width of the console."""
    for line in Text(printable(text), style).wrap(console, console.width - indent):
        line.rstrip()
        console.print(Text(" " * indent) + line)
