"""Cron expressions, as Kubernetes' CronJob reads them: five fields, names, ranges, steps, lists, and macros."""

from __future__ import annotations

from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class Cron:
    """When something is due, in the schedule's time zone.

    A moment is due when its minute, hour and month are listed and its day is: where both days and weekdays are
    restricted, either is enough, as cron has it.

    Attributes:
        minutes: 0 to 59.
        hours: 0 to 23.
        days: Days of the month, 1 to 31.
        months: 1 to 12.
        weekdays: 0 (Sunday) to 6.
        any_day: Whether the day of the month is not restricted.
        any_weekday: Whether the day of the week is not restricted.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool


def parse_cron(text: str) -> Cron:
    """Return a parsed cron expression; raises ValueError, with what is allowed, for any other text."""
    fields = _MACROS.get(text, text).split(" ")
    if len(fields) != 5:
        raise ValueError(f"five fields with one space between them, or one of {', '.join(_MACROS)}")
    minute, hour, day, month, weekday = fields
    return Cron(
        minutes=_values(minute, "minute", 0, 59),
        hours=_values(hour, "hour", 0, 23),
        days=_values(day, "day of the month", 1, 31),
        months=_values(month, "month", 1, 12, _MONTHS),
        weekdays=_values(weekday, "day of the week", 0, 6, _DAYS),
        any_day=_open(day),
        any_weekday=_open(weekday),
    )


def _open(text: str) -> bool:
    """Return whether a field restricts nothing: a star, which a step other than 1 makes a restriction."""
    parts = (part.partition("/") for part in text.split(","))
    return any(span in {"*", "?"} and int(step[:9] or 1) == 1 for span, _, step in parts)


def _values(text: str, name: str, least: int, most: int, words: tuple[str, ...] = ()) -> frozenset[int]:
    def fault(part: str) -> ValueError:
        hint = f" ({words[0]} to {words[-1]})" if words else ""
        return ValueError(
            f"in the {name}, {least} to {most}{hint}, ranges a-b, steps /n and lists with commas, not {part!r}"
        )

    def number(part: str, whole: str) -> int:
        if part.lower() in words:
            return words.index(part.lower()) + least
        if not (part.isascii() and part.isdigit() and least <= int(part[:9]) <= most):
            raise fault(whole)
        return int(part)

    chosen: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step[:9]) > 0):
            raise fault(part)
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            start, stop = least, most
        else:
            start = number(first, part)
            # `5/15` goes on to the end of the range, as in Kubernetes.
            stop = number(last, part) if dash else most if slash else start
        if start > stop:
            raise fault(part)
        chosen.update(range(start, stop + 1, int(step[:9]) if slash else 1))
    return frozenset(chosen)
