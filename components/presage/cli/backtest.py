"""The `backtest` command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, MOMENT, Form, JobFile, Sources, Workers
from presage.cli.output import Output, console, emit, parse_pairs, progress_on_stderr
from presage.spec.load import load_job

_INTERRUPTED = "interrupted: nothing was found"


def backtest(  # noqa: PLR0917  # its arguments are options
    file: JobFile,
    start: Annotated[
        datetime,
        typer.Option("--start", formats=MOMENT, help="First moment of the period, UTC.", show_default=False),
    ],
    end: Annotated[
        datetime,
        typer.Option(
            "--end", formats=MOMENT, help="Last moment of the period, UTC; a day counts whole.", show_default=False
        ),
    ],
    workdir: Annotated[
        str,
        typer.Option(
            "--workdir", envvar="PRESAGE_WORKDIR", help="Place of the lake: a directory or s3://bucket/prefix."
        ),
    ] = DEFAULT_WORKDIR,
    source: Sources = None,
    workers: Workers = None,
    output: Form = Output.table,
) -> None:
    """Judge a job on any past period: training before it, forecasts or predictions in it; nothing is kept or served."""
    sources = parse_pairs(source or [], "--source")
    with faults_end_the_command(_INTERRUPTED):
        job = load_job(file)
        from presage.report.tabular_terminal import show_scorecard  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.backtest import run_backtest  # noqa: PLC0415  # as above
        from presage.steps.mirror import work_in  # noqa: PLC0415  # as above

        whole_day = end.time() == datetime.min.time()
        with progress_on_stderr() as progress, work_in(workdir, job) as place:
            found = run_backtest(
                job,
                base=file.parent,
                workdir=place.directory,
                now=datetime.now(UTC),
                sources=sources,
                workers=workers,
                start=start.replace(tzinfo=UTC),
                end=end.replace(tzinfo=UTC) + (timedelta(days=1, microseconds=-1) if whole_day else timedelta()),
                progress=progress,
            )
        if output is Output.table:
            show_scorecard(found.scorecard, console(), name=f"{job.metadata.name}, {start:%Y-%m-%d} to {end:%Y-%m-%d}")
        else:
            emit(found, output)
