"""The `backtest` command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.output import Output, console, emit, parse_pairs, progress_on_stderr
from presage.spec.load import load_job

_INTERRUPTED = "interrupted: nothing was found"
_MOMENT = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def backtest(  # noqa: PLR0917  # its arguments are options
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The PredictionJob, YAML or JSON.", show_default=False)],
    start: Annotated[
        datetime,
        typer.Option("--start", formats=_MOMENT, help="First moment of the period, UTC.", show_default=False),
    ],
    end: Annotated[
        datetime,
        typer.Option(
            "--end", formats=_MOMENT, help="Last moment of the period, UTC; a day counts whole.", show_default=False
        ),
    ],
    workdir: Annotated[
        str,
        typer.Option(
            "--workdir", envvar="PRESAGE_WORKDIR", help="Place of the lake: a directory or s3://bucket/prefix."
        ),
    ] = ".presage",
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME=URI", help="Read a source from another place.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=1000, help="Tasks at a time; default: the job's engine.")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form of what goes to stdout.")] = Output.table,
) -> None:
    """Judge a job on any past period: training before it, forecasts in it; nothing is kept or served."""
    sources = parse_pairs(source or [], "--source")
    with faults_end_the_command(_INTERRUPTED):
        job = load_job(file)
        from presage.report.terminal import print_scorecard  # noqa: PLC0415  # loaded only when it is called
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
            print_scorecard(found.scorecard, console(), name=f"{job.metadata.name}, {start:%Y-%m-%d} to {end:%Y-%m-%d}")
        else:
            emit(found, output)
