"""The `verify` command."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, MOMENT, Form, JobFile, WorkDir, moment
from presage.cli.output import Output, console, emit
from presage.spec.load import load_job

if TYPE_CHECKING:
    from presage.steps.verify import Verification

NOT_READY = 8


def verify(
    file: JobFile,
    workdir: WorkDir = DEFAULT_WORKDIR,
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=MOMENT, help="Judge by this moment, UTC; default: now.")
    ] = None,
    output: Form = Output.table,
) -> None:
    """Check data, lake, newest run, forecast and disk; ends with 8 where something is not ready."""
    with faults_end_the_command():
        job = load_job(file)
        from presage.steps.mirror import work_in  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.verify import verify as check  # noqa: PLC0415  # as above

        with work_in(workdir, job) as place:
            done = check(job, workdir=place.directory, now=moment(as_of))
        if output is Output.table:
            _print(done)
        else:
            emit(done, output)
        if not done.ready:
            raise typer.Exit(NOT_READY)


def _print(done: Verification) -> None:
    from presage.cli.tables import print_table  # noqa: PLC0415  # loaded only when it is needed

    target = console()
    rows = [(one.state, one.name, f"{one.message.removesuffix('.')}. {one.remedy}".strip()) for one in done.checks]
    print_table(("State", "Check", "Found"), rows, target)
    target.print(f"\n{done.verdict}", markup=False, style="bold green" if done.ready else "bold red")
