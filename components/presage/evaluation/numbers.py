"""Numbers as the judgement's sentences write them."""

from __future__ import annotations


def amount(value: float, digits: int = 3) -> str:
    """Return a value in its unit with this many significant digits, and never fewer than those before the point."""
    if value != 0 and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{digits}g}"
    if abs(value) >= 10**digits - 0.5:
        return f"{value:,.0f}"
    return f"{value:#,.{digits}g}".rstrip(".")


def pair(first: float, second: float) -> tuple[str, str]:
    """Return two values that are compared with as many digits, from 3 to 6, as tell them apart."""
    for digits in (3, 4, 5):
        if (texts := (amount(first, digits), amount(second, digits)))[0] != texts[1]:
            return texts
    return amount(first, 6), amount(second, 6)


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}"


def percent(share: float) -> str:
    """Return a share in percent: one digit behind the point, and two significant digits below 1 %."""
    value = 100 * share
    text = f"{value:.1f}".removesuffix(".0") if abs(value) >= 1 else f"{value:.2g}"
    return f"{text} %"


def probability(value: float) -> str:
    """Return a probability with two significant digits."""
    return f"{value:.2g}"
