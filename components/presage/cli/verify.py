"""The `verify` command."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.output import Output, console, emit
from presage.spec.load import load_job

if TYPE_CHECKING:
    from presage.steps.verify import Verification

NOT_READY = 8


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The PredictionJob, YAML or JSON.", show_default=False)],
    workdir: Annotated[
        str,
        typer.Option(
            "--workdir",
            envvar="PRESAGE_WORKDIR",
            help="Place of the lake and the runs: a directory or s3://bucket/prefix.",
        ),
    ] = ".presage",
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Judge by this moment, UTC; default: now."
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form of what goes to stdout.")] = Output.table,
) -> None:
    """Check data, lake, newest run, forecast and disk; ends with 8 where something is not ready."""
    with faults_end_the_command():
        job = load_job(file)
        from presage.steps.mirror import work_in  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.verify import verify as check  # noqa: PLC0415  # as above

        now = datetime.now(UTC) if as_of is None else as_of.replace(tzinfo=UTC)
        with work_in(workdir, job) as place:
            done = check(job, workdir=place.directory, now=now)
        if output is Output.table:
            _print(done)
        else:
            emit(done, output)
        if not done.ready:
            raise typer.Exit(NOT_READY)


def _print(done: Verification) -> None:
    from presage.cli.tables import print_table  # noqa: PLC0415  # loaded only when it is needed

    target = console()
    rows = [(check.state, check.name, f"{check.message}. {check.remedy}".strip()) for check in done.checks]
    print_table(("State", "Check", "Found"), rows, target)
    target.print(f"\n{done.verdict}", markup=False, style="bold green" if done.ready else "bold red")
