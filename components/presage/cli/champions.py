"""How champions are printed: one paragraph each, the newest first; it fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from presage.report.console import INDENT, paragraph, printable

_DIGITS = 12


@dataclass(frozen=True)
class ChampionLine:
    """What is printed of a champion.

    Attributes:
        model: Name of the model or baseline.
        promoted: Whether it is a promoted model, else the best baseline; None where that is not known.
        since: When it began to serve, UTC.
        until: When another took its place, UTC; None where it serves.
        reason: Reason of the gate, or RolledBack.
        message: The reason in a sentence, empty where it is not known.
        by: Who rolled back to it, empty where nobody did.
        run: Run in the lake.
        digest: Digest of its scorecard, as `sha256:` and 64 hexadecimal digits; empty where it is not known.
        ended: How its time ended, other than that a better one came; empty where it did not.
    """

    model: str
    promoted: bool | None
    since: datetime
    until: datetime | None
    reason: str
    message: str
    by: str
    run: str
    digest: str
    ended: str = ""


def print_champions(lines: Iterable[ChampionLine], console: Console, *, indent: int = 0) -> None:
    """Print champions, the newest first."""
    for place, line in enumerate(lines):
        if place:
            console.print()
        kind = {True: " (promoted)", False: " (baseline)", None: ""}[line.promoted]
        times = f"{_minute(line.since)} to {_minute(line.until) if line.until else 'now'}, UTC"
        style = "bold green" if line.until is None else "bold"
        for part in Text.assemble((printable(line.model), style), kind, "  ", times).wrap(
            console, console.width - indent
        ):
            part.rstrip()
            console.print(Text(" " * indent) + part)
        by = f" by {line.by}" if line.by else ""
        words = f"{line.reason}{by}: {line.message}" if line.message else f"{line.reason}{by}"
        paragraph(words, console, indent=indent + INDENT)
        if line.ended:
            paragraph(line.ended, console, style="yellow", indent=indent + INDENT)
        digits = line.digest.removeprefix("sha256:")[:_DIGITS]
        card = f"  scorecard {digits}" if digits else ""
        paragraph(f"run {line.run}{card}", console, style="dim", indent=indent + INDENT)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
