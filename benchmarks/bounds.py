"""What a benchmark holds its figures to."""

from __future__ import annotations


def bound(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Print whether a figure keeps its bounds, and return it."""
    kept = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    limit = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    print(f"{'kept  ' if kept else 'BROKEN'} {what}: {value:.3g} ({limit})")
    return kept
