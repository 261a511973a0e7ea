"""The `rerun` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, Form, WorkDir, Workers
from presage.cli.output import Output, console, emit, note, progress_on_stderr

if TYPE_CHECKING:
    from presage.steps.rerun import Rerun

DIFFERENT = 9

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, NAMESPACE.JOB/RUN, or the path of a run's directory.",
        show_default=False,
    ),
]


def rerun(run: Run, workdir: WorkDir = DEFAULT_WORKDIR, workers: Workers = None, output: Form = Output.table) -> None:
    """Make a run again from what it pinned; ends with 9 where something else is found. Nothing is kept."""
    with faults_end_the_command("interrupted: nothing was changed"):
        from presage.steps.kept_run import RunName, kept_run  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.lock import machine_kind, read_lock  # noqa: PLC0415  # as above
        from presage.steps.rerun import rerun as make_again  # noqa: PLC0415  # as above

        with progress_on_stderr() as progress, kept_run(RunName.parse(run), workdir) as kept:
            done = make_again(kept, workers=workers, lock=read_lock(), cpu=machine_kind(), progress=progress, warn=note)
        if output is Output.table:
            _print(done)
        else:
            emit(done, output)
        if not done.match:
            raise typer.Exit(DIFFERENT)


def _print(done: Rerun) -> None:
    from presage.cli.tables import print_table  # noqa: PLC0415  # loaded only when it is needed

    target = console()
    target.print(f"{done.namespace}/{done.job}, run {done.run}\n", markup=False, style="bold")
    print_table(("", "Compared", "Found"), [(one.name, one.state, one.found) for one in done.checks], target)
    target.print(f"\n{done.verdict}", markup=False, style="bold green" if done.match else "bold red", soft_wrap=True)
