"""The `leak-check` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, AsOf, Form, JobFile, Sources, WorkDir, Workers, moment
from presage.cli.output import Output, console, emit, parse_pairs, progress_on_stderr
from presage.errors import LeakageError
from presage.spec.load import load_job

if TYPE_CHECKING:
    from presage.steps.leak_check import LeakReport


def leak_check(  # noqa: PLR0917  # its arguments are options
    file: JobFile,
    workdir: WorkDir = DEFAULT_WORKDIR,
    source: Sources = None,
    as_of: AsOf = None,
    cutoffs: Annotated[
        int, typer.Option("--cutoffs", min=1, max=1000, help="Moments at which the features are built anew.")
    ] = 8,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of what is sampled and shuffled; default: the job's.")
    ] = None,
    workers: Workers = None,
    output: Form = Output.table,
) -> None:
    """Prove that nothing from the future reaches a job's features; ends with 4 where something does."""
    sources = parse_pairs(source or [], "--source")
    with faults_end_the_command():
        job = load_job(file)
        from presage.steps.leak_check import check_leaks  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.mirror import work_in  # noqa: PLC0415  # as above

        with progress_on_stderr() as progress, work_in(workdir, job) as place:
            done = check_leaks(
                job,
                base=file.parent,
                workdir=place.directory,
                now=moment(as_of),
                sources=sources,
                cutoffs=cutoffs,
                seed=job.spec.seed if seed is None else seed,
                workers=workers,
                progress=progress,
            )
        if output is Output.table:
            _print(done)
        else:
            emit(done, output)
        if not done.clean:
            raise typer.Exit(LeakageError.exit_code)


def _print(done: LeakReport) -> None:
    from presage.cli.tables import print_table  # noqa: PLC0415  # loaded only when it is needed

    target = console()
    rows = []
    for one in done.checks:
        first = f", first at {one.time:%Y-%m-%dT%H:%MZ}" if one.time is not None else ""
        subject = f"{one.column}: {one.cause}{first}. " if one.cause else ""
        rows.append((one.state, one.name, f"{subject}{one.message.removesuffix('.')}. {one.remedy}".strip()))
    print_table(("State", "Check", "Found"), rows, target)
    target.print(f"\n{done.verdict}", markup=False, style="bold green" if done.clean else "bold red")
