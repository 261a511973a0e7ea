"""What a look for leaks found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from presage.errors import LeakageError

State = Literal["pass", "fail", "skipped"]
Cause = Literal[
    "unclosed bar",
    "revision used too early",
    "transform fitted on the future",
    "rows known later",
    "target among the features",
    "future shift",
    "outcomes reach the fit",
]

REMEDIES: dict[Cause, str] = {
    "unclosed bar": "Give the rows when their period has ended: correct `availability`, `timeLabel`, `timeZone` or "
    "`frequency` of the source.",
    "revision used too early": "Give each value with the moment at which it was published (`availability.column`), or "
    "only the values that were published first.",
    "transform fitted on the future": "Give the column as it was measured; a transform may use earlier rows alone.",
    "rows known later": "Compute it from rows up to its own, or take it out of spec.features.",
    "target among the features": "Take it out of spec.features, or give the column as it was known at its time; where "
    "it was published before indeed, say when in `availability.column`.",
    "future shift": "Look how the column is made and dated (`timeLabel`, `timeZone`, `availability`), or take it out "
    "of spec.features; where it was published before indeed, say when in `availability.column`.",
    "outcomes reach the fit": "Do not rely on the scorecard, and report it: this is a fault of Presage itself.",
}


class Finding(BaseModel):
    """What one check found of one column, or of all where none leaks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """The check, such as `truncation`."""
    state: State
    """Whether it is as it should be; `skipped` where there was too little to look at."""
    message: str
    """What was found."""
    column: str = ""
    """The feature, or the source's column, that leaks; empty where none does."""
    time: datetime | None = None
    """Start of the first bar, or time of the first row, at which it does, UTC."""
    row: int | None = None
    """Its row: of the series' frame for bars, else of the source's rows in the order of time."""
    cause: Cause | None = None
    """Why it leaks."""
    remedy: str = ""
    """What to do about it."""


def passed(name: str, message: str) -> Finding:
    """Return the finding of a check that found no leak."""
    return Finding(name=name, state="pass", message=message)


def skipped(name: str, message: str) -> Finding:
    """Return the finding of a check that had too little to look at."""
    return Finding(name=name, state="skipped", message=message)


def leak(
    name: str, cause: Cause, message: str, *, column: str, time: datetime | None = None, row: int | None = None
) -> Finding:
    """Return the finding of a leak, with the remedy of its cause."""
    return Finding(
        name=name,
        state="fail",
        message=message,
        column=column,
        time=time,
        row=row,
        cause=cause,
        remedy=REMEDIES[cause],
    )


def require_clean(findings: Sequence[Finding]) -> None:
    """Raise LeakageError for the first leak among findings."""
    for one in findings:
        if one.state == "fail":
            subject = f"{one.column}: " if one.column else ""
            first = f" Its first row is of {one.time:%Y-%m-%dT%H:%MZ}." if one.time is not None else ""
            raise LeakageError(f"{subject}{one.cause}. {one.message}{first}", one.remedy)
