"""The `backfill` command."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, MOMENT, Form, JobFile, WorkDir, moment
from presage.cli.output import Output, console, emit, progress_on_stderr
from presage.spec.load import load_job

if TYPE_CHECKING:
    from presage.steps.backfill import Backfill

_INTERRUPTED = "interrupted: what was kept stays, and the next backfill goes on behind it"


def backfill(  # noqa: PLR0917  # its arguments are options
    file: JobFile,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="NAME[=URI]",
            help="Fill this source only; with a URI, read it from there. Default: all.",
        ),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--start", formats=MOMENT, help="Read all from here on again, UTC; default: only what bars are missing of."
        ),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--end", formats=MOMENT, help="Read all up to here again, UTC; default: now.")
    ] = None,
    workdir: WorkDir = DEFAULT_WORKDIR,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", formats=MOMENT, help="Read as if it were this moment, UTC; default: now."),
    ] = None,
    output: Form = Output.table,
) -> None:
    """Fill the lake's holes, or read a span again, in chunks; no run is made."""
    with faults_end_the_command(_INTERRUPTED):
        job = load_job(file)
        from presage.steps.backfill import backfill as fill  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.mirror import work_in  # noqa: PLC0415  # as above

        pairs = [pair.partition("=") for pair in source or []]
        with progress_on_stderr() as progress, work_in(workdir, job) as place:
            done = fill(
                job,
                base=file.parent,
                workdir=place.directory,
                now=moment(as_of),
                names=[name for name, _, _ in pairs],
                sources={name: uri for name, _, uri in pairs if uri},
                start=start and moment(start),
                end=end and moment(end),
                progress=progress,
                on_kept=place.keep,
            )
        if output is Output.table:
            _print(done)
        else:
            emit(done, output)


def _print(done: Backfill) -> None:
    from presage.cli.tables import print_table  # noqa: PLC0415  # loaded only when it is needed
    from presage.report import numbers  # noqa: PLC0415  # as above

    rows = [
        (
            one.name,
            f"{one.rows - one.before:,}",
            f"{one.rows:,}",
            numbers.UNDEFINED if one.spans is None else f"{one.spans:,}",
            f"{one.missing:,}",
            numbers.moment(one.start),
            numbers.moment(one.end),
        )
        for one in done.sources
    ]
    print_table(("Source", "Added", "Rows", "Spans", "Missing", "First bar", "Last bar"), rows, console(), numbers=4)
