"""The arguments and options that commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from presage.cli.output import Output
from presage.spec.outcome import OUTCOME_VARIABLE

DEFAULT_WORKDIR = ".presage"
MOMENT = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
"""Forms of a moment, which is UTC."""

JobFile = Annotated[Path, typer.Argument(metavar="FILE", help="The PredictionJob, YAML or JSON.", show_default=False)]
WorkDir = Annotated[
    str,
    typer.Option(
        "--workdir", envvar="PRESAGE_WORKDIR", help="Place of the lake and the runs: a directory or s3://bucket/prefix."
    ),
]
Sources = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME=URI", help="Read a source from another place.")
]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", formats=MOMENT, help="Run as if it were this moment, UTC; default: now."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=1000, help="Tasks at a time; default: the job's engine.")
]
OutcomeFile = Annotated[
    Path | None,
    typer.Option(
        "--outcome", metavar="FILE", envvar=OUTCOME_VARIABLE, help="Write how it ended, as JSON of 4096 bytes at most."
    ),
]
Form = Annotated[Output, typer.Option("--output", "-o", help="Form of what goes to stdout.")]


def moment(time: datetime | None) -> datetime:
    """Return the moment that an option names, UTC; now where it names none."""
    return datetime.now(UTC) if time is None else time.replace(tzinfo=UTC)
